"""What the tests of scanners share: a filter that asks one, played by posternctl run, and fakes that read a whole request."""

import json
import subprocess

from test_frame import CTL, PATIENCE, Base

# Notes a result: its fields by name, or nil and why.
NOTE = """
local function show(value)
    if type(value) == "table" then
        local out = {}
        for i, item in ipairs(value) do out[i] = show(item) end
        return "[" .. table.concat(out, ",") .. "]"
    end
    return tostring(value)
end
local function note(msg, result, why)
    local out = {}
    for key, value in pairs(type(result) == "table" and result or { none = why }) do
        out[#out + 1] = key .. "=" .. show(value):gsub("%c", " ")
    end
    table.sort(out)
    msg:log("n", table.concat(out, " | "))
end
"""


class Asking(Base):
    def play(self, code, *options, mail=b"Subject: x\r\n\r\nhello\r\n", words=()):
        """The report of posternctl run on a filter_message(msg) with this body; notes: what it noted, a dictionary each."""
        path = self.folder.write("filter.lua", NOTE + "local async = require 'postern.async'\n" + code)
        line = [CTL, "run", "--json", "-o", "worker.allow_network=yes"]
        for option in options:
            line += ["-o", option]
        done = subprocess.run([*line, path, self.folder.write("mail.eml", mail), *words], capture_output=True, timeout=60 * PATIENCE, check=False)
        self.assertTrue(done.stdout, done.stderr.decode())
        result = json.loads(done.stdout)
        result["notes"] = [dict(pair.split("=", 1) for pair in line[2:].split(" | ")) for line in result["log"] if line.startswith("n=")]
        return result

    def notes(self, code, *options, **more):
        result = self.play(code, *options, **more)
        self.assertIsNone(result["error"], result["error"])
        return result["notes"]


def slowly(connection, data):
    for byte in data:
        connection.sendall(bytes([byte]))


def hang(connection, data=b""):
    """Sends so much, and then nothing until the peer has gone."""
    connection.sendall(data)
    while connection.recv(65536):
        pass

