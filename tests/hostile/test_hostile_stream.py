"""Garbage on the milter's socket: libmilter closes the connection, or answers in its own way; milterd goes on serving."""

import os
import random
import socket
import struct
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "milter"), os.path.join(os.path.dirname(HERE), "system")]

from fixture import SystemTest  # noqa: E402
from harness.process import PATIENCE  # noqa: E402
from milter_client import MilterClosed, open_socket  # noqa: E402

FILTER = '''
function filter_relay(conn) end
function filter_recipient(msg, rcpt) end
function filter_header(msg, name, value) end
function filter_unknown(conn, command) end
function filter_message(msg) msg:add_header("X-Seen", "1") end
function filter_abort(msg) end
function filter_close(conn) end
'''


def frame(command, data=b""):
    return struct.pack(">I", len(data) + 1) + command + data


NEGOTIATE = frame(b"O", struct.pack(">III", 6, 0x1FF, 0x1FFFFF))
CONNECT = frame(b"C", b"host\x004" + struct.pack(">H", 25) + b"192.0.2.1\0")
MAIL, RCPT = frame(b"M", b"<a@x>\0"), frame(b"R", b"<b@x>\0")
HEADER, EOH, BODY, EOM = frame(b"L", b"Subject\0 x\0"), frame(b"N"), frame(b"B", b"x\r\n"), frame(b"E")

# What a client sends; the rest of the connection is read until milterd closes it or falls silent, then it is closed.
ROWS = {
    "zeros": b"\0" * 1000,
    "zero length": struct.pack(">I", 0) * 10,
    "huge length": struct.pack(">I", 0xFFFFFFFF) + b"O" + b"x" * 1000,
    "a length over the limit": struct.pack(">I", 64 << 20) + b"L" + b"x" * 100000,
    "half a length": b"\0\0",
    "half a frame": struct.pack(">I", 100) + b"O",
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "smtp": b"EHLO x\r\nMAIL FROM:<a@b>\r\n",
    "unknown command": NEGOTIATE + frame(b"\xff", b"data"),
    "every command byte": NEGOTIATE + b"".join(frame(bytes([n])) for n in range(256)),
    "short negotiation": frame(b"O", b"\0\0"),
    "long negotiation": frame(b"O", struct.pack(">III", 6, 0x1FF, 0x1FFFFF) + b"x" * 5000),
    "version 0": frame(b"O", struct.pack(">III", 0, 0, 0)),
    "version 4294967295": frame(b"O", struct.pack(">III", 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)),
    "no negotiation": CONNECT + MAIL,
    "twice negotiated": NEGOTIATE + NEGOTIATE,
    "end before the message": NEGOTIATE + CONNECT + EOM,
    "end at once": NEGOTIATE + EOM,
    "header before MAIL": NEGOTIATE + CONNECT + HEADER,
    "body before MAIL": NEGOTIATE + CONNECT + BODY,
    "eoh before MAIL": NEGOTIATE + CONNECT + EOH,
    "RCPT before MAIL": NEGOTIATE + CONNECT + RCPT,
    "DATA before MAIL": NEGOTIATE + CONNECT + frame(b"T"),
    "MAIL before connect": NEGOTIATE + MAIL,
    "connect twice": NEGOTIATE + CONNECT + CONNECT,
    "MAIL in a message": NEGOTIATE + CONNECT + MAIL + RCPT + MAIL,
    "header after the body": NEGOTIATE + CONNECT + MAIL + RCPT + BODY + HEADER + EOM,
    "two ends": NEGOTIATE + CONNECT + MAIL + RCPT + HEADER + EOH + BODY + EOM + EOM,
    "abort at once": NEGOTIATE + frame(b"A") * 100,
    "string without NUL": NEGOTIATE + frame(b"C", b"host"),
    "address without NUL": NEGOTIATE + CONNECT + frame(b"M", b"<a@x>"),
    "MAIL with nothing": NEGOTIATE + CONNECT + frame(b"M"),
    "MAIL with empty strings": NEGOTIATE + CONNECT + frame(b"M", b"\0" * 1000),
    "MAIL with 10,000 arguments": NEGOTIATE + CONNECT + frame(b"M", b"<a@x>\0" + b"A=b\0" * 10000),
    "RCPT with an address of 60 KB": NEGOTIATE + CONNECT + MAIL + frame(b"R", b"<" + b"a" * 60000 + b"@x>\0"),
    "header without NUL": NEGOTIATE + CONNECT + MAIL + RCPT + frame(b"L", b"Subject"),
    "header with one NUL": NEGOTIATE + CONNECT + MAIL + RCPT + frame(b"L", b"Subject\0value"),
    "header of nothing": NEGOTIATE + CONNECT + MAIL + RCPT + frame(b"L"),
    "empty header name": NEGOTIATE + CONNECT + MAIL + RCPT + frame(b"L", b"\0\0") + EOH + EOM,
    "header name with line ends": NEGOTIATE + CONNECT + MAIL + RCPT + frame(b"L", b"A\r\nB: c\r\n\r\n\0 v\0") + EOH + EOM,
    "HELO with nothing": NEGOTIATE + CONNECT + frame(b"H"),
    "HELO of 60 KB": NEGOTIATE + CONNECT + frame(b"H", b"h" * 60000 + b"\0") + MAIL,
    "connect of a family that is none": NEGOTIATE + frame(b"C", b"host\0X" + b"\0\x19" + b"192.0.2.1\0"),
    "connect with half a port": NEGOTIATE + frame(b"C", b"host\x004\0"),
    "connect with a wrong address": NEGOTIATE + frame(b"C", b"host\x004" + b"\0\x19" + b"999.1.1.1\0"),
    "connect with a wrong IPv6 address": NEGOTIATE + frame(b"C", b"host\x006" + b"\0\x19" + b"IPv6:zzzz\0"),
    "connect with a long path": NEGOTIATE + frame(b"C", b"host\0L" + b"\0\0" + b"/" * 5000 + b"\0"),
    "host name of 60 KB": NEGOTIATE + frame(b"C", b"h" * 60000 + b"\x004" + b"\0\x19" + b"192.0.2.1\0"),
    "10,000 macros": NEGOTIATE + frame(b"D", b"C" + b"".join(b"{m%d}\0v\0" % n for n in range(10000))) + CONNECT + MAIL,
    "10,000 lists of macros": NEGOTIATE + frame(b"D", b"Ci\0v\0") * 10000 + CONNECT,
    "odd macros": NEGOTIATE + frame(b"D", b"Ci\0v\0j\0") + CONNECT + MAIL,
    "macros without NUL": NEGOTIATE + frame(b"D", b"Ci") + CONNECT,
    "macros of nothing": NEGOTIATE + frame(b"D") + CONNECT,
    "macros of a stage that is none": NEGOTIATE + frame(b"D", b"Zi\0v\0") + CONNECT,
    "macro of 60 KB": NEGOTIATE + frame(b"D", b"Cj\0" + b"v" * 60000 + b"\0") + CONNECT + MAIL,
    "unknown SMTP command of 60 KB": NEGOTIATE + CONNECT + frame(b"U", b"x" * 60000 + b"\0"),
    "unknown SMTP command without NUL": NEGOTIATE + CONNECT + frame(b"U", b"x" * 100),
    "body in the end": NEGOTIATE + CONNECT + MAIL + RCPT + HEADER + EOH + frame(b"E", b"text"),
    "data in commands that have none": NEGOTIATE + CONNECT + MAIL + RCPT + frame(b"T", b"x") + frame(b"N", b"x") + frame(b"A", b"x") + frame(b"Q", b"x"),
    "everything after quit": NEGOTIATE + CONNECT + frame(b"Q") + MAIL + RCPT + EOM,
    "new connection without end": (NEGOTIATE + CONNECT + frame(b"K")) * 50,
}


