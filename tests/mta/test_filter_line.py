"""The line for sendmail.mc that conf/ ships is one that the real m4 macros take, and the times in it arrive in sendmail.cf."""

import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness.mta import Sendmail
from harness.process import SOURCE


class FilterLine(unittest.TestCase):
    def test_the_shipped_line(self):
        with open(os.path.join(SOURCE, "conf", "sendmail.mc"), encoding="utf-8") as file:
            line = next(line.strip() for line in file if line.startswith("INPUT_MAIL_FILTER"))
        self.assertIn("F=T, T=C:30s;S:30s;R:30s;E:5m", line)
        mta = Sendmail(name="sendmail.line")
        mta.filters = re.sub(r"S=[^,]*,", f"S=unix:{mta.folder('absent.sock')},", line)
        with mta.start():
            self.assertEqual(mta.filter_line, "Xpostern, S=unix:/mnt/absent.sock, F=T, T=C:30s;S:30s;R:30s;E:5m")


if __name__ == "__main__":
    unittest.main(verbosity=2)
