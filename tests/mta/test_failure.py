"""What a mail server does when Postern is down, and comes back.

Usage: test_failure.py sendmail|postfix
"""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness.mail import message
from harness.mta import Postfix, Sendmail
from harness.postern import Postern
from harness.process import wait_until

MTA = {"sendmail": Sendmail, "postfix": Postfix}[sys.argv.pop(1)]
FILTER = 'function filter_message(msg) msg:add_header("X-Seen", "yes") end\n'


class Failure(unittest.TestCase):
    def transaction(self, mta):
        smtp = mta.smtp()
        if smtp.greeting[0] != 220:
            answer = ("connect", smtp.greeting[0], "")
        else:
            smtp.hello()
            answer = smtp.transaction("sender@example.org", ["rcpt@example.net"], message())
        smtp.close()
        return answer

    def with_both(self, equates="F=T, T=C:30s;S:30s;R:30s;E:2m"):
        mta = MTA(name=MTA.__name__.lower() + ".failure")
        if MTA is Sendmail:
            mta.equates = equates
        postern = Postern(FILTER, folder=mta.folder, options={"milterd.reconnect_time": "500ms"})
        mta.spec = postern.spec
        mta.start()
        return mta, postern

    def test_milterd_down_is_a_tempfail_and_it_comes_back(self):
        mta, postern = self.with_both()
        with mta, postern:
            self.assertEqual(self.transaction(mta)[:2], ("end", 250))
            self.assertEqual(mta.one()["X-Seen"], "yes")
            postern.milterd.kill()
            postern.milterd.popen.wait()
            answer = self.transaction(mta)
            self.assertEqual(answer[1] // 100, 4, answer)
            postern.start_milterd()
            postern.wait_ready()
            wait_until(lambda: self.transaction(mta)[:2] == ("end", 250), "mail to be taken again")
            self.assertEqual(mta.one()["X-Seen"], "yes")

    def test_multiplexor_down_is_a_tempfail_and_it_comes_back(self):
        mta, postern = self.with_both()
        with mta, postern:
            postern.multiplexor.kill()
            postern.multiplexor.popen.wait()
            answer = self.transaction(mta)
            self.assertEqual(answer[1] // 100, 4, answer)
            postern.start_multiplexor()
            wait_until(lambda: self.transaction(mta)[:2] == ("end", 250), "mail to be taken again")
            self.assertEqual(mta.one()["X-Seen"], "yes")

    def test_what_the_letters_mean_when_postern_is_down(self):
        # What docs/sendmail.md says of F=R, F=T, F=4 and no F= at all.
        if MTA is not Sendmail:
            self.skipTest("these are sendmail's equates; Postfix has milter_default_action")
        for equates, expected in (("F=T, T=C:5s", 4), ("F=R", 5), ("F=4", 4), ("T=C:5s", 2)):
            mta = Sendmail(name="sendmail.letters", filter_equates=equates)
            mta.spec = "unix:" + mta.folder("absent.sock")
            with mta.start():
                answer = self.transaction(mta)
                self.assertEqual(answer[1] // 100, expected, (equates, answer))

    def test_a_broken_filter_changes_nothing(self):
        mta, postern = self.with_both()
        with mta, postern:
            postern.save_filter("function filter_message(msg\n")
            answer = postern.reload()
            self.assertFalse(answer["ok"])
            self.assertIn("filter.lua:", answer["error"])
            self.assertEqual(self.transaction(mta)[:2], ("end", 250))
            self.assertEqual(mta.one()["X-Seen"], "yes")


if __name__ == "__main__":
    unittest.main(verbosity=2)