class Streams(SystemTest):
    def play(self, data):
        with open_socket(self.postern.spec, 0.3) as sock:
            try:
                sock.sendall(data)
                sock.settimeout(0.05)
                while sock.recv(65536):
                    pass
            except (ConnectionError, socket.timeout):
                pass

    def assertServes(self):
        try:
            self.assertEqual(self.good_mail_passes().actions, [("add_header", "X-Seen", " 1")])
        except (MilterClosed, ConnectionError) as error:
            self.fail(f"milterd does not serve: {error}\n{self.postern.logs()}")

    def setUp(self):
        self.start(FILTER, {"milterd.idle_time": "10s", "milterd.stage_time": f"{8 * PATIENCE}s"})

    def test_each(self):
        pid = self.postern.milterd.pid
        for name, data in ROWS.items():
            with self.subTest(name=name):
                self.play(data)
                self.assertServes()
        self.assertTrue(self.postern.milterd.is_alive())
        self.assertEqual(self.postern.milterd.pid, pid)
        self.assertEqual(self.postern.status()["outcomes"]["died"], 0)

    def test_random_streams(self):
        """Random bytes, and valid dialogues with a few bytes changed; the seed stands in the failure."""
        whole = NEGOTIATE + CONNECT + frame(b"H", b"h\0") + frame(b"D", b"Mi\0Q1\0") + MAIL + RCPT + frame(b"T") + HEADER + EOH + BODY + EOM
        seed = int.from_bytes(os.urandom(4), "big")
        rng = random.Random(seed)
        for n in range(150):
            if n % 5 == 0:
                data = rng.randbytes(rng.randrange(2000))
            elif n % 5 == 1:
                data = NEGOTIATE + rng.randbytes(rng.randrange(2000))
            else:
                data = bytearray(whole)
                for _ in range(rng.randrange(1, 6)):
                    data[rng.randrange(len(NEGOTIATE), len(data))] = rng.randrange(256)
            with open_socket(self.postern.spec, 1) as sock:
                try:
                    sock.sendall(bytes(data))
                    sock.shutdown(socket.SHUT_WR)
                    sock.settimeout(0.2)
                    while sock.recv(65536):
                        pass
                except (ConnectionError, socket.timeout):
                    pass
            if n % 30 == 29:
                self.assertTrue(self.postern.milterd.is_alive(), f"seed {seed}, stream {n}\n{self.postern.logs()}")
        self.assertServes()

    def test_cut_at_every_byte(self):
        """A client that leaves in the middle, wherever that is."""
        whole = NEGOTIATE + CONNECT + MAIL + RCPT + HEADER + EOH + BODY + EOM
        for end in range(0, len(whole), 3):
            with open_socket(self.postern.spec, 1) as sock:
                sock.sendall(whole[:end])
        self.assertServes()

    def test_many_silent_connections(self):
        silent = [open_socket(self.postern.spec) for _ in range(300)]
        self.assertServes()
        for sock in silent:
            sock.close()
        self.assertServes()


if __name__ == "__main__":
    unittest.main()
