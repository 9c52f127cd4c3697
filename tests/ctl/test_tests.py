"""posternctl test: which tests are found and run, what they are given, and how each way to fail is told."""

import os
import unittest

from common import FilterFolder, ctl, lines_of

FILTER = """
local log = require "postern.log"
local n = 0
function filter_sender(msg)
    if msg.sender == "bad@example.org" then return reject("not you") end
end
function filter_message(msg)
    n = n + 1
    log.info("message %d", n)
    if msg.subject == "raise" then error("boom") end
    if msg.subject == "hang" then while true do end end
    msg:add_header("X-N", tostring(n))
end
"""
MAIL = 'local MAIL = "Subject: lunch\\n\\nAt noon?\\n"\n'


def run_tests(tests, *words, files=None):
    """posternctl test --json of one file of tests; returns (code, results, sum, stderr)."""
    with FilterFolder("ctl-test", FILTER) as folder:
        folder.write("some_test.lua", MAIL + tests)
        for name, content in (files or {}).items():
            folder.write(name, content)
        code, out, err = ctl("test", "--json", "--filter", folder.filter, *words)
    lines = lines_of(out)
    return code, lines[:-1], lines[-1] if lines else None, err


class Results(unittest.TestCase):
    def test_those_that_pass(self):
        code, results, total, err = run_tests("""
            function test_b() assert(run{eml = MAIL}.verdict == "continue") end
            function test_a()
                local r = run{eml = MAIL, sender = "bad@example.org", ip = "2001:db8::1", recipients = {"a@example.net", "b@example.net"}}
                assert(r.verdict == "reject" and r.reply.code == 550, r.verdict)
            end
            function no_test() error("it is not called") end""")
        self.assertEqual(code, 0, err)
        self.assertEqual([(r["test"], r["line"], r["ok"], r["error"]) for r in results],
                         [("test_b", 3, True, None), ("test_a", 4, True, None)])
        self.assertEqual(total, {"passed": 2, "failed": 0})

    def test_each_run_has_a_filter_of_its_own(self):
        code, results, _, _ = run_tests("""
            function test_n()
                for _ = 1, 2 do
                    local r = run{eml = MAIL}
                    assert(r.actions[1].value == "1" and r.log[1]:find("message 1"), r.actions[1].value)
                    assert(r.parts[1].type == "text/plain" and r.reply == nil and r.error == nil)
                end
                seen = true
            end
            function test_state() assert(seen == nil) end""")
        self.assertEqual(code, 0, results)

    def test_the_transaction_is_as_given(self):
        text = """
            function filter_message(msg)
                msg:add_header("X", table.concat({msg.conn.ip, msg.conn.helo, msg.macros["{auth_type}"] or "-", #msg.recipients}, " "))
            end"""
        with FilterFolder("ctl-test", text) as folder:
            folder.write("x_test.lua", MAIL + """function test_x()
                local r = run{eml = MAIL, ip = "198.51.100.7", helo = "mail.example", recipients = {"a@b.example", "c@d.example"},
                              macros = {auth_type = "PLAIN"}}
                assert(r.actions and r.actions[1], r.error)
                assert(r.actions[1].value == "198.51.100.7 mail.example PLAIN 2", r.actions[1].value) end""")
            code, out, _ = ctl("test", "--filter", folder.filter)
            self.assertEqual(code, 0, out)

    def test_settings_of_a_run(self):
        text = """
            local names = {}
            for name, value in pairs(config) do names[#names + 1] = string.format("%s=%s (%s)", name, value, type(value)) end
            table.sort(names)
            function filter_message(msg) msg:add_header("X", table.concat(names, ", ")) end"""
        with FilterFolder("ctl-test", text) as folder:
            folder.write("x_test.lua", MAIL + """
                local function shown(settings)
                    local r = run{eml = MAIL, config = settings}
                    return (assert(r.actions[1], r.error).value:gsub("%s+", " "))
                end
                function test_none() assert(shown() == "a=one (string), b=2 (number)", shown()) end
                function test_some()
                    local got = shown{b = 3, c = true, d = false, e = "", a = "two words"}
                    assert(got == "a=two words (string), b=3 (number), c=true (boolean), d=false (boolean), e= (string)", got)
                    assert(shown() == "a=one (string), b=2 (number)", shown())
                end
                function test_wrong()
                    for _, value in ipairs{1.5, {}, print} do
                        local ok, err = pcall(shown, {a = value})
                        assert(not ok and err:find("run: config holds texts"), err)
                    end
                    assert(not pcall(shown, {[1] = "x"}))
                end""")
            code, out, _ = ctl("test", "--filter", folder.filter, "-o", "filter.a=one", "-o", "filter.b=2")
            self.assertEqual(code, 0, out)

    def test_each_way_to_fail(self):
        code, results, total, _ = run_tests("""
            function test_assert() assert(run{eml = MAIL}.verdict == "reject") end
            function test_text() assert(false, "it was not") end
            function test_error() print("here") local x = nil + 1 end
            function test_filter() assert(run{eml = "Subject: raise\\n\\nx"}.verdict == "continue") end
            function test_field() run{emll = MAIL} end
            function test_nothing() run{} end
            function test_missing() run{file = "missing.eml"} end
            function test_address() run{eml = MAIL, ip = "1.2.3"} end
            function test_goes_on() end""")
        self.assertEqual(code, 1)
        self.assertEqual(total, {"passed": 1, "failed": 8})
        for result, wanted in zip(results, [
                r"^some_test.lua:3: assertion failed!$", r"^some_test.lua:4: it was not$", r"^some_test.lua:5: attempt to perform arithmetic",
                r"(?s)some_test.lua:6: assertion failed!\nthe filter: filter_message: filter.lua:\d+: boom", r"some_test.lua:7: run: .*'emll'",
                r"some_test.lua:8: run: needs file", r"some_test.lua:9: run: cannot read .*missing.eml", r"some_test.lua:10: run: .*1.2.3"]):
            self.assertFalse(result["ok"])
            self.assertRegex(result["error"], wanted)
        self.assertEqual(results[2]["log"], ["info: here"])
        self.assertTrue(results[8]["ok"])

    def test_hanging_and_dying(self):
        code, results, _, _ = run_tests("""
            function test_loop() while true do end end
            function test_filter_loops() run{eml = "Subject: hang\\n\\nx"} end
            function test_end() end""", "-o", "multiplexor.load_time=500ms", "-o", "multiplexor.kill_grace=200ms")
        self.assertEqual(code, 1)
        self.assertEqual([r["ok"] for r in results], [False, False, True])
        self.assertRegex(results[0]["error"], "some_test.lua:3: the test did not end within its time")
        self.assertRegex(results[1]["error"], "filter_message: the process did not end in time and was killed")

    def test_a_message_beside_the_test(self):
        with FilterFolder("ctl-test", FILTER) as folder:
            os.mkdir(folder("tests"))
            folder.write("tests/m.eml", "Subject: x\n\nbody\n")
            folder.write("tests/one_test.lua", 'function test_file() assert(run{file = "m.eml"}.verdict == "continue") end')
            code, out, err = ctl("test", folder("tests"), "--filter", folder.filter)
            self.assertEqual(code, 0, out + err)
            code, out, err = ctl("test", folder("tests/one_test.lua"), "-o", f"worker.filter={folder.filter}")
            self.assertEqual(code, 0, out + err)

    def test_it_is_in_the_sandbox(self):
        code, results, _, _ = run_tests("""
            function test_programs() assert(os.execute == nil and io.popen == nil) end
            function test_writing() assert(not io.open("/tmp/never-written", "w")) end""")
        self.assertEqual(code, 0, results)

    def test_text_for_people(self):
        with FilterFolder("ctl-test", FILTER) as folder:
            folder.write("a_test.lua", "function test_a() end")
            folder.write("b_test.lua", "function test_b() error('wrong') end")
            code, out, _ = ctl("test", "--filter", folder.filter)
            self.assertEqual(code, 1)
            self.assertRegex(out, r"^ok +\S*a_test.lua:1: test_a\nFAILED \S*b_test.lua:1: test_b\n +b_test.lua:1: wrong\n1 passed, 1 failed\n$")


class Nothing(unittest.TestCase):
    def test_no_test_at_all(self):
        with FilterFolder("ctl-test", FILTER) as folder:
            code, out, err = ctl("test", "--filter", folder.filter)
            self.assertEqual((code, out), (1, ""))
            self.assertIn("no test found", err)
            folder.write("empty_test.lua", "")
            code, out, err = ctl("test", "--filter", folder.filter)
            self.assertEqual(code, 1)
            self.assertIn("no test found", err)

    def test_a_file_that_does_not_load(self):
        code, results, total, _ = run_tests("function test_a() end end")
        self.assertEqual((code, total), (1, {"passed": 0, "failed": 1}))
        self.assertIsNone(results[0]["test"])
        self.assertIn("some_test.lua:2:", results[0]["error"])

    def test_what_cannot_be_read(self):
        for words in (("--filter", "/nonexistent/filter.lua"), ("/nonexistent/x_test.lua", "--filter", __file__)):
            code, _, err = ctl("test", *words)
            self.assertEqual(code, 2)
            self.assertIn("cannot read /nonexistent/", err)


if __name__ == "__main__":
    unittest.main()
