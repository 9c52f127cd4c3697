"""The same work for pymilter: keeps the message, parses it with the email package, counts and decodes the leaf parts, refuses *.exe, adds one header.

    pymilter_filter.py KIND SOCKET

KIND header keeps the message and looks at nothing; hooks is asked at every stage of the envelope too.
"""

import email
import email.policy
import io
import sys

import Milter

KIND, SOCKET = sys.argv[1:3]


class HeaderOnly(Milter.Base):
    def __init__(self):
        self.message = io.BytesIO()

    def envfrom(self, sender, *args):
        self.message = io.BytesIO()
        return Milter.CONTINUE

    def header(self, name, value):
        self.message.write(b"%s: %s\r\n" % (name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape")))
        return Milter.CONTINUE

    def eoh(self):
        self.message.write(b"\r\n")
        return Milter.CONTINUE

    def body(self, chunk):
        self.message.write(chunk)
        return Milter.CONTINUE

    def eom(self):
        self.addheader("X-Scanned", "yes")
        return Milter.CONTINUE


class Parts(HeaderOnly):
    def eom(self):
        self.message.seek(0)
        parts = 0
        for part in email.message_from_binary_file(self.message, policy=email.policy.compat32).walk():
            if part.is_multipart():
                continue
            parts += 1
            if (part.get_filename() or "").lower().endswith(".exe"):
                self.setreply("554", "5.7.1", "no programs")
                return Milter.REJECT
            part.get_payload(decode=True)
        self.addheader("X-Scanned", f"parts={parts}")
        return Milter.CONTINUE


class Hooks(Parts):
    def connect(self, *args):
        return Milter.CONTINUE

    def hello(self, name):
        return Milter.CONTINUE

    def envrcpt(self, recipient, *args):
        return Milter.CONTINUE

    def data(self):
        return Milter.CONTINUE


Milter.factory = {"header": HeaderOnly, "hooks": Hooks}.get(KIND, Parts)
Milter.set_flags(Milter.ADDHDRS)
Milter.runmilter("bench", SOCKET, 120)
