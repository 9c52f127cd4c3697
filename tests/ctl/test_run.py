"""posternctl run: the object it prints, what it plays, and that nothing a filter or a mail does ends it."""

import os
import unittest

from common import FilterFolder, ctl, lines_of, run_filter, sample, shipped

KEYS = ["file", "verdict", "reply", "actions", "parts", "defects", "log", "error"]


def raw(header, body):
    """A message in wire form, taken as it is."""
    return header + b"\r\n" + body


class Shape(unittest.TestCase):
    def test_the_object(self):
        code, out, err = ctl("run", "--json", shipped("block-executables"), sample("clean"), sample("executable"), sample("two-names"))
        self.assertEqual(code, 0, err)
        clean, executable, two_names = lines_of(out)
        for answer in (clean, executable, two_names):
            self.assertEqual(list(answer), KEYS)
        self.assertEqual(clean["verdict"], "continue")
        self.assertIsNone(clean["reply"])
        self.assertEqual(executable["verdict"], "reject")
        self.assertEqual((executable["reply"]["code"], executable["reply"]["dsn"]), (550, "5.7.1"))
        self.assertIn("\n", executable["reply"]["text"])
        part = executable["parts"][1]
        self.assertEqual((part["type"], part["filename"]), ("application/octet-stream", "invoice.exe"))
        self.assertEqual(part["size"], 204)
        self.assertEqual(two_names["verdict"], "reject")
        self.assertEqual(sorted(two_names["parts"][1]["filenames"]), ["invoice.pdf", "invoice.scr"])

    def test_text_for_people(self):
        code, out, _ = ctl("run", shipped("block-executables"), sample("executable"))
        self.assertEqual(code, 0)
        self.assertIn("reject 550 5.7.1", out)
        self.assertIn("block-executables.lua:", out)
        self.assertIn("invoice.exe", out)
        self.assertNotIn("\x1b", out)

    def test_actions_are_those_asked_for(self):
        code, answer, _ = run_filter("""
            function filter_message(msg)
                msg:add_header("X-A", "a")
                msg:insert_header(0, "X-Top", "t")
                msg:set_header("Subject", "new")
                msg:delete_header("Date")
                msg:set_sender("other@example.org")
                msg:add_recipient("more@example.net")
                msg:delete_recipient("bob@example.net")
                msg:replace_body("gone\\r\\n")
                msg:hold("look at it")
            end""")
        self.assertEqual(code, 0)
        self.assertEqual([a["action"] for a in answer["actions"]],
                         ["add_header", "insert_header", "set_header", "delete_header", "set_sender", "add_recipient",
                          "delete_recipient", "replace_body", "hold"])
        self.assertEqual(answer["actions"][0], {"action": "add_header", "name": "X-A", "value": "a"})
        self.assertEqual(answer["actions"][5]["address"], "more@example.net")
        self.assertEqual(answer["actions"][7]["body"], "gone\r\n")

    def test_changes_of_refused_mail_are_not_listed(self):
        _, answer, _ = run_filter('function filter_message(msg) msg:add_header("X-A", "a") return tempfail("later") end')
        self.assertEqual((answer["verdict"], answer["reply"]["code"], answer["actions"]), ("tempfail", 451, []))

    def test_everybody_deleted_is_a_discard(self):
        _, answer, _ = run_filter("""function filter_message(msg)
            for _, rcpt in ipairs(msg.recipients) do msg:delete_recipient(rcpt) end end""")
        self.assertEqual(answer["verdict"], "discard")

    def test_log_lines(self):
        _, answer, _ = run_filter("""function filter_message(msg)
            local log = require "postern.log" log.info("size %d", 7) log.warn("careful") msg:log("kind", "test") end""")
        text = "\n".join(answer["log"])
        self.assertRegex(text, r"info: .*size 7")
        self.assertRegex(text, r"warn: .*careful")
        self.assertIn("kind=test", text)

    def test_print_does_not_mix_with_the_object(self):
        code, answer, err = run_filter('function filter_message(msg) print("{}") end')
        self.assertEqual((code, answer["verdict"]), (0, "continue"), (answer, err))


