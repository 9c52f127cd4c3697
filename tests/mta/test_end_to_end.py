"""Every action and every verdict, through a real mail server, seen in the SMTP dialogue or in the delivered message.

Usage: test_end_to_end.py sendmail|postfix
"""

import os
import socket
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness.mail import message
from harness.mta import Postfix, Sendmail
from harness.postern import Postern
from harness.process import wait_until

MTA = {"sendmail": Sendmail, "postfix": Postfix}[sys.argv.pop(1)]
SENDER = "sender@example.org"
THREE = ["one@example.net", "two@example.net", "three@example.net"]


class EndToEnd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mta = MTA(name=MTA.__name__.lower() + ".e2e")
        cls.postern = Postern("function filter_message(msg) end\n", folder=cls.mta.folder,
                              options={"multiplexor.min_workers": 4, "multiplexor.max_workers": 4})
        cls.mta.spec = cls.postern.spec
        cls.mta.start()

    @classmethod
    def tearDownClass(cls):
        cls.mta.process.stop()
        cls.postern.stop()
        cls.mta.folder.remove()

    def setUp(self):
        self.addCleanup(self.mta.empty)

    def use(self, text):
        self.postern.save_filter(text)
        answer = self.postern.reload()
        self.assertTrue(answer and answer["ok"], answer)

    def send(self, text, data=None, recipients=("rcpt@example.net",), sender=SENDER):
        """Loads the filter, sends one message over a new connection; returns (stage, code, text)."""
        self.use(text)
        smtp = self.mta.smtp()
        self.assertEqual(smtp.greeting[0], 220)
        self.assertEqual(smtp.hello()[0], 250)
        answer = smtp.transaction(sender, recipients, data or message())
        smtp.close()
        return answer

    def accepted(self, text, **kwargs):
        answer = self.send(text, **kwargs)
        self.assertEqual(answer[:2], ("end", 250), answer)
        return self.mta.one()

    # Actions, seen in the delivered message.

    def test_header_added(self):
        mail = self.accepted('function filter_message(msg) msg:add_header("X-Added", "v=" .. msg.subject) end')
        self.assertEqual(mail["X-Added"], "v=hello")

    def test_header_added_has_exactly_one_space(self):
        mail = self.accepted('function filter_message(msg) msg:add_header("X-Added", "v") end')
        self.assertRegex(mail.raw, rb"(?m)^X-Added: v\r?$")

    def test_header_inserted_at_the_top(self):
        mail = self.accepted('function filter_message(msg) msg:insert_header(0, "X-Top", "first") end')
        names = [name.lower() for name in mail.keys() if name.lower() not in ("return-path", "x-original-to", "delivered-to")]
        self.assertEqual(names[0], "x-top")

    def test_headers_inserted_between_those_received(self):
        data = message(headers=("X-A: 1", "X-B: 2", "X-C: 3"))
        mail = self.accepted('''
            function filter_message(msg)
                local at = 0
                for name in msg:each_header() do
                    at = at + 1
                    if name == "X-A" then break end
                end
                msg:delete_header("Date")
                msg:insert_header(at, "X-After-A", "yes")
                msg:insert_header(at + 1, "X-After-B", "yes")
                msg:insert_header(0, "X-Top", "yes")
            end''', data=data)
        names = [name for name in mail.keys() if name.startswith("X-") and name != "X-Original-To"]
        self.assertEqual(names, ["X-Top", "X-A", "X-After-A", "X-B", "X-After-B", "X-C"])

    def test_header_changed(self):
        mail = self.accepted('function filter_message(msg) msg:set_header("Subject", "changed " .. msg.subject) end')
        self.assertEqual(mail.get_all("Subject"), ["changed hello"])

    def test_header_changed_non_ascii_is_encoded(self):
        mail = self.accepted('function filter_message(msg) msg:set_header("Subject", "Grüße") end')
        from email.header import decode_header, make_header
        self.assertEqual(str(make_header(decode_header(mail["Subject"]))), "Grüße")
        self.assertTrue(mail.raw.split(b"\n\n")[0].isascii())

    def test_second_of_three_headers_changed(self):
        data = message(headers=("X-N: 1", "X-N: 2", "X-N: 3"))
        mail = self.accepted('function filter_message(msg) msg:set_header("X-N", "two", 2) end', data=data)
        self.assertEqual(mail.get_all("X-N"), ["1", "two", "3"])

    def test_header_deleted(self):
        data = message(headers=tuple(f"X-Gone: {n}" for n in range(12)) + ("X-Stays: yes",))
        mail = self.accepted('function filter_message(msg) msg:delete_header("X-Gone") end', data=data)
        self.assertIsNone(mail["X-Gone"])
        self.assertEqual(mail["X-Stays"], "yes")

    def test_changes_of_several_hooks_in_order(self):
        mail = self.accepted('''
            function filter_sender(msg) msg:add_header("X-Hook", "sender") end
            function filter_recipient(msg, rcpt) msg:add_header("X-Hook", "recipient") end
            function filter_headers(msg) msg:add_header("X-Hook", "headers") end
            function filter_message(msg) msg:add_header("X-Hook", "message") end''')
        self.assertEqual(mail.get_all("X-Hook"), ["sender", "recipient", "headers", "message"])

    def test_recipient_added(self):
        mail = self.accepted('function filter_message(msg) msg:add_recipient("more@example.net", "NOTIFY=NEVER") end')
        self.assertEqual(sorted(mail.recipients), ["more@example.net", "rcpt@example.net"])

    def test_recipient_added_that_is_there_already(self):
        mail = self.accepted('function filter_message(msg) msg:add_recipient("rcpt@EXAMPLE.net") msg:add_recipient("rcpt@example.net") end')
        self.assertEqual(mail.recipients, ["rcpt@example.net"])

    def test_recipient_deleted_in_another_spelling(self):
        mail = self.accepted('function filter_message(msg) msg:delete_recipient("two@EXAMPLE.NET") end', recipients=THREE)
        self.assertEqual(sorted(mail.recipients), ["one@example.net", "three@example.net"])

    def test_recipient_deleted(self):
        mail = self.accepted('function filter_message(msg) msg:delete_recipient("two@example.net") end', recipients=THREE)
        self.assertEqual(sorted(mail.recipients), ["one@example.net", "three@example.net"])

    def test_sender_changed(self):
        mail = self.accepted('function filter_message(msg) msg:set_sender("new@example.org") end')
        self.assertEqual(mail.sender, "new@example.org")

    def test_body_replaced(self):
        body = "first\\r\\n.leading dot\\r\\nlast\\r\\n"
        mail = self.accepted(f'function filter_message(msg) msg:replace_body("{body}") end')
        self.assertEqual(mail.get_payload().replace("\r\n", "\n"), "first\n.leading dot\nlast\n")

    def test_large_body_replaced(self):
        mail = self.accepted('function filter_message(msg) msg:replace_body(string.rep(("x"):rep(70) .. "\\r\\n", 40000)) end')
        self.assertEqual(mail.get_payload().replace("\r\n", "\n"), ("x" * 70 + "\n") * 40000)

    def test_text_appended(self):
        mail = self.accepted('function filter_message(msg) assert(msg:append_text("a note")) end')
        self.assertIn("a line\n", mail.get_payload().replace("\r\n", "\n"))
        self.assertIn("a note", mail.get_payload())

    def test_hold(self):
        answer = self.send('function filter_message(msg) msg:hold("looked odd") end')
        self.assertEqual(answer[:2], ("end", 250), answer)
        held = wait_until(self.mta.held, "the message in the mail server's quarantine")
        self.assertEqual(len(held), 1)
        if MTA is Sendmail:
            self.assertEqual(held[0][1], "looked odd")
        self.assertEqual(self.mta.mailbox(), [])

    def test_nothing_is_changed_by_default(self):
        data = message(body="untouched \t\r\n\r\nlast\r\n", headers=("X-Odd:no space", "X-Folded: a\r\n\tb"))
        mail = self.accepted('function filter_message(msg) end', data=data)
        self.assertIn(b"untouched \t", mail.raw)
        self.assertIn("last", mail.get_payload())

    # Verdicts, seen in the dialogue.

    def test_reject_at_connect(self):
        self.use('function filter_relay(conn) return reject{ text = "not you", code = 554, dsn = "5.7.1" } end')
        smtp = self.mta.smtp()
        if MTA is Postfix:
            self.assertEqual(smtp.greeting[0], 554, smtp.greeting)
        else:
            # sendmail greets with 554 and refuses what follows; it shows no text.
            code = smtp.greeting[0]
            if code == 220:
                smtp.hello()
                code = smtp.sender(SENDER)[0]
            self.assertIn(code, (550, 554), smtp.greeting)
        smtp.close()

    def test_reject_at_helo(self):
        self.use('function filter_helo(conn) if conn.helo == "bad.example.com" then return reject("bad name") end end')
        smtp = self.mta.smtp()
        first = smtp.hello("bad.example.com")
        # Both keep the refusal for MAIL when HELO itself was answered already.
        answer = first if first[0] >= 500 else smtp.sender(SENDER)
        self.assertEqual(answer[0] // 100, 5, answer)
        smtp.close()

    def test_reject_at_mail(self):
        stage, code, text = self.send('function filter_sender(msg) return reject{ text = "no " .. msg.sender_domain, code = 553, dsn = "5.1.8" } end')
        self.assertEqual((stage, code), ("mail", 553))
        self.assertIn("5.1.8", text)
        self.assertIn("no example.org", text)

    def test_reject_one_recipient_of_three(self):
        self.use('''
            function filter_recipient(msg, rcpt)
                if rcpt.localpart == "two" then return reject{ text = "two is not here", code = 550, dsn = "5.1.1" } end
            end
            function filter_message(msg) msg:add_header("X-Count", tostring(#msg.recipients)) end''')
        smtp = self.mta.smtp()
        smtp.hello()
        self.assertEqual(smtp.sender(SENDER)[0], 250)
        self.assertEqual(smtp.recipient(THREE[0])[0], 250)
        code, text = smtp.recipient(THREE[1])
        self.assertEqual(code, 550)
        self.assertIn("5.1.1", text)
        self.assertIn("two is not here", text)
        self.assertEqual(smtp.recipient(THREE[2])[0], 250)
        self.assertEqual(smtp.begin_data()[0], 354)
        self.assertEqual(smtp.content(message())[0], 250)
        smtp.close()
        mail = self.mta.one()
        self.assertEqual(sorted(mail.recipients), [THREE[0], THREE[2]])
        self.assertEqual(mail["X-Count"], "2")

    def test_accept_of_a_recipient_does_not_exempt_the_message(self):
        stage, code, text = self.send('''
            function filter_recipient(msg, rcpt) return accept() end
            function filter_message(msg) return reject("still looked at") end''')
        self.assertEqual((stage, code), ("end", 550))
        self.assertIn("still looked at", text)

    def test_reject_at_data(self):
        stage, code, _ = self.send('function filter_data(msg) return reject("no data") end')
        self.assertEqual((stage, code), ("data", 550))

    def test_reject_at_end_of_headers(self):
        stage, code, text = self.send('function filter_headers(msg) if msg.subject == "hello" then return reject("bad subject") end end')
        self.assertEqual((stage, code), ("end", 550))
        self.assertIn("bad subject", text)

    def test_reject_at_end_of_message_with_code_and_two_lines(self):
        stage, code, text = self.send('function filter_message(msg) return reject{ text = "first line\\n100% second", code = 554, dsn = "5.6.0" } end')
        self.assertEqual((stage, code), ("end", 554))
        lines = text.splitlines()
        self.assertEqual(len(lines), 2, text)
        self.assertIn("5.6.0 first line", lines[0])
        self.assertIn("5.6.0 100% second", lines[1])

    def test_reject_in_header_and_body_hooks(self):
        stage, code, _ = self.send('function filter_header(msg, name, value) if name == "Subject" then return reject("header " .. value) end end')
        self.assertEqual((stage, code), ("end", 550))
        stage, code, _ = self.send('function filter_body(msg, chunk) if chunk:find("a line") then return reject("body") end end')
        self.assertEqual((stage, code), ("end", 550))

    def test_tempfail(self):
        stage, code, text = self.send('function filter_message(msg) return tempfail{ text = "later", code = 452, dsn = "4.3.1" } end')
        self.assertEqual((stage, code), ("end", 452))
        self.assertIn("4.3.1 later", text)

    def test_discard(self):
        answer = self.send('function filter_message(msg) return discard() end')
        self.assertEqual(answer[:2], ("end", 250))
        self.assertEqual(self.send('function filter_message(msg) msg:add_header("X-Next", "1") end')[:2], ("end", 250))
        self.assertEqual(self.mta.one()["X-Next"], "1")

    def test_last_recipient_deleted_is_thrown_away(self):
        answer = self.send('function filter_message(msg) msg:delete_recipient("rcpt@example.net") end')
        self.assertEqual(answer[:2], ("end", 250))
        wait_until(lambda: self.postern.log_lines("discard"), "a log line that says discard")
        self.assertEqual(self.mta.mailbox(), [])

    def test_accept_at_mail_skips_the_rest(self):
        mail = self.accepted('''
            function filter_sender(msg) msg:add_header("X-Sender", "seen") return accept() end
            function filter_recipient(msg, rcpt) return reject("not reached") end
            function filter_message(msg) return reject("not reached") end''')
        self.assertEqual(mail["X-Sender"], "seen")

    def test_error_in_a_hook_is_a_tempfail_that_tells_nothing(self):
        stage, code, text = self.send('function filter_message(msg) error("secret detail") end')
        self.assertEqual((stage, code), ("end", 451))
        self.assertIn("4.3.0", text)
        self.assertNotIn("secret", text)
        self.assertIn("filter.lua:1", self.postern.multiplexor.output())

    # Connections and sessions.

    def test_several_messages_in_one_connection(self):
        self.use('''
            function filter_sender(msg) msg.state.n = msg.sender_local if msg.sender_local == "m3" then return reject("three") end end
            function filter_message(msg)
                if msg.state.n == "m5" then return tempfail("five") end
                if msg.state.n == "m7" then return discard() end
                msg:add_header("X-N", msg.state.n)
            end''')
        smtp = self.mta.smtp()
        smtp.hello()
        codes = [smtp.transaction(f"m{n}@example.org", ["rcpt@example.net"], message(subject=f"m{n}"))[1] for n in range(10)]
        smtp.close()
        self.assertEqual(codes, [250, 250, 250, 550, 250, 451, 250, 250, 250, 250])
        mails = self.mta.delivered(7)
        self.assertEqual(sorted((m["Subject"], m.get_all("X-N")) for m in mails), [(f"m{n}", [f"m{n}"]) for n in (0, 1, 2, 4, 6, 8, 9)])
        self.mta.empty()

    def test_rset_in_the_middle(self):
        self.use('''
            function filter_sender(msg) msg.state.from = msg.sender_local msg:add_header("X-From", msg.sender_local) end
            function filter_message(msg) msg:add_header("X-State", msg.state.from) end''')
        smtp = self.mta.smtp()
        smtp.hello()
        self.assertEqual(smtp.sender("first@example.org")[0], 250)
        self.assertEqual(smtp.recipient("lost@example.net")[0], 250)
        self.assertEqual(smtp.reset()[0], 250)
        self.assertEqual(smtp.transaction("second@example.org", ["rcpt@example.net"], message())[:2], ("end", 250))
        smtp.close()
        mail = self.mta.one()
        self.assertEqual((mail.get_all("X-From"), mail["X-State"], mail.recipients), (["second"], "second", ["rcpt@example.net"]))

    def test_client_that_leaves_in_the_middle_of_data(self):
        self.use('function filter_message(msg) msg:add_header("X-Seen", "1") end')
        smtp = self.mta.smtp()
        smtp.hello()
        smtp.sender(SENDER)
        smtp.recipient("rcpt@example.net")
        self.assertEqual(smtp.begin_data()[0], 354)
        smtp.sock.sendall(b"Subject: half\r\n\r\nhalf a line")
        smtp.sock.shutdown(socket.SHUT_RDWR)
        smtp.close()
        self.assertEqual(self.send('function filter_message(msg) msg:add_header("X-Seen", "2") end')[:2], ("end", 250))
        mail = self.mta.one()
        self.assertEqual((mail["Subject"], mail["X-Seen"]), ("hello", "2"))

    def test_state_of_filter_relay_is_read_in_filter_message_by_any_worker(self):
        self.use('''
            function filter_relay(conn) conn.state.relay = { ip = conn.ip, n = 1 } end
            function filter_sender(msg) msg.state.sender = msg.sender end
            function filter_message(msg)
                msg:add_header("X-State", msg.conn.state.relay.ip .. " " .. msg.state.sender)
                msg.conn.state.relay.n = msg.conn.state.relay.n + 1
                msg:add_header("X-Count", tostring(msg.conn.state.relay.n))
            end''')
        sessions = [self.mta.smtp() for _ in range(8)]
        for smtp in sessions:
            smtp.hello()
        for turn in range(2):
            for n, smtp in enumerate(sessions):
                self.assertEqual(smtp.transaction(f"s{n}@example.org", ["rcpt@example.net"], message(subject=f"t{turn}"))[:2], ("end", 250))
        for smtp in sessions:
            smtp.close()
        mails = self.mta.delivered(16)
        ip = "127.0.0.1" if MTA is Sendmail else None
        for mail in mails:
            state_ip, state_sender = mail["X-State"].split()
            self.assertEqual(state_sender, mail.sender)
            self.assertTrue(state_ip.startswith("127."), (state_ip, ip))
            self.assertEqual(mail["X-Count"], {"t0": "2", "t1": "3"}[mail["Subject"]])
        self.mta.empty()

    def test_queue_id_is_known_at_end_of_message(self):
        mail = self.accepted('function filter_message(msg) msg:add_header("X-Id", tostring(msg.id)) end')
        self.assertIn(mail["X-Id"], mail["Received"])

    def test_mta_is_known(self):
        mail = self.accepted('function filter_message(msg) msg:add_header("X-Mta", msg.conn.mta) end')
        self.assertEqual(mail["X-Mta"], MTA.__name__.lower())

    def test_null_sender_and_smtputf8(self):
        mail = self.accepted('function filter_message(msg) msg:add_header("X-Sender", "[" .. msg.sender .. "]") end', sender="")
        self.assertEqual(mail["X-Sender"], "[]")
        if MTA is Postfix:
            self.use('function filter_message(msg) msg:add_header("X-Local", msg.sender_local) end')
            smtp = self.mta.smtp()
            smtp.hello()
            smtp.sock.sendall("MAIL FROM:<grüße@example.org> SMTPUTF8\r\n".encode())
            self.assertEqual(smtp.getreply()[0], 250)
            self.assertEqual(smtp.recipient("rcpt@example.net")[0], 250)
            self.assertEqual(smtp.begin_data()[0], 354)
            self.assertEqual(smtp.content(message())[0], 250)
            smtp.close()
            from email.header import decode_header, make_header
            self.assertEqual(str(make_header(decode_header(str(self.mta.one()["X-Local"])))), "grüße")

    def test_each_message_has_one_log_line(self):
        before = len(self.postern.log_lines("verdict="))
        self.send('function filter_message(msg) return reject("logged") end')
        lines = wait_until(lambda: self.postern.log_lines("verdict=")[before:], "the log line")
        self.assertEqual(len(lines), 1, lines)
        for word in ("verdict=reject", "550", "filter.lua:1", SENDER, "rcpt@example.net"):
            self.assertIn(word, lines[0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
