"""log.format = json: each line of a real run is one object with documented members, whatever the mail and the filter say."""

import json
import os
import re
import unittest

from fixture import SystemTest
from harness.process import SOURCE

FILTER = r"""
local log = require "postern.log"
function filter_relay(conn)
    if conn.ip == "203.0.113.7" then return reject("no \"relay\"\\ here \226\130\172") end
end
function filter_recipient(msg, rcpt)
    if rcpt.address:find("no@", 1, true) then return reject("nobody") end
end
function filter_message(msg)
    log.info("subject %s, bytes \0 \27[2J \255 \"quoted\" \226\130\172", msg.subject)
    log.warn(("long "):rep(4000))
    msg:log("score", 5.2)
    msg:log("text", "a \"b\" \\ c\n\255")
    if msg.subject == "broken" then error("out\nof \27 order") end
    msg:add_header("X-Seen", "yes")
end
"""
BASE = {"time": str, "program": str, "pid": int, "level": str, "message": str}
NUMBERS = {"recipients", "refused", "size", "ms", "queue_us", "hook_us", "attempt", "generation"}


def documented():
    """Members named in the manual pages: of every line, and of the front end's events."""
    def items(name, heading):
        with open(os.path.join(SOURCE, "docs", "man", name), encoding="utf-8") as file:
            part = re.search(rf"^\.S[hs] {heading}\n(.*?)(?=^\.S[hs] )", file.read(), flags=re.M | re.S).group(1)
        return {word for line in re.findall(r"^\.It Cm (.*)$", part, flags=re.M) for word in line.replace(" ,", "").split()}
    return items("postern.conf.5.in", "JSON LOG LINES"), items("postern-milterd.8", "Log lines")


class LogJson(SystemTest):
    def lines(self):
        found = []
        for process in (self.postern.milterd, self.postern.multiplexor):
            with open(process.log, "rb") as file:
                data = file.read()
            self.assertTrue(data.endswith(b"\n"))
            for line in data.splitlines():
                self.assertLessEqual(len(line), 8192)
                found.append(self.check(line))
        return found

    def check(self, line):
        text = line.decode("utf-8")  # strictly
        self.assertFalse([char for char in text if ord(char) < 32 or 0x7f <= ord(char) < 0xa0], text)
        entry = json.loads(text, object_pairs_hook=self.members)
        for key, kind in BASE.items():
            self.assertIsInstance(entry[key], kind, text)
        self.assertRegex(entry["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertRegex(entry["program"], r"^postern-(milterd|multiplexor|nursery|worker)$")
        self.assertIn(entry["level"], ("debug", "info", "warn", "error"))
        every, event = documented()
        allowed = every | event if entry["message"] in ("message", "connection", "recipient") else every
        for key, value in entry.items():
            self.assertTrue(key in allowed or key.startswith("x-"), f"{key}: {text}")
            if key in NUMBERS:
                self.assertIsInstance(value, int, text)
            elif key not in BASE and key != "cut":
                self.assertIsInstance(value, str, text)
        return entry

    def members(self, pairs):
        self.assertEqual(len(pairs), len(dict(pairs)), f"a member twice: {pairs}")
        return dict(pairs)

    def test_a_run(self):
        self.start(FILTER, {"log.format": "json", "log.level": "debug"})
        client = self.client().start()
        client.message(sender="<a\"b\\\udcff@example.org>", recipients=("<rcpt@example.net>", "<no@\x1b[2J\udc9b.example>"),
                       headers=(("Subject", " \u20ac \udcff\udcfe"),), macros={"i": "Q\"1"})
        client.message(headers=(("Subject", " broken"),), macros={"i": "Q2"})
        client.mail()
        client.abort()
        client.quit()
        refused = self.client()
        refused.negotiate()
        refused.connect(ip="203.0.113.7", hostname="x\udcc3\"y")
        refused.quit()
        self.milterd_lines('"connection"')
        self.milterd_lines('"aborted"')
        self.postern.save_filter("syntax error")
        self.assertFalse(self.postern.reload()["ok"])
        lines = self.lines()
        first, second, third = [line for line in lines if line["message"] == "message"]
        self.assertEqual((first["id"], first["verdict"], first["recipients"], first["refused"], first["actions"]),
                         ("Q\"1", "continue", 2, 1, "add_header:1"))
        self.assertEqual((first["from"], first["x-score"], first["x-text"]), ("<a\"b\\\ufffd@example.org>", "5.2", "a \"b\" \\ c\n\ufffd"))
        self.assertEqual((second["verdict"], second["outcome"]), ("tempfail", "error"))
        self.assertEqual(third["verdict"], "aborted")
        (recipient,) = [line for line in lines if line["message"] == "recipient"]
        self.assertEqual((recipient["to"], recipient["where"]), ("<no@\x1b[2J\ufffd.example>", "filter.lua:7"))
        (connection,) = [line for line in lines if line["message"] == "connection"]
        self.assertEqual((connection["reply"], connection["host"]), ("550 5.7.1 no \"relay\"\\ here \u20ac", "x\ufffd\"y"))
        said = [line for line in lines if line["program"] == "postern-worker" and line["message"].startswith("subject ")]
        self.assertEqual({(line["hook"], line["uid"]) for line in said}, {("filter_message", first["uid"]), ("filter_message", second["uid"])})
        self.assertTrue(all(line["level"] == "info" and "\x1b[2J \ufffd \"quoted\" \u20ac" in line["message"] for line in said))
        (failed,) = [line for line in lines if line["level"] == "error" and line.get("uid") == second["uid"]]
        self.assertIn("order", failed["message"])

    def test_a_reload_leaves_it_as_it_is(self):
        self.start(FILTER)
        with open(self.postern.conf, "a", encoding="utf-8") as file:
            file.write("[log]\nformat = json\n")
        self.assertTrue(self.postern.reload()["ok"])
        self.worker_lines('log.format changes from "text" to "json" at the next start', least=1)
        self.assertEqual(self.postern.status()["generation"], 2)

    def test_text_stays_the_default(self):
        self.start(FILTER)
        self.client().start().message(macros={"i": "Q1"})
        (line,) = self.milterd_lines("message uid=")
        self.assertRegex(line, r"^\S+Z postern-milterd\[\d+\]: info: message uid=\S+\.1 id=Q1 ip=192\.0\.2\.1 host=mail\.example\.org ")


if __name__ == "__main__":
    unittest.main()
