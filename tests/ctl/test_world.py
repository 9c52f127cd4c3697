"""posternctl test, the simulated world: what DNS and back ends answer is what the file of tests says, and nothing else."""

import unittest

from common import FilterFolder, ctl, lines_of

FILTER = """
local dns, async, backends = require "postern.dns", require "postern.async", require "postern.internal.backends"
local function text(v)
    if type(v) ~= "table" then return tostring(v) end
    local keys, out = {}, {}
    for k in pairs(v) do keys[#keys + 1] = k end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    for _, k in ipairs(keys) do out[#out + 1] = (type(k) == "number" and "" or k .. "=") .. text(v[k]) end
    return "{" .. table.concat(out, " ") .. "}"
end
function filter_message(msg)
    for name, kind in (msg:header("X-Ask") or ""):gmatch("(%S+)/(%w+)") do
        local list, err = dns.query(name, kind)
        msg:log(name, text(list) .. (err and " " .. err or ""))
    end
    local address = msg:header("X-Reverse")
    if address then msg:log("reverse", text(dns.reverse(address, { confirm = true }))) end
    if msg:header("X-Side") then
        local _, first = async.any{ slow = function() return dns.query("slow.example") end, fast = function() return dns.query("fast.example") end }
        msg:log("first", first)
        local _, why = async.timeout(0.05, dns.query, "slow.example")
        msg:log("why", why)
    end
    local name = msg:header("X-Call")
    if name then
        local result, err = backends.call(name, function() error("the real one") end, { msg = msg, request = { kind = "scan", n = 7 } })
        msg:log("got", text(result) .. (err and " " .. err or ""))
    end
end
"""
HEAD = """
local function logged(head, config)
    local result = run{ eml = head .. "\\n\\nbody\\n", sender = "ann@example.org", ip = "198.51.100.7", recipients = { "bob@example.net" } }
    return result.log, result
end
local function has(log, line)
    for _, one in ipairs(log) do if one == line then return true end end
    error(line .. " is not in " .. table.concat(log, " | "), 2)
end
"""


