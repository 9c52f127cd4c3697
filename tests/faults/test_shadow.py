"""A filter beside the one in service, with both daemons: a known set of messages differs exactly where it must, no answer changes, states are the
shadow's own, and no message is read from another's memory."""

import os
import threading
import unittest

import paths  # noqa: F401
from harness.postern import Postern
from injection import let_signals_kill
from harness.process import PATIENCE, Folder, wait_until
from milter_client import MilterClient
from stack import settings

let_signals_kill()

MESSAGES = 120
LARGE = "x" * 70 + "\r\n"

# Each hook adds to the states; the end checks all of it against the content, so that a mix-up of any kind raises.
FILTER = """
local async = require "postern.async"
local log = require "postern.log"
local is_shadow = @SHADOW@
function filter_relay(conn) conn.state.trail = "relay" end
function filter_sender(msg)
    msg.conn.state.trail = msg.conn.state.trail .. " sender"
    msg.state.n = tonumber(msg.sender_local:match("%d+"))
    msg.state.trail = is_shadow and "shadow" or "live"
    if is_shadow and msg.state.n % 10 == 9 then return accept() end
end
function filter_recipient(msg, rcpt)
    if msg.state.n % 10 == 1 and not is_shadow then return reject("number " .. msg.state.n) end
    if msg.state.n % 10 == 2 then return reject(is_shadow and "other words" or "some words") end
    if msg.state.n % 10 ~= 3 or is_shadow then msg:add_header("X-Recipient", msg.state.trail) end
end
function filter_message(msg)
    local n = msg.state.n
    if is_shadow then async.sleep(0.02) end
    assert(msg.state.trail == (is_shadow and "shadow" or "live"), "states are mixed up")
    assert(msg.conn.state.trail:match("^relay"), "the connection's state is gone")
    assert(msg:header("X-Number") == tostring(n), "header of another message")
    local text = msg:text()
    assert(select(2, text:gsub("body of " .. n .. ";", "")) == 1 + n % 50, "body of another message")
    if is_shadow then log.info("looked at %d", n) end
    if n % 10 == 4 then msg:add_header("X-Which", is_shadow and "shadow" or "live") end
    if n % 10 == 5 and is_shadow then error("on purpose") end
    if n % 10 == 6 then return is_shadow and discard() or reject("no") end
    msg:add_header("X-Number-Seen", tostring(n))
end
"""


def filter_text(is_shadow):
    return FILTER.replace("@SHADOW@", "true" if is_shadow else "false")


