"""Mail servers that abort, leave, drip, stall or never read: nothing of theirs is left, and the others do not notice."""

import fcntl
import os
import struct
import termios
import threading
import time
import unittest

import paths  # noqa: F401
from harness.process import PATIENCE, SANITIZE, scaled, wait_until
from stack import MilterClosed, Stack

STEPS = ("negotiate", "connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body")


def walk(client, stage):
    for step in STEPS[:stage + 1]:
        {"header": lambda: client.header("Subject", " x"), "body": lambda: client.body(b"x" * 3000)}.get(step, getattr(client, step))()


class Clients(Stack):
    def held(self):
        pid = self.postern.milterd.pid
        return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))

    def assert_nothing_left(self, before):
        wait_until(lambda: self.held()[0] <= before[0] + 8 and self.held()[1] <= before[1], lambda: f"{self.held()}, before {before}", 10)
        self.assertEqual(os.listdir(self.postern.folder("spool")), [])

    def test_leaving_at_each_stage(self):
        """By closing, by QUIT, by ABORT and by a new connection on the same socket, after each command, many times."""
        self.assert_serves()
        before = self.held()
        for _ in range(scaled(20, 3)):
            for stage in range(len(STEPS)):
                for leave in ("close", "quit", "abort", "quit_new_connection"):
                    client = self.client()
                    walk(client, stage)
                    getattr(client, leave)()
                    client.close()
        self.assert_nothing_left(before)
        self.assert_serves()

    def test_leaving_while_the_filter_works(self):
        before = self.held()
        for _ in range(scaled(6, 2)):
            client = self.client()
            client.start()
            threading.Thread(target=lambda c=client: self.quietly(c), daemon=True).start()
            self.busy()
            client.sock.shutdown(2)
            wait_until(lambda: self.counter("workers", "busy") == 0, "the worker to be free", 10)
        self.assert_nothing_left(before)
        self.assert_serves()

    def quietly(self, client):
        try:
            self.send("wait_always", 0, client)
        except (OSError, MilterClosed):
            pass

    def test_one_connection_for_many_messages(self):
        """Verdicts in turn, aborts between: nothing of one message is seen in the next."""
        client = self.client().start()
        for n in range(50):
            if n % 3 == 0:
                client.mail(), client.rcpt()
                client.abort()
            answer = self.send("refuse" if n % 2 else "pass", n, client)
            self.assertEqual(answer.verdict, "reject" if n % 2 else "continue")
            self.assertEqual(answer.all("add_header"), [] if n % 2 else [["X-Seen", f" {n}"]])

    def test_drips_and_stalls(self):
        """Sixty clients that send a byte now and then, or half a command: good mail is answered as before."""
        slow = [self.client() for _ in range(60)]
        is_ending = threading.Event()

        def drip():
            for byte in b"\0\0\0\x0dO\0\0\0\6\0\0\1\xff\0\x1f":
                for client in slow:
                    try:
                        client.sock.send(bytes([byte]))
                    except OSError:
                        pass
                if is_ending.wait(0.2):
                    return
        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        answers = [self.send("pass", n) for n in range(100)]
        is_ending.set()
        thread.join()
        self.assertEqual({answer.code for answer in answers}, {"continue"})
        self.assertLess(max(answer.took for answer in answers), 1.0 * PATIENCE)
        for client in slow:
            client.close()


N_SILENT = 5
LARGE_BYTES = 3000000


class NeverReads(Stack):
    deeds = """
    large = function(msg) msg:replace_body(("line\\r\\n"):rep(500000)) end, -- LARGE_BYTES
    """
    options = {"milterd__max_message": "64M"}

    def test_large_changes_that_nobody_reads(self):
        """Some send a message whose new body has 3 MB, and never read: the others go on, each holds no more than its changes, and leaves nothing."""
        before, n_links = self.private_kb(), len(self.links())
        clients = [self.ask_for_large() for _ in range(N_SILENT)]
        wait_until(lambda: all(self.waiting_bytes(client) > 0 for client in clients), "the answers to begin")
        begin, reader = time.monotonic(), self.client().start()
        answers = [self.send("pass", n, reader) for n in range(50)]
        self.assertEqual({answer.code for answer in answers}, {"continue"})
        self.assertLess(time.monotonic() - begin, 10 * PATIENCE)
        if not SANITIZE:
            self.assertLess(self.private_kb() - before, N_SILENT * 2 * LARGE_BYTES // 1024 + 4096)
        for client in clients[1:]:
            client.close()
        # The first one reads after all: what it did not read was still on its way, all of it.
        answer = clients[0].answer()
        self.assertEqual(answer.code, "continue")
        self.assertEqual(sum(len(piece) for piece, in answer.all("replace_body")), LARGE_BYTES)
        clients[0].close()
        # A memory file and a connection to the multiplexor for each message at a time are kept for the next one.
        wait_until(lambda: len(self.links()) <= n_links + 2 * N_SILENT + 4, lambda: f"descriptors left: {self.links()}")
        self.assert_serves()

    def ask_for_large(self):
        client = self.client()
        client.start()
        for step in (client.mail, client.rcpt, client.data, lambda: client.header("X-Do", " large"), client.eoh, lambda: client.body(b"x\r\n")):
            step()
        client.send(b"E")
        return client

    @staticmethod
    def waiting_bytes(client):
        return struct.unpack("i", fcntl.ioctl(client.sock, termios.FIONREAD, b"\0" * 4))[0]

    def private_kb(self):
        with open(f"/proc/{self.postern.milterd.pid}/smaps_rollup", encoding="ascii") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Private_"))

    def links(self):
        folder = f"/proc/{self.postern.milterd.pid}/fd"
        found = []
        for name in os.listdir(folder):
            try:
                found.append(os.readlink(os.path.join(folder, name)))
            except OSError:
                continue
        return found


if __name__ == "__main__":
    unittest.main(verbosity=2)
