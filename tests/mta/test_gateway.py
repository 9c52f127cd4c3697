"""The gateway of docs/filter-guide.md as it stands there, with Postfix, the real clamd and a real name server: strangers come twice, forged and
infected mail is refused, and what is taken says who sent it."""

import os
import re
import unittest

import recipes
from harness.dns_server import Nsd
from harness.mail import message
from harness.process import SOURCE, wait_until
from harness.scanners import VIRUS, Clamd
from recipes import STRANGER, Recipes

FORGER = "203.0.113.66"
ZONES = {"example.org": f'@ TXT "v=spf1 ip4:{STRANGER} -all"\n@ A 192.0.2.1\n_dmarc TXT "v=DMARC1; p=reject"\n'}
SETTINGS = {"greylist.delay": "1s", "backend.failures": 1, "backend.retry_time": "100ms"}


def gateway():
    with open(os.path.join(SOURCE, "docs", "filter-guide.md"), encoding="utf-8") as file:
        return re.search(r"^```lua\n(-- gateway\.lua\n.*?)^```$", file.read(), flags=re.M | re.S).group(1)


class Gateway(Recipes):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.nsd = Nsd(cls.mta.folder, ZONES).start()
        cls.addClassCleanup(cls.nsd.stop)
        cls.clamd = Clamd(cls.mta.folder).start()
        cls.addClassCleanup(cls.clamd.stop)

    def come_twice(self, data, source):
        """The last answer to who comes again until greylisting lets it through."""
        stage, code, text = self.send(data, source)
        self.assertEqual((stage, code), ("rcpt", 451), text)
        return wait_until(lambda: (answer := self.send(data, source))[0] != "rcpt" and answer, "the mail to have waited", 30, pause=0.3)

    def test_it(self):
        postern = self.use(gateway(), {"dns.servers": self.nsd.server, "clamav.sockets": f"unix:{self.clamd.path}", **SETTINGS})
        lunch = message("lunch", sender="ann@example.org")
        self.assertEqual(self.come_twice(lunch, STRANGER)[:2], ("end", 250))
        one = self.mta.one()
        self.assertRegex(one["Authentication-Results"], r"(?s)spf=pass .*dmarc=pass ")
        self.assertRegex(one["X-Greylist"], r"^delayed 00:00:\d\d by ")
        stage, code, text = self.come_twice(lunch, FORGER)
        self.assertEqual((stage, code, text), ("end", 550, "5.7.1 the policy of example.org refuses this mail"))
        infected = message("virus", sender="ann@example.org", body=VIRUS.decode() + "\r\n")
        self.assertEqual(self.send(infected)[:2], ("end", 550))
        self.clamd.kill()
        self.assertEqual(self.send(lunch)[:2], ("end", 451))
        wait_until(lambda: postern.log_lines("x-deferred="), lambda: "the log to say why:\n" + postern.logs())
        self.clamd.start()
        wait_until(lambda: self.send(lunch)[:2] == ("end", 250), "clamd to be asked again", 20, pause=0.1)


if __name__ == "__main__":
    recipes.enter_network()
    unittest.main()
