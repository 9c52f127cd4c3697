"""One worker asks servers that never answer, thousands of times, and gives each of them up: its descriptors, its memory and its Lua heap stay where
they were, and every back end is asked as before when it answers again."""

import os
import select
import socket
import sys
import threading
import unittest

sys.path[:0] = [os.path.join(os.environ["POSTERN_SOURCE"], "tests"), os.path.join(os.environ["POSTERN_SOURCE"], "tests", "system")]

from fixture import SystemTest  # noqa: E402
from harness.dns_server import FakeDns, record  # noqa: E402
from harness.process import SANITIZE, scaled, wait_until  # noqa: E402

CALLS = scaled(20000, 4000)  # a tenth of them with a sanitizer of memory
GROUPS, GROUP = 10, 20  # of calls in one message
RESIDENT_KB = 3072  # what an allocator may keep for itself; a leak of 160 bytes a call is more
HEAP_KB = 256
FILES_MAX = 64

FILTER = """
local async, dns, http, redis, store = require "postern.async", require "postern.dns", require "postern.http", require "postern.redis", require "postern.store"
local net, backends = require "postern.internal.net", require "postern.internal.backends"
local port, n = config.hanging_port, 0
local function connect() return assert(net.connect{ address = "127.0.0.1", port = port }) end
local place = { address = "127.0.0.1", port = port }
local function read()
    local stream, why = net.connect(place)
    if not stream then return nil, why end
    return stream:read(1)
end
local function ask() return redis.call("PING") end
local kinds = {
    function() connect():read(1) end,
    function() local s <close> = connect() s:write(("x"):rep(100000)) return s:read_line(100) end,
    function() return connect():tls{ name = "x.example", verify = false } end,
    function() return redis.call("GET", "key" .. n) end,
    function() return redis.transaction{ { "SET", "a", n }, { "INCR", "b" } } end,
    function() return dns.query("q" .. n .. ".example", "A") end,
    function() return dns.reverse("192.0.2." .. n % 250, { confirm = true }) end,
    function() return http.get("http://127.0.0.1:" .. port .. "/" .. n) end,
    function() return http.post("http://127.0.0.1:" .. port .. "/", ("y"):rep(100000)) end,
    function() return backends.call("leak", function() return connect():read(1) end, { on_failure = "return" }) end,
    function() error{ n } end,
    function() error(setmetatable({}, { __tostring = function() error("x") end })) end,
    function() async.all{ function() error("inner") end, function() async.sleep(9) end } end,
    function() coroutine.wrap(function() local c <close> = setmetatable({}, { __close = function() error("in close") end }) async.sleep(9) end)() end,
    function() local c <close> = setmetatable({}, { __close = function() async.sleep(1) end }) connect():read(1) end,
    function() return pcall(string.gsub, "abc", ".", function() async.sleep(1) end) end,
    function() store.set("leak" .. n % 100, { n }, 60) async.sleep(9) end,
    function() return async.any{ function() return 1 end, function() connect():read(1) end } end,
    function() return async.timeout(0, function() return connect():read(1) end) end,
    function() for i = 1, 3 do coroutine.resume(coroutine.create(function() coroutine.yield() end)) end return select(2, pcall(async.sleep, 0/0)) end,
}
local function group(i)
    local calls = {}
    for k = 1, GROUP do
        n = n + 1
        calls[k] = kinds[(n + i) % #kinds + 1]
    end
    return async.all(calls, { timeout = 0.005 })
end
function filter_message(msg)
    local what = msg.subject
    if what == "dns" then return reject(tostring((dns.query("after.example", "A") or {})[1])) end
    if what == "each" then -- hardly any garbage: the collector has nothing to come for
        local n_other, other = 0
        for _ = 1, 150 do
            for _, f in ipairs{ read, ask } do
                local _, why = async.timeout(0.001, f)
                if not why:find("timeout$") and not why:find("^timeout") then n_other, other = n_other + 1, why end
            end
        end
        return reject(("%d others: %s"):format(n_other, other))
    end
    for i = 1, GROUPS do group(i) end
end
"""


