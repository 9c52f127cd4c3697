"""One worker serves thousands of messages of every kind, failures among them: its memory and its Lua heap stay where they were."""

import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import SystemTest  # noqa: E402

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))
import corpus  # noqa: E402
from harness.process import BUILD, SANITIZE, scaled  # noqa: E402

MESSAGES = scaled(2000 if SANITIZE else 20000, 500)
RESIDENT_KB = 3072  # what an allocator may keep for itself; a leak of 200 bytes a message is more
HEAP_KB = 128
FILTER = """
local log = require "postern.log"
local kinds = {
    function(msg) error("on purpose: " .. msg.subject) end,
    function(msg) error({}) end,
    function(msg) local s = "x" while true do s = s .. s end end,
    function(msg) msg.state.f = print end,
    function(msg) return reject("no\\n" .. msg:text()) end,
    function(msg) return tempfail{ text = msg.subject, code = 452, dsn = "4.3.1" } end,
    function(msg) return discard() end,
    function(msg) return "no verdict" end,
    function(msg) return coroutine.wrap(function() local c <close> = setmetatable({}, { __close = function() error("c") end }) coroutine.yield() end)() end,
    function(msg) msg:replace_body(("y"):rep(100000)) msg:hold("why") end,
    function(msg) for i = 1, 100 do msg:add_header("X-" .. i, msg.uid .. ("ä"):rep(100)) end return accept() end,
    function(msg) msg:append_text("bye") return msg:to_eml():find("bye", 1, true) and continue() or accept() end,
    function(msg) for _, r in ipairs(msg.recipients) do msg:delete_recipient(r) msg:add_recipient("x" .. tostring(r)) assert(#msg.recipients > 0) end end,
    function(msg) msg:set_sender("new@example.org", { SIZE = "10" }) msg.state.list = { msg.sender, { a = 1 } } msg:log("k", msg.message_id) end,
}
local n = 0
function filter_relay(conn) conn.state.list = { conn.ip, conn.id, { conn.hostname } } end
function filter_sender(msg) msg.state.from = msg.sender end
function filter_recipient(msg, rcpt) local seen = msg.conn.state.list[1] .. rcpt.domain .. tostring(rcpt.macros.rcpt_addr) msg.conn.state.seen = seen end
function filter_headers(msg) for name, value in msg:each_header() do msg.conn.state[name] = #value end msg:add_header("X-Seen", "yes") end
function filter_body(msg, chunk) msg.state.bytes = (msg.state.bytes or 0) + #chunk end
function filter_message(msg)
    n = n + 1
    for part in msg:walk() do
        local _ = part:has_extension{ "exe" } or part:name_matches("x" .. n % 100), part.filenames, part:hash(), part:header("Content-Type")
    end
    local _ = msg:text(), msg:urls(), msg:charsets(), msg.defects, msg.ambiguous, pcall(msg.header, msg, {}), pcall(reject, { code = n })
    local kind = kinds[n % (2 * #kinds) + 1]
    return kind and kind(msg) or continue()
end
"""


class Memory(SystemTest):
    def load(self, n):
        mails = corpus.write(self.postern.folder("mails"))
        done = subprocess.run([os.path.join(BUILD, "tests", "postern-load"), "-q", "-a", self.postern.spec, "-c", "4", "-m", "5", "-r", "3", "-n", str(n),
                               mails["small"], mails["small"], mails["html"], mails["exe"]], capture_output=True, text=True, check=False)
        counts = dict(pair.split("=") for pair in done.stdout.split())
        self.assertEqual(counts.get("msgs"), str(n), done.stdout + done.stderr)
        return counts

    def worker(self):
        workers = self.postern.workers()
        self.assertEqual(len(workers), 1, workers)
        with open(f"/proc/{workers[0]['pid']}/status", encoding="utf-8") as file:
            fields = dict(line.split(":", 1) for line in file)
        return workers[0], int(fields["VmRSS"].split()[0])

    def test_memory_stays(self):
        self.start(FILTER, {"multiplexor.min_workers": 1, "multiplexor.max_workers": 1, "multiplexor.recycle_requests": 0, "multiplexor.recycle_memory": 0,
                            "worker.lua_memory": "16M"})
        self.load(max(MESSAGES // 4, 200))
        before, resident_before = self.worker()
        counts = self.load(MESSAGES)
        after, resident_after = self.worker()
        print(f"{MESSAGES} messages in {counts['secs']} s: resident {resident_before} -> {resident_after} KiB, Lua heap {before['heap_kb']} -> {after['heap_kb']} KiB")
        self.assertEqual(after["pid"], before["pid"])
        self.assertLess(after["heap_kb"], 2 * before["heap_kb"] + HEAP_KB)  # the collector lets it double
        if not SANITIZE:  # which keeps what was freed
            self.assertLess(resident_after, resident_before + RESIDENT_KB)


if __name__ == "__main__":
    unittest.main(verbosity=2)
