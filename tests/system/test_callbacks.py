"""Every callback reaches its hook with what the MTA said, and nothing of one message or connection is in the next."""

import re
import unittest

from fixture import PATIENCE, MilterClient, Stopwatch, SystemTest

# Each hook writes what it sees into the log, one line "SAW hook …".
WITNESS = r'''
local log = require "postern.log"
local function saw(hook, ...)
    local words = table.pack(...)
    for i = 1, words.n do words[i] = string.format("%q", words[i]) end
    log.info("SAW " .. hook .. " " .. table.concat(words, " "))
end
function filter_relay(conn) saw("relay", conn.ip, conn.port, conn.hostname, conn.macros.j, conn.daemon, conn.mta) end
function filter_helo(conn) saw("helo", conn.helo, conn.tls and conn.tls.version, conn.macros["{cipher}"]) end
function filter_sender(msg)
    saw("sender", msg.sender, msg.sender_args.SIZE, msg.sender_args.SMTPUTF8, msg.id, msg.conn.auth and msg.conn.auth.user, msg.attempt)
end
function filter_recipient(msg, rcpt) saw("recipient", rcpt.address, rcpt.args.NOTIFY, rcpt.mailer, #msg.recipients, msg.id) end
function filter_data(msg) saw("data", msg.id, #msg.recipients) end
function filter_header(msg, name, value) saw("header", name, value) end
function filter_headers(msg) saw("headers", msg:raw_headers(), msg.subject) end
function filter_body(msg, chunk) saw("body", #chunk, chunk:sub(1, 8)) end
function filter_message(msg)
    saw("message", msg.id, msg.macros["{msg_id}"], msg.size, msg:raw_body():sub(-8), msg:header("X-Fold"))
end
function filter_abort(msg) saw("abort", msg.sender, msg.uid) end
function filter_close(conn) saw("close", conn.id, conn.helo) end
function filter_unknown(conn, command) saw("unknown", command) end
'''


