"""Each example of the tables for those who come from MIMEDefang runs, and does something."""

import json
import os
import re
import subprocess
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
    # What the world says to the examples that ask it: a list, a scanner, a domain with a policy.
    WORLD = """
dns_answers{
    ["1.2.0.192.bl.example"] = { A = { "127.0.0.2" } }, ["1.2.0.192.zen.example"] = { A = { "127.0.0.4" } },
    ["a4414de3ce1f77d2615b90c3ba16219b38193ced.ebl.example"] = { A = { "127.0.0.2" } },
    ["example.org"] = { TXT = { "v=spf1 -all" }, MX = { { preference = 10, exchange = "mx.example.org" } } },
    ["mx.example.org"] = { A = { "127.0.0.1" } }, ["_dmarc.example.org"] = { TXT = { "v=DMARC1; p=reject" } },
    ["192.0.2.1"] = { PTR = { "mx.example.org" } },
}
for _, name in ipairs{ "clamav", "savdi" } do
    fake_backend(name, { status = "infected", name = "Test.Virus" })
end
fake_backend("spamassassin", { status = "spam", is_spam = true, score = 12, threshold = 5, tests = { "TEST" }, report = "spam" })
fake_backend("rspamd", { status = "spam", is_spam = true, action = "reject", score = 12, threshold = 15, symbols = {}, tests = {}, milter = {} })

function test_it()
    local result = run{ file = "mail.eml", ip = "192.0.2.1", sender = "ann@example.org", recipients = { "bob@example.net" } }
    assert(not result.error, result.error)
    print(result.verdict .. " " .. #result.actions .. " " .. #result.log)
end
"""
    # What an example asks for shows in the report, unless it only reads.
    QUIET = re.compile(r"local |return continue|for _, |msg\.state\.")
    # In which it shows only when the world answers.
    ASKING = re.compile(r'require ?\(?"postern\.(clamav|command|spamassassin|rspamd|greylist|dns|dnsbl|spf|dkim|dmarc|arc|authres|async)"')

    def setUp(self):
        self.folder = Folder("docs-move")
        self.addCleanup(self.folder.remove)
        os.makedirs(self.folder("state"))
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", self.folder("key.pem")], check=True, capture_output=True)
        os.chmod(self.folder("key.pem"), 0o600)

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

    def settings(self):
        for setting in ("worker.state_dir=" + self.folder("state"), "filter.url_directory=" + self.folder("state"), "filter.dkim_key=" + self.folder("key.pem"),
                        "worker.allow_exec=yes", "notify.from=postern@example.net", "notify.admin=admin@example.net",
                        "smtp.reinject=inet:10026@127.0.0.1", "dns.servers=127.0.0.1:1"):
            yield from ("-o", setting)

    def try_in_the_world(self, code):
        """In a test of a filter, in which everything that is asked answers: (verdict, actions, lines of the log)."""
        self.folder.write("mail.eml", read("tests", "samples", "html.eml"))
        test = self.folder.write("filter_test.lua", self.WORLD)
        status, out = ctl("test", "--json", "--filter", self.folder.write("filter.lua", self.FILTER % code), test, *self.settings())
        self.assertEqual(status, 0, out)
        verdict, n_actions, n_lines = json.loads(out.splitlines()[0])["log"][0].split()[-3:]
        return verdict, int(n_actions), int(n_lines)

    def try_example(self, code):
        path = self.folder.write("filter.lua", self.FILTER % code)
        status, out = ctl("run", "--json", path, os.path.join(SOURCE, "tests", "samples", "html.eml"), "--ip", "192.0.2.1",
                          *self.settings())
        self.assertEqual(status, 0, out)
        return json.loads(out)

    def test_each_example_runs(self):
        n = 0
        for number, name, code in self.examples():
            n += 1
            with self.subTest(f"{number}: {name}"):
                answer = self.try_example(code)
                self.assertIsNone(answer["error"])
                if not code.startswith("--") and not self.QUIET.match(code) and not self.ASKING.search(code):
                    self.assertTrue(answer["actions"] or answer["log"] or answer["verdict"] != "continue", answer)
        self.assertGreater(n, 90)

    def test_examples_that_ask_the_world(self):
        """They do what they are for when they get the answer that they look for."""
        n = 0
        for number, name, code in self.examples():
            if self.ASKING.search(code):
                n += 1
                with self.subTest(f"{number}: {name}"):
                    verdict, n_actions, n_lines = self.try_in_the_world(code)
                    reads = re.match(r"local \w+ = [^=]*({ confirm = true }\))?$|local found = .* local name|local checked = .* local tests", code)
                    self.assertTrue(verdict != "continue" or n_actions or n_lines or reads, (verdict, n_actions, n_lines))
        self.assertGreater(n, 20)

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
