"""Messages and SMTP dialogues."""

import email
import email.policy
import smtplib


def message(subject="hello", body="a line\r\n", headers=(), sender="sender@example.org", to="rcpt@example.net"):
    """Bytes of a plain message with CRLF line ends."""
    lines = [f"From: {sender}", f"To: {to}", f"Subject: {subject}", "Date: Sun, 22 Nov 2026 10:00:00 +0000",
             f"Message-ID: <{subject.replace(' ', '.')}@example.org>", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Smtp(smtplib.SMTP):
    """smtplib with the stages apart: each call returns (code, text). source: the address of this machine that it comes from."""

    def __init__(self, address, port, timeout=60, source=None):
        super().__init__(timeout=timeout, local_hostname="client.example.com", source_address=(source, 0) if source else None)
        self.greeting = self.connect(address, port)

    @staticmethod
    def _pair(answer):
        return answer[0], answer[1].decode("utf-8", "replace")

    def hello(self, name="client.example.com"):
        return self._pair(self.ehlo(name))

    def sender(self, address, *options):
        return self._pair(self.docmd("MAIL", f"FROM:<{address}>" + "".join(" " + o for o in options)))

    def recipient(self, address, *options):
        return self._pair(self.docmd("RCPT", f"TO:<{address}>" + "".join(" " + o for o in options)))

    def begin_data(self):
        return self._pair(self.docmd("DATA"))

    def content(self, data):
        """The message after DATA's 354, dots stuffed, with the final dot."""
        data = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in data.split(b"\r\n"))
        if not data.endswith(b"\r\n"):
            data += b"\r\n"
        self.sock.sendall(data + b".\r\n")
        return self._pair(self.getreply())

    def reset(self):
        return self._pair(self.rset())

    def transaction(self, sender, recipients, data):
        """A whole message; returns (stage, code, text) of the first refusal, or of the end."""
        for stage, answer in (("mail", self.sender(sender)), *((("rcpt", self.recipient(r)) for r in recipients)), ("data", self.begin_data())):
            if answer[0] >= 400:
                self.reset()
                return (stage, *answer)
        return ("end", *self.content(data))


def parse(data):
    """A delivered message as an email.message with the raw bytes beside it."""
    parsed = email.message_from_bytes(data, policy=email.policy.compat32)
    parsed.raw = data
    return parsed