class Callbacks(SystemTest):
    def saw(self, hook, least=1):
        return [line.split("SAW " + hook + " ", 1)[1] for line in self.worker_lines("SAW " + hook + " ", least)]

    def test_each_with_its_data(self):
        self.start(WITNESS)
        client = self.client()
        client.negotiate()
        client.connect("mail.example.org", "2001:db8::7", 2525, macros={"j": "mx.test", "{daemon_name}": "MTA", "v": "Postfix 3.7.11"})
        client.helo("first.example", macros={"{tls_version}": "TLSv1.3", "{cipher}": "AES"})
        client.mail("<a@example.org>", "SIZE=77", "SMTPUTF8", macros={"{auth_authen}": "anna", "{auth_type}": "PLAIN"})
        client.rcpt("<one@example.net>", "NOTIFY=NEVER", macros={"{rcpt_mailer}": "smtp"})
        client.rcpt("<two@example.net>", macros={"{rcpt_mailer}": "local"})
        client.data(macros={"i": "LATE77"})
        client.header("X-Plain", " plain")
        client.header("X-Tight", "tight")
        client.header("X-Wide", " \t  wide ")
        client.header("X-Fold", " one\n\ttwo\r\n three")
        client.header("X-Empty", "")
        client.header("Subject", " =?utf-8?q?gr=C3=BC=C3=9Fe?=")
        client.eoh()
        client.body(b"0123456789\r\n")
        client.body(b"last line\r\n")
        self.assertEqual(client.eom(macros={"i": "LATE77", "{msg_id}": "<m@x>"}).code, "continue")
        self.assertEqual(client.unknown("XYZZY plugh").code, "continue")
        client.mail("<gone@example.org>")
        client.abort()
        client.quit()
        self.assertEqual(self.saw("relay"), ['"2001:db8::7" 2525 "mail.example.org" "mx.test" "MTA" "postfix"'])
        self.assertEqual(self.saw("helo"), ['"first.example" "TLSv1.3" "AES"'])
        self.assertEqual(self.saw("sender", 2)[0], '"a@example.org" "77" true nil "anna" 1')
        self.assertEqual(self.saw("recipient", 2), ['"one@example.net" "NEVER" "smtp" 1 nil', '"two@example.net" nil "local" 2 nil'])
        self.assertEqual(self.saw("data"), ['"LATE77" 2'])
        lines = ["X-Plain: plain", "X-Tight:tight", r"X-Wide: \9  wide ", "X-Fold: one", r"\9two", " three", "X-Empty:",
                 "Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?="]
        self.assertEqual(self.saw("headers"), ['"' + "".join(line + r"\13\\n" for line in lines) + '" "grüße"'])
        self.assertEqual(len(self.saw("header", 6)), 6)
        self.assertIn('"Subject" "grüße"', self.saw("header", 6)[5])
        self.assertEqual(len(self.saw("body", 2)), 2)
        self.assertTrue(self.saw("body", 2)[0].startswith('12 "01234567"'))
        self.assertTrue(self.saw("message")[0].startswith('"LATE77" "<m@x>" '), self.saw("message"))
        self.assertEqual(self.saw("unknown"), ['"XYZZY plugh"'])
        self.assertTrue(self.saw("abort")[0].startswith('"gone@example.org" '))
        self.assertTrue(self.saw("close")[0].endswith('"first.example"'))

    def test_header_bytes_exactly(self):
        self.start('function filter_message(msg) msg:add_header("X-Hex", (msg:raw_headers():gsub(".", function(c) '
                   'return string.format("%02x", c:byte()) end))) end')
        rows = [("A", " plain"), ("B", "tight"), ("C", "\ttab"), ("D", "   three"), ("E", " fold\n\tgoes on"), ("F", " \xe9".encode("latin-1").decode(
            "utf-8", "surrogateescape")), ("G", ""), ("H", " "), ("I", " trailing \t "), ("J", " a\n b\n c")]
        expected = b"".join(f"{name}:{value}".encode("utf-8", "surrogateescape").replace(b"\n", b"\r\n") + b"\r\n" for name, value in rows)
        answer = self.client().start().message(headers=rows)
        self.assertEqual(bytes.fromhex(answer.all("add_header")[0][1]), expected)

    def test_macros_are_those_of_the_stage(self):
        """A value sent again at a later stage is the one that counts from then on."""
        self.start('''
            function filter_sender(msg) msg.state.at_mail = tostring(msg.id) .. "/" .. tostring(msg.macros["{x}"]) end
            function filter_message(msg) msg:add_header("X-Ids", msg.state.at_mail .. " " .. tostring(msg.id) .. "/" .. tostring(msg.macros["{x}"])) end
        ''', {"milterd.macros_mail": "{x}", "milterd.macros_eom": "{x}"})
        client = self.client().start()
        for n in range(3):
            client.mail(macros={"i": f"M{n}", "{x}": f"early{n}"})
            client.rcpt(), client.data(), client.header("Subject", " x"), client.eoh(), client.body(b"x\r\n")
            answer = client.eom(macros={"i": f"E{n}", "{x}": f"late{n}"})
            self.assertEqual(answer.all("add_header"), [["X-Ids", f" M{n}/early{n} E{n}/late{n}"]])

    def test_a_late_queue_id_is_not_the_next_messages(self):
        """Postfix names the message at DATA: at the next MAIL there is none yet."""
        self.start('''
            function filter_sender(msg) msg.state.at_mail = tostring(msg.id) end
            function filter_message(msg) msg:add_header("X-Ids", msg.state.at_mail .. " " .. msg.id) end
        ''')
        client = self.client().start()
        for n in range(3):
            client.mail(), client.rcpt(), client.data(macros={"i": f"LATE{n}"})
            client.header("Subject", " x"), client.eoh(), client.body(b"x\r\n")
            self.assertEqual(client.eom(macros={"i": f"LATE{n}"}).all("add_header"), [["X-Ids", f" nil LATE{n}"]])

    def test_hooks_after_which_nobody_answers(self):
        """A verdict from filter_abort or filter_close is an error in the log and nothing else."""
        self.start("function filter_abort(msg) return reject() end\nfunction filter_close(conn) error('closing') end\n"
                   "function filter_message(msg) end")
        client = self.client().start()
        client.mail()
        client.abort()
        self.assertEqual(client.message().code, "continue")
        client.quit()
        self.worker_lines("filter.lua:1: reject is not allowed in filter_abort", 1)
        self.worker_lines("filter.lua:2: closing", 1)