class Envelope(unittest.TestCase):
    ECHO = """function filter_message(msg)
        local to = {}
        for _, rcpt in ipairs(msg.recipients) do to[#to + 1] = tostring(rcpt) end
        local conn = msg.conn
        msg:add_header("X-Echo", string.format("%s %s %s <%s> %s %s", conn.ip, conn.hostname, conn.helo, msg.sender,
            table.concat(to, ","), msg.id))
    end"""

    def echo(self, *words, message="clean"):
        code, answer, err = run_filter(self.ECHO, *words, message=message)
        self.assertEqual(code, 0, (answer, err))
        return answer["actions"][0]["value"].replace("\n ", " ")

    def test_defaults_come_from_the_header(self):
        self.assertEqual(self.echo(), "192.0.2.1 client.example.org client.example.org <ann@example.org> "
                                      "bob@example.net,carol@example.net TEST000001")

    def test_null_sender_from_return_path(self):
        self.assertIn(" <> ", self.echo(message="null-sender"))

    def test_defaults_without_a_header(self):
        self.assertIn("<sender@example.org> recipient@example.net", self.echo(message="no-header"))

    def test_options(self):
        text = self.echo("--ip", "2001:db8::1", "--hostname", "mx.example.com", "--helo", "me", "--sender", "<>",
                         "--recipient", "a@example.net", "--recipient", "<b@example.net>", "--macro", "i=QID")
        self.assertEqual(text, "2001:db8::1 mx.example.com me <> a@example.net,b@example.net QID")

    def test_arguments_and_macros(self):
        _, answer, _ = run_filter("""function filter_message(msg)
            msg:log("size", msg.sender_args.SIZE)
            msg:log("notify", msg.recipients[1].args.NOTIFY)
            msg:log("user", msg.conn.auth.user)
            msg:log("x", msg.conn.macros["{x_test}"])
        end""", "--sender", "a@example.org SIZE=10 BODY=8BITMIME", "--recipient", "b@example.net NOTIFY=NEVER",
            "--macro", "auth_authen=ann", "--macro", "auth_type=PLAIN", "--macro", "{x_test}=yes")
        self.assertIsNone(answer["error"])
        self.assertEqual(answer["log"][-4:], ["size=10", "notify=NEVER", "user=ann", "x=yes"])

    def test_wrong_options(self):
        for words in (("--ip", "nonsense"), ("--macro", "novalue"), ("--sender", "a\nb")):
            with self.subTest(words=words):
                code, _, err = ctl("run", shipped("pass"), sample("clean"), *words)
                self.assertEqual(code, 2)
                self.assertNotEqual(err, "")


