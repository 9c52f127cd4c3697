"""After a load, requests and verdicts in `posternctl status --json` equal the load program's counts exactly."""

import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.dirname(__file__))
import corpus
from harness.postern import Postern
from harness.process import BUILD, scaled

MESSAGES = scaled(5000, 200)
FILTER = """
function filter_message(msg)
    for part in msg:parts() do
        if part:has_extension{ "exe" } then return reject("no programs") end
    end
    if msg:header("X-Mailer") and #msg.recipients == 0 then return tempfail() end
    msg:add_header("X-Scanned", "yes")
end
"""


class Counts(unittest.TestCase):
    def test_status_equals_the_load(self):
        with Postern(FILTER, name="bench.counts") as postern:
            mails = corpus.write(postern.folder("mails"))
            done = subprocess.run([os.path.join(BUILD, "tests", "postern-load"), "-q", "-a", postern.spec, "-c", "10", "-n", str(MESSAGES),
                                   mails["small"], mails["html"], mails["exe"]], capture_output=True, text=True, check=False)
            load = {key: float(value) for key, value in (pair.split("=") for pair in done.stdout.split())}
            code, out, err = postern.ctl("status", "--json", check=True)
            status = json.loads(out)
            print(f"load: {load['msgs']:.0f} messages, continue {load['continue']:.0f}, reject {load['reject']:.0f}; "
                  f"status: requests {status['requests']['total']}, messages {status['messages']}")
            self.assertEqual(load["msgs"], MESSAGES, (done.stdout, done.stderr))
            self.assertEqual(status["requests"]["total"], MESSAGES, status)
            self.assertEqual(status["messages"], {"continue": load["continue"], "accept": load["accept"], "reject": load["reject"],
                                                  "tempfail": load["tempfail"], "discard": load["discard"]})
            self.assertEqual(load["reject"], MESSAGES // 3)


if __name__ == "__main__":
    unittest.main(verbosity=2)
