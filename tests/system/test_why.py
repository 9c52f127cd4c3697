"""posternctl why: what the front end decided, and who made it do so, from its ring."""

import os
import signal
import stat
import threading
import unittest

from fixture import SystemTest, budgets
from harness.lines import lines_of
from harness.process import wait_until

FILTER = """
function filter_relay(conn)
    if conn.ip == "203.0.113.7" then return reject("not you") end
end
function filter_recipient(msg, rcpt)
    if rcpt.address == "no@example.net" then
        return reject{ text = "No such user here", code = 550, dsn = "5.1.1" }
    end
end
function filter_message(msg)
    if msg.subject == "broken" then error("out of order") end
    msg:add_header("X-Spam", "yes")
    msg:set_header("Subject", "[seen] " .. msg.subject)
    msg:log("score", "5.2")
end
"""
WAITING = """
function filter_message(msg)
    while not io.open("%s") do end
end
"""


class WhyTest(SystemTest):
    def why(self, name, code=0):
        """What is known of that name: one object for each message."""
        done, out, err = self.postern.ctl("why", "--json", name)
        self.assertEqual(done, code, out + err + self.postern.logs())
        return lines_of(out)

    def one(self, name):
        found = self.why(name)
        self.assertEqual(len(found), 1, found)
        return found[0]

    def send(self, queue_id, message_id="<m@example.org>", subject="hello", recipients=("<rcpt@example.net>",)):
        client = self.client().start()
        client.mail()
        for recipient in recipients:
            client.rcpt(recipient)
        client.header("Message-ID", " " + message_id)
        client.header("Subject", " " + subject)
        client.eoh()
        client.body(b"text\r\n")
        answer = client.eom(macros={"i": queue_id})
        client.quit()
        return answer


class Why(WhyTest):
    def setUp(self):
        self.start(FILTER)

    def test_a_message_from_end_to_end(self):
        self.send("Q1", recipients=("<rcpt@example.net>", "<no@example.net>"))
        found = self.one("Q1")
        self.assertEqual(found["verdict"], "continue")
        self.assertEqual((found["from"], found["to"]), ("<sender@example.org>", "<rcpt@example.net>,<no@example.net>"))
        self.assertEqual((found["recipients"], found["refused"], found["message_id"]), (2, 1, "<m@example.org>"))
        self.assertEqual((found["ip"], found["host"], found["helo"]), ("192.0.2.1", "mail.example.org", "client.example.org"))
        self.assertEqual(found["log"], {"score": "5.2"})
        self.assertEqual(found["connection"]["port"], 4321)
        self.assertEqual([stage["stage"] for stage in found["connection"]["stages"]], ["connect"])
        self.assertEqual([stage["stage"] for stage in found["stages"]], ["rcpt", "rcpt", "eom"])
        refused = found["stages"][1]
        self.assertEqual((refused["verdict"], refused["code"], refused["dsn"], refused["text"], refused["to"]),
                         ("reject", 550, "5.1.1", "No such user here", "<no@example.net>"))
        self.assertEqual((refused["hook"], refused["where"]), ("filter_recipient", "filter.lua:7"))
        for stage in found["stages"]:
            self.assertGreater(stage["worker"], 1)
            self.assertEqual((stage["attempts"], stage["generation"]), (1, 1))
        self.assertEqual([(action["action"], action["name"], action["value"]) for action in found["actions"]],
                         [("add_header", "X-Spam", "yes"), ("set_header", "Subject", "[seen] hello")])

    def test_every_name_finds_it(self):
        self.send("Q2", "<one@example.org>")
        uid = self.one("Q2")["uid"]
        for name in (uid, uid.split(".")[0], "<one@example.org>", "one@example.org"):
            self.assertEqual(self.one(name)["id"], "Q2", name)

    def test_several_with_one_message_id(self):
        for queue_id in ("Q3", "Q4", "Q5"):
            self.send(queue_id, "<same@example.org>")
        self.send("Q6", "<other@example.org>")
        self.assertEqual([found["id"] for found in self.why("same@example.org")], ["Q3", "Q4", "Q5"])

    def test_a_refused_connection(self):
        client = self.client()
        client.negotiate()
        client.connect(ip="203.0.113.7")
        client.helo()
        (line,) = self.milterd_lines("connection conn=")
        conn = line.split("conn=")[1].split()[0]
        (stage,) = self.one(conn)["connection"]["stages"]
        self.assertEqual((stage["verdict"], stage["where"], stage["text"]), ("reject", "filter.lua:3", "not you"))

    def test_an_error_of_the_filter(self):
        self.assertEqual(self.send("Q7", subject="broken").verdict, "tempfail")
        found = self.one("Q7")
        self.assertEqual((found["verdict"], found["outcome"]), ("tempfail", "error"))
        self.assertIn("out of order", found["error"])
        self.assertNotIn("actions", found)

    def test_for_people(self):
        self.send("Q8", recipients=("<rcpt@example.net>", "<no@example.net>"))
        code, out, err = self.postern.ctl("why", "Q8")
        self.assertEqual((code, err), (0, ""))
        for text in ("queue id Q8", "Message-ID <m@example.org>", "(2 recipients, 1 refused)", "verdict    continue at eom", "filter.lua:7",
                     "<no@example.net> 550 5.1.1 No such user here", "add_header X-Spam: yes", "log        score=5.2"):
            self.assertIn(text, out)

    def test_hostile_texts_reach_no_terminal(self):
        self.send("Q9", "<\x1b[2J@example.org>", subject="x\udcff\x07", recipients=("<\x1b]0;x\x07@example.net>",))
        for words in (("why", "Q9"), ("why", "--json", "Q9")):
            code, out, err = self.postern.ctl(*words)
            self.assertEqual((code, err), (0, ""))
            self.assertFalse([char for char in out if ord(char) < 32 and char != "\n"])

    def test_nothing_is_known(self):
        code, out, err = self.postern.ctl("why", "nobody")
        self.assertEqual((code, out), (1, ""))
        self.assertIn("the ring is empty", err)
        self.send("Q10")
        code, out, err = self.postern.ctl("why", "nobody\x1b")
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(err, r"nothing is known of nobody\\x1B; the ring reaches back to \d{4}-\d\d-\d\dT.*Z \(\d")

    def test_the_process_before_is_remembered(self):
        self.send("Q11")
        for _ in range(2):  # the second start has nothing to keep
            self.restart_milterd()
            self.assertEqual(self.one("Q11")["verdict"], "continue")
        self.send("Q12")
        self.assertEqual(self.one("Q12")["verdict"], "continue")
        mode = os.stat(self.postern.folder("trace")).st_mode
        self.assertEqual((stat.S_IMODE(mode), os.stat(self.postern.folder("trace")).st_size), (0o600, 8 << 20))

    def test_garbage_in_its_place(self):
        path = self.postern.folder("trace")
        with open(path, "rb") as file:
            whole = file.read(4096)
        for garbage in (b"", b"x" * 100, whole, whole[:8] + b"\xff" * 5000, os.urandom(100000)):
            with open(self.postern.folder("other"), "wb") as file:
                file.write(garbage)
            code, out, err = self.postern.ctl("-o", "trace.file=" + self.postern.folder("other"), "why", "Q1")
            self.assertEqual((code, out), (3, ""), err)
            self.assertIn("is no ring", err)
        code, _, err = self.postern.ctl("-o", "trace.file=/nonexistent/trace", "why", "Q1")
        self.assertEqual((code, "No such file" in err), (3, True))
        code, _, err = self.postern.ctl("-o", "trace.size=0", "why", "Q1")
        self.assertEqual((code, "trace.size is 0" in err), (3, True))