class Stages(unittest.TestCase):
    def test_state_and_changes_cross_hooks(self):
        _, answer, _ = run_filter("""
            function filter_relay(conn) conn.state.seen = { "relay" } end
            function filter_helo(conn) table.insert(conn.state.seen, "helo") end
            function filter_sender(msg) msg.state.n = 1 msg:add_header("X-From-Sender", "1") end
            function filter_recipient(msg, rcpt) msg.state.n = msg.state.n + 1 end
            function filter_data(msg) msg.state.n = msg.state.n + 1 end
            function filter_header(msg, name, value) msg.state.n = msg.state.n + 1 end
            function filter_headers(msg) msg.state.n = msg.state.n + 100 end
            function filter_body(msg, chunk) msg.state.n = msg.state.n + 1000 end
            function filter_message(msg)
                msg:log("n", msg.state.n)
                msg:log("seen", table.concat(msg.conn.state.seen, "+"))
                msg:log("header", msg:header("X-From-Sender"))
            end""", "--recipient", "a@b.example", "--recipient", "c@d.example")
        self.assertIsNone(answer["error"])
        n_headers = 7 + 1
        self.assertEqual(answer["log"][-3:], [f"n={1 + 2 + 1 + n_headers + 100 + 1000}", "seen=relay+helo", "header=1"])
        self.assertEqual([a["name"] for a in answer["actions"]], ["X-From-Sender"])

    def test_one_of_three_recipients_refused(self):
        code, answer, _ = run_filter("""
            function filter_recipient(msg, rcpt)
                msg:add_header("X-Rcpt", rcpt.address)
                if rcpt:matches{ "b@" } then return reject{ text = "no such user", code = 550, dsn = "5.1.1" } end
            end
            function filter_message(msg) msg:log("left", #msg.recipients) end""",
            "--recipient", "a@x.example", "--recipient", "b@x.example", "--recipient", "c@x.example")
        self.assertEqual((code, answer["verdict"], answer["reply"]), (0, "continue", None))
        self.assertEqual(answer["recipients"], [{"address": "b@x.example", "verdict": "reject",
                                                 "reply": {"code": 550, "dsn": "5.1.1", "text": "no such user"}}])
        self.assertEqual([a["value"] for a in answer["actions"]], ["a@x.example", "c@x.example"])
        self.assertEqual(answer["log"][-1], "left=2")

    def test_all_recipients_refused(self):
        _, answer, _ = run_filter("""function filter_recipient(msg, rcpt) return reject("not here") end
            function filter_message(msg) error("never reached") end""")
        self.assertEqual((answer["verdict"], answer["reply"]["text"]), ("reject", "not here"))
        self.assertEqual(len(answer["recipients"]), 2)

    def test_early_verdicts_end_it(self):
        for hook, argument in (("relay", "conn"), ("helo", "conn"), ("sender", "msg"), ("data", "msg"), ("headers", "msg")):
            for call, verdict in (('reject("no")', "reject"), ('tempfail("no")', "tempfail"), ("accept()", "accept")):
                with self.subTest(hook=hook, verdict=verdict):
                    _, answer, _ = run_filter(f"""function filter_{hook}({argument}) return {call} end
                        function filter_message(msg) error("never reached") end""")
                    self.assertEqual((answer["verdict"], answer["error"]), (verdict, None))

    def test_refused_host_of_the_example(self):
        code, out, _ = ctl("run", "--json", shipped("example"), sample("clean"), "--ip", "203.0.113.7")
        (answer,) = lines_of(out)
        self.assertEqual((code, answer["verdict"]), (0, "reject"))
        self.assertIn("advertisements", answer["reply"]["text"])
        code, out, _ = ctl("run", "--json", shipped("example"), sample("executable"))
        self.assertEqual(lines_of(out)[0]["verdict"], "reject")
        code, out, _ = ctl("run", "--json", shipped("example"), sample("html"))
        (answer,) = lines_of(out)
        self.assertEqual(answer["actions"], [{"action": "add_header", "name": "X-Postern", "value": "2 parts"}])

    def test_a_part_goes_through_a_program(self):
        code, answer, _ = run_filter("""function filter_message(msg)
            msg.root:filter_through{ command = { "/usr/bin/tr", "a-z", "A-Z" } } end""", "-o", "worker.allow_exec=yes")
        self.assertEqual((code, answer["verdict"], answer["error"]), (0, "continue", None))
        self.assertIn("HELLO BOB", answer["actions"][0]["body"])

    def test_other_shipped_filters(self):
        _, out, _ = ctl("run", "--json", shipped("refuse-in-recipient"), sample("clean"), "--ip", "198.51.100.9",
                        "--recipient", "a@b.example", "--recipient", "postmaster@b.example")
        (answer,) = lines_of(out)
        self.assertEqual(answer["verdict"], "continue")
        self.assertEqual(answer["recipients"][0]["reply"]["code"], 554)
        _, out, _ = ctl("run", "--json", shipped("tag-external"), sample("clean"))
        (answer,) = lines_of(out)
        self.assertEqual([a["action"] for a in answer["actions"]], ["set_header", "add_header", "replace_body"])
        self.assertIn("Take care", answer["actions"][2]["body"])
        _, out, _ = ctl("run", "--json", shipped("pass"), sample("clean"))
        (answer,) = lines_of(out)
        self.assertEqual((answer["verdict"], answer["actions"]), ("continue", []))


