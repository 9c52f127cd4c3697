"""Bad filters: the mail gets its configured answer, the other workers go on, the log names file and line."""

import os
import subprocess
import time
import unittest

from fixture import PATIENCE, MilterClient, Stopwatch, SystemTest, budgets, wait_until
from harness.process import BIN, SANITIZE, Folder

# Short budgets; nothing here waits longer than a hook may take and a bit.
SHORT = {**budgets(800), "multiplexor.load_time": f"{3000 * PATIENCE}ms", "multiplexor.respawn_min": "50ms", "multiplexor.respawn_max": "200ms"}
# For many that are busy at once: a worker has over a second to end its hook, and another one to say where it stands, before it is killed.
AMPLE = {**SHORT, **budgets(5500, grace_ms=2500)}


class DoesNotLoad(SystemTest):
    """The multiplexor stays up and says why; mail gets on_failure; a reload with a better file serves."""

    GOOD = 'function filter_message(msg) msg:add_header("X-Good", "1") end'
    ROWS = {
        "does not compile": ("local x = 1\nfunction filter_message(msg\nend", "filter.lua:3: "),
        "is bytecode": (b"\x1bLuaT\x00\x19\x93\r\n\x1a\n\x04\x08\x08xV", "bytecode"),
        "raises at load": ("local x = 1\nerror('at load')\nfunction filter_message() end", "filter.lua:2: at load"),
        "raises in filter_init": ("function filter_message() end\nfunction filter_init()\nerror('in init')\nend", "filter.lua:3: in init"),
        "defines no hook": ("local function filter_message(msg) end", "filter.lua: defines no hook"),
        "misspells a hook": ("function filter_relay() end\nfunction filter_mesage(msg) end", "filter.lua:2: filter_mesage is no hook; did you mean filter_message?"),
        "hook is no function": ("filter_message = 3", "filter.lua: filter_message is a number"),
        "loops at load": ("local x = 1\nwhile true do end", "filter.lua:2: "),
        "loops in filter_init": ("function filter_message() end\nfunction filter_init()\nwhile true do end\nend", "filter.lua:3: "),
        "eats memory at load": ("local t = {}\nwhile true do t[#t + 1] = string.rep('x', 1000) .. #t end", "filter.lua:2: "),
        "calls os.exit": ("function filter_message() end\nos.exit(0)", "filter.lua:2: "),
        "recurses at load": ("local function f() return 1 + f() end\nf()\nfunction filter_message() end", "filter.lua:1: "),
        "requires what is not there": ("require 'no.such.module'\nfunction filter_message() end", "filter.lua:1: "),
        "is empty": ("", "filter.lua: defines no hook"),
    }

    def test_at_start(self):
        for name in ("does not compile", "raises in filter_init"):
            with self.subTest(name=name):
                text, why = self.ROWS[name]
                self.prepare(text, {**SHORT, "milterd.reconnect_time": "100ms"})
                self.postern.start_multiplexor()
                self.postern.start_milterd()
                wait_until(lambda: (self.postern.status() or {}).get("filter_error"), lambda: "the load to fail:\n" + self.postern.logs())
                self.postern.spec = "unix:" + self.postern.folder("milter.sock")
                self.postern.milterd.wait_for_line("listening on ")
                self.assertIn(why, self.postern.status()["filter_error"])
                self.assertReply(self.client().start_and_try(), "451 4.3.0 ")
                self.postern.save_filter(self.GOOD)
                self.assertTrue(self.postern.reload()["ok"])
                wait_until(lambda: self.passes(), lambda: "mail to pass after the reload:\n" + self.postern.logs())

    def client(self, timeout=30.0):
        client = super().client(timeout)

        def start_and_try():
            client.negotiate()
            for step in (client.connect, client.helo, client.message):
                answer = step()
                if answer and answer.code != "continue":
                    return answer
            return answer
        client.start_and_try = start_and_try
        return client

    def passes(self):
        answer = self.client().start_and_try()
        return answer.code == "continue" and answer.all("add_header") == [["X-Good", " 1"]]

    def test_a_reload_that_fails_changes_nothing(self):
        # Nursery and worker say where the filter is when load_time ends; the multiplexor gives them kill_grace for that.
        self.start(self.GOOD, {**SHORT, **budgets(20000, grace_ms=8000), "worker.lua_memory": "8M"})
        for name, (text, why) in self.ROWS.items():
            with self.subTest(name=name):
                self.postern.save_filter(text)
                answer = self.postern.reload()
                self.assertFalse(answer["ok"], answer)
                self.assertIn(why, answer["error"])
                self.assertIn(why.split(":")[0], self.postern.status()["filter_error"])
                self.assertTrue(self.passes())
                self.assertEqual(self.postern.status()["generation"], 1)
                self.worker_lines(why, 1)
        self.assertEqual(self.postern.status()["outcomes"]["died"], 0)

    def test_check_says_the_same(self):
        folder = Folder("check")
        self.addCleanup(folder.remove)
        for name, (text, why) in self.ROWS.items():
            if "init" in name or "loops" in name:
                continue
            with self.subTest(name=name):
                path = folder.write("filter.lua", text)
                done = subprocess.run([os.path.join(BIN, "posternctl"), "check", path], capture_output=True, text=True, errors="replace",
                                      timeout=60 * PATIENCE, check=False, stdin=subprocess.DEVNULL)
                self.assertEqual(done.returncode, 1, done)
                self.assertIn(why, done.stdout + done.stderr)


