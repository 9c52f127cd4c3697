"""What the tests of the ready filters share: one mail server for each class, to which a Postern with the filter as it is shipped is put."""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "auth")]

from harness import network  # noqa: E402
from harness.mta import Postfix, Sendmail  # noqa: E402
from harness.postern import Postern  # noqa: E402
from harness.process import SANITIZE, SOURCE, Folder  # noqa: E402

STRANGER = "198.51.100.7"
MTAS = {"sendmail": Sendmail, "postfix": Postfix}
# Anybody may bring mail, and who asks by XCLIENT is believed.
POSTFIX = """
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_recipient_restrictions = permit_auth_destination, reject
"""


def enter_network():
    """A network in which strangers and our own edge have addresses of this machine."""
    network.enter("198.51.100.1", "192.0.2.1", "203.0.113.1")


def recipe(name):
    """The text of a ready filter."""
    with open(os.path.join(SOURCE, "scripts", "filters", name + ".lua"), encoding="utf-8") as file:
        return file.read()


class Recipes(unittest.TestCase):
    """mta: the class of the mail server; use() puts a filter to it, in the place of the one before."""

    mta_class = Postfix
    mta_words = {}

    @classmethod
    def setUpClass(cls):
        words = {"settings": POSTFIX} if cls.mta_class is Postfix else {}
        cls.mta = cls.mta_class(name=f"{cls.mta_class.__name__.lower()}.recipes", **{**words, **cls.mta_words})
        cls.addClassCleanup(cls.mta.folder.remove)
        os.mkdir(cls.mta.folder("run"))
        cls.mta.spec = "unix:" + cls.mta.folder("run", "milter.sock")
        cls.mta.start()
        cls.addClassCleanup(cls.mta.process.stop)

    def setUp(self):
        self.in_use = {}
        self.addCleanup(self.mta.empty)

    def use(self, text, options=None, spec=None):
        """A Postern with this filter, in the strictest sandbox there is, until the next one at this socket or the end of the test."""
        spec = spec or self.mta.spec
        if spec in self.in_use:
            self.in_use.pop(spec).stop()
        folder = Folder("recipe")
        self.addCleanup(folder.remove)
        os.mkdir(folder("state"))
        sandbox = {} if SANITIZE else {"worker.sandbox": "required"}
        postern = Postern(text, {"worker.state_dir": folder("state"), "worker.allow_network": "yes", **sandbox, **(options or {})},
                          socket_spec=spec, folder=folder)
        self.addCleanup(postern.stop)
        self.in_use[spec] = postern
        return postern

    def client(self, source=STRANGER, helo="mail.example.org", **xclient):
        """A client from an address; xclient: what Postfix is told of it besides, LOGIN="ann"."""
        smtp = self.mta.smtp(None if xclient else source)
        self.addCleanup(smtp.close)
        smtp.hello(helo)
        if xclient:
            words = " ".join(f"{name}={value}" for name, value in {"ADDR": source, **xclient}.items())
            code, text = smtp.docmd("XCLIENT", words)
            self.assertEqual(code, 220, text)
            smtp.hello(helo)
        return smtp

    def send(self, data, source=STRANGER, sender="ann@example.org", to="bob@example.net", **words):
        """A whole message in a connection of its own: the stage, code and text of the first refusal, or of the end. words: those of client()."""
        smtp = self.client(source, **words)
        answer = smtp.transaction(sender, [to] if isinstance(to, str) else to, data)
        smtp.close()
        return answer

    def deliver(self, data, *args, **words):
        """What becomes of a message that is taken."""
        answer = self.send(data, *args, **words)
        self.assertEqual(answer[:2], ("end", 250), answer)
        return self.mta.one()
