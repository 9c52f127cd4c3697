"""Parts that become links, and parts that go through a program, from SMTP to the mailbox, through a real mail server.

Usage: test_links.py sendmail|postfix
"""

import base64
import json
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness.mail import message
from harness.mta import Postfix, Sendmail
from harness.postern import Postern

MTA = {"sendmail": Sendmail, "postfix": Postfix}[sys.argv.pop(1)]
BASE_URL = "https://files.example.org/mail"
FILTER = """
function filter_message(msg)
    for part in msg:parts() do
        if part.filename == "plan.pdf" then
            msg:log("url", part:replace_with_url())
        elseif part.filename == "words.txt" then
            part:filter_through{ command = { "tr", "a-z", "A-Z" } }
        end
    end
end
"""


def mail(subject, *parts):
    """parts: (name, content)."""
    text = "--b\r\nContent-Type: text/plain\r\n\r\nsee below\r\n"
    for name, content in parts:
        text += (f'--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename="{name}"\r\n'
                 f"Content-Transfer-Encoding: base64\r\n\r\n{base64.encodebytes(content).decode()}").replace("\r\n", "\n").replace("\n", "\r\n")
    return message(subject, text + "--b--\r\n", headers=("MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b"))


class Links(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mta = MTA(name=MTA.__name__.lower() + ".links")
        for name in ("files", "state"):
            os.mkdir(cls.mta.folder(name))
        cls.postern = Postern(FILTER, folder=cls.mta.folder, options={
            "worker.state_dir": cls.mta.folder("state"), "urls.directory": cls.mta.folder("files"), "urls.base_url": BASE_URL,
            "worker.allow_exec": "yes"})
        cls.mta.spec = cls.postern.spec
        cls.mta.start()

    @classmethod
    def tearDownClass(cls):
        cls.mta.process.stop()
        cls.postern.stop()
        cls.mta.folder.remove()

    def through(self, data):
        """The message as it was delivered."""
        smtp = self.mta.smtp()
        smtp.hello()
        stage, code, text = smtp.transaction("sender@example.org", ["rcpt@example.net"], data)
        self.assertEqual((stage, code), ("end", 250), text + self.postern.logs())
        smtp.close()
        return self.mta.one()

    def test_a_part_becomes_a_link(self):
        content = os.urandom(200000)
        parts = self.through(mail("links", ("plan.pdf", content), ("other.bin", b"\0other"))).get_payload()
        self.assertEqual(len(parts), 3)
        text = parts[1].get_payload(decode=True).decode()
        self.assertEqual(parts[1].get_content_type(), "text/plain")
        self.assertIn('"plan.pdf" (200 kB)', text)
        path = re.search(re.escape(BASE_URL) + r"/([0-9a-f]{2}/[0-9a-f]{40}\.bin)", text).group(1)
        with open(self.mta.folder("files", path), "rb") as file:
            self.assertEqual(file.read(), content)
        self.assertEqual(parts[2].get_payload(decode=True), b"\0other")
        _, out, _ = self.postern.ctl("urls", "list", "--json", check=True)
        (use,) = json.loads(out)["uses"]
        self.assertEqual((use["filename"], use["message_id"], use["sender"]), ("plan.pdf", "<links@example.org>", "sender@example.org"))
        _, out, _ = self.postern.ctl("why", "--json", use["queue_id"], check=True)
        self.assertEqual(json.loads(out)["log"]["url"], f"{BASE_URL}/{path}")

    def test_a_part_goes_through_a_program(self):
        parts = self.through(mail("program", ("words.txt", b"hello world\n"), ("other.bin", b"\0other"))).get_payload()
        self.assertEqual([part.get_payload(decode=True) for part in parts[1:]], [b"HELLO WORLD\n", b"\0other"])
        self.assertEqual(parts[1].get_filename(), "words.txt")


if __name__ == "__main__":
    unittest.main()
