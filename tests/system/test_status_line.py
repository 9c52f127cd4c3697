"""log.status_interval: a line in the multiplexor's log about what came since the last one."""

import os
import re
import unittest

from fixture import SystemTest
from harness.lines import lines_of, split_lines
from harness.process import SOURCE, wait_until

FILTER = """
function filter_message(msg)
    if msg.subject == "no" then return reject("no") end
    if msg.subject == "broken" then error("broken") end
end
"""
STATUS = re.compile(r"postern-multiplexor\[\d+\]: info: status (.*)$")
FAMILIES = ("verdict_", "outcome_", "recycled_")


def documented():
    with open(os.path.join(SOURCE, "docs", "man", "postern-multiplexor.8"), encoding="utf-8") as file:
        part = re.search(r"^\.Ss The status line\n(.*?)(?=^\.S[hs] )", file.read(), flags=re.M | re.S).group(1)
    return {word for line in re.findall(r"^\.It Cm (.*)$", part, flags=re.M) for word in line.replace(" ,", "").split()}


class StatusLine(SystemTest):
    def lines(self):
        found = []
        for line in split_lines(self.postern.multiplexor.output()):
            match = STATUS.search(line)
            if match:
                found.append(dict(pair.split("=", 1) for pair in match.group(1).split()))
        return found

    def sums(self, lines):
        """What the lines add up to."""
        total = {}
        for line in lines:
            for key, value in line.items():
                if key in ("requests", "retries") or key.startswith(FAMILIES):
                    total[key] = total.get(key, 0) + int(value)
        return total

    def send_some(self):
        client = self.client().start()
        for subject in ("hello", "hello", "no", "broken"):
            client.message(headers=(("Subject", " " + subject),))
        client.quit()

    def test_lines_add_up(self):
        self.start(FILTER, {"log.status_interval": "500ms"})
        self.send_some()
        expected = {"requests": 4, "verdict_continue": 2, "verdict_reject": 1, "verdict_tempfail": 1, "outcome_ok": 3, "outcome_error": 1}
        wait_until(lambda: self.sums(self.lines()).get("requests") == 4, lambda: f"lines that add up: {self.postern.logs()}")
        n = len(self.lines())
        wait_until(lambda: len(self.lines()) > n + 1, "a line about nothing")
        total = self.sums(self.lines())
        self.assertEqual({key: total.get(key) for key in expected}, expected)
        last = self.lines()[-1]
        self.assertEqual((last["requests"], last["rate"], last["queued"], last["generation"], last["busy"]), ("0", "0.0", "0", "1", "0"))
        self.assertEqual(int(last["idle"]) + int(last["starting"]), 2)

    def test_members_are_documented(self):
        self.start(FILTER, {"log.status_interval": "500ms", "log.format": "json"})
        self.send_some()

        def lines():
            entries = lines_of(self.postern.multiplexor.output())
            return [entry for entry in entries if entry["message"] == "status"]
        wait_until(lambda: sum(line["requests"] for line in lines()) == 4, "status lines")
        every = {"time", "program", "pid", "level", "message"}
        names = {re.sub(r"^(verdict|outcome|recycled)_\w+$", r"\1_", key) for line in lines() for key in line} - every
        self.assertLessEqual(names, documented())
        self.assertGreater(len(names), 10)
        for line in lines():
            self.assertTrue(all(isinstance(value, int) for key, value in line.items() if key in names - {"rate"}), line)

    def test_it_can_be_switched_by_a_reload(self):
        self.start(FILTER, {"log.status_interval": "0"})
        self.send_some()
        self.assertEqual(self.lines(), [])
        with open(self.postern.conf, encoding="utf-8") as file:
            text = file.read()
        self.postern.folder.write("postern.conf", text.replace("status_interval = 0", "status_interval = 500ms"))
        self.assertTrue(self.postern.reload()["ok"])
        wait_until(self.lines, "a line")


if __name__ == "__main__":
    unittest.main()
