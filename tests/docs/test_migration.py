"""Each example of the tables for those who come from MIMEDefang runs, and does something."""

import json
import os
import re
import unittest

from common import SOURCE, Folder, ctl, read


class Migration(unittest.TestCase):
    FILTER = """function filter_message(msg)
    for part in msg:walk() do
        if part.type == "text/html" then
            %s
        end
    end
end
"""
    # What an example asks for shows in the report, unless it only reads.
    QUIET = re.compile(r"local |return continue|for _, |msg\.state\.")

    def setUp(self):
        self.folder = Folder("docs-move")
        self.addCleanup(self.folder.remove)
        os.makedirs(self.folder("state"))

    @staticmethod
    def examples():
        """(line, MIMEDefang's side, code) of each row."""
        wanted = False
        for number, line in enumerate(read("docs", "coming-from-mimedefang.md").splitlines(), 1):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if not cells:
                wanted = False
            elif cells[1] == "Postern's example":
                wanted = True
            elif wanted and not cells[0].startswith("---"):
                yield number, cells[0], cells[1].strip("`")

    def try_example(self, code):
        path = self.folder.write("filter.lua", self.FILTER % code)
        status, out = ctl("run", "--json", path, os.path.join(SOURCE, "tests", "samples", "html.eml"), "--ip", "192.0.2.1",
                          "-o", "worker.state_dir=" + self.folder("state"), "-o", "filter.url_directory=" + self.folder("state"), "-o", "worker.allow_exec=yes",
                          "-o", "notify.from=postern@example.net", "-o", "notify.admin=admin@example.net", "-o", "smtp.reinject=inet:10026@127.0.0.1")
        self.assertEqual(status, 0, out)
        return json.loads(out)

    def test_each_example_runs(self):
        n = 0
        for number, name, code in self.examples():
            n += 1
            with self.subTest(f"{number}: {name}"):
                answer = self.try_example(code)
                self.assertIsNone(answer["error"])
                if not code.startswith("--") and not self.QUIET.match(code):
                    self.assertTrue(answer["actions"] or answer["log"] or answer["verdict"] != "continue", answer)
        self.assertGreater(n, 60)

    def test_every_action_is_there(self):
        """Those that a filter of MIMEDefang's may call."""
        text = read("docs", "coming-from-mimedefang.md")
        parts = ("accept", "accept_with_warning", "drop", "drop_with_warning", "replace_with_warning", "replace_with_url", "defang", "external_filter",
                 "quarantine")
        message = ("bounce", "tempfail", "discard", "quarantine_entire_message", "sm_quarantine", "rebuild", "notify_sender", "notify_administrator",
                   "add_header", "insert_header", "change_header", "delete_header", "delete_all_headers", "add_part", "add_entity")
        for name in parts + message:
            self.assertRegex(text, rf"`action_{name}\(", name)
        tried = read("tests", "mta", "test_parts.py")
        for name in (*parts, "quarantine_entire_message", "add_part", "add_entity"):
            self.assertIn(f"    {name} = function(", tried, f"{name} is not tried through the mail servers")


if __name__ == "__main__":
    unittest.main()
