"""posternctl send against milters that misbehave, and what it honours of a milter's wishes."""

import os
import socket
import struct
import threading
import unittest

from common import ctl, lines_of, sample
from harness.process import Folder

NO_CONNECT, NO_HELO, NO_MAIL, NO_RCPT, NO_BODY, NO_HEADERS, NO_EOH = 1, 2, 4, 8, 0x10, 0x20, 0x40
NO_DATA, SKIP, LEADING_SPACE = 0x200, 0x400, 0x100000
NR_HEADER, NR_BODY = 0x80, 0x80000


def packet(command, data=b""):
    return struct.pack(">I", len(data) + 1) + command + data


def negotiation(protocol, version=6):
    return packet(b"O", struct.pack(">III", version, 0x1FF, protocol))


class Milter:
    """A scripted milter for one connection: answers(command, data) gives the bytes to send back, or None to close."""

    def __init__(self, path, answers):
        self.seen = []
        self.answers = answers
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def read(self, conn, n):
        data = b""
        while len(data) < n:
            more = conn.recv(n - len(data))
            if not more:
                raise ConnectionError
            data += more
        return data

    def serve(self):
        conn, _ = self.listener.accept()
        with conn:
            try:
                while True:
                    (length,) = struct.unpack(">I", self.read(conn, 4))
                    data = self.read(conn, length)
                    self.seen.append((data[:1], data[1:]))
                    answer = self.answers(data[:1], data[1:])
                    if answer is None:
                        return
                    if answer:
                        conn.sendall(answer)
            except (ConnectionError, OSError):
                return

    def stop(self):
        self.listener.close()
        self.thread.join(10)

    def commands(self):
        return b"".join(command for command, _ in self.seen)