class Isolation(SystemTest):
    def test_fifty_messages_in_one_connection(self):
        """Verdicts alternate, aborts between, RSET in the middle: no state, change, recipient or macro crosses over."""
        self.start('''
            local verdicts = { continue, reject, tempfail, discard, accept }
            function filter_sender(msg)
                assert(next(msg.state) == nil, "state of another message")
                msg.conn.state.messages = (msg.conn.state.messages or 0) + 1
                msg.state.sender = msg.sender
                msg:add_header("X-For", msg.sender)
            end
            function filter_recipient(msg, rcpt)
                msg.state.n = (msg.state.n or 0) + 1
                if rcpt.localpart == "no" then msg:add_header("X-Dropped", "1") return reject("no") end
            end
            function filter_message(msg)
                assert(msg.state.sender == msg.sender, "state of another message")
                assert(msg:raw_body() == msg.sender .. "\\r\\n", "body of another message")
                assert(#msg.recipients == 1 and msg.state.n == 2, "recipients of another message")
                assert(#msg:headers("X-For") == 1 and msg:header("X-Dropped") == nil)
                assert(msg:header("Subject") == msg.sender)
                assert(msg.macros.i == msg.sender)
                local n = tonumber(msg.sender:match("%d+"))
                msg:add_header("X-Count", tostring(msg.conn.state.messages))
                return verdicts[n % 5 + 1]("text of " .. n, n)
            end
        '''.replace('return verdicts[n % 5 + 1]("text of " .. n, n)',
                    'local v = verdicts[n % 5 + 1] if v == reject or v == tempfail then return v("text of " .. n) end return v()'),
                   {"multiplexor.min_workers": 4})
        client = self.client().start()
        expected = ["continue", "reject", "tempfail", "discard", "accept"]
        count = 0
        for n in range(50):
            if n % 3 == 1:  # RSET somewhere in the middle of another message
                steps = [lambda: client.mail("<gone@x>", macros={"i": "gone"}), client.rcpt, client.data, lambda: client.header("Subject", " gone"),
                         client.eoh, lambda: client.body(b"gone\r\n")]
                for step in steps[:1 + n % 6]:
                    step()
                client.abort()
                count += 1
            name = f"m{n}@x"
            count += 1
            answer = client.message(sender=f"<{name}>", recipients=("<yes@x>", "<no@x>"), headers=(("Subject", " " + name),),
                                    body=name.encode() + b"\r\n", macros={"i": name})
            self.assertEqual(answer.verdict, expected[n % 5], f"message {n}: {answer}\n{self.postern.logs()}")
            if n % 5 in (1, 2):
                self.assertTrue(answer.text.endswith(f"text of {n}"), answer)
            if n % 5 in (0, 4):
                self.assertEqual(answer.actions, [("add_header", "X-For", f" {name}"), ("add_header", "X-Count", f" {count}")])
            else:
                self.assertEqual(answer.actions, [])
        self.assertEqual(len(self.milterd_lines("message uid", count)), count)
        self.assertEqual(self.worker_lines("error:"), [])

    def test_state_goes_with_the_connection_from_worker_to_worker(self):
        """Eight connections at once over four workers: each hook of a connection may run anywhere."""
        self.start('''
            local async = require "postern.async"
            local log = require "postern.log"
            local function here(conn)
                conn.state.trail = (conn.state.trail or conn.hostname) .. "+"
                async.sleep(0.02)
                log.info("HERE")
            end
            function filter_relay(conn) here(conn) end
            function filter_helo(conn) here(conn) end
            function filter_sender(msg) here(msg.conn) msg.state.from = msg.sender end
            function filter_recipient(msg) here(msg.conn) end
            function filter_message(msg) msg:add_header("X-Trail", msg.conn.state.trail .. msg.state.from) end
        ''', {"multiplexor.min_workers": 4, "multiplexor.max_workers": 4})
        clients = [self.client() for _ in range(8)]

        def round_of(command, data):
            for n, client in enumerate(clients):
                client.send(command, data(n))
            for client in clients:
                self.assertEqual(client.answer().code, "continue")
        for client in clients:
            client.negotiate()
        round_of(b"C", lambda n: b"host%d.example\x004\x10\xe1192.0.2.%d\0" % (n, n))
        round_of(b"H", lambda n: b"h%d\0" % n)
        round_of(b"M", lambda n: b"<f%d@x>\0" % n)
        round_of(b"R", lambda n: b"<t@x>\0")
        for n, client in enumerate(clients):
            client.data(), client.header("Subject", " x"), client.eoh(), client.body(b"x\r\n")
            self.assertEqual(client.eom().all("add_header"), [["X-Trail", f" host{n}.example++++f{n}@x"]])
        pids = {}
        for line in self.worker_lines("HERE", 32):
            conn = re.search(r"(?:conn|uid)=([0-9a-z]+)", line).group(1)
            pids.setdefault(conn, set()).add(re.search(r"postern-worker\[(\d+)\]", line).group(1))
        self.assertEqual(len(pids), 8)
        self.assertGreater(max(len(found) for found in pids.values()), 1, "no connection changed its worker")

    def test_state_of_a_hook_that_fails_is_dropped(self):
        self.start('''
            function filter_sender(msg) msg.state.a = 1 msg.conn.state.c = 1 msg:add_header("X-A", "1") end
            function filter_recipient(msg, rcpt)
                msg.state.a = 2 msg.conn.state.c = 2 msg:add_header("X-B", "1")
                if rcpt.localpart == "bad" then error("bad") end
                msg.state.a = 1 msg.conn.state.c = 1
            end
            function filter_message(msg) msg:add_header("X-State", msg.state.a .. msg.conn.state.c) end
        ''')
        answer = self.client().start().message(recipients=("<bad@x>", "<good@x>"))
        self.assertEqual(answer.actions, [("add_header", "X-A", " 1"), ("add_header", "X-B", " 1"), ("add_header", "X-State", " 11")])


