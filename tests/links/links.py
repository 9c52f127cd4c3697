"""What the tests of links and programs share: mails with attachments, the daemons for them, the served folder as it is."""

import base64
import os
import re
import sys
import unittest

SOURCE = os.environ["POSTERN_SOURCE"]
for name in ("tests", "tests/milter"):
    sys.path.insert(0, os.path.join(SOURCE, name))

from harness.postern import Postern  # noqa: E402
from harness.process import PATIENCE, SANITIZE, Folder, wait_until  # noqa: E402,F401
from milter_client import MilterClient  # noqa: E402

BASE_URL = "https://files.example.org/mail"
URL = re.compile(rb"https://files\.example\.org/mail/([0-9a-f]{2}/[0-9a-f]{40}\.bin)")
# There is no list of system calls in a build with sanitizers.
SANDBOX = "available" if SANITIZE else "required"


def attachment(content, name="plan.pdf", fields=""):
    body = base64.encodebytes(content).replace(b"\n", b"\r\n")
    return (f'Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="{name}"\r\n{fields}\r\n'
            .encode() + body)


def mixed(*parts, text=b"Content-Type: text/plain\r\n\r\nsee below\r\n"):
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in (text, *parts)) + b"--b--\r\n"


class Links(unittest.TestCase):
    """One pair of daemons with the sandbox on, for each test; filter: what filter_message does, by the header X-Do."""

    filter = ""
    options = {}
    postern_class = Postern

    def setUp(self):
        self.folder = Folder("links")
        self.addCleanup(self.folder.remove)
        for name in ("files", "state"):
            os.mkdir(self.folder(name))
            os.chmod(self.folder(name), 0o755)
        self.postern = self.postern_class(self.filter.replace("@FOLDER@", self.folder.path), folder=self.folder, options={
            "worker.state_dir": self.folder("state"), "worker.sandbox": SANDBOX, "urls.directory": self.folder("files"), "urls.base_url": BASE_URL,
            "multiplexor.kill_grace": "300ms", "multiplexor.respawn_max": "1s", **self.options})
        self.addCleanup(self.stop)

    def stop(self):
        try:
            self.postern.stop()
        except AssertionError:
            print(self.postern.logs())
            raise
        finally:
            for process in (self.postern.milterd, self.postern.multiplexor):
                process.kill()
                process.popen.wait()

    def send(self, deed, body, message_id="<1@example.org>", content_type="multipart/mixed; boundary=b", timeout=30):
        client = MilterClient(self.postern.spec, timeout=timeout * PATIENCE)
        try:
            return client.start().message(headers=[("X-Do", " " + deed), ("Message-ID", " " + message_id), ("MIME-Version", " 1.0"),
                                                   ("Content-Type", " " + content_type)], body=body)
        finally:
            client.close()

    def body_of(self, answer):
        self.assertIn(answer.verdict, ("continue", "accept"), f"{answer}\n{self.postern.logs()}")
        found = answer.all("replace_body")
        self.assertTrue(found, f"{answer}\n{self.postern.logs()}")
        return b"".join(data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape") for (data,) in found)

    def stored(self):
        """Files in the served folder, temporary ones too, by their path in it."""
        return sorted(os.path.relpath(os.path.join(folder, name), self.folder("files"))
                      for folder, _, names in os.walk(self.folder("files")) for name in names)

    def urls(self, *words):
        _, out, _ = self.postern.ctl("urls", *words, check=True)
        return out
