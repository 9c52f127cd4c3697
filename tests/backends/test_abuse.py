"""Every function of the modules that ask others, and of those under them, with junk for arguments, in a hook, in tasks and in coroutines: errors are
welcome; a crash, and a hook that cannot go on, are not."""

import os
import random
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from asking import Asking  # noqa: E402
from harness.process import PATIENCE, scaled  # noqa: E402

SEED = int(os.environ.get("POSTERN_ABUSE_SEED") or random.SystemRandom().randrange(1 << 31))
CALLS = scaled(3000, 1000)
FILTER = r"""
local async, n_calls = require "postern.async", tonumber(config.calls)
local names = {
    "async", "dns", "dnsbl", "http", "redis", "store", "spf", "dkim", "dmarc", "arc", "authres", "clamav", "spamassassin", "rspamd", "command", "icap", "greylist",
    "ratelimit", "reputation", "smtp", "metrics", "url", "html", "archive", "internal.address", "internal.dns", "internal.http", "internal.json",
    "internal.icap_client", "internal.kept", "internal.net", "internal.servers", "internal.signature", "internal.smtp", "internal.smtp_client",
    "internal.spamc", "internal.transit",
}
local functions = {}
for _, name in ipairs(names) do
    for key, f in pairs(require("postern." .. name)) do
        if type(f) == "function" then functions[#functions + 1] = { name .. "." .. tostring(key), f } end
    end
end
table.sort(functions, function(a, b) return a[1] < b[1] end)
local kept = {} -- what calls gave: its methods are called too, also in the next hook, when it is no more
local function junk(msg)
    local cyclic = {}
    cyclic[1], cyclic.self = cyclic, cyclic
    local list = {
        true, false, 0, -1, 1, 0.5, 2^53, math.mininteger, math.maxinteger, 0/0, 1/0, -1/0, "", "x", "a\0b", "a\r\nb: c", "\xff\xfe", ("x"):rep(70000),
        "example.org", "192.0.2.1", "::1", "ann@example.org", "<a\r\n@b>", "http://127.0.0.1:1/", "http://[", "A", "GET", "%s%n", "127.0.0.1:1", {}, { "x" },
        { {} }, { host = "127.0.0.1", port = 1, timeout = 0.01 }, { timeout = 0/0 }, { address = "127.0.0.1", port = 1 }, { path = "/nonexistent" },
        { { "GET", "x" }, { "SET", {} } }, { text = "x", msg = msg }, { [{}] = 1 }, cyclic, print, function() error({}) end,
        function() async.sleep(0.001) return 1 end, function() coroutine.yield() end, coroutine.create(function() end), io.stdout,
        setmetatable({}, { __index = function() error("i") end, __len = function() return 1e9 end, __tostring = function() return 1 end }),
        setmetatable({}, { __close = function() async.sleep(1) end, __call = function() return {} end, __name = 7 }), tostring, msg, msg.conn,
        msg.recipients[1], select(2, pcall(function() return msg.root end)),
    }
    list.n = #list + 1
    return list
end
local function one(values)
    local f = functions[math.random(#functions)]
    local object = #kept > 0 and math.random(4) == 1 and kept[math.random(#kept)]
    local n, arguments = math.random(0, 4), {}
    for i = 1, n do arguments[i] = values[math.random(values.n)] end
    if object then
        local methods = { "read", "read_line", "read_end", "read_some", "write", "tls", "timeout", "send_memory", "end_write", "close", "wait", "twin", "rest", "scan",
                          "mail", "ask", "quit", "hello", "inc", "set" }
        return object[methods[math.random(#methods)]](object, table.unpack(arguments, 1, n))
    end
    local result = f[2](table.unpack(arguments, 1, n))
    if type(result) == "userdata" or type(result) == "table" then kept[#kept % 50 + 1] = result end
    return result
end
local ways = {
    function(values) return pcall(async.timeout, 0.01, one, values) end,
    function(values) return async.all({ function() return one(values) end, function() return one(values) end, function() async.sleep(1) end }, { timeout = 0.005 }) end,
    function(values) return pcall(coroutine.wrap(function() return async.timeout(0.01, one, values) end)) end,
    function(values) return pcall(table.sort, { 3, 2, 1 }, function() return one(values) end) end,
    function(values) return async.any({ function() return one(values) end, function() return 1 end }, { timeout = 0.005 }) end,
}
local function play(msg)
    local values = junk(msg)
    for _ = 1, n_calls // 2 do pcall(ways[math.random(#ways)], values) end
    assert(async.all{ function() async.sleep(0.001) return 1 end }[1] == 1)
    msg:log("n", "seed=" .. config.seed)
end
math.randomseed(tonumber(config.seed))
function filter_headers(msg) play(msg) end
function filter_message(msg) play(msg) end
"""


class Abuse(Asking):
    def test_junk(self):
        options = ["dns.servers=127.0.0.1:1", "dns.timeout=20ms", "dns.tries=1", "redis.server=127.0.0.1:1", "http.timeout=50ms", "smtp.timeout=1s",
                   f"filter.seed={SEED}", f"filter.calls={CALLS}", f"milterd.stage_time={120 * PATIENCE}s", f"milterd.message_time={240 * PATIENCE}s",
                   f"worker.state_dir={self.folder()}", "smtp.reinject=inet:1@127.0.0.1"]
        for name in ("clamav", "spamassassin", "rspamd", "command"):
            options += [f"{name}.on_failure=return"]
        options += ["clamav.sockets=/nonexistent", "spamassassin.sockets=/nonexistent", "rspamd.url=http://127.0.0.1:1"]
        result = self.play(FILTER, *options)
        self.assertIsNone(result["error"], f"POSTERN_ABUSE_SEED={SEED}: {result['error']}")
        self.assertEqual(result["notes"], [{"seed": str(SEED)}] * 2, result["log"][-3:])


if __name__ == "__main__":
    unittest.main()