class Shadow(unittest.TestCase):
    def setUp(self):
        budgets = {"multiplexor__shadow_queue": 5000, "multiplexor__shadow_workers": 2, "multiplexor__shadow_samples": 1000,
                   "milterd__stage_time": "60s", "milterd__message_time": "120s", "milterd__parcel_reuse": "yes"}
        self.postern = Postern(filter_text(False), options=settings(**budgets), name="shadow")
        self.addCleanup(self.postern.stop)
        self.path = self.postern.folder.write("shadow.lua", filter_text(True))

    def send(self, numbers, answers):
        """Messages over one connection; what the MTA was told of each."""
        with MilterClient(self.postern.spec, timeout=60 * PATIENCE) as client:
            client.start()
            for n in numbers:
                body = (f"body of {n};".encode() + LARGE.encode()) * (1 + n % 50)
                client.mail(f"<n{n}@example.org>")
                answer = client.rcpt(f"<r{n}@example.net>")
                if answer.verdict == "continue":
                    client.data()
                    client.header("X-Number", f" {n}")
                    client.eoh()
                    client.body(body)
                    answer = client.eom()
                else:
                    client.abort()
                answers[n] = answer

    def send_all(self):
        answers = {}
        threads = [threading.Thread(target=self.send, args=(range(k, MESSAGES, 4), answers)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    def told(self, answers):
        return {n: (answer.verdict, answer.text, answer.actions) for n, answer in answers.items()}

    def test_counts_of_a_known_set(self):
        alone = self.told(self.send_all())
        self.assertIn("shadow: generation 2", self.postern.ctl("shadow", self.path, check=True)[1])
        beside = self.told(self.send_all())
        self.assertEqual(alone, beside, "no answer changes")
        each = MESSAGES // 10
        # Connections begin with filter_relay; 8 of 10 messages have a sender, a recipient and an end, 2 are refused at the recipient.
        compared = 4 + 2 * MESSAGES + 8 * each
        wait_until(lambda: self.shadow()["compared"] >= compared, lambda: f"{compared} comparisons: {self.shadow()}\n{self.postern.logs()}", 60)
        data = self.shadow()
        figures = {name: data[name] for name in ("compared", "verdicts", "replies", "actions", "errors", "dropped", "incomplete")}
        # 1: reject against go on, with its header. 2: other words. 3: the header of the recipient. 4: the value of a header. 5: an error is a tempfail
        # without its header. 6: discard against reject. 9: accepted at the sender, so no header of recipient and end. 0, 7, 8: "shadow" in the header
        # of the recipient. So actions: at the recipient all that go on in either but 2, at the end 4, 5, 9.
        recipients, ends = 9 * each, 3 * each
        self.assertEqual(figures, {"compared": compared, "verdicts": 4 * each, "replies": 4 * each, "actions": recipients + ends, "errors": each,
                                   "dropped": 0, "incomplete": 0}, data["samples"][:3])
        self.check_samples(data["samples"])
        self.assertEqual(data["same"] + len({(s["uid"], s["hook"]) for s in data["samples"]}), compared)
        log = self.postern.multiplexor.output()
        self.assertRegex(log, r"postern-shadow\[\d+\]: info: .*looked at 7\b", "its lines are marked")
        self.assertNotRegex(log, r"postern-worker\[\d+\]: info: .*looked at")
        self.assertNotIn("mixed up", log)
        screen = self.postern.ctl("shadow", check=True)[1]
        self.assertRegex(screen, rf"(?m)^compared +{compared}, same {data['same']}$")
        self.assertRegex(screen, r"(?m)^filter_message of \S+\n  live    reject 550 5.7.1 no \(filter.lua:\d+\)\n  shadow  discard \(shadow.lua:\d+\)$")
        self.assertIn("add_header X-Which: live", screen)
        self.postern.ctl("shadow", "stop", check=True)
        self.assertEqual(self.told(self.send_all()), alone)
        self.assertEqual(self.shadow()["compared"], compared)

    def check_samples(self, samples):
        """One that refuses differently, with its reasons and places."""
        found = [s for s in samples if s["hook"] == "filter_recipient" and s["live"]["text"] == "some words"]
        self.assertEqual(len(found), MESSAGES // 10)
        for sample in found:
            self.assertEqual((sample["shadow"]["text"], sample["shadow"]["code"], sample["shadow"]["verdict"]), ("other words", 550, "reject"))
            self.assertRegex(sample["live"]["where"], r"^filter\.lua:\d+$")
            self.assertRegex(sample["shadow"]["where"], r"^shadow\.lua:\d+$")
        errors = [s for s in samples if s["shadow"]["outcome"] == "error"]
        self.assertEqual(len(errors), MESSAGES // 10)

    def shadow(self):
        return self.postern.control("shadow")["data"]


class State(unittest.TestCase):
    def test_it_may_not_write_what_the_live_one_writes(self):
        """The folder that it may write is another one, and only if it is there."""
        folder = Folder("shadow-state")
        self.addCleanup(folder.remove)
        state = folder("state")
        os.mkdir(state)
        text = 'function filter_message(msg) local f = assert(io.open("%s/@", "w")); f:write("x"); f:close() end\n' % state
        postern = Postern(text.replace("@", "live"), options=settings(worker__state_dir=state), name="shadow", folder=folder)
        self.addCleanup(postern.stop)
        shadow = folder.write("shadow.lua", text.replace("@", "other"))
        postern.ctl("shadow", shadow, check=True)
        with MilterClient(postern.spec, timeout=60 * PATIENCE) as client:
            self.assertEqual(client.start().message().verdict, "continue", postern.logs())
        wait_until(lambda: postern.control("shadow")["data"]["compared"] == 1, lambda: f"one comparison: {postern.control('shadow')}")
        self.assertEqual(postern.control("shadow")["data"]["errors"], 1)
        self.assertEqual(os.listdir(state), ["live"])


if __name__ == "__main__":
    unittest.main()
