"""posternctl trace: lines about what is decided, while it is decided."""

import json
import os
import re
import signal
import subprocess
import unittest

from fixture import PATIENCE, SystemTest
from harness.lines import lines_of, split_lines
from harness.process import BIN, SOURCE, wait_until

FILTER = """
function filter_recipient(msg, rcpt)
    if rcpt.address == "no@example.net" then return reject{ text = "No such user here", code = 550, dsn = "5.1.1" } end
end
function filter_message(msg)
    msg:add_header("X-Seen", "yes")
end
"""


def known_members():
    with open(os.path.join(SOURCE, "common", "trace.def"), encoding="utf-8") as file:
        return set(re.findall(r'^TRACE_FIELD\(\w+, \d+, "(\w+)"', file.read(), flags=re.M)) | {"time", "kind", "cut"}


class Tracer:
    """posternctl trace under way; it has begun when it prints what a message of the test's makes."""

    def __init__(self, postern, *words):
        self.folder, self.out, self.err = postern.folder, postern.folder("trace.out"), postern.folder("trace.err")
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.popen = subprocess.Popen([os.path.join(BIN, "posternctl"), "-c", postern.conf, "trace", *words], stdout=out, stderr=err,
                                          stdin=subprocess.DEVNULL)

    def read(self, path):
        with open(path, encoding="utf-8") as file:
            return file.read()

    def lines(self):
        return split_lines(self.read(self.out))

    def entries(self):
        return [json.loads(line) for line in self.lines()]

    def wait_for(self, text, seconds=20):
        wait_until(lambda: any(text in line for line in self.lines()), lambda: f"{text!r} in {self.lines()}{self.read(self.err)}", seconds)

    def wait(self):
        return self.popen.wait(60 * PATIENCE)

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()


