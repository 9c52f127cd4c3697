"""A signed part keeps its signature when its sibling is changed: S/MIME, checked by openssl, and PGP/MIME, checked by gpg."""

import os
import subprocess
import sys
import unittest

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]

from harness.process import BIN, Folder  # noqa: E402

TOP = (b"From: a@example.org\r\nTo: b@example.net\r\nSubject: signed within\r\nMIME-Version: 1.0\r\n"
       b"Content-Type: multipart/mixed; boundary=outer\r\n\r\n")
ATTACHMENT = (b"--outer\r\nContent-Type: application/x-msdownload; name=a.exe\r\nContent-Transfer-Encoding: base64\r\n\r\nTVoAAA==\r\n")
# What is signed has what programs are tempted to put in order: folding, case, trailing blanks, a dash.
SIGNED = (b"Content-Type:   text/plain;\r\n\tcharset=UTF-8\r\nContent-transfer-Encoding: 8Bit\r\nX-Odd:  kept  \r\n\r\n"
          b"-- \r\nsigned \xc3\xa4 text\r\n\r\n  indented\r\n")

CHANGES = {
    "the sibling goes": ("part.type == 'application/x-msdownload'", "part:drop('taken out')"),
    "the sibling goes without a word": ("part.type == 'application/x-msdownload'", "part:drop()"),
    "the sibling is defanged": ("part.type == 'application/x-msdownload'", "part:defang()"),
    "the sibling is replaced": ("part.type == 'application/x-msdownload'", "part:replace{ body = 'see the web' }"),
    "a part is added": ("part.path == '1'", "msg:add_part{ body = 'more' }"),
}


class Signed(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("signed")
        self.addCleanup(self.folder.remove)

    def tool(self, *argv, data=None, env=None):
        done = subprocess.run(argv, cwd=self.folder.path, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              env={**os.environ, **(env or {})})
        self.assertEqual(done.returncode, 0, (argv, done.stdout, done.stderr))
        return done.stdout

    def changed(self, mail, test, change):
        """The mail with the change, as it leaves."""
        path = self.folder.write("filter.lua", f"function filter_message(msg)\nfor part in msg:walk() do if {test} then {change} end end\nend\n")
        message = self.folder.write("mail.eml", mail)
        self.tool(os.path.join(BIN, "posternctl"), "run", "--output", self.folder("out"), path, message)
        with open(self.folder("out", "mail.eml"), "rb") as file:
            return file.read()

    @staticmethod
    def signed_part(mail):
        """The multipart/signed as it stands: from its Content-Type to the end of its last line."""
        start = mail.index(b"Content-Type: multipart/signed")
        boundary = mail[start:].split(b"boundary=\"", 1)[1].split(b"\"", 1)[0]
        end = mail.index(b"--" + boundary + b"--", start) + len(boundary) + 4
        return mail[start:end]

    def each_change(self, part, verify):
        for name, (test, change) in CHANGES.items():
            with self.subTest(name=name):
                mail = TOP + ATTACHMENT + b"--outer\r\n" + part + b"\r\n--outer--\r\n"
                after = self.changed(mail, test, change)
                self.assertNotEqual(after, mail)
                self.assertEqual(self.signed_part(after), part)
                verify(self.signed_part(after))
        after = self.changed(mail, "part.path == '1.2.1'", "part:set_content('something else')")
        with self.assertRaises(AssertionError):
            verify(self.signed_part(after))

    def test_smime(self):
        self.tool("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj",
                  "/CN=a/emailAddress=a@example.org")
        self.folder.write("text", SIGNED)
        made = self.tool("openssl", "smime", "-sign", "-in", "text", "-signer", "cert.pem", "-inkey", "key.pem", "-md", "sha256", "-crlfeol")
        made = made.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        part = made[made.index(b"Content-Type: multipart/signed"):].rstrip(b"\r\n")
        self.assertIn(SIGNED, part)

        def verify(signed):
            self.folder.write("check", b"MIME-Version: 1.0\r\n" + signed + b"\r\n")
            self.tool("openssl", "smime", "-verify", "-in", "check", "-CAfile", "cert.pem", "-crlfeol")

        verify(part)
        self.each_change(part, verify)

    def test_pgp(self):
        home = self.folder("home")
        os.mkdir(home, 0o700)
        env = {"GNUPGHOME": home}
        batch = ("gpg", "--batch", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "")
        self.addCleanup(subprocess.run, ["gpgconf", "--kill", "all"], env={**os.environ, **env}, check=False)
        self.tool(*batch, "--quick-generate-key", "a@example.org", "default", "default", "never", env=env)
        self.folder.write("text", SIGNED)
        signature = self.tool(*batch, "--armor", "--detach-sign", "--output", "-", "text", env=env).replace(b"\n", b"\r\n").rstrip(b"\r\n")
        part = (b"Content-Type: multipart/signed; micalg=pgp-sha512; protocol=\"application/pgp-signature\";\r\n boundary=\"pgp\"\r\n\r\n--pgp\r\n" + SIGNED
                + b"\r\n--pgp\r\nContent-Type: application/pgp-signature; name=signature.asc\r\n\r\n" + signature + b"\r\n--pgp--")

        def verify(signed):
            pieces = signed.split(b"--pgp\r\n")
            self.folder.write("checked", pieces[1].removesuffix(b"\r\n"))
            self.folder.write("signature", pieces[2].split(b"\r\n\r\n", 1)[1].split(b"\r\n--pgp--")[0])
            self.tool(*batch, "--verify", "signature", "checked", env=env)

        verify(part)
        self.each_change(part, verify)


if __name__ == "__main__":
    unittest.main()
