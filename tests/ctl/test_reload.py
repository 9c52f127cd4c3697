"""A reload with another configuration: what takes effect, what waits for the next start, and who says so."""

import json
import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.environ["POSTERN_SOURCE"], "tests"))
sys.path.insert(0, os.path.join(os.environ["POSTERN_SOURCE"], "tests", "milter"))

from harness.postern import Postern  # noqa: E402
from harness.process import PATIENCE, wait_until  # noqa: E402
from milter_client import MilterClient  # noqa: E402

FIRST = 'function filter_message(msg) msg:add_header("X-Filter", "first " .. config.word) end'
SECOND = """
function filter_message(msg)
    if msg.subject == "broken" then error("boom") end
    msg:add_header("X-Filter", "second " .. config.word)
end
"""


class Reload(unittest.TestCase):
    def setUp(self):
        self.postern = Postern(FIRST, {"filter.word": "one"})
        self.addCleanup(self.postern.stop)
        self.second = self.postern.folder.write("second.lua", SECOND)

    def rewrite(self, **options):
        """Changes options of the file, given as section_option; new ones join their section."""
        with open(self.postern.conf, encoding="utf-8") as file:
            lines = file.read().splitlines()
        for name, value in options.items():
            section, option = name.split("_", 1)
            lines = [line for line in lines if not line.startswith(option + " =")]
            if f"[{section}]" not in lines:
                lines.append(f"[{section}]")
            lines.insert(lines.index(f"[{section}]") + 1, f"{option} = {value}")
        self.postern.folder.write("postern.conf", "\n".join(lines) + "\n")

    def message(self, subject="test"):
        with MilterClient(self.postern.spec, 30 * PATIENCE) as client:
            return client.start().message(headers=[("Subject", " " + subject)])

    def header(self):
        return self.message().all("add_header")

    def options(self):
        code, out, err = self.postern.ctl("config", "--json")
        self.assertEqual(code, 0, err)
        answer = json.loads(out)
        self.assertEqual(answer["source"], "server")
        return answer["options"]

    def test_what_takes_effect(self):
        self.assertEqual(self.header(), [["X-Filter", " first one"]])
        self.rewrite(worker_filter=self.second, filter_word="two", worker_on_error="reject", multiplexor_min_workers=3,
                     multiplexor_max_clients=77)
        self.postern.ctl("reload", check=True)
        self.assertEqual(self.header(), [["X-Filter", " second two"]])
        self.assertTrue(self.message("broken").text.startswith("554 5.3.0 "))
        wait_until(lambda: self.postern.status()["workers"]["total"] >= 3, "three workers")
        options = self.options()
        wanted = {"worker.filter": self.second, "worker.on_error": "reject", "multiplexor.min_workers": "3", "multiplexor.max_clients": "2000"}
        self.assertEqual({name: options[name] for name in wanted}, wanted)
        log = self.postern.multiplexor.output()
        self.assertIn('multiplexor.max_clients changes from "2000" to "77" at the next start', log)
        self.assertNotIn("min_workers changes", log)

    def test_by_signal(self):
        self.rewrite(filter_word="three")
        self.postern.multiplexor.kill(signal.SIGHUP)
        wait_until(lambda: self.header() == [["X-Filter", " first three"]], lambda: "the new setting:\n" + self.postern.logs())

    def test_a_mistake_changes_nothing(self):
        self.rewrite(worker_filter=self.second, multiplexor_max_workers="many")
        code, _, err = self.postern.ctl("reload")
        mistake = r"postern\.conf:\d+: .*max_workers"
        self.assertEqual(code, 2, "posternctl reads the same file")
        self.assertRegex(err, mistake)
        answer = self.postern.reload()
        self.assertFalse(answer["ok"])
        self.assertRegex(answer["error"], mistake)
        self.assertEqual(self.header(), [["X-Filter", " first one"]])
        self.assertEqual(self.postern.control("config")["data"]["options"]["multiplexor.max_workers"], "4")

    def test_scale_lasts_until_the_next(self):
        self.postern.ctl("scale", 4, 6, check=True)
        wait_until(lambda: self.postern.status()["workers"]["total"] == 4, "four workers")
        self.assertEqual(self.options()["multiplexor.min_workers"], "4")
        self.postern.ctl("reload", check=True)
        self.assertEqual(self.options()["multiplexor.min_workers"], "2")

    def test_recycle_one(self):
        before = {row["pid"] for row in self.postern.workers()}
        pid = min(before)
        self.postern.ctl("recycle", pid, check=True)
        wait_until(lambda: pid not in {row["pid"] for row in self.postern.workers()}, "the worker to go")
        wait_until(lambda: self.postern.status()["workers"]["idle"] >= 2, "another in its place")
        self.assertLessEqual(before - {pid}, {row["pid"] for row in self.postern.workers()})
        self.assertEqual(self.postern.status()["recycles"]["asked"], 1)


if __name__ == "__main__":
    unittest.main()
