"""posternctl against running daemons: status, workers, config, reload, recycle, scale, and send as their mail server."""

import json
import unittest

from common import ctl, lines_of, sample
from harness.postern import Postern
from harness.process import wait_until

FILTER = """
function filter_relay(conn)
    if conn.ip == "203.0.113.7" then return reject("not you") end
end
function filter_recipient(msg, rcpt)
    if rcpt:matches{ "nobody@" } then return reject{ text = "no such user", code = 550, dsn = "5.1.1" } end
end
function filter_message(msg)
    for part in msg:parts() do
        if part:has_extension{ "exe" } then return reject("no\\nprograms") end
    end
    if msg.subject == "" then return tempfail("later") end
    msg:add_header("X-Seen", "yes")
    msg:insert_header(0, "X-Top", "top")
    msg:set_sender("bounce@example.org")
    msg:add_recipient("more@example.net")
end
"""


class Server(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postern = Postern(FILTER, name="ctl-server")

    @classmethod
    def tearDownClass(cls):
        cls.postern.stop()

    def ctl(self, *words):
        return self.postern.ctl(*words)

    def status(self):
        code, out, err = self.ctl("status", "--json")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(out.count("\n"), 1)
        return json.loads(out)

    def test_status(self):
        status = self.status()
        self.assertGreaterEqual(status["generation"], 1)
        self.assertIn("filter_message", status["hooks"])
        self.assertIsNone(status["filter_error"])
        code, out, _ = self.ctl("status")
        self.assertEqual(code, 0)
        self.assertIn(self.postern.filter, out)
        self.assertNotIn("\x1b", out)

    def test_workers(self):
        code, out, _ = self.ctl("workers", "--json")
        self.assertEqual((code, out.count("\n")), (0, 1))
        code, out, _ = self.ctl("workers")
        self.assertEqual(code, 0)
        self.assertIn("pid", out.splitlines()[0])
        self.assertGreaterEqual(len(out.splitlines()), 3)

    def test_config_is_the_servers(self):
        code, out, _ = self.ctl("config", "--json", "-o", "multiplexor.max_workers=99")
        self.assertEqual(code, 0)
        (answer,) = lines_of(out)
        self.assertEqual(answer["source"], "server")
        self.assertEqual(answer["options"]["multiplexor.max_workers"], "4")

    def test_reload_recycle_scale(self):
        before = self.status()["generation"]
        code, out, err = self.ctl("reload", "--json")
        self.assertEqual(code, 0, err)
        self.assertGreater(json.loads(out)["generation"], before)

        self.postern.save_filter("function filter_message(msg")
        self.addCleanup(self.postern.reload)
        self.addCleanup(self.postern.save_filter, FILTER)
        generation = self.status()["generation"]
        code, out, err = self.ctl("reload")
        self.assertEqual((code, out), (1, ""))
        self.assertIn("filter.lua:1", err)
        self.assertEqual(self.status()["generation"], generation)

        code, _, err = self.ctl("recycle")
        self.assertEqual(code, 0, err)
        code, _, err = self.ctl("recycle", "1")
        self.assertEqual(code, 1, err)
        code, _, err = self.ctl("scale", "3", "5")
        self.assertEqual(code, 0, err)
        wait_until(lambda: self.status()["workers"]["total"] >= 3, "three workers")
        self.assertEqual(self.status()["workers"]["max"], 5)

    def test_drain_resume(self):
        self.addCleanup(self.ctl, "resume")
        code, out, err = self.ctl("drain")
        self.assertEqual((code, out), (0, "draining: 0 requests run, 0 wait\n"), err)
        (answer,) = self.send(sample("clean"))
        self.assertEqual((answer["verdict"], answer["reply"]["code"], answer["reply"]["dsn"]), ("tempfail", 451, "4.3.2"))
        self.assertIn("draining: new mail is turned away", self.ctl("status")[1])
        code, out, err = self.ctl("resume")
        self.assertEqual((code, out), (0, "resumed\n"), err)
        (answer,) = self.send(sample("clean"))
        self.assertEqual(answer["verdict"], "continue")

    def send(self, *words):
        code, out, err = ctl("send", "--json", self.postern.spec, *words)
        self.assertEqual(code, 0, err)
        return lines_of(out)

    def test_send_shows_verdicts(self):
        clean, executable, empty = self.send(sample("clean"), sample("executable"), sample("no-header"))
        self.assertEqual((clean["verdict"], clean["reply"]), ("continue", None))
        self.assertEqual({a["action"] for a in clean["actions"]}, {"add_header", "insert_header", "set_sender", "add_recipient"})
        (added,) = [a for a in clean["actions"] if a["action"] == "add_header"]
        self.assertEqual(added, {"action": "add_header", "name": "X-Seen", "value": "yes"})
        self.assertEqual(executable["reply"], {"code": 550, "dsn": "5.7.1", "text": "no\nprograms"})
        self.assertEqual(executable["actions"], [])
        self.assertEqual((empty["verdict"], empty["reply"]["code"]), ("tempfail", 451))

    def test_send_refusals_before_the_end(self):
        (answer,) = self.send(sample("clean"), "--ip", "203.0.113.7")
        self.assertEqual(answer["verdict"], "reject")
        self.assertEqual([s["stage"] for s in answer["stages"]], ["connect"])
        (answer,) = self.send(sample("clean"), "--recipient", "a@example.net", "--recipient", "nobody@example.net",
                              "--recipient", "b@example.net")
        self.assertEqual(answer["verdict"], "continue")
        self.assertEqual([r["address"] for r in answer["recipients"]], ["nobody@example.net"])
        (answer,) = self.send(sample("clean"), "--recipient", "nobody@example.net")
        self.assertEqual((answer["verdict"], answer["reply"]["dsn"]), ("reject", "5.1.1"))

    def test_send_agrees_with_run(self):
        for name in ("clean", "html", "executable", "empty-body", "mbox", "bad-line"):
            with self.subTest(name=name):
                (sent,) = self.send(sample(name))
                _, out, _ = ctl("run", "--json", self.postern.filter, sample(name))
                (ran,) = lines_of(out)
                self.assertEqual((sent["verdict"], sent["reply"]), (ran["verdict"], ran["reply"]))

    def test_send_text(self):
        code, out, _ = ctl("send", self.postern.spec, sample("executable"))
        self.assertEqual(code, 0)
        self.assertIn(': reject 550 5.7.1 "no\\nprograms"', out)

    def test_send_to_nobody_is_3(self):
        code, out, err = ctl("send", self.postern.folder("none.sock"), sample("clean"))
        self.assertEqual((code, out), (3, ""))
        self.assertIn("none.sock", err)


if __name__ == "__main__":
    unittest.main()
