"""What leaves is what came, byte for byte, but for what the filter asked for: signatures, 8-bit and UTF-8 mail, large bodies, dots.

Usage: test_bytes.py sendmail|postfix
"""

import os
import re
import subprocess
import sys
import unittest

import dkim

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness.mail import message
from harness.mta import Postfix, Sendmail
from harness.postern import Postern
from harness.process import SOURCE

MTA = {"sendmail": Sendmail, "postfix": Postfix}[sys.argv.pop(1)]

# What is done is said by the mail: X-Do names a deed.
FILTER = r"""
local deeds = {
    nothing = function() end,
    read = function(msg)
        for part in msg:walk() do local _ = part:text(), part:content(), part.filenames, part.detected_type end
        local _ = msg:text(), msg:urls(), msg.defects, msg:charsets(), msg:to_eml()
    end,
    header = function(msg)
        msg:add_header("X-Added", "grüße")
        msg:insert_header(0, "X-Top", "yes")
    end,
    same = function(msg) msg:replace_body(msg:raw_body()) end,
    same_content = function(msg)
        msg.root:set_content(msg.root:content())
        msg.root:set_header("Content-Language", nil)
    end,
    text = function(msg) assert(msg:append_text("appended: grüße\n.\n..two dots\n")) end,
    drop = function(msg)
        for part in msg:parts() do
            if part:has_extension("exe") then part:drop("A program was here.\n") end
        end
        msg:add_part{ body = "a note\n", inline = true }
    end,
    body = function(msg) msg:replace_body((("."):rep(70) .. "\r\n"):rep(4000)) end,
}

function filter_message(msg)
    deeds[msg:header("X-Do")](msg)
end
"""


class Key:
    """A key for DKIM, and the record that a name server would hold."""

    def __init__(self):
        run = subprocess.run
        self.private = run(["openssl", "genrsa", "2048"], capture_output=True, check=True).stdout
        public = run(["openssl", "rsa", "-pubout", "-outform", "DER"], input=self.private, capture_output=True, check=True).stdout
        encoded = run(["openssl", "base64", "-A"], input=public, capture_output=True, check=True).stdout
        self.record = b"v=DKIM1; k=rsa; p=" + encoded
        self.asked = []

    def sign(self, data, header=b"relaxed", body=b"relaxed"):
        return dkim.sign(data, b"sel", b"example.org", self.private, canonicalize=(header, body),
                         include_headers=[b"from", b"to", b"subject", b"date", b"message-id"]) + data

    def resolver(self, name, timeout=5):
        self.asked.append(name)
        return self.record if name == b"sel._domainkey.example.org." else None

    def verifies(self, raw):
        """raw: a delivered message, with LF."""
        return dkim.verify(re.sub(rb"\r?\n", b"\r\n", raw), dnsfunc=self.resolver)


def lines_of(raw):
    """The lines of a delivered body, without the empty ones at its end, which mailboxes add."""
    return re.sub(rb"\r\n", b"\n", raw).split(b"\n\n", 1)[1].rstrip(b"\n").split(b"\n")


