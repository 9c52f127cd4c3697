"""The same malice for every client at once: servers that drip for ever, that never read, that reset in the middle of an answer, that flood. Each is nil and
why within the client's own time, nothing is taken for an answer, and nobody waits for the others."""

import os
import socket
import struct
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from asking import Asking  # noqa: E402
from harness.process import PATIENCE  # noqa: E402

LIMIT = f"{600 * PATIENCE}ms"
# Each client, and how an answer for it begins that it has no reason to end before it is whole.
BEGINNINGS = {
    "clamav": b"stream: ",
    "spamassassin": b"SPAMD/1.1 0 EX_OK\r\nContent-length: 200000\r\nSpam: False ; 1.0 / 5.0\r\n\r\n",
    "icap": b"ICAP/1.0 200 OK\r\nX-Long: ",
    "savdi": b"OK SSSP/1.0\r\nACC 1\r\nACC 2\r\nEVENT ",
    "rspamd": b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n{\"score\":1,",
    "http": b"HTTP/1.1 200 OK\r\nX-Long: ",
    "redis": b"$200000\r\n",
    "check": b"220-",
    "send": b"220 a\r\n250 b\r\n250 c\r\n250 d\r\n354-",
}
FILTER = """
local clamav, spamassassin, command, rspamd = require "postern.clamav", require "postern.spamassassin", require "postern.command", require "postern.rspamd"
local icap = require "postern.icap"
local http, redis, smtp = require "postern.http", require "postern.redis", require "postern.smtp"
local seconds = tonumber(config.seconds)
local savdi = command.server{ name = "savdi", dialogue = "savdi", sockets = "inet:" .. config.savdi .. "@127.0.0.1", on_failure = "return" }
function filter_message(msg)
    local calls = {
        clamav = function() return clamav.scan(msg) end,
        spamassassin = function() return spamassassin.check(msg) end,
        icap = function() return icap.scan(msg) end,
        savdi = function() return savdi:scan(msg) end,
        rspamd = function() return rspamd.check(msg) end,
        http = function() return http.post("http://127.0.0.1:" .. config.http .. "/", msg:raw()) end,
        redis = function() return redis.call("SET", "k", msg:raw()) end,
        check = function() return smtp.check_recipient("ann@example.net", { host = "127.0.0.1", port = config.check, timeout = seconds }) end,
        send = function()
            return smtp.send{ host = "127.0.0.1", port = config.send, timeout = seconds, from = "", to = "ann@example.net", message = msg:raw() }
        end,
    }
    local results = async.all(calls)
    for name in pairs(calls) do msg:log("n", name .. "=" .. tostring(results[name] or results.errors[name])) end
end
"""


class Malice(Asking):
    def ask(self, handle, mail):
        """What became of each client; handle(connection, beginning) is its server."""
        servers = {name: self.server(lambda connection, begin=begin: handle(connection, begin)) for name, begin in BEGINNINGS.items()}
        options = [f"filter.{name}={server.port}" for name, server in servers.items()]
        for name in ("clamav", "spamassassin", "icap"):
            options += [f"{name}.sockets=inet:{servers[name].port}@127.0.0.1", f"{name}.on_failure=return", f"{name}.timeout={LIMIT}", f"{name}.max_size=64M"]
        options += [f"command.timeout={LIMIT}", "command.max_size=64M", f"http.timeout={LIMIT}", f"redis.server={servers['redis'].server}",
                    f"redis.timeout={LIMIT}", f"redis.connect_time={LIMIT}", f"rspamd.url=http://{servers['rspamd'].server}", f"rspamd.timeout={LIMIT}",
                    "rspamd.on_failure=return", f"filter.seconds={0.6 * PATIENCE}", f"worker.state_dir={self.folder()}", "worker.lua_memory=256M"]
        result = self.play(FILTER, *options, mail=mail, words=("--deeds",))
        self.assertIsNone(result["error"], result["error"])
        merged = {}
        for note in result["notes"]:
            merged.update(note)
        self.assertEqual(set(merged), set(BEGINNINGS), result["log"])
        return merged

    def assert_all(self, notes, pattern):
        for name, why in notes.items():
            with self.subTest(name):
                self.assertRegex(why, pattern)

    SMALL = b"Subject: x\r\n\r\nhello\r\n"
    LARGE = SMALL + (b"x" * 998 + b"\r\n") * (8 << 10)  # more than the buffers of two sockets hold

    def test_drip(self):
        def drip(connection, begin):
            gone = threading.Event()
            connection.sendall(begin)
            while not gone.wait(0.02):
                connection.sendall(b"a")
        self.assert_all(self.ask(drip, self.SMALL), "timeout$")

    def test_never_read(self):
        gone = threading.Event()
        self.addCleanup(gone.set)
        self.assert_all(self.ask(lambda connection, begin: gone.wait(60 * PATIENCE), self.LARGE), "timeout$")

    def test_reset_in_the_middle(self):
        def reset(connection, begin):
            if not begin.startswith((b"OK", b"22")):  # those speak first
                connection.recv(10)
            connection.sendall(begin + b"a")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.assert_all(self.ask(reset, self.SMALL), "closed$")

    def test_flood(self):
        def flood(connection, begin):
            connection.sendall(begin)
            for _ in range(1000):
                connection.sendall(b"a" * 65536)
        self.assert_all(self.ask(flood, self.SMALL), "too long$|malformed answer|no RESP2$|no SMTP$")


if __name__ == "__main__":
    unittest.main()