# What filter_message does, by the subject; and what the log must say. The outcome comes with it.
BAD = {
    "error": ("error('boom')", "error", "filter.lua:%d: boom"),
    "error_table": ("error({})", "error", "filter.lua"),
    "error_nil": ("error()", "error", "filter.lua"),
    "type": ("local x = nil + 1", "error", "filter.lua:%d: attempt to perform arithmetic on a nil value"),
    "loop": ("while true do end", "deadline", "filter.lua:%d: "),
    "loop_pcall": ("while true do pcall(function() while true do end end) end", "deadline", "filter.lua:%d: "),
    "loop_xpcall": ("while true do xpcall(error, function() while true do end end) end", "deadline", "filter.lua:%d: "),
    "loop_coroutine": ("local c = coroutine.wrap(function() while true do end end) c()", "deadline", "filter.lua:%d: "),
    "loop_coroutines": ("while true do local c = coroutine.create(function() while true do coroutine.yield() end end) "
                        "for i = 1, 100 do coroutine.resume(c) end end", "deadline", "filter.lua:%d: "),
    "loop_pattern": ("string.find(string.rep('a', 100), string.rep('a-', 50) .. 'b')", "deadline", "filter.lua:%d: "),
    "loop_gsub": ("string.gsub(string.rep('a', 100), string.rep('a-', 50) .. 'b', 'x')", "deadline", "filter.lua:%d: "),
    "loop_sort": ("table.sort({1, 2, 3}, function() while true do end end)", "deadline", "filter.lua:%d: "),
    "loop_close": ("local x <close> = setmetatable({}, { __close = function() while true do end end }) error('first')", "deadline", "filter.lua:%d: "),
    "loop_gc": ("setmetatable({}, { __gc = function() while true do end end }) collectgarbage()", "deadline", "filter.lua:%d: "),
    "loop_tostring": ("error(setmetatable({}, { __tostring = function() while true do end end }))", "deadline", "filter.lua"),
    "loop_sleep": ("while true do pcall(require('postern.async').sleep, 1000) end", "deadline", "filter.lua:%d: "),
    "memory": ("local t = {} while true do t[#t + 1] = string.rep('x', 1000) .. #t end", "memory", "filter.lua:%d: "),
    "memory_once": ("local s = string.rep('x', 1 << 40)", None, "filter.lua:%d: "),
    "memory_concat": ("local s = 'x' while true do s = s .. s end", "memory", "filter.lua:%d: "),
    "memory_pcall": ("local t = {} while true do pcall(function() while true do t[#t + 1] = string.rep('x', 1000) .. #t end end) end", None, "filter.lua"),
    "exit": ("os.exit(0)", "error", "filter.lua:%d: "),
    "kill": ("os.execute('kill -9 $PPID')", "error", "filter.lua:%d: "),
    "recursion": ("local function f() return 1 + f() end f()", None, "filter.lua:%d: "),
    "recursion_tail": ("local function f() return f() end f()", "deadline", "filter.lua:%d: "),
    "recursion_meta": ("local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k .. 'x'] end local x = t.a", "error", "filter.lua"),
    "recursion_pattern": ("string.find(string.rep('(', 300000), string.rep('(', 300000))", "error", "filter.lua:%d: "),
    "recursion_coroutine": ("local function f() return coroutine.wrap(f)() end f()", "error", "filter.lua"),
    "nonsense": ("return 'reject'", "error", "filter.lua"),
    "nonsense_many": ("return table.unpack({}, 1, 200)", "error", "filter.lua"),
    "uncalled": ("return reject", "error", "filter.lua"),
    "unreturned": ("reject('x')", "error", "filter.lua:%d: "),
    "header_cr": ("msg:add_header('X', 'a\\rb')", "error", "filter.lua:%d: "),
    "header_lf": ("msg:add_header('X', 'a\\nInjected: yes')", "error", "filter.lua:%d: "),
    "header_nul": ("msg:add_header('X', 'a\\0b')", "error", "filter.lua:%d: "),
    "header_name": ("msg:add_header('X:Y', 'a')", "error", "filter.lua:%d: "),
    "code": ("return reject{ code = 250 }", "error", "filter.lua:%d: "),
    "global": ("leak = 1", "error", "filter.lua:%d: "),
    "self": ("msg.add_header()", "error", "filter.lua:%d: "),
    "too_early": ("kept = msg", "error", "filter.lua:%d: "),
    "registry": ("debug.getregistry()", "error", "filter.lua:%d: "),
    "dump": ("string.dump(print)", "error", "filter.lua:%d: "),
    "load_binary": ("assert(load('\\27Lua', 'x', 'b'))", "error", "filter.lua:%d: "),
    "popen": ("io.popen('true')", "error", "filter.lua:%d: "),
    "write": ("assert(io.open('/tmp/postern-was-here', 'w'))", "error", "filter.lua"),
    "yield": ("coroutine.yield()", "error", "filter.lua"),
    "verdict_and_loop": ("local x <close> = setmetatable({}, { __close = function() while true do end end }) return accept()", "deadline", "filter.lua:%d: "),
    "big_log": ("for i = 1, 100000 do msg:log('k' .. i, string.rep('v', 100)) end", None, None),
}
KILLED = ("loop_pattern", "loop_gsub", "loop_gc")  # beyond the worker's own deadline
SLOW = tuple(name for name in BAD if name.startswith("loop") or name in ("recursion_tail", "verdict_and_loop", "memory_pcall"))


