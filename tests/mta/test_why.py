"""posternctl why and a real mail server: the queue id and the Message-ID of its log lead to what was decided.

Usage: test_why.py sendmail|postfix
"""

import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness.lines import lines_of
from harness.mail import message
from harness.mta import Postfix, Sendmail
from harness.postern import Postern

MTA = {"sendmail": Sendmail, "postfix": Postfix}[sys.argv.pop(1)]
FILTER = """
function filter_recipient(msg, rcpt)
    if rcpt.address == "gone@example.net" then
        return reject{ text = "No such user here", code = 550, dsn = "5.1.1" }
    end
end

function filter_message(msg)
    if msg.subject == "offer" then return reject("We do not want this") end
    msg:add_header("X-Checked", "yes")
    msg:log("score", "1.5")
end
"""


class Why(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mta = MTA(name=MTA.__name__.lower() + ".why")
        cls.postern = Postern(FILTER, folder=cls.mta.folder)
        cls.mta.spec = cls.postern.spec
        cls.mta.start()

    @classmethod
    def tearDownClass(cls):
        cls.mta.process.stop()
        cls.postern.stop()
        cls.mta.folder.remove()

    def send(self, subject):
        """One message; its Message-ID is made of the subject."""
        smtp = self.mta.smtp()
        smtp.hello()
        smtp.sender("sender@example.org")
        smtp.recipient("gone@example.net")
        smtp.recipient("rcpt@example.net")
        smtp.begin_data()
        answer = smtp.content(message(subject))
        smtp.close()
        return answer

    def why(self, name):
        _, out, _ = self.postern.ctl("why", "--json", name, check=True)
        (found,) = lines_of(out)
        return found

    def test_an_accepted_message_by_its_queue_id(self):
        code, text = self.send("hello")
        self.assertEqual(code, 250, text)
        queue_id = re.search(r"queued as (\w+)|2\.0\.0 (\w+) Message accepted", text)
        found = self.why(queue_id.group(1) or queue_id.group(2))
        self.assertEqual((found["message_id"], found["from"]), ("<hello@example.org>", "<sender@example.org>"))
        self.assertEqual(found["log"], {"score": "1.5"})
        stages = [(stage["stage"], stage["verdict"], stage.get("where")) for stage in found["stages"]]
        self.assertEqual(stages, [("rcpt", "reject", "filter.lua:4"), ("rcpt", "continue", None), ("eom", "continue", None)])
        self.assertEqual([(action["action"], action["name"]) for action in found["actions"]], [("add_header", "X-Checked")])
        self.assertEqual(self.mta.one()["X-Checked"], "yes")

    def test_a_refused_message_by_its_message_id(self):
        code, text = self.send("offer")
        self.assertEqual(code, 550, text)
        found = self.why("offer@example.org")
        self.assertEqual((found["verdict"], found["where"], found["text"]), ("reject", "filter.lua:9", "We do not want this"))
        self.assertNotIn("actions", found)
        self.assertEqual(self.why(found["id"])["uid"], found["uid"])


if __name__ == "__main__":
    unittest.main()