class Files(unittest.TestCase):
    def test_output_is_the_message_as_it_would_leave(self):
        with FilterFolder("ctl-output", """function filter_message(msg)
                msg:insert_header(0, "X-Top", "top") msg:set_header("Subject", "new") msg:delete_header("Date") end""") as folder:
            code, _, err = ctl("run", folder.filter, sample("clean"), sample("mbox"), "--output", folder("out"))
            self.assertEqual(code, 0, err)
            self.assertEqual(sorted(os.listdir(folder("out"))), ["clean.eml", "mbox.eml"])
            with open(folder("out", "clean.eml"), "rb") as file:
                data = file.read()
            with open(sample("clean"), "rb") as file:
                body = file.read().split(b"\n\n", 1)[1].replace(b"\n", b"\r\n")
            self.assertTrue(data.startswith(b"X-Top: top\r\nReceived: "), data)
            self.assertIn(b"\r\nSubject: new\r\n", data)
            self.assertNotIn(b"\r\nDate:", data)
            self.assertTrue(data.endswith(b"\r\n\r\n" + body), data)
            with open(folder("out", "mbox.eml"), "rb") as file:
                self.assertNotIn(b"From ann@example.org", file.read())

    def test_refused_mail_is_not_written(self):
        with FilterFolder("ctl-output", 'function filter_message(msg) return reject("no") end') as folder:
            ctl("run", folder.filter, sample("clean"), "--output", folder("out"))
            self.assertEqual(os.listdir(folder("out")), [])

    def test_scanned_by_is_added_as_a_server_would(self):
        _, answer, _ = run_filter("function filter_message(msg) end", "-o", "milterd.scanned_by=us")
        self.assertEqual(answer["actions"], [{"action": "add_header", "name": "Scanned-By", "value": "us"}])

    def test_untouched_mail_is_written_as_it_was(self):
        with FilterFolder("ctl-output", "function filter_message(msg) end") as folder:
            ctl("run", folder.filter, sample("nul"), "--output", folder("out"))
            with open(sample("nul"), "rb") as before, open(folder("out", "nul.eml"), "rb") as after:
                self.assertEqual(after.read(), before.read())

    def test_standard_input(self):
        code, out, _ = ctl("run", "--json", shipped("pass"), "-", stdin=b"From: a@example.org\n\nhello\n")
        self.assertEqual((code, lines_of(out)[0]["file"]), (0, "-"))

    def test_a_missing_file_is_2_and_the_others_go_on(self):
        code, out, err = ctl("run", "--json", shipped("pass"), "/nonexistent.eml", sample("clean"))
        self.assertEqual(code, 2)
        self.assertIn("/nonexistent.eml", err)
        self.assertEqual(len(lines_of(out)), 1)

    def test_every_sample_gets_an_answer(self):
        names = ["clean", "html", "executable", "two-names", "empty-body", "no-end-of-header", "no-header", "mbox", "nul",
                 "null-sender", "no-final-newline", "bad-line"]
        code, out, err = ctl("run", "--json", shipped("block-executables"), *map(sample, names))
        self.assertEqual(code, 0, (out, err))
        self.assertEqual([line["file"] for line in lines_of(out)], [sample(name) for name in names])

    def test_oversize(self):
        code, answer, _ = run_filter("function filter_message(msg) end", "-o", "milterd.max_message=1K",
                                     message=b"From: a@example.org\n\n" + b"x" * 2000 + b"\n")
        self.assertEqual((code, answer["verdict"], answer["reply"]["code"], answer["reply"]["dsn"]), (0, "reject", 552, "5.3.4"))


