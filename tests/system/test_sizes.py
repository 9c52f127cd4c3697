"""Large and odd things that are within the rules, and what is over a limit."""

import hashlib
import os
import time
import unittest

from fixture import PATIENCE, SystemTest
from harness.process import SANITIZE

MIB = 1 << 20


class Bodies(SystemTest):
    def test_100_mib(self):
        """It goes through the spool folder; what the filter reads is what was sent."""
        self.start('function filter_message(msg)\n'
                   '  msg:add_header("X-Size", tostring(msg.size))\n'
                   '  msg:add_header("X-Hash", msg.root:hash("sha256"))\n'
                   '  msg:add_header("X-Part", tostring(msg.root.size))\nend', {"milterd.message_time": "240s"})
        size = (25 if SANITIZE else 100) * MIB
        block = (b"".join(b"%06d %s\r\n" % (n, b"x" * 55) for n in range(1024)))[:65535 // 64 * 64]
        client = self.client(120).start()
        client.mail(), client.rcpt(), client.data(), client.header("Subject", " large"), client.eoh()
        digest, sent = hashlib.sha256(), 0
        while sent < size:
            client.command(b"B", block)
            digest.update(block)
            sent += len(block)
        self.assertEqual([name for name in os.listdir(self.postern.folder("spool"))], [], "the spooled file has a name")
        answer = client.eom()
        self.assertEqual(answer.code, "continue", f"{answer}\n{self.postern.logs()}")
        self.assertEqual([value for _, value in answer.all("add_header")],
                         [f" {sent + len('Subject: large') + 4}", f" {digest.hexdigest()}", f" {sent}"])
        self.assertEqual(client.message().code, "continue", "the next, small one on the same connection")
        self.good_mail_passes()

    def test_over_max_message(self):
        self.start('function filter_message(msg) msg:add_header("X-Seen", tostring(msg.size)) end', {"milterd.max_message": "1M"})
        client = self.client().start()
        for size, fits in ((MIB - 100, True), (MIB + 1, False), (5 * MIB, False), (MIB - 100, True)):
            with self.subTest(size=size):
                answer = client.message(body=b"x" * (size - 17))
                if fits:
                    self.assertEqual(answer.all("add_header"), [["X-Seen", f" {size}"]])
                else:
                    self.assertReply(answer, "552 5.3.4 ")

    def test_on_oversize(self):
        for option, expected in (("accept", None), ("tempfail", "452 4.3.4 ")):
            with self.subTest(option=option):
                self.start("function filter_message(msg) return reject() end", {"milterd.max_message": "1M", "milterd.on_oversize": option})
                answer = self.client().start().message(body=b"x" * (2 * MIB))
                if expected:
                    self.assertReply(answer, expected[:4])
                    self.assertEqual(answer.verdict, "tempfail")
                else:
                    self.assertIn(answer.code, ("accept", "continue"))

    def test_over_max_header_bytes(self):
        self.start("function filter_message(msg) end", {"milterd.max_header_bytes": "64K"})
        client = self.client().start()
        self.assertReply(client.message(headers=[("X", " " + "v" * 1000)] * 100), "552 5.3.4 ")
        self.assertEqual(client.message(headers=[("X", " " + "v" * 1000)] * 50).code, "continue")

    def test_replaced_body_larger_than_the_message_may_be(self):
        """An annex of 100 MB: the reply's bytes are applied, or it is an error; the next mail passes."""
        self.start('function filter_message(msg) if msg.subject == "big" then msg:replace_body(string.rep("x", 20000000)) end end')
        client = self.client(120).start()
        answer = client.message(headers=(("Subject", " big"),))
        self.assertEqual(sum(len(fields[0]) for fields in answer.all("replace_body")), 20000000)
        self.good_mail_passes()


class Envelopes(SystemTest):
    def test_ten_thousand_recipients(self):
        self.start('''
            function filter_recipient(msg, rcpt)
                if tonumber(rcpt.localpart:sub(2)) % 1000 == 7 then return reject("no") end
            end
            function filter_message(msg)
                local sum = 0
                for _, rcpt in ipairs(msg.recipients) do sum = sum + tonumber(rcpt.localpart:sub(2)) end
                msg:add_header("X-Recipients", #msg.recipients .. " " .. sum)
            end
        ''')
        client = self.client(120).start()
        client.mail()
        times, refused = [], 0
        for n in range(10000):
            start = time.perf_counter()
            answer = client.rcpt(f"<r{n}@example.net>")
            times.append(time.perf_counter() - start)
            self.assertEqual(answer.verdict, "reject" if n % 1000 == 7 else "continue", f"{n}: {answer}")
            refused += answer.verdict == "reject"
        answer_over = client.rcpt("<onemore@example.net>")
        self.assertReply(answer_over, "452 4.5.3 ")
        client.data(), client.header("Subject", " x"), client.eoh(), client.body(b"x\r\n")
        answer = client.eom()
        expected = [n for n in range(10000) if n % 1000 != 7]
        self.assertEqual(answer.all("add_header"), [["X-Recipients", f" {len(expected)} {sum(expected)}"]])
        early, late = (sorted(part)[len(part) // 2] for part in (times[:1000], times[-1000:]))
        self.assertLess(late, 4 * early + 0.0005, f"the time for each recipient grows: {early * 1e6:.0f} us, then {late * 1e6:.0f} us")
        self.assertLess(sum(times), 30 * PATIENCE)

    def test_max_recipients(self):
        self.start('function filter_message(msg) msg:add_header("X-N", tostring(#msg.recipients)) end', {"milterd.max_recipients": 3})
        client = self.client().start()
        # nobody judges recipients here, so RCPT has no answer of ours: the message is refused
        self.assertReply(client.message(recipients=[f"<r{n}@x>" for n in range(5)]), "452 4.5.3 ")
        self.assertEqual(client.message(recipients=["<r@x>"] * 3).all("add_header"), [["X-N", " 3"]])
        self.start('function filter_recipient() end function filter_message(msg) msg:add_header("X-N", tostring(#msg.recipients)) end',
                   {"milterd.max_recipients": 3})
        client = self.client().start()
        client.mail()
        answers = [client.rcpt(f"<r{n}@x>") for n in range(5)]
        self.assertEqual([answer.verdict for answer in answers], ["continue"] * 3 + ["tempfail"] * 2)
        self.assertReply(answers[4], "452 4.5.3 ")
        client.data(), client.header("Subject", " x"), client.eoh(), client.body(b"x\r\n")
        self.assertEqual(client.eom().all("add_header"), [["X-N", " 3"]])

    def test_addresses(self):
        self.start('''
            function filter_sender(msg) msg.state.args = tostring(msg.sender_args.SMTPUTF8) .. tostring(msg.sender_args.SIZE) end
            function filter_recipient(msg, rcpt) msg.state.rcpt = rcpt.localpart .. "|" .. rcpt.domain end
            function filter_message(msg)
                msg:add_header("X-Sender", "<" .. msg.sender .. "> " .. msg.sender_local .. "|" .. msg.sender_domain)
                msg:add_header("X-Rcpt", msg.state.rcpt .. " " .. tostring(msg.recipients[1] ~= nil and #msg.recipients[1].address))
                msg:add_header("X-Args", msg.state.args)
            end
        ''')
        client = self.client().start()
        rows = [("<>", "<a@x>", "<> |", "a|x 3"),
                (f"<{'l' * 500}@{'d' * 499}>", f"<{'r' * 900}@{'d' * 99}>", f"<{'l' * 500}@{'d' * 499}> {'l' * 500}|{'d' * 499}",
                 f"{'r' * 900}|{'d' * 99} 1000"),
                ("a@no.brackets", "b@no.brackets", "<a@no.brackets> a|no.brackets", "b|no.brackets 13"),
                ('<"quo@ted"@x>', '<"a b"@x>', '<"quo@ted"@x> "quo@ted"|x', '"a b"|x 7'),
                ("<local>", "<root>", "<local> local|", "root| 4")]
        for sender, recipient, expected_sender, expected_rcpt in rows:
            with self.subTest(sender=sender[:20]):
                answer = client.message(sender=sender, recipients=[recipient])
                unfolded = [[name, value.replace("\n", "")] for name, value in answer.all("add_header")[:2]]
                self.assertEqual(unfolded, [["X-Sender", " " + expected_sender], ["X-Rcpt", " " + expected_rcpt]],
                                 self.postern.logs())

    def test_utf8_addresses(self):
        self.start('''
            function filter_message(msg)
                local function hex(s) return (s:gsub(".", function(c) return string.format("%02x", c:byte()) end)) end
                msg:add_header("X-Sender", hex(msg.sender_local) .. " " .. hex(msg.sender_domain) .. " " .. tostring(msg.sender_args.SMTPUTF8))
                msg:add_header("X-Rcpt", hex(msg.recipients[1].address))
                msg:add_recipient("käthe@exämple.net")
            end
        ''')
        client = self.client().start()
        client.mail("<jürgen@exämple.org>", "SIZE=10", "SMTPUTF8")
        client.rcpt("<用户@例え.jp>")
        client.data(), client.header("Subject", " grüße"), client.eoh(), client.body("größe\r\n".encode())
        answer = client.eom()
        self.assertEqual(answer.all("add_header"), [["X-Sender", f" {'jürgen'.encode().hex()} {'exämple.org'.encode().hex()} true"],
                                                    ["X-Rcpt", " " + "用户@例え.jp".encode().hex()]])
        self.assertEqual(answer.all("add_recipient"), [["<käthe@exämple.net>"]])


class State(SystemTest):
    def test_nearly_too_much_and_too_much(self):
        self.start('''
            function filter_sender(msg)
                msg.state.text = string.rep("s", tonumber(msg.sender_local))
                msg.conn.state.text = string.rep("c", tonumber(msg.sender_local))
            end
            function filter_recipient(msg) assert(#msg.state.text == #msg.conn.state.text) end
            function filter_message(msg) msg:add_header("X-State", #msg.state.text .. " " .. #msg.conn.state.text) end
        ''')
        client = self.client().start()
        for size, fits in ((32700, True), (33000, False), (32000, True), (100000000, False), (10, True)):
            with self.subTest(size=size):
                answer = client.message(sender=f"<{size}@x>")
                if fits:
                    self.assertEqual(answer.all("add_header"), [["X-State", f" {size} {size}"]], self.postern.logs())
                else:
                    self.assertReply(answer, "451 4.3.0 ")
        self.worker_lines("filter.lua:2: filter_sender: ", 1)

    def test_what_it_holds(self):
        self.start('''
            function filter_sender(msg)
                msg.state.v = { 1, 2.5, true, "x\\0y", { deep = { deeper = { -9223372036854775807, 1e300 } } }, [100] = false }
            end
            function filter_message(msg)
                local v = msg.state.v
                assert(v[1] == 1 and math.type(v[1]) == "integer" and v[2] == 2.5 and v[3] == true and v[4] == "x\\0y")
                assert(v[5].deep.deeper[1] == -9223372036854775807 and v[5].deep.deeper[2] == 1e300 and v[100] == false)
                msg:add_header("X-Ok", "1")
            end
        ''')
        self.assertEqual(self.client().start().message().all("add_header"), [["X-Ok", " 1"]], self.postern.logs())

    def test_what_it_does_not_hold(self):
        self.start('function filter_sender(msg)\n'
                   'local bad = { cycle = function() local t = {} t.t = t return t end, func = function() return print end, '
                   'thread = function() return coroutine.create(print) end, msg = function() return msg end, '
                   'deep = function() local t = {} local u = t for i = 1, 50 do u.t = {} u = u.t end return t end, '
                   'key = function() return { [1.5] = 1 } end }\n'
                   'msg.state.bad = bad[msg.sender_local]()\nend')
        for name in ("cycle", "func", "thread", "msg", "deep", "key"):
            with self.subTest(name=name):
                self.assertReply(self.client().start().message(sender=f"<{name}@x>"), "451 4.3.0 ")


if __name__ == "__main__":
    unittest.main()