class Faults(WhyTest):
    def test_two_attempts_after_a_worker_is_killed(self):
        self.prepare("")
        flag = self.postern.folder("go-on")
        self.postern.save_filter(WAITING % flag)
        self.postern.start_multiplexor()
        self.postern.start_milterd()
        self.postern.wait_ready()
        sender = threading.Thread(target=self.send, args=("Q1",))
        sender.start()
        try:
            wait_until(lambda: [w for w in self.postern.workers() if w["state"] == "busy"], "a busy worker")
            (worker,) = [w for w in self.postern.workers() if w["state"] == "busy"]
            os.kill(worker["pid"], signal.SIGKILL)
        finally:
            self.postern.folder.write("go-on", "")
            sender.join()
        found = self.one("Q1")
        (stage,) = found["stages"]
        self.assertEqual((stage["attempts"], found["attempts"], stage["verdict"]), (2, 2, "continue"))
        self.assertNotEqual(stage["worker"], worker["pid"])

    def test_nobody_answers(self):
        self.start(FILTER, {**budgets(2000), "milterd.reconnect_time": "100ms"})
        client = self.client().start()
        self.postern.multiplexor.kill()
        self.postern.multiplexor.popen.wait()
        client.mail(macros={"i": "Q1"})
        answer = client.rcpt()
        self.assertEqual(answer.verdict, "tempfail")
        client.quit()
        self.milterd_lines("message uid=")
        found = self.one("Q1")
        (stage,) = found["stages"]
        self.assertEqual((stage["verdict"], stage["code"], stage["outcome"], stage["hook"]), ("tempfail", 451, "nobody", "filter_recipient"))
        self.assertNotIn("worker", stage)
        self.assertEqual(found["verdict"], "aborted")

    def test_refused_by_milterd_itself(self):
        self.start(FILTER, {"milterd.max_message": "2K"})
        client = self.client().start()
        answer = client.message(body=b"x" * 5000, macros={"i": "Q1"})
        self.assertEqual(answer.verdict, "reject")
        stage = self.one("Q1")["stages"][-1]
        self.assertEqual((stage["stage"], stage["outcome"], stage["code"]), ("eom", "oversize", 552))
        self.assertNotIn("hook", stage)

    def test_without_a_ring_mail_goes_on(self):
        self.start(FILTER, {"trace.file": "/nonexistent/trace"})
        self.assertEqual(self.send("Q1").verdict, "continue")
        self.milterd_lines("/nonexistent/trace: No such file or directory; posternctl why and trace will know nothing")

    def test_it_can_be_off(self):
        self.start(FILTER, {"trace.size": "0"})
        self.assertEqual(self.send("Q1").verdict, "continue")
        self.assertFalse(os.path.exists(self.postern.folder("trace")))


if __name__ == "__main__":
    unittest.main()