class Actions(SystemTest):
    HEADERS = (("Received", " r1"), ("Subject", " s"), ("Received", " r2"), ("X-Old", " o"), ("X-Old", " p"))

    def setUp(self):
        """The filter runs what the message's body says."""
        self.start("function filter_message(msg)\n"
                   "    return assert(load('local msg = ...\\n' .. msg:raw_body(), '=filter.lua', 't'))(msg)\nend")

    def changed(self, body, headers=HEADERS, recipients=("<a@x>", "<b@x>"), **offer):
        with MilterClient(self.postern.spec, 30 * PATIENCE) as client:
            return client.start(**offer).message(headers=headers, recipients=recipients, body=body.encode())

    def test_every_action(self):
        answer = self.changed('''
            msg:add_header("X-Add", "added") msg:insert_header(0, "X-Top", "top") msg:insert_header(3, "X-Mid", "mid")
            msg:set_header("Subject", "new") msg:set_header("Received", "second", 2) msg:set_header("X-New", "was not there")
            msg:delete_header("X-Old") msg:set_sender("new@x", "ENVID=7") msg:add_recipient("c@x") msg:add_recipient("d@x", "NOTIFY=NEVER")
            msg:delete_recipient("a@x") msg:hold("look at it") msg:replace_body("new body\\r\\n")
        ''')
        self.assertEqual(answer.code, "continue", self.postern.logs())
        self.assertEqual(sorted(map(str, answer.actions)), sorted(map(str, [
            ("add_header", "X-Add", " added"), ("insert_header", 0, "X-Top", " top"), ("insert_header", 4, "X-Mid", " mid"),
            ("change_header", 1, "Subject", " new"), ("change_header", 2, "Received", " second"), ("add_header", "X-New", " was not there"),
            ("change_header", 2, "X-Old", ""), ("change_header", 1, "X-Old", ""),
            ("change_sender", "<new@x>", "ENVID=7"), ("add_recipient", "<c@x>"), ("add_recipient_args", "<d@x>", "NOTIFY=NEVER"),
            ("delete_recipient", "<a@x>"), ("hold", "look at it"), ("replace_body", b"new body\r\n")])))

    def test_values_are_encoded_or_folded_and_never_inject(self):
        answer = self.changed('msg:add_header("X-Word", "gr\\u{fc}\\u{df}e") msg:add_header("X-Empty", "")')
        self.assertRegex(answer.all("add_header")[0][1], r"(?i)^ =\?utf-8\?[qb]\?.*\?=$")
        self.assertEqual(answer.all("add_header")[1][0], "X-Empty")
        for value in ("a\\rb", "a\\nX-Injected: b", "a\\0b", "a\\r\\n\\r\\nbody"):
            for call in (f'msg:add_header("X", "{value}")', f'msg:insert_header(0, "X", "{value}")', f'msg:set_header("Subject", "{value}")',
                         f'msg:add_header("X{value}", "v")', f'msg:add_recipient("{value}@x")', f'msg:set_sender("{value}@x")'):
                with self.subTest(call=call):
                    answer = self.changed(call)
                    self.assertReply(answer, "451 4.3.0")
                    self.assertEqual(answer.actions, [])
                    self.assertIn("filter.lua:2: ", self.milterd_lines("outcome=error")[-1])

    def test_texts_for_people_are_cleaned(self):
        """A refusal that quotes the sender's words stays that refusal, in lines of its own."""
        for value, lines in (("a\\rb", 1), ("a\\nb", 2), ("a\\0b", 1), ("a\\r\\n\\r\\nbody", 3), ("\\27[31m", 1), ("\\xff\\xfe", 1)):
            with self.subTest(value=value):
                answer = self.changed(f'return reject("{value}")')
                self.assertEqual(answer.verdict, "reject")
                self.assertEqual(len(answer.text.split("\r\n")), lines)
                for line in answer.text.split("\r\n"):
                    self.assertRegex(line, r"^550[- ]5\.7\.1 ?[ -~\u00a0-\uffff]*$")
                answer = self.changed(f'msg:hold("{value}")')
                self.assertEqual(answer.code, "continue")
                self.assertRegex(answer.all("hold")[0][0], r"^[ -~\u00a0-\uffff]*$")
        self.assertEqual(self.changed("return reject(string.rep('x', 100000))").verdict, "reject")

    def test_large_ones_come_whole(self):
        answer = self.changed('msg:replace_body(string.rep("0123456789abcd\\r\\n", 327680))\n'
                              'for n = 1, 3000 do msg:add_header("X-" .. n, string.rep("v", 60)) end')
        self.assertEqual(b"".join(fields[0] for fields in answer.all("replace_body")), b"0123456789abcd\r\n" * 327680)
        added = [fields[-2:] for name, *fields in answer.actions if name in ("add_header", "insert_header")]
        self.assertEqual(added, [[f"X-{n}", " " + "v" * 60] for n in range(1, 3001)])

    def test_an_action_that_was_not_offered_is_an_error_at_the_call(self):
        answer = self.changed("msg:replace_body('x')", actions=0x1)
        self.assertReply(answer, "451 4.3.0")
        self.assertIn("filter.lua:2: ", self.milterd_lines("outcome=error")[-1])

    def test_what_is_read_sees_the_changes(self):
        answer = self.changed('''
            msg:add_header("X-A", "1") msg:set_header("Subject", "new") msg:delete_header("X-Old") msg:add_recipient("c@x") msg:set_sender("")
            local tell = { msg:header("X-A"), msg.subject, tostring(msg:header("X-Old")), tostring(#msg.recipients), "<" .. msg.sender .. ">",
                msg:raw_headers():match("Subject: (%w+)") }
            msg:add_header("X-Tell", table.concat(tell, " "))
        ''')
        self.assertIn(["X-Tell", " 1 new nil 3 <> s"], answer.all("add_header"))

    def test_no_recipient_left_is_a_discard(self):
        answer = self.changed("for _, rcpt in ipairs(msg.recipients) do msg:delete_recipient(rcpt) end")
        self.assertEqual((answer.code, answer.actions), ("discard", []))
        self.assertIn("verdict=discard", self.milterd_lines("message uid")[-1])


class Delay(SystemTest):
    def test_the_client_waits_and_the_worker_does_not(self):
        self.start('function filter_message(msg) if msg.subject == "slow" then return reject{ text = "later", delay = 1.5 } end end',
                   {"multiplexor.min_workers": 1, "multiplexor.max_workers": 1})
        slow, quick = self.client().start(), self.client().start()
        slow.mail(), slow.rcpt(), slow.data(), slow.header("Subject", " slow"), slow.eoh(), slow.body(b"x\r\n")
        watch = Stopwatch()
        slow.send(b"E")
        self.assertEqual(quick.message().code, "continue")
        self.assertLess(watch.seconds, 1.4 * PATIENCE)
        self.assertReply(slow.answer(), "550 5.7.1 later")
        self.assertGreaterEqual(watch.seconds, 1.4)

    def test_max_delay_bounds_it(self):
        self.start('function filter_sender(msg) return tempfail{ text = "later", delay = 1000 } end', {"worker.max_delay": "200ms"})
        watch = Stopwatch()
        self.assertReply(self.client().start().mail(), "451 4.7.1 later")
        self.assertLess(watch.seconds, 5 * PATIENCE)


if __name__ == "__main__":
    unittest.main()
