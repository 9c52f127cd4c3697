"""conn.origin behind our own edge: the field that the edge signs, forged ones, and forged Received fields."""

import os
import unittest

from common import Folder, logged
from oracles import run_many

EDGE = "function filter_message(msg) msg:log('done', msg:mark_origin()) end"
INSIDE = """
function filter_headers(msg)
    local origin = msg.conn.origin
    msg:log("ip", origin.ip or "none") msg:log("helo", origin.helo) msg:log("hostname", origin.hostname)
end
"""
MAIL = b"Received: from forged (forged [203.0.113.66]) by nowhere\r\nMessage-ID: <1@example.com>\r\nSubject: x\r\n\r\nx\r\n"
RECEIVED = b"Received: from client.example.net (client.example.net [198.51.100.7]) by edge\r\n"


class Origin(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("origin")
        self.addCleanup(self.folder.remove)
        self.key = self.write_key("key", "0123456789abcdef0123456789abcdef")
        self.out = os.path.join(self.folder.path, "out")
        os.makedirs(self.out)

    def write_key(self, name, text):
        path = self.folder.write(name, text)
        os.chmod(path, 0o600)
        return path

    def options(self, key=None):
        return ("-o", f"worker.origin_key={self.key if key is None else key}") if key != "" else ()

    def edge(self, mail=MAIL, key=None):
        result = run_many(self.folder, EDGE, [mail], {}, "--output", self.out, "--ip", "198.51.100.7", "--hostname", "client.example.net", "--helo", "he lo",
                          *self.options(key))[0]
        self.assertEqual(logged(result)["done"], ["true"])
        with open(os.path.join(self.out, "m0000.eml"), "rb") as file:
            return file.read()

    def inside(self, mail, *words, key=None, ip="192.0.2.200"):
        notes = logged(run_many(self.folder, INSIDE, [mail], {}, "-o", "worker.trusted_relays=192.0.2.0/24", "--ip", ip, *self.options(key), *words)[0])
        return notes["ip"][0], notes["helo"][0], notes["hostname"][0]

    def test_the_field_of_the_edge(self):
        self.assertEqual(self.inside(self.edge()), ("198.51.100.7", "he lo", "client.example.net"))

    def test_the_edge_takes_others_away(self):
        mail = self.edge(self.edge(b"X-Postern-Origin: v=1; forged\r\n" + MAIL))
        self.assertEqual(mail.lower().count(b"x-postern-origin:"), 1)

    def test_a_message_without_an_id_gets_one(self):
        mail = self.edge(b"Subject: x\r\n\r\nx\r\n")
        self.assertIn(b"Message-ID: <", mail)
        self.assertEqual(self.inside(mail)[0], "198.51.100.7")

    def test_forged_fields_are_not_believed(self):
        good = self.edge()
        field = good[good.index(b"X-Postern-Origin"):good.index(b"\r\nMessage-ID") if b"\r\nReceived" not in good else good.index(b"\r\nReceived")] + b"\r\n"
        other = self.write_key("other", "another key of our own making 0123456789")
        for mail in (good.replace(b"198.51.100.7", b"198.51.100.8"), good.replace(b"<1@example.com>", b"<2@example.com>"), field + MAIL.replace(b"<1@", b"<3@"),
                     self.edge(key=other), b"X-Postern-Origin: v=1; ip=198.51.100.7\r\n" + good, b"X-Postern-Origin:\r\n" + MAIL):
            self.assertEqual(self.inside(mail)[0], "203.0.113.66", mail.decode())  # what Received says
            self.assertEqual(self.inside(RECEIVED + mail)[0], "198.51.100.7")

    def test_who_is_no_relay_is_not_asked(self):
        self.assertEqual(self.inside(self.edge(), ip="203.0.113.9")[0], "203.0.113.9")
        self.assertEqual(self.inside(RECEIVED + MAIL, ip="203.0.113.9")[0], "203.0.113.9")

    def test_forged_received_fields(self):
        for forged in (b"Received: from x ([198.51.100.7] [192.0.2.5]) by edge\r\n", b"Received: from [198.51.100.7] (x [192.0.2.9]) by edge\r\n"):
            self.assertNotEqual(self.inside(forged + b"Received: garbage\r\n" + MAIL)[0], "203.0.113.66")
        self.assertEqual(self.inside(b"Received: garbage\r\n" + RECEIVED + MAIL)[0], "192.0.2.200")

    def test_without_a_key(self):
        self.assertEqual(self.inside(self.edge(), key="")[0], "203.0.113.66")
        result = run_many(self.folder, EDGE, [MAIL], {})[0]
        self.assertIn("worker.origin_key names no key", result["error"])

    def test_key_files(self):
        def why(path):
            return run_many(self.folder, INSIDE, [MAIL], {}, *self.options(path))[0]["error"]
        short = self.write_key("short", "short")
        for path, part in ((short, "fewer than 16"), (short + "x", "No such file"), (self.folder.path, "no regular file")):
            self.assertIn(part, why(path))
        os.chmod(self.key, 0o644)
        self.assertIn("others may read", why(self.key))


if __name__ == "__main__":
    unittest.main()