class Failures(unittest.TestCase):
    """The verdict is error, the exit code 1, and the error names hook and line and the answer a server would give."""

    QUICK = ("-o", "milterd.message_time=600ms", "-o", "milterd.stage_time=600ms", "-o", "multiplexor.kill_grace=300ms")

    def failure(self, text, *words, **more):
        code, answer, err = run_filter(text, *words, **more)
        self.assertEqual((code, answer["verdict"]), (1, "error"), (answer, err))
        self.assertEqual(list(answer)[:8], KEYS)
        return answer

    def test_error_in_a_hook(self):
        answer = self.failure('function filter_message(msg)\n  local x = nil\n  return x.y\nend')
        self.assertIn("filter.lua:3", answer["error"])
        self.assertIn("worker.on_error", answer["error"])
        self.assertEqual((answer["reply"]["code"], answer["reply"]["dsn"]), (451, "4.3.0"))

    def test_on_error_is_named(self):
        answer = self.failure("function filter_message(msg) error('x') end", "-o", "worker.on_error=accept")
        self.assertIn("accept (worker.on_error)", answer["error"])
        self.assertIsNone(answer["reply"])

    def test_load_failures(self):
        for text in ("function filter_message(msg", "error('at load')", "x = 1", "function filter_mesage(m) end", "\x1bLua"):
            with self.subTest(text=text):
                self.assertNotEqual(self.failure(text)["error"], "")

    def test_filter_init_fails(self):
        self.assertIn("no database", self.failure("function filter_init() error('no database') end function filter_message(m) end")["error"])

    def test_loops_end(self):
        for body in ("while true do end", "while true do pcall(function() while true do end end) end",
                     "coroutine.wrap(function() while true do end end)()",
                     "string.find(string.rep('a', 100000), '.-.-.-.-.-b')",
                     "local function f() return f() + 1 end f()"):
            with self.subTest(body=body):
                self.failure(f"function filter_message(msg) {body} end", *self.QUICK)

    def test_memory_ends(self):
        answer = self.failure("function filter_message(msg) local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end end")
        self.assertIn("memory", answer["error"])

    def test_exit_and_crash_end_in_a_line(self):
        self.failure("function filter_message(msg) os.exit(0) end")
        self.failure("function filter_message(msg) local p = string.rep('(', 10) error({}) end")

    def test_lines_logged_before_a_failure_are_kept(self):
        answer = self.failure("local log = require 'postern.log' function filter_message(msg) log.info('before') error('x') end")
        self.assertTrue(any("before" in line for line in answer["log"]), answer["log"])

    def test_traceback_is_escaped_once(self):
        with FilterFolder("ctl-run", "function filter_message(msg)\n  error('a\\nb')\nend") as folder:
            code, out, _ = ctl("run", folder.filter, sample("clean"))
        self.assertEqual(code, 1)
        self.assertRegex(out, r"log error: \S+ hook=filter_message filter\.lua:2: a\\nb\\nstack traceback:\\n\\t")
        self.assertNotIn("\\\\n", out)


class Hostile(unittest.TestCase):
    """Raw bytes that no mail server would pass on: a definite answer, in time."""

    LOOK = """function filter_message(msg)
        local n = 0
        for part in msg:walk() do n = n + #part:content() + #part:text() + #part.filenames end
        msg:log("n", n)
        msg:log("text", #msg:text())
        for name, value in msg:each_header() do n = n + #name + #value end
        if msg.ambiguous then return reject("ambiguous") end
    end"""

    def test_definite_answers(self):
        nested = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (i, i) for i in range(20000))
        cases = {
            "nothing": b"",
            "one NUL": b"\0",
            "only line ends": b"\r\n" * 1000,
            "no colon": raw(b"Subject x\r\nFrom: a@example.org\r\n", b"text"),
            "bare CR": raw(b"Subject: a\rb\r\n", b"text\rmore"),
            "bare LF in wire form": raw(b"Subject: a\r\nX: b\nY: c\r\n", b"text\nmore"),
            "NUL in a header": raw(b"Subject: a\0b\r\nFrom: x\r\n", b""),
            "100,000 headers": raw(b"".join(b"X-%d: y\r\n" % i for i in range(100000)), b"text"),
            "a header of 1 MB": raw(b"X: " + b"y" * 1000000 + b"\r\n", b"text"),
            "nested groups": raw(b"To: " + b"a:" * 42000 + b"\r\n", b"text"),
            "20,000 levels": raw(nested, b""),
            "100,000 parts": raw(b'Content-Type: multipart/mixed; boundary="b"\r\n', b"--b\r\n\r\nx\r\n" * 100000),
            "broken base64": raw(b"Content-Transfer-Encoding: base64\r\n", b"!!!!" * 1000),
        }
        for name, message in cases.items():
            with self.subTest(name=name):
                code, answer, err = run_filter(self.LOOK, message=message)
                self.assertEqual(code, 0, (answer["error"], err))
                self.assertIn(answer["verdict"], ("continue", "reject"))


if __name__ == "__main__":
    unittest.main()
