"""Content changed in running workers, in their sandbox where there is one: the ready disclaimer, whose module is a file of Lua, and addresses rewritten."""

import os
import unittest

from fixture import SystemTest
from harness.process import SOURCE

HEADERS = (("Subject", " x"), ("MIME-Version", " 1.0"), ("Content-Type", " multipart/alternative; boundary=b"))
BODY = (b"--b\r\n\r\nsee http://a.example/?utm_source=x\r\n--b\r\nContent-Type: text/html\r\n\r\n"
        b"<body><a href='http://a.example/?utm_source=x'>x</a></body>\r\n--b--\r\n")


class Content(SystemTest):
    def body_of(self, filter_text, options):
        self.start(filter_text, options)
        client = self.client().start()
        return b"".join(fields[0] for fields in client.message(headers=HEADERS, body=BODY).all("replace_body"))

    def test_disclaimer(self):
        with open(os.path.join(SOURCE, "scripts", "filters", "disclaimer.lua"), encoding="utf-8") as file:
            body = self.body_of(file.read(), {"filter.disclaimer_text": "by ${sender}", "worker.trusted_networks": "192.0.2.0/24"})
        self.assertEqual(body, BODY.replace(b"=x\r\n", b"=x\r\nby sender@example.org\r\n", 1)
                         .replace(b"</body>", b"<p>by sender@example.org</p>\r\n</body>"))

    def test_rewritten_addresses(self):
        body = self.body_of("""
            local url = require "postern.url"
            function filter_message(msg)
                assert(url.rewrite(msg, function(u) return url.without_params(u, { "utm_*" }) end) == 2)
            end""", {})
        self.assertEqual(body, BODY.replace(b"'http://a.example/?utm_source=x'", b'"http://a.example/"').replace(b"?utm_source=x", b""))


if __name__ == "__main__":
    unittest.main()