class Hanging:
    """Takes connections and what they bring, and never says a word."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self.listener.getsockname()[1]
        self.ending, self.end = socket.socketpair()
        self.n = 0
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        open_ones = []
        while True:
            ready, _, _ = select.select([self.listener, self.ending, *open_ones], [], [])
            if self.ending in ready:
                break
            for connection in ready:
                if connection is self.listener:
                    self.n += 1
                    open_ones.append(connection.accept()[0])
                elif not self.is_open(connection):
                    open_ones.remove(connection)
                    connection.close()
        for connection in (self.listener, self.ending, *open_ones):
            connection.close()

    @staticmethod
    def is_open(connection):
        try:
            return bool(connection.recv(65536))
        except OSError:
            return False

    def stop(self):
        self.end.close()
        self.thread.join()


class Leaks(SystemTest):
    def setUp(self):
        self.hanging = Hanging()
        self.addCleanup(self.hanging.stop)
        self.is_silent = True
        self.dns = FakeDns(lambda query: None if self.is_silent else query.answer([record(query.name, "A", "192.0.2.9")]))
        self.addCleanup(self.dns.stop)
        self.start(FILTER.replace("GROUPS", str(GROUPS)).replace("GROUP", str(GROUP)), {
            "multiplexor.min_workers": 1, "multiplexor.max_workers": 1, "multiplexor.recycle_requests": 0, "multiplexor.recycle_memory": 0,
            "worker.max_files": FILES_MAX, "worker.allow_network": "yes", "worker.sandbox": "available" if SANITIZE else "required",
            "redis.server": f"127.0.0.1:{self.hanging.port}", "dns.servers": self.dns.server, "dns.timeout": "200ms",
            "filter.hanging_port": self.hanging.port})

    def worker(self):
        workers = self.postern.workers()
        self.assertEqual(len(workers), 1, workers)
        with open(f"/proc/{workers[0]['pid']}/status", encoding="utf-8") as file:
            fields = dict(line.split(":", 1) for line in file)
        return workers[0], int(fields["VmRSS"].split()[0]), len(os.listdir(f"/proc/{workers[0]['pid']}/fd"))

    def send(self, n, subject="leak"):
        client = self.client(120)
        client.start()
        for _ in range(n):
            answer = client.message(headers=[("Subject", f" {subject}")])
        client.close()
        return answer

    def test_what_is_given_up_is_let_go(self):
        messages = max(CALLS // (GROUPS * GROUP) // (10 if SANITIZE else 1), 5)
        self.assertEqual(self.send(max(messages // 4, 3)).code, "continue", self.postern.logs())
        before, resident_before, files_before = self.worker()
        self.assertEqual(self.send(messages).code, "continue", self.postern.logs())
        after, resident_after, files_after = self.worker()
        self.assertGreater(self.hanging.n, messages * GROUPS * GROUP // 5, "most of the calls are for the server that hangs")
        print(f"{messages * GROUPS * GROUP} calls, {self.hanging.n} connections: descriptors {files_before} -> {files_after}, resident {resident_before} -> {resident_after} KiB, "
              f"Lua heap {before['heap_kb']} -> {after['heap_kb']} KiB")
        self.assertEqual(after["pid"], before["pid"])
        self.assertLess(files_after, FILES_MAX // 2, os.listdir(f"/proc/{after['pid']}/fd"))
        self.assertEqual(self.worker_lines("Too many open files"), [])
        self.assertLess(after["heap_kb"], 2 * before["heap_kb"] + HEAP_KB)
        if not SANITIZE:  # which keeps what was freed
            self.assertLess(resident_after, resident_before + RESIDENT_KB)
        self.assertEqual(self.send(1, "each").text, "550 5.7.1 0 others: nil", "a descriptor is closed when what had it is cancelled")
        self.is_silent = False
        wait_until(lambda: self.send(1, "dns").text == "550 5.7.1 192.0.2.9", "questions to be answered again", 20)


if __name__ == "__main__":
    unittest.main(verbosity=2)