class Bytes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mta = MTA(name=MTA.__name__.lower() + ".bytes")
        cls.postern = Postern(FILTER, folder=cls.mta.folder)
        cls.mta.spec = cls.postern.spec
        cls.mta.start()
        cls.key = Key()

    @classmethod
    def tearDownClass(cls):
        cls.mta.process.stop()
        cls.postern.stop()
        cls.mta.folder.remove()

    def setUp(self):
        self.addCleanup(self.mta.empty)

    def deliver(self, data, *options):
        smtp = self.mta.smtp()
        smtp.hello()
        self.assertEqual(smtp.sender("ann@example.org", *options)[0], 250)
        self.assertEqual(smtp.recipient("bob@example.net")[0], 250)
        self.assertEqual(smtp.begin_data()[0], 354)
        answer = smtp.content(data)
        self.assertEqual(answer[0], 250, answer)
        smtp.close()
        return self.mta.one()

    def mail(self, deed, body="a line\r\n", headers=(), **fields):
        return message(body=body, headers=(f"X-Do: {deed}", "MIME-Version: 1.0", *headers), **fields)

    def changes_of(self, mail):
        """What was asked of the mail server, as the log has it."""
        queue_id = re.search(r"\bid (\S+?)[;\s]", mail["Received"]).group(1)
        code, out, err = self.postern.ctl("why", queue_id, "--json")
        self.assertEqual(code, 0, err)
        return out

    # DKIM.

    def test_a_signature_outlives_a_filter_that_adds_headers(self):
        for header, body in ((b"relaxed", b"relaxed"), (b"relaxed", b"simple"), (b"simple", b"simple")):
            for deed in ("nothing", "read", "header"):
                with self.subTest(header=header, body=body, deed=deed):
                    text = "first  line \t\r\n\r\n.dot\r\nGr=C3=BC=C3=9Fe\r\n"
                    mail = self.deliver(self.key.sign(self.mail(deed, text, ("X-Odd:no space", "X-Folded: a\r\n\tb")), header, body))
                    self.assertEqual(mail["X-Top"], "yes" if deed == "header" else None)
                    self.key.asked.clear()
                    self.assertTrue(self.key.verifies(mail.raw), mail.raw)
                    self.assertTrue(self.key.asked)

    def test_it_does_not_outlive_a_changed_body(self):
        mail = self.deliver(self.key.sign(self.mail("text")))
        self.assertFalse(self.key.verifies(mail.raw))

    def test_a_signed_part_outlives_what_is_done_beside_it(self):
        with open(os.path.join(SOURCE, "tests", "samples", "programs", "smime-signed.eml"), "rb") as file:
            sample = file.read()
        signed = sample[sample.index(b"Content-Type: multipart/signed"):].rstrip(b"\n")
        program = b'Content-Type: application/octet-stream; name="setup.exe"\n\nMZ\n'
        body = b"--mixed\nContent-Type: text/plain\n\nsee below\n--mixed\n" + signed + b"\n--mixed\n" + program + b"--mixed--\n"
        mail = self.deliver(self.mail("drop", body.replace(b"\n", b"\r\n").decode("ascii"), ("Content-Type: multipart/mixed; boundary=mixed",)))
        raw = mail.raw.replace(b"\r\n", b"\n")
        self.assertNotIn(b"setup.exe", raw)
        self.assertIn(b"a note", raw)
        part = raw.split(b"\n--mixed\n")[2]
        self.assertEqual(part, signed)
        path = self.mta.folder.write("signed", part.replace(b"\n", b"\r\n"))
        done = subprocess.run(["openssl", "cms", "-verify", "-noverify", "-in", path], capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    # The body is sent back only when it is another.

    def test_a_body_replaced_by_itself_is_as_it_was(self):
        mail = self.deliver(self.key.sign(self.mail("same", "x \r\n\r\n..y\r\n")))
        self.assertTrue(self.key.verifies(mail.raw))

    def test_no_body_is_sent_back_unless_it_changed(self):
        for deed, expected in (("nothing", False), ("read", False), ("header", False), ("same_content", False), ("text", True)):
            with self.subTest(deed):
                mail = self.deliver(self.mail(deed))
                self.assertEqual("replace_body" in self.changes_of(mail), expected)

    # 8-bit and UTF-8 mail.

    def test_8bitmime(self):
        fields = ("Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit")
        for deed in ("header", "text"):
            with self.subTest(deed):
                mail = self.deliver(self.mail(deed, "Schöne Grüße\r\n", fields), "BODY=8BITMIME")
                lines = [line.decode("utf-8") for line in mail.get_payload(decode=True).splitlines()]
                self.assertEqual(lines[0], "Schöne Grüße")
                self.assertEqual("appended: grüße" in lines, deed == "text")

    def test_smtputf8(self):
        if MTA is Sendmail:
            self.assertFalse(self.offers("smtputf8"), "sendmail has learnt it: test it here, too")
            return
        fields = ("Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit")
        for deed in ("header", "text"):
            with self.subTest(deed):
                data = self.mail(deed, "Schöne Grüße\r\n", fields, subject="Größe", sender="grüße@example.org")
                mail = self.deliver(data, "SMTPUTF8", "BODY=8BITMIME")
                self.assertIn("Subject: Größe\n".encode(), mail.raw.replace(b"\r\n", b"\n"))
                self.assertIn("Schöne Grüße".encode(), lines_of(mail.raw))

    def offers(self, extension):
        smtp = self.mta.smtp()
        smtp.hello()
        found = smtp.has_extn(extension)
        smtp.close()
        return found

    # Large bodies, dots.

    def test_a_large_body_is_untouched(self):
        body = "".join(f".{n:06}" + "x" * 60 + "\r\n" for n in range(5000))
        for deed in ("read", "header"):
            with self.subTest(deed):
                mail = self.deliver(self.key.sign(self.mail(deed, body)))
                self.assertEqual(lines_of(mail.raw), body.encode().rstrip().split(b"\r\n"))
                self.assertTrue(self.key.verifies(mail.raw))

    def test_a_large_body_with_text_appended(self):
        body = "".join(f"{n:06}" + "x" * 60 + "\r\n" for n in range(5000))
        lines = lines_of(self.deliver(self.mail("text", body, ("Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"))).raw)
        self.assertEqual(lines[:5000], body.encode().rstrip().split(b"\r\n"))
        self.assertEqual([line.decode() for line in lines[5000:] if line], ["appended: grüße", ".", "..two dots"])

    def test_a_large_new_body(self):
        self.assertEqual(lines_of(self.deliver(self.mail("body")).raw), [b"." * 70] * 4000)

    def test_dots(self):
        body = ".\r\n..\r\n.a\r\n...\r\nend.\r\n"
        for deed in ("nothing", "same"):
            with self.subTest(deed):
                self.assertEqual(lines_of(self.deliver(self.mail(deed, body)).raw), [b".", b"..", b".a", b"...", b"end."])


if __name__ == "__main__":
    unittest.main(verbosity=2)
