"""What the tests of the modules spf, dkim, dmarc, arc and authres share: filters played by posternctl run, and DNS out of tables."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["POSTERN_SOURCE"], "tests"))

from harness.process import BIN, PATIENCE, Folder  # noqa: E402,F401

CTL = os.path.join(BIN, "posternctl")

# postern.dns out of a table: zone[name][type] = list; zone[name].fails = true. counts what was asked.
FAKE_DNS = r"""
local fake = { zone = {}, asked = {} }
function fake.query(name, kind)
    local rest = 10
    fake.asked[#fake.asked + 1] = name .. " " .. kind
    name = name:lower():gsub("%.$", "")
    while true do
        local entry = fake.zone[name]
        if entry == nil then
            return { nxdomain = true }
        elseif entry[kind] then
            return entry[kind]
        elseif entry.fails then
            return nil, "timeout"
        elseif not entry.CNAME or rest == 0 then
            return {}
        end
        name, rest = entry.CNAME[1]:lower(), rest - 1
    end
end
package.loaded["postern.dns"] = fake
"""


def lua(value):
    """A value of Python as Lua source; texts are bytes or latin-1."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nil"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        value = value.encode("latin-1") if all(ord(c) < 256 for c in value) else value.encode()
    if isinstance(value, bytes):
        return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03d}" for b in value) + '"'
    if isinstance(value, dict):
        return "{" + ",\n".join(f"[{lua(key)}]={lua(item)}" for key, item in value.items()) + "}"
    return "{" + ",\n".join(map(lua, value)) + "}"


def zone(records):
    """{"name": [("TXT", "text"), ("MX", (10, "host")), "TIMEOUT"]} as the table of FAKE_DNS."""
    out = {}
    for name, rows in records.items():
        entry = out.setdefault(name.lower().rstrip("."), {})
        for row in rows:
            if row == "TIMEOUT":
                entry["fails"] = True
                continue
            kind, value = row
            value = {"preference": value[0], "exchange": value[1]} if kind == "MX" else value
            entry.setdefault(kind, []).append(value)
    return out


def play(folder, code, mail=b"Subject: x\r\n\r\nx\r\n", records=None, options=(), modules=""):
    """Plays a mail through a filter; returns the object that posternctl run --json prints."""
    text = f"{modules or FAKE_DNS + 'fake.zone = ' + lua(zone(records or {}))}\n{code}"
    filter_path = folder.write("filter.lua", text.encode())
    mail_path = folder.write("mail.eml", mail)
    done = subprocess.run([CTL, "run", "--json", *options, filter_path, mail_path], capture_output=True, timeout=110 * PATIENCE, check=False)
    assert done.stdout, done.stderr.decode()
    return json.loads(done.stdout)


def logged(result):
    """What msg:log noted, as a dictionary of lists."""
    assert result["error"] is None, result["error"]
    out = {}
    for line in result["log"]:
        key, _, value = line.partition("=")
        out.setdefault(key, []).append(value)
    return out