def bad_filter():
    """The text, and the line of each row."""
    lines = ["local acts = {}"]
    where = {}
    for name, (text, _, _) in BAD.items():
        lines.append(f"function acts.{name}(msg) {text} end")
        where[name] = len(lines)
    lines.append("function filter_message(msg) local act = acts[msg.subject] if act then return act(msg) end end")
    return "\n".join(lines) + "\n", where


class Misbehaves(SystemTest):
    def send(self, subject, timeout=30):
        client = MilterClient(self.postern.spec, timeout * PATIENCE)
        self.addCleanup(client.close)
        client.start()
        client.mail(), client.rcpt(), client.data(), client.header("Subject", " " + subject), client.eoh(), client.body(b"x\r\n")
        client.send(b"E")
        return client

    def uid_of(self, answer):
        return answer.text.rsplit(" ", 1)[1]

    def was_killed(self, uid):
        return any("did not end" in line and "in time: killed" in line for line in self.worker_lines(f"uid={uid} "))

    def check(self, name, where, client):
        """The answer and the log. A worker that the machine gives no time is killed although it could end its hook, and the front end may be the
        first to see that time is up. Returns the message's uid; None when it passed."""
        _, outcome, log = BAD[name]
        answer = client.answer()
        if outcome is None and answer.code == "continue":
            return None
        self.assertReply(answer, "451 4.3.0 ")
        self.assertEqual(answer.actions, [])
        uid = self.uid_of(answer)
        lines = self.milterd_lines(f"uid={uid} ")
        if outcome:
            wanted = "deadline|late" if outcome == "deadline" else outcome
            self.assertRegex(lines[0], f" outcome=({wanted}) ")
        if log and (name in KILLED or not self.was_killed(uid)):
            wanted = log % where[name] if "%d" in log else log
            wait_until(lambda: any(wanted in line for line in self.worker_lines(uid)), lambda: f"{wanted!r} of {uid}:\n" +
                       "\n".join(self.worker_lines(uid)))
        self.assertNotIn("filter.lua", answer.text)
        return uid

    def test_each(self):
        """All slow ones at once, each on a worker of its own, while good mail passes; then the others, one after another."""
        text, where = bad_filter()
        workers = len(SLOW) + 2
        self.start(text, {**AMPLE, "worker.lua_memory": "8M", "multiplexor.min_workers": workers, "multiplexor.max_workers": workers})
        wait_until(lambda: self.postern.status()["workers"]["idle"] == workers, lambda: "workers:\n" + self.postern.logs(), 30)
        slow = {name: self.send(name) for name in SLOW}
        for _ in range(3):
            watch = Stopwatch()
            self.good_mail_passes()
            self.assertLess(watch.seconds, 3 * PATIENCE)
        uids = {}
        for name, client in slow.items():
            with self.subTest(name=name):
                uids[name] = self.check(name, where, client)
        for name in BAD:
            if name not in SLOW:
                with self.subTest(name=name):
                    self.check(name, where, self.send(name))
                    self.good_mail_passes()
        status = self.postern.status()
        self.assertEqual(status["outcomes"]["died"] + status["outcomes"]["poison"], 0, status)
        self.assertFalse(os.path.exists("/tmp/postern-was-here"))
        for name in KILLED:
            wait_until(lambda: self.was_killed(uids[name]), lambda: f"the worker of {name} to be killed:\n{self.postern.logs()}")
        killed = [name for name, uid in uids.items() if uid and self.was_killed(uid)]
        self.assertEqual(self.postern.status()["recycles"]["deadline"], len(killed), killed)

    def test_one_worker_serves_again(self):
        """The same, on one worker: what follows on it, or on its successor, is served."""
        text, _ = bad_filter()
        self.start(text, {**SHORT, "worker.lua_memory": "8M", "multiplexor.min_workers": 1, "multiplexor.max_workers": 1})
        for name in ("error", "loop", "loop_pcall", "memory", "recursion", "loop_pattern"):
            with self.subTest(name=name):
                self.assertReply(self.send(name).answer(), "451 4.3.0 ")
                self.good_mail_passes()

    def test_on_error(self):
        text, _ = bad_filter()
        text = text.replace("function filter_message(msg)", "function filter_message(msg) msg:add_header('X-Change', '1')")
        for on_error, expected in (("reject", "554 5.3.0 "), ("accept", None)):
            with self.subTest(on_error=on_error):
                self.start(text, {**SHORT, "worker.lua_memory": "8M", "worker.on_error": on_error, "multiplexor.min_workers": 4})
                clients = {name: self.send(name) for name in ("loop", "loop_pattern", "memory", "error", "nonsense")}
                for name, client in clients.items():
                    answer = client.answer()
                    if expected:
                        self.assertReply(answer, expected)
                    else:
                        self.assertEqual((answer.verdict, answer.actions), ("accept", []), name)
                self.assertEqual(self.good_mail_passes().actions, [("add_header", "X-Change", " 1")])

    def test_errors_at_other_hooks(self):
        """Each hook's failure answers what it judges; others go on."""
        for hook, step in (("relay", "connect"), ("helo", "helo"), ("sender", "mail"), ("recipient", "rcpt"), ("data", "data"),
                           ("header", "header"), ("headers", "eoh"), ("body", "body"), ("unknown", "unknown")):
            with self.subTest(hook=hook):
                self.start(f"local x\nfunction filter_{hook}(...)\nerror('at {hook}')\nend", SHORT)
                client = self.client()
                client.negotiate()
                calls = [("connect", ()), ("helo", ()), ("unknown", ("XYZZY",)), ("mail", ()), ("rcpt", ()), ("data", ()),
                         ("header", ("Subject", " x")), ("eoh", ()), ("body", (b"x\r\n",))]
                for call, arguments in calls:
                    answer = getattr(client, call)(*arguments)
                    if call == step:
                        self.assertReply(answer, "451 4.3.0 ")
                        break
                self.worker_lines(f"filter.lua:3: at {hook}", 1)

    def test_a_worker_that_is_killed_from_outside(self):
        """Its message goes to another worker once, and the filter can tell."""
        self.start('local async = require "postern.async"\nfunction filter_message(msg)\n'
                   'if msg.attempt == 1 then async.sleep(20) end msg:add_header("X-Attempt", tostring(msg.attempt)) end',
                   {"milterd.message_time": "60s"})
        client = self.send("x")
        pid = wait_until(lambda: next((worker["pid"] for worker in self.postern.workers() if worker["state"] == "busy"), None), "a busy worker")
        os.kill(pid, 9)
        self.assertEqual(client.answer().all("add_header"), [["X-Attempt", " 2"]])

    @unittest.skipIf(SANITIZE, "the sanitizers reserve more than any limit")
    def test_memory_of_a_worker_is_bounded(self):
        text, _ = bad_filter()
        self.start(text, {**SHORT, "worker.lua_memory": "32M", "multiplexor.min_workers": 1, "multiplexor.max_workers": 1})
        client = self.send("memory")
        most, deadline = 0, time.monotonic() + 20
        while time.monotonic() < deadline:
            most = max([most, *(worker["resident_kb"] for worker in self.postern.workers())])
            client.sock.settimeout(0.01)
            try:
                self.assertReply(client.answer(), "451 4.3.0 ")
                break
            except TimeoutError:
                continue
        self.assertLess(most, 96 * 1024)


if __name__ == "__main__":
    unittest.main()
