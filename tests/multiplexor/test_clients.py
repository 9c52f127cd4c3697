"""Record connections: handshake, versions, rules, garbage, other users, too many, peers that do not read."""

import os
import socket
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import MultiplexorTest
from fakes import postern_wire as wire
from fakes.record_client import outcome

CONNECT_AS_NOBODY = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX, getattr(socket, sys.argv[2]))
s.settimeout(10)
s.connect(sys.argv[1])
try: s.send(b'{"v":1,"command":"status"}\\n')
except OSError: pass
try: data = s.recv(100)
except OSError: data = b""
print(len(data))
"""


class Handshake(MultiplexorTest):
    def raw(self, mux):
        sock = wire.connect(mux.path)
        self.addCleanup(sock.close)
        return sock

    def assert_dropped(self, mux, sock, reason):
        with self.assertRaises(wire.PeerGone):
            while True:
                wire.receive_raw(sock, 20)
        mux.wait(lambda: reason in mux.log(), f"{reason!r} in the log")
        self.assertEqual(outcome(self.client(mux).ask(uid="ok.1")), "OK", "the others are served")

    def test_first_record_must_be_hello(self):
        mux = self.start()
        sock = self.raw(mux)
        wire.send(sock, "WATCH", {})
        self.assert_dropped(mux, sock, "not HELLO")

    def test_other_version(self):
        mux = self.start()
        sock = self.raw(mux)
        record, _ = wire.encode("HELLO", {"role": wire.ROLE["MILTERD"]})
        wire.send_raw(sock, struct.pack(">HH", 2, 7) + record[4:])
        data, _ = wire.receive_raw(sock, 20)
        self.assertEqual(wire.decode(data)[0], "HELLO", "so that the peer can say which version we have")
        self.assert_dropped(mux, sock, "speaks protocol 2.7, we speak 1.0")
        self.assertIn("old and new binaries mixed?", mux.log().lower())

    def test_wrong_role(self):
        mux = self.start()
        for role in ("WORKER", "NURSERY", "MULTIPLEXOR"):
            sock = self.raw(mux)
            wire.send(sock, "HELLO", {"role": wire.ROLE[role]})
            self.assert_dropped(mux, sock, "expected milterd")

    def test_garbage(self):
        mux = self.start()
        hello, _ = wire.encode("REQUEST", {"hook": wire.HOOK["MESSAGE"], "attempt": 1})
        pieces = [b"x", b"\0" * 20, b"\xff" * 2000, hello[:-1], hello + b"!", os.urandom(60000)]
        for piece in pieces:
            client = self.client(mux)
            wire.send_raw(client.sock, piece)
            self.assertTrue(client.is_closed())
        for fields in ({"hook": 200}, {"hook": wire.HOOK["INIT"]}, {"attempt": 3}, {"attempt": 0}):
            client = self.client(mux)
            wire.send(client.sock, "REQUEST", {"hook": wire.HOOK["MESSAGE"], "attempt": 1, **fields})
            self.assertTrue(client.is_closed(), fields)
        for name in ("REPLY", "FORK", "LOADED", "READY", "QUIT", "NEEDS", "HELLO"):
            client = self.client(mux)
            wire.send(client.sock, name, {})
            self.assertTrue(client.is_closed(), name)
        self.assertEqual(outcome(self.client(mux).ask(uid="ok.1")), "OK")
        mux.wait(lambda: mux.status()["clients"] == 1, "the others to be gone")

    def test_descriptors_that_do_not_fit(self):
        mux = self.start()
        record, _ = wire.encode("REQUEST", {"hook": wire.HOOK["MESSAGE"], "attempt": 1})
        with open("/dev/null", "rb") as null:
            for n in (1, 2, 50):
                client = self.client(mux)
                wire.send_raw(client.sock, record, [null.fileno()] * n)
                self.assertTrue(client.is_closed(), n)
            client = self.client(mux)  # an annex that is none
            announced, _ = wire.encode("REQUEST", {"hook": wire.HOOK["MESSAGE"], "attempt": 1}, spill=True)
            wire.send_raw(client.sock, announced, [null.fileno()])
            self.assertTrue(client.is_closed())
        client = self.client(mux)  # an annex that is announced and does not come
        wire.send_raw(client.sock, announced)
        self.assertTrue(client.is_closed())
        mux.wait(lambda: mux.status()["clients"] == 0, "them to be gone")

    def test_second_request_in_flight(self):
        mux = self.start()
        client = self.client(mux)
        client.start(uid="sleep=300.1")
        client.start(uid="sleep=300.2")
        self.assertTrue(client.is_closed())
        mux.wait(lambda: "a second request" in mux.log(), "the reason in the log")

    def test_half_dead_connections_do_not_block(self):
        mux = self.start()
        held = [self.raw(mux) for _ in range(100)]  # say nothing
        self.assertEqual(outcome(self.client(mux).ask(uid="ok.1")), "OK")
        self.assertEqual(len(held), 100)

    def test_watchers_tell_their_sandbox(self):
        """Each text is shown once, while a front end that has it is there."""
        mux = self.start()
        first, *others = [self.watcher(mux, text) for text in ("seccomp", "none \N{COPYRIGHT SIGN}", "none \N{COPYRIGHT SIGN}", "")]
        self.assertEqual(mux.status()["front_sandboxes"], ["seccomp", "none \N{COPYRIGHT SIGN}"])
        wire.send(first.sock, "WATCH", {"sandbox": b"\xff\n"})  # it may change its mind; no text is trusted
        first.next_needs()
        self.assertEqual(mux.status()["front_sandboxes"], ["\\xFF\\n", "none \N{COPYRIGHT SIGN}"])
        first.close()
        others[0].close()
        mux.wait(lambda: mux.status()["front_sandboxes"] == ["none \N{COPYRIGHT SIGN}"], "the one that is left")

    def test_watch_that_is_cut_short(self):
        mux = self.start()
        sock = wire.connect(mux.path, wire.ROLE["MILTERD"], timeout=20)
        self.addCleanup(sock.close)
        wire.send_raw(sock, wire.HEADER.pack(wire.MAJOR, wire.MINOR, wire.NUMBER["WATCH"], 0, 0, 1) + b"\0")
        self.assert_dropped(mux, sock, "message too short: dropped")

    def test_watcher_that_does_not_read(self):
        mux = self.start({"log.level": "info"})
        watcher = self.watcher(mux)
        watcher.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        def dropped():
            for _ in range(500):
                try:
                    watcher.sock.setblocking(False)
                    wire.send(watcher.sock, "WATCH", {})  # each is answered by NEEDS
                except (BlockingIOError, wire.PeerGone, OSError):
                    break
            return mux.status()["counters"]["clients_dropped"] == 1
        mux.wait(dropped, "the watcher to be dropped", 30)
        self.assertEqual(outcome(self.client(mux).ask(uid="ok.1")), "OK")


class Admission(MultiplexorTest):
    def test_other_user(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to become another user")
        mux = self.start()
        os.chmod(mux.path, 0o666)  # on purpose: the credentials must do
        os.chmod(mux.control_path, 0o666)
        directory = os.path.dirname(mux.path)
        while directory != "/":
            if not os.stat(directory).st_mode & 1:
                self.skipTest(f"another user cannot reach {directory}")
            directory = os.path.dirname(directory)
        for path, kind in ((mux.path, "SOCK_SEQPACKET"), (mux.control_path, "SOCK_STREAM")):
            done = subprocess.run(["/usr/bin/python3", "-c", CONNECT_AS_NOBODY, path, kind], capture_output=True, text=True,
                                  timeout=60, check=False, stdin=subprocess.DEVNULL)
            self.assertEqual(done.stdout, "0\n", done.stderr)
        mux.wait_for_counter("counters", "clients_refused", value=1)
        self.assertIn("uid 65534", mux.log())
        self.assertIn("control socket: a connection of another user is refused", mux.log())

    def test_socket_modes(self):
        mux = self.start()
        self.assertEqual(os.stat(mux.path).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(mux.control_path).st_mode & 0o777, 0o600)

    def test_too_many(self):
        mux = self.start({"multiplexor.max_clients": 3})
        clients = self.clients(mux, 3)
        with self.assertRaises((wire.PeerGone, ConnectionError)):
            wire.connect(mux.path, wire.ROLE["MILTERD"])
        self.assertEqual(outcome(clients[0].ask(uid="ok.1")), "OK")
        clients[1].close()
        mux.wait(lambda: mux.status()["clients"] == 2, "one to be gone")
        self.assertEqual(outcome(self.client(mux).ask(uid="ok.1")), "OK")

    def test_live_socket_is_not_taken_over(self):
        mux = self.start()
        argv = mux.process.argv
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 71)
        self.assertIn("another process answers on it", done.stderr)
        self.assertEqual(outcome(self.client(mux).ask(uid="ok.1")), "OK")


if __name__ == "__main__":
    unittest.main()