class Trace(SystemTest):
    def setUp(self):
        self.start(FILTER, {"trace.size": "64K"})
        self.n_sent = 0

    def trace(self, *words):
        tracer = Tracer(self.postern, *words)
        self.addCleanup(tracer.kill)
        return tracer

    def send(self, queue_id, ip="192.0.2.1", sender="<sender@example.org>", recipients=("<rcpt@example.net>",), headers=(("Subject", " x"),)):
        client = self.client()
        client.negotiate()
        client.connect(ip=ip)
        client.helo()
        answer = client.message(sender=sender, recipients=recipients, headers=headers, macros={"i": queue_id})
        client.quit()
        self.n_sent += 1
        return answer

    def begin(self, tracer):
        """Sends messages until the tracer shows one: it follows now."""
        def shows():
            self.send(f"BEGIN{self.n_sent}")
            return tracer.lines()
        wait_until(shows, lambda: "a first line: " + tracer.read(tracer.err))

    def test_every_kind_follows(self):
        tracer = self.trace("--json")
        self.begin(tracer)
        self.send("Q1", recipients=("<rcpt@example.net>", "<no@example.net>"))
        wait_until(lambda: [entry for entry in tracer.entries() if entry["kind"] == "message" and entry.get("id") == "Q1"], "the message's end")
        entries = tracer.entries()
        members = known_members()
        for entry in entries:
            self.assertLessEqual(set(entry), members, entry)
            self.assertRegex(entry["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
        own = [entry for entry in entries if entry.get("id") == "Q1"]
        self.assertEqual([(entry["kind"], entry.get("verdict")) for entry in own],
                         [("stage", "continue"), ("stage", "reject"), ("stage", "continue"), ("action", None), ("message", "continue")])
        self.assertEqual(own[1]["where"], "filter.lua:3")
        self.assertIn("connection", {entry["kind"] for entry in entries})
        tracer.popen.send_signal(signal.SIGINT)
        self.assertEqual((tracer.wait(), tracer.read(tracer.err)), (0, ""))

    def test_lines_for_people_and_a_count(self):
        tracer = self.trace("--verdict", "reject", "--count", "2")
        for number in range(3):
            wait_until(lambda: tracer.lines() or self.send("Q", recipients=("<no@example.net>",)) and tracer.lines(), "a line")
            self.send(f"N{number}", recipients=("<no@example.net>",))
        self.assertEqual(tracer.wait(), 0)
        lines = tracer.lines()
        self.assertEqual(len(lines), 2)
        for line in lines:
            self.assertRegex(line, r"^\d\d:\d\d:\d\d\.\d{3} \w+ stage rcpt <no@example\.net> reject 550 5\.1\.1 No such user here "
                                   r"by filter\.lua:3 in [\d.]+ [mu]?s$")

    def test_selections(self):
        self.send("Q1", ip="192.0.2.1", sender="<Ann@example.org>", recipients=("<one@example.net>",))
        self.send("Q2", ip="198.51.100.7", sender="<bob@example.org>", recipients=("<two@example.net>", "<no@example.net>"))
        self.send("Q3", ip="2001:db8::1", sender="<>", recipients=("<three@example.net>",))

        def ids(*words, n):
            code, out, err = self.postern.ctl("trace", "--json", "--last", "100", "--count", str(n), *words)
            self.assertEqual((code, err), (0, ""))
            return [(entry["kind"], entry.get("id")) for entry in lines_of(out)]
        self.assertEqual({found[1] for found in ids("--ip", "198.51.100.0/24", n=6)}, {None, "Q2"})
        self.assertEqual({found[1] for found in ids("--ip", "2001:db8::1", n=5)}, {None, "Q3"})
        self.assertEqual({found[1] for found in ids("--sender", "ann@", n=4)}, {"Q1"})
        self.assertEqual({found[1] for found in ids("--sender", "<>", n=4)}, {"Q3"})
        self.assertEqual(ids("--recipient", "TWO@", n=2), [("stage", "Q2"), ("message", "Q2")])
        self.assertEqual(ids("--hook", "message", n=3), [("stage", "Q1"), ("stage", "Q2"), ("stage", "Q3")])
        self.assertEqual(ids("--hook", "filter_recipient", "--verdict", "reject", n=1), [("stage", "Q2")])
        self.assertEqual(ids(n=2, *("--verdict", "continue", "--ip", "192.0.2.1")), [("stage", "Q1"), ("stage", "Q1")])

    def test_last_are_the_newest(self):
        for number in range(5):
            self.send(f"Q{number}")
        code, out, _ = self.postern.ctl("trace", "--json", "--last", "3", "--count", "3", "--hook", "message")
        self.assertEqual(code, 0)
        self.assertEqual([entry["id"] for entry in lines_of(out)], ["Q2", "Q3", "Q4"])

    def test_it_goes_on_after_a_restart(self):
        tracer = self.trace("--json", "--hook", "message")
        self.begin(tracer)
        for number in range(2):
            self.restart_milterd()
            self.send(f"AFTER{number}")
            tracer.wait_for(f"AFTER{number}")
        tracer.popen.send_signal(signal.SIGTERM)
        self.assertEqual(tracer.wait(), 0)

    def test_who_is_too_slow_is_told(self):
        tracer = self.trace("--hook", "message")
        self.begin(tracer)
        os.kill(tracer.popen.pid, signal.SIGSTOP)
        for number in range(100):
            self.send(f"Q{number}")
        os.kill(tracer.popen.pid, signal.SIGCONT)
        tracer.wait_for("Q99")
        tracer.popen.send_signal(signal.SIGINT)
        self.assertEqual(tracer.wait(), 0)
        self.assertRegex(tracer.read(tracer.err), r"^posternctl: [1-9]\d+ slots of the ring \(an entry has one to 8\) were lost")
        self.assertFalse([line for line in tracer.lines() if " Q5 " in line])

    def test_hostile_texts(self):
        self.send("Q\x1b[2J", sender="<\x1b]0;\x07\udcff@example.org>", recipients=("<\r@example.net>",))
        for words in ((), ("--json",)):
            code, out, _ = self.postern.ctl("trace", "--last", "10", "--count", "4", *words)
            self.assertEqual((code, out.count("\n")), (0, 4))
            self.assertFalse([char for char in out if ord(char) < 32 and char != "\n"])

    def test_wrong_usage(self):
        for words, text in ((("--ip", "192.0.2.1/24"), "--ip"), (("--hook", "mesage"), "did you mean filter_message"),
                            (("--verdict", "no"), "--verdict"), (("--count", "0"), "--count"), (("--last", "x"), "--last")):
            code, out, err = self.postern.ctl("trace", *words)
            self.assertEqual((code, out), (2, ""), err)
            self.assertIn(text, err)
        code, _, err = self.postern.ctl("-o", "trace.file=/nonexistent/trace", "trace")
        self.assertEqual((code, "No such file" in err), (3, True))


if __name__ == "__main__":
    unittest.main()