class Send(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("ctl-send")
        self.addCleanup(self.folder.remove)
        self.n = 0

    def send(self, answers, *words, message="clean"):
        self.n += 1
        path = self.folder(f"m{self.n}.sock")
        milter = Milter(path, answers)
        code, out, err = ctl("send", "--json", "unix:" + path, message if "/" in message else sample(message), *words)
        milter.stop()
        (answer,) = lines_of(out)
        return code, answer, milter, err

    @staticmethod
    def polite(protocol=0, **special):
        """Answers "continue" everywhere, but for special answers by command letter."""
        def answers(command, _):
            if command == b"O":
                return negotiation(protocol)
            if command in b"DAQ":
                return b""
            return special.get(command.decode(), packet(b"c"))
        return answers

    def test_everything_is_sent_in_order(self):
        _, answer, milter, _ = self.send(self.polite(), "--recipient", "a@example.net SIZE=1 NOTIFY=NEVER")
        self.assertEqual(answer["verdict"], "continue")
        self.assertEqual(milter.commands().replace(b"D", b""), b"OCHMRT" + b"L" * 8 + b"NBEQ")
        data = dict(milter.seen)
        self.assertEqual(data[b"C"], b"client.example.org\x004" + struct.pack(">H", 40000) + b"192.0.2.1\0")
        self.assertEqual(data[b"M"], b"<ann@example.org>\0")
        self.assertEqual(data[b"R"], b"<a@example.net>\0SIZE=1\0NOTIFY=NEVER\0")
        headers = [d for c, d in milter.seen if c == b"L"]
        self.assertIn(b"Subject\0Minutes of the meeting\0", headers)
        self.assertTrue(headers[0].startswith(b"Received\0from client.example.org (client.example.org [192.0.2.1])\n\tby"))

    def test_wishes_are_honoured(self):
        wishes = NO_CONNECT | NO_HELO | NO_RCPT | NO_BODY | NO_EOH | NO_DATA | LEADING_SPACE
        _, answer, milter, _ = self.send(self.polite(wishes))
        self.assertEqual(milter.commands().replace(b"D", b""), b"OM" + b"L" * 8 + b"EQ")
        self.assertIn(b"Subject\0 Minutes of the meeting\0", [d for c, d in milter.seen if c == b"L"])
        self.assertEqual(answer["verdict"], "continue")

    def test_no_reply_and_skip(self):
        big = self.folder.write("big.eml", "Subject: big\n\n" + "x" * 70 * 5000 + "\n")
        _, answer, milter, _ = self.send(self.polite(NR_HEADER | SKIP, L=b"", B=packet(b"s")), message=big)
        self.assertEqual(answer["verdict"], "continue")
        self.assertEqual(milter.commands().count(b"B"), 1)
        _, _, milter, _ = self.send(self.polite(NR_BODY, B=b""), message=big)
        self.assertEqual(len(b"".join(d for c, d in milter.seen if c == b"B")), 70 * 5000 + 2)

    def test_every_action(self):
        end = (packet(b"p") + packet(b"h", b"X-A\0 v\0") + packet(b"i", struct.pack(">I", 1) + b"X-B\0w\0")
               + packet(b"m", struct.pack(">I", 2) + b"Subject\0new\0") + packet(b"m", struct.pack(">I", 1) + b"Date\0\0")
               + packet(b"e", b"<s@example.org>\0SIZE=1\0") + packet(b"+", b"<r@example.net>\0") + packet(b"-", b"<q@example.net>\0")
               + packet(b"2", b"<p@example.net>\0NOTIFY=NEVER\0") + packet(b"b", b"one ") + packet(b"b", b"two") + packet(b"q", b"why\0")
               + packet(b"c"))
        _, answer, _, _ = self.send(self.polite(E=end))
        self.assertEqual(answer["actions"], [
            {"action": "add_header", "name": "X-A", "value": "v"},
            {"action": "insert_header", "index": 1, "name": "X-B", "value": "w"},
            {"action": "set_header", "index": 2, "name": "Subject", "value": "new"},
            {"action": "delete_header", "index": 1, "name": "Date"},
            {"action": "set_sender", "address": "s@example.org", "args": "SIZE=1"},
            {"action": "add_recipient", "address": "r@example.net", "args": ""},
            {"action": "delete_recipient", "address": "q@example.net"},
            {"action": "add_recipient", "address": "p@example.net", "args": "NOTIFY=NEVER"},
            {"action": "replace_body", "size": 7, "body": "one two"},
            {"action": "hold", "value": "why"}])

    def test_every_answer(self):
        for data, verdict, reply in (
                (packet(b"a"), "accept", None), (packet(b"r"), "reject", None), (packet(b"t"), "tempfail", None),
                (packet(b"d"), "discard", None),
                (packet(b"y", b"550 5.7.1 no\0"), "reject", {"code": 550, "dsn": "5.7.1", "text": "no"}),
                (packet(b"y", b"451-4.7.1 one\r\n451 4.7.1 two\0"), "tempfail", {"code": 451, "dsn": "4.7.1", "text": "one\ntwo"}),
                (packet(b"y", b"554 bare\0"), "reject", {"code": 554, "dsn": "", "text": "bare"})):
            for command, stage in (("C", "connect"), ("M", "mail"), ("N", "eoh"), ("E", "eom")):
                with self.subTest(stage=stage, data=data):
                    code, answer, milter, _ = self.send(self.polite(**{command: data}))
                    self.assertEqual((code, answer["verdict"], answer["reply"]), (0, verdict, reply))
                    self.assertEqual(answer["stages"][-1]["stage"], stage)
                    self.assertEqual(milter.commands()[-1:], b"Q")

    def test_misbehaviour_is_1_and_an_error(self):
        junk = os.urandom(64)
        for name, answers in {
                "closes at once": lambda c, d: None,
                "another protocol": lambda c, d: b"220 mx.example.net ESMTP\r\n" * 10,
                "junk": lambda c, d: b"\0\0\0\x40" + junk,
                "endless length": lambda c, d: b"\xff\xff\xff\xff" + junk,
                "empty packet": lambda c, d: b"\0\0\0\0",
                "short negotiation": lambda c, d: packet(b"O", b"\0\0"),
                "version 99": lambda c, d: negotiation(0, 99),
                "closes in the middle": lambda c, d: None if c == b"L" else self.polite()(c, d),
                "an action too early": self.polite(M=packet(b"h", b"X\0y\0")),
                "a broken action": self.polite(E=packet(b"m", b"\0\0\0\1Subject")),
                "a reply without its end": self.polite(E=packet(b"y", b"550 5.7.1 no")),
        }.items():
            with self.subTest(name=name):
                code, answer, _, err = self.send(answers)
                self.assertEqual((code, answer["verdict"]), (1, "error"), (answer, err))
                self.assertNotEqual(answer["error"], "")


if __name__ == "__main__":
    unittest.main()
