"""The daemon as a process: sockets, many sessions at a time, garbage from clients, generations, the drain."""

import os
import random
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest

from milterd_fixture import Milterd, MilterdTest
from fake_multiplexor import Reply
from harness.process import BIN, PATIENCE, loopback_address, wait_until
from milter_client import MilterClient, MilterClosed, open_socket


class Sessions(MilterdTest):
    def test_two_hundred_sessions_do_not_wait_for_each_other(self):
        self.script = lambda asked: Reply(wait=1.0)
        clients = []
        for _ in range(200):
            client = self.client().start()
            client.mail(), client.rcpt(), client.data(), client.header("A", " b"), client.eoh(), client.body(b"x")
            clients.append(client)
        began = time.monotonic()
        for client in clients:
            client.send(b"E")
        for client in clients:
            self.assertEqual(client.answer().code, "continue")
        self.assertLess(time.monotonic() - began, 3 * PATIENCE)

    def test_parallel_messages_are_not_mixed_up(self):
        self.script = lambda asked: Reply("REJECT", code=550, dsn="5.0.0", text=asked.message.split(b"\r\n\r\n")[1][:-2])
        wrong = []

        def run(number):
            try:
                with self.milterd.client() as client:
                    client.start()
                    for n in range(25):
                        mark = "m%d-%d" % (number, n)
                        answer = client.message(sender="<%s@x>" % mark, body=mark.encode() + b"\r\n")
                        if answer.text != "550 5.0.0 " + mark:
                            wrong.append((mark, answer))
            except Exception as error:  # pylint: disable=broad-except
                wrong.append((number, repr(error)))
        threads = [threading.Thread(target=run, args=(n,)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertEqual(len(self.milterd.wait_for_lines("message uid", 500)), 500)

    def test_max_connections(self):
        self.start(**{"milterd.max_connections": "3"})
        kept = [self.client().start() for _ in range(3)]
        with self.milterd.client() as client:
            self.assertTrue(client.is_closed_within(10 * PATIENCE))
        self.assertEqual(kept[0].message().code, "continue")
        kept[1].quit()

        def is_served():
            with self.milterd.client() as client:
                try:
                    client.start()
                    return True
                except (MilterClosed, OSError):
                    return False
        wait_until(is_served, "a place to be free")

    def test_garbage_from_clients(self):
        """libmilter closes such a session (or says nothing); the others go on."""
        seed = random.Random(7)
        frames = [b"", b"\0\0\0\0", b"\0\0\0\1", b"\xff\xff\xff\xff", b"\0\1\0\0O", b"\0\0\0\1?", b"\0\0\0\1E", b"\0\0\0\1N",
                  b"\0\0\0\2Bx", b"\0\0\0\4Labc", b"\0\0\0\3M<a", b"\0\0\0\5DMi\0x", b"\0\0\0\1T", b"\0\0\0\3R<>",
                  struct.pack(">I", 13) + b"O" + struct.pack(">III", 1, 0, 0),
                  struct.pack(">I", 13) + b"O" + struct.pack(">III", 99, 0xFFFFFFFF, 0xFFFFFFFF)]
        frames += [struct.pack(">I", n) + bytes(seed.randrange(256) for _ in range(n)) for n in range(1, 60)]
        for negotiated in (False, True):
            for frame in frames:
                with self.milterd.client() as client:
                    if negotiated:
                        client.start()
                    try:
                        client.sock.sendall(frame * 2)
                        client.sock.shutdown(socket.SHUT_WR)
                        client.is_closed_within(5)
                    except OSError:
                        pass
        self.assertTrue(self.milterd.process.is_alive())
        self.assertEqual(self.client().start().message().code, "continue")

    def test_macros_without_a_value(self):
        """libmilter's look-up would run off the end of such a list: the session is closed before it sees it."""
        for data in (b"Mi\0", b"Mi\0Q1\0j\0", b"Mi\0Q1", b""):
            with self.subTest(data=data), self.milterd.client() as client:
                client.start()
                client.send(b"D", data)
                try:
                    client.send(b"M", b"<a@b>\0")
                except OSError:
                    pass
                self.assertTrue(client.is_closed_within(10 * PATIENCE))
        self.assertEqual(self.client().start().message().code, "continue")

    def test_commands_out_of_order(self):
        commands = [lambda c: c.eom(), lambda c: c.rcpt(), lambda c: c.header("A", " b"), lambda c: c.eoh(), lambda c: c.body(b"x"),
                    lambda c: c.data(), lambda c: c.mail(), lambda c: c.abort(), lambda c: c.helo(), lambda c: c.connect()]
        for first in commands:
            for second in commands:
                with self.milterd.client(timeout=0.3) as client:
                    client.start()
                    try:
                        first(client), second(client)
                    except (MilterClosed, OSError):
                        pass  # libmilter leaves a command out of order unanswered
        self.assertTrue(self.milterd.process.is_alive())
        self.assertEqual(self.client().start().message().code, "continue")


class Generations(MilterdTest):
    def test_a_message_keeps_its_generation_and_releases_it(self):
        self.mux.set_filter(("SENDER", "MESSAGE"), 5)
        self.start()
        client = self.client().start()
        client.mail()
        self.mux.set_filter(("SENDER", "MESSAGE"), 6)
        other = self.client().start()
        wait_until(lambda: other.message() and self.mux.of_hook("MESSAGE")[-1]["generation"] == 6, "the new generation")
        self.assertNotIn(5, self.mux.released)
        client.rcpt(), client.data(), client.header("A", " b"), client.eoh(), client.body(b"x")
        client.eom()
        self.assertEqual(self.mux.of_hook("MESSAGE")[-1]["generation"], 5)
        wait_until(lambda: 5 in self.mux.released, "the release of generation 5")
        client.message()
        self.assertEqual(self.mux.of_hook("MESSAGE")[-1]["generation"], 6)

    def test_a_connection_that_lacks_stages_stays_with_the_old_one(self):
        """Even when no message of it runs at the reload: the old generation is released when the connection ends."""
        self.mux.set_filter(("HELO", "MESSAGE"), 1)
        self.start()
        client = self.client().start()
        client.message()
        self.mux.set_filter(("BODY", "MESSAGE"), 9)

        def is_known():
            with self.milterd.client() as other:
                return other.negotiate().steps & 0x80000 == 0
        wait_until(is_known, "the new needs")
        client.helo()
        client.message()
        self.assertEqual(self.mux.of_hook("HELO")[-1]["generation"], 1)
        self.assertEqual(self.mux.of_hook("MESSAGE")[-1]["generation"], 1)
        self.assertEqual(self.mux.of_hook("BODY"), [])
        self.assertNotIn(1, self.mux.released)
        client.quit()
        wait_until(lambda: 1 in self.mux.released, "the release")

    def test_an_idle_connection_that_has_the_stages_holds_nothing(self):
        self.client().start()
        self.mux.set_filter(("RECIPIENT",), 9)
        self.mux.set_filter(("MESSAGE",), 10)
        wait_until(lambda: 1 in self.mux.released, "the release")

    def test_hooks_that_the_generation_lacks_are_not_asked(self):
        self.mux.set_filter(("RECIPIENT", "MESSAGE"), 2)
        self.start()
        client = self.client().start()
        self.mux.set_filter(("MESSAGE",), 3)

        def is_known():
            self.mux.requests.clear()
            client.message()
            return not self.mux.of_hook("RECIPIENT")
        wait_until(is_known, "the hook to be left out")


class Sockets(MilterdTest):
    def test_inet_and_allow(self):
        address = loopback_address()
        daemon = Milterd(self.folder, self.mux.path, {"milterd.allow": "127.0.0.1"}, spec=f"inet:0@{address}")
        self.addCleanup(daemon.stop)
        port = int(daemon.spec.split(":")[1].split("@")[0])
        allowed = socket.create_connection((address, port), 10, source_address=("127.0.0.1", 0))
        client = MilterClient.__new__(MilterClient)
        client.sock, client.actions, client.steps, client.wanted_macros = allowed, 0, 0, {}
        with client:
            client.start()
            self.assertEqual(client.message().code, "continue")
        with socket.create_connection((address, port), 10, source_address=("127.0.0.2", 0)) as refused:
            refused.settimeout(10 * PATIENCE)
            self.assertEqual(refused.recv(1), b"")

    def test_mode_stale_and_live(self):
        path = self.folder("milter.sock")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o660)
        second = subprocess.run([os.path.join(BIN, "postern-milterd"), "-c", self.folder("empty.conf"), "-o", "milterd.socket=unix:" + path,
                                 "-o", "log.target=stderr"], capture_output=True, text=True, timeout=30, check=False)
        self.assertNotEqual(second.returncode, 0)
        self.assertIn("in use", second.stderr)
        self.assertEqual(self.client().start().message().code, "continue")
        self.milterd.process.kill(signal.SIGKILL)
        self.milterd.process.popen.wait()
        self.assertTrue(os.path.exists(path))
        self.milterd = Milterd(self.folder, self.mux.path, {"milterd.socket_mode": "0600"})
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertEqual(self.client().start().message().code, "continue")

    def test_socket_activation(self):
        """A listening socket at descriptor 3: it survives the daemon, connections that come meanwhile wait for the next one."""
        path = self.folder("activated.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(16)
            script = 'exec 3<&%d; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"' % listener.fileno()

            def run():
                log = self.folder("activated-%d.log" % time.monotonic_ns())
                from harness.process import Process  # pylint: disable=import-outside-toplevel
                process = Process(["/bin/bash", "-c", script, "bash", os.path.join(BIN, "postern-milterd"), "-c", self.folder("empty.conf"),
                                   "-o", "multiplexor.socket=" + self.mux.path, "-o", "log.target=stderr"], log, pass_fds=[listener.fileno()])
                process.wait_for_line("listening on ")
                return process
            first = run()
            with MilterClient("unix:" + path) as client:
                client.start()
                self.assertEqual(client.message().code, "continue")
            self.assertEqual(first.stop(), 0)
            waiting = open_socket("unix:" + path)
            second = run()
            with MilterClient.__new__(MilterClient) as client:
                client.sock, client.actions, client.steps, client.wanted_macros = waiting, 0, 0, {}
                client.start()
                self.assertEqual(client.message().code, "continue")
            self.assertEqual(second.stop(), 0)


class Drain(MilterdTest):
    hooks = ("SENDER", "MESSAGE")

    def test_running_messages_end_and_new_ones_are_put_off(self):
        answering = threading.Event()
        self.addCleanup(answering.set)

        def script(asked):
            if asked.hook == "MESSAGE":
                answering.wait(20)
            return Reply()
        self.script = script
        running, late = self.client().start(), self.client().start()
        running.mail(), running.rcpt(), running.data(), running.header("A", " b"), running.eoh(), running.body(b"x")
        running.send(b"E")
        wait_until(lambda: self.mux.of_hook("MESSAGE"), "the request")
        self.milterd.process.kill(signal.SIGTERM)
        self.milterd.wait_for_lines("stopping")
        self.assertTrue(late.mail().text.startswith("421 4.3.2"))
        wait_until(self.is_refusing, "new connections to be refused")
        answering.set()
        self.assertEqual(running.answer().code, "continue")
        self.assertEqual(self.milterd.process.popen.wait(20 * PATIENCE), 0)

    def is_refusing(self):
        try:
            self.milterd.client(timeout=1).close()
            return False
        except OSError:
            return True

    def test_idle_process_ends_at_once(self):
        idle = self.client().start()
        began = time.monotonic()
        self.milterd.process.kill(signal.SIGINT)
        self.assertEqual(self.milterd.process.popen.wait(20 * PATIENCE), 0)
        self.assertLess(time.monotonic() - began, 2 * PATIENCE)
        idle.close()

    def test_drain_time_and_second_signal(self):
        self.script = lambda asked: None if asked.hook == "MESSAGE" else Reply()
        for options, second in (({"milterd.drain_time": "300ms"}, False), ({}, True)):
            self.start(**options)
            client = self.client().start()
            client.mail(), client.rcpt(), client.data(), client.header("A", " b"), client.eoh(), client.body(b"x")
            client.send(b"E")
            n = len(self.mux.of_hook("MESSAGE"))
            wait_until(lambda n=n: len(self.mux.of_hook("MESSAGE")) >= max(n, 1), "the request")
            before = time.process_time()
            self.milterd.process.kill(signal.SIGTERM)
            self.milterd.wait_for_lines("stopping")
            if second:
                self.milterd.process.kill(signal.SIGTERM)
            self.assertEqual(self.milterd.process.popen.wait(20 * PATIENCE), 0)
            self.assertLess(time.process_time() - before, 5)


if __name__ == "__main__":
    unittest.main()