class World(unittest.TestCase):
    def results(self, tests, *words):
        with FilterFolder("ctl-world", FILTER) as folder:
            folder.write("some_test.lua", HEAD + tests)
            _, out, err = ctl("test", "--json", "--filter", folder.filter, *words)
        lines = lines_of(out)
        self.assertTrue(lines, err)
        return lines[:-1]

    def passes(self, tests, *words):
        results = self.results(tests, *words)
        self.assertTrue(results)
        for result in results:
            self.assertTrue(result["ok"], result["error"])

    def test_answers_of_dns(self):
        self.passes("""
            dns_answers{
                ["Example.org."] = { A = {"192.0.2.1", "192.0.2.2"}, TXT = {"v=spf1 -all"},
                                     MX = {{preference = 20, exchange = "b.example.org"}, {preference = 10, exchange = "a.example.org"}} },
                ["alias.example"] = { CNAME = {"EXAMPLE.org"} },
                ["loop.example"] = { CNAME = {"loop.example"} },
                ["late.example"] = { A = {"192.0.2.9"}, delay = 0.05 },
                ["gone.example"] = "nxdomain", ["slow.example"] = "timeout", ["bad.example"] = "servfail",
                ["198.51.100.7"] = { PTR = {"host.example.org", "liar.example.org"} },
                ["host.example.org"] = { A = {"198.51.100.7"} }, ["liar.example.org"] = { A = {"192.0.2.1"} },
            }
            function test_types()
                local log = logged("X-Ask: EXAMPLE.ORG/A example.org/AAAA alias.example/TXT example.org./MX")
                has(log, "EXAMPLE.ORG={192.0.2.1 192.0.2.2}")
                has(log, "example.org={}")
                has(log, "alias.example={v=spf1 -all}")
                has(log, "example.org.={{exchange=a.example.org preference=10} {exchange=b.example.org preference=20}}")
            end
            function test_failures()
                local log = logged("X-Ask: gone.example/A slow.example/A bad.example/A loop.example/A unlisted.example/MX late.example/A a..b/A")
                has(log, "gone.example={nxdomain=true}")
                has(log, "unlisted.example={nxdomain=true}")
                has(log, "slow.example=nil timeout (simulated)")
                has(log, "bad.example=nil servfail (simulated)")
                has(log, "loop.example=nil servfail (simulated: too many CNAMEs)")
                has(log, "late.example={192.0.2.9}")
                has(log, "a..b=nil formerr: no domain name")
            end
            function test_names_of_addresses()
                has(logged("X-Reverse: 198.51.100.7"), "reverse={host.example.org}")
            end
            function test_later_answers_take_the_place_of_earlier()
                dns_answers{ ["gone.example"] = { A = {"192.0.2.77"} } }
                has(logged("X-Ask: gone.example/A"), "gone.example={192.0.2.77}")
            end""")

    def test_what_is_late_loses_against_what_is_not(self):
        self.passes("""
            function test_side_by_side()
                dns_answers{ ["slow.example"] = { A = {"192.0.2.1"}, delay = 60 }, ["fast.example"] = { A = {"192.0.2.2"} } }
                local log = logged("X-Side: yes")
                has(log, "first=fast")
                assert(log[2]:find("^why=timeout: dns A slow.example"), log[2])
            end""")

    def test_the_tests_themselves_can_ask(self):
        self.passes("""
            local dns, async = require "postern.dns", require "postern.async"
            function test_query()
                dns_answers{ ["a.example"] = { A = {"192.0.2.1"}, delay = 0.01 } }
                assert(dns.query("a.example")[1] == "192.0.2.1" and dns.query("b.example").nxdomain)
                local both = async.all{ function() return dns.query("a.example") end, function() return logged("X-Ask: a.example/A") end }
                assert(both[1][1] == "192.0.2.1" and both[2][1] == "a.example={192.0.2.1}", both.errors[2])
            end""")

    def test_fake_back_ends(self):
        self.passes("""
            function test_function()
                local seen
                fake_backend("clamav", function(request)
                    seen = request
                    return { status = "infected", name = "X", list = { 1, 2.5, { true } } }
                end)
                has(logged("X-Call: clamav"), "got={list={1 2.5 {true}} name=X status=infected}")
                assert(seen.backend == "clamav" and seen.kind == "scan" and seen.n == 7 and seen.sender == "ann@example.org")
                assert(seen.ip == "198.51.100.7" and seen.recipients[1] == "bob@example.net" and #seen.uid > 0)
                assert(seen.message:find("^X%-Call: clamav\\r?\\n") and seen.message:find("body"), seen.message)
            end
            function test_table()
                fake_backend("clamav", { status = "clean" })
                has(logged("X-Call: clamav"), "got={status=clean}")
                fake_backend("clamav", { status = "skipped" })
                has(logged("X-Call: clamav"), "got={status=skipped}")
            end
            function test_failure()
                fake_backend("clamav", function() return nil, "hung up" end)
                local _, result = logged("X-Call: clamav")
                assert(result.verdict == "tempfail", result.verdict)
            end
            function test_none()
                local _, result = logged("X-Call: other")
                assert(result.verdict == "tempfail", result.verdict)
            end""")

    def test_a_scanner_is_asked_about_parts_too(self):
        text = """
            local clamav = require "postern.clamav"
            function filter_message(msg)
                for part in msg:parts() do msg:log("part", clamav.scan(part).status) end
                msg:log("whole", clamav.scan(msg).name)
            end"""
        with FilterFolder("ctl-world", text) as folder:
            folder.write("x_test.lua", """
                function test_x()
                    fake_backend("clamav", function(request)
                        if request.content then return { status = request.content == "body\\r\\n" and "clean" or request.content } end
                        return { status = "infected", name = "whole of " .. #request.message }
                    end)
                    local r = run{ eml = "Subject: x\\n\\nbody\\n" }
                    assert(not r.error and r.log[1] == "part=clean", r.error or r.log[1])
                    assert(r.log[2] == "whole=whole of 20", r.log[2])
                end""")
            code, out, err = ctl("test", "--filter", folder.filter)
        self.assertEqual(code, 0, out + err)

    def test_what_becomes_of_failures_is_as_configured(self):
        self.passes("""
            function test_failure()
                fake_backend("clamav", function() return nil, "hung up" end)
                has(logged("X-Call: clamav"), "got=nil hung up")
                has(logged("X-Call: other"), 'got=nil the test has no fake_backend("other", …)')
            end""", "-o", "backend.on_failure=return", "-o", "clamav.on_failure=return")

    def test_errors_of_fakes_and_of_their_values(self):
        results = self.results("""
            function test_error() fake_backend("x", function() error("boom") end) local _, r = logged("X-Call: x") assert(not r.error) end
            function test_value() fake_backend("x", function() return { f = print } end) local _, r = logged("X-Call: x") assert(not r.error) end
            function test_cycle() local t = {} t.t = t fake_backend("x", t) local _, r = logged("X-Call: x") assert(not r.error) end
            function test_run() fake_backend("x", function() run{ eml = "x" } end) local _, r = logged("X-Call: x") assert(not r.error) end
            function test_wait()
                fake_backend("x", function() require("postern.async").sleep(1) end) local _, r = logged("X-Call: x") assert(not r.error)
            end
            function test_again()
                fake_backend("x", function() error("boom") end)
                for _ = 1, 300 do pcall(logged, "X-Call: x") end
                fake_backend("x", { status = "clean" })
                has(logged("X-Call: x"), "got={status=clean}")
            end""")
        self.assertEqual([result["ok"] for result in results], [False] * 5 + [True], results)
        for result, wanted in zip(results, (r"some_test.lua:\d+: boom", "not a function", "more than 16 levels", "a message is being played already",
                                            "cannot wait here")):
            self.assertRegex(result["error"], wanted)

    def test_a_fake_that_never_ends(self):
        results = self.results("""
            function test_loop() fake_backend("x", function() while true do end end) logged("X-Call: x") end
            function test_next() end""", "-o", "multiplexor.load_time=500ms", "-o", "multiplexor.kill_grace=200ms")
        self.assertEqual([result["ok"] for result in results], [False, True], results)

    def test_wrong_arguments_name_the_line(self):
        wrong = ['dns_answers("x")', 'dns_answers{ "x" }', 'dns_answers{ a = "gone" }', 'dns_answers{ a = 1 }', 'dns_answers{ a = { B = {} } }',
                 'dns_answers{ a = { A = "192.0.2.1" } }', 'dns_answers{ a = { A = { "x" } } }', 'dns_answers{ a = { MX = { "x" } } }',
                 'dns_answers{ a = { A = { "::1" } } }', 'dns_answers{ a = { delay = -1 } }', 'dns_answers{ a = { delay = 1/0 } }',
                 'dns_answers{ a = { MX = {{ preference = 70000, exchange = "b" }} } }', 'fake_backend()', 'fake_backend("x")', 'fake_backend("x", 1)']
        results = self.results("\n".join(f"function test_{i}() {call} end" for i, call in enumerate(wrong)))
        for call, result in zip(wrong, results):
            self.assertFalse(result["ok"], call)
            self.assertRegex(result["error"], r"^some_test.lua:\d+: (dns_answers|fake_backend): ", call)
        self.assertEqual(len(results), len(wrong))

    def test_run_has_no_fakes(self):
        with FilterFolder("ctl-world", "function filter_message() assert(dns_answers == nil and fake_backend == nil) end") as folder:
            mail = folder.write("mail.eml", "Subject: x\n\nx\n")
            code, out, err = ctl("run", folder.filter, mail)
        self.assertEqual(code, 0, out + err)


if __name__ == "__main__":
    unittest.main()
