"""Each archive of archives.py as an attachment: what part:entries() and part:has_extension say of it, within time and memory."""

import base64
import json
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "milter"), os.path.join(os.path.dirname(HERE), "system")]

from archives import CASES, Case, wants_memory  # noqa: E402
from fixture import SystemTest, budgets  # noqa: E402
from harness.process import BIN, SANITIZE, Folder  # noqa: E402
from test_hostile_milter import stream  # noqa: E402

# Of processor time and resident memory; what worker.max_archive_time and _bytes allow, and what a worker needs besides.
SECONDS = 60 if SANITIZE else 12
TIME = {"worker.max_archive_time": "200s"}  # real time, of which a busy machine takes any amount; below milterd.message_time
MEGABYTES = 4096 if SANITIZE else 700

FILTER = r"""
local function hex(text)
    return (text:gsub(".", function(c) return string.format("%02x", c:byte()) end))
end

local function flags(entry)
    local set = {}
    for _, name in ipairs{ "encrypted", "absolute", "over_ratio", "hidden", "directory" } do
        if entry[name] then set[#set + 1] = name end
    end
    return table.concat(set, ",")
end

function filter_message(msg)
    for part in msg:parts() do
        if part.filename then
            local list, err, some = part:entries()
            local all = list or some
            for i = 1, #all do
                -- Of very many, those at both ends and every thousandth.
                if #all < 200 or i < 20 or i > #all - 20 or i % 1000 == 0 then
                    local entry, names = all[i], {}
                    local before = entry.path:sub(1, #entry.path - #entry.name)
                    for k, name in ipairs(entry.names) do names[k] = hex(before .. name) end
                    msg:add_header("X-Entry", table.concat(names, ",") .. " " .. flags(entry))
                end
            end
            msg:add_header("X-Count", tostring(#all))
            msg:add_header("X-Error", hex(err or ""))
            local found, why = part:has_extension({ "nothing" }, { archives = true })
            local exe, why_exe = part:has_extension({ "exe" }, { archives = true })
            local named, why_named = part:name_matches("(^|/)no such name$", { archives = true, unreadable = false })
            msg:add_header("X-Found", table.concat({ tostring(found), tostring(why), tostring(exe), tostring(why_exe),
                tostring(named), tostring(why_named) }, " "))
        end
    end
end
"""


def mail(name, data):
    return (b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
            b"Content-Disposition: attachment; filename=\"" + name.encode() + b"\"\r\n\r\n"
            + base64.encodebytes(data).replace(b"\n", b"\r\n"))


class Seen:
    """What the filter told."""

    def __init__(self, fields):
        self.flags, self.error, self.count, self.found = {}, None, None, None
        for name, value in fields:
            value = value.replace("\n", "").strip()
            if name == "X-Entry":
                names, _, flags = value.partition(" ")
                for one in names.split(","):
                    self.flags[bytes.fromhex(one).decode("utf-8")] = flags.split(",")
            elif name == "X-Count":
                self.count = int(value)
            elif name == "X-Error":
                self.error = bytes.fromhex(value).decode("utf-8")
            elif name == "X-Found":
                self.found = value.split(" ")


class Checks:
    """What must be seen."""

    maxDiff = None

    def check(self, case, seen):
        for path in [*case.see, *case.flags]:
            self.assertIn(path, seen.flags, "not listed")
        for path, flag in case.flags.items():
            self.assertIn(flag, seen.flags[path], f"flags of {path}")
        if case.count is not None:
            self.assertEqual(seen.count, case.count, seen.flags)
        if case.error is None:
            self.assertEqual(seen.error, "")
        else:
            self.assertNotEqual(seen.error, "")
            self.assertIn(case.error, seen.error)
        is_archive = case.error != "no archive"
        is_unreadable = case.error is not None and is_archive
        self.assertEqual(seen.found[:2], ["true", "unreadable"] if is_unreadable else ["false", "nil"])
        has_exe = any(path.lower().endswith(".exe") and "directory" not in flags for path, flags in seen.flags.items())
        if has_exe:
            self.assertEqual(seen.found[2:4], ["true", "nil"])
        self.assertEqual(seen.found[4:], ["false", "nil"])


class Run(Checks, unittest.TestCase):
    def setUp(self):
        self.folder = Folder("hostile-archives")
        self.addCleanup(self.folder.remove)
        self.filter = self.folder.write("filter.lua", FILTER)

    def run_one(self, case, options):
        """What was seen, processor seconds and megabytes of that process alone."""
        path = self.folder.write("message.eml", mail(case.name, case.make()))
        set_options = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        argv = [os.path.join(BIN, "posternctl"), "run", "--json", *set_options, self.filter, path]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            out = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 0, out[-2000:])
        actions = json.loads(out.splitlines()[-1])["actions"]
        return Seen([(action["name"], action["value"]) for action in actions]), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024

    def test_each(self):
        for name, case in CASES.items():
            with self.subTest(name=name):
                seen, seconds, megabytes = self.run_one(case, TIME)
                print(f"{name:45} {seen.count:6} entries {seconds:6.2f} s {megabytes:5.0f} MB {seen.error[:60]}")
                self.check(case, seen)
                self.assertLess(seconds, SECONDS)
                self.assertLess(megabytes, MEGABYTES)
        print(f"{len(CASES)} archives")

    def test_time_is_limited(self):
        seen, _, _ = self.run_one(CASES["as 42.zip"], {"worker.max_archive_time": "50ms"})
        self.assertIn("max_archive_time", seen.error)


class Daemons(Checks, SystemTest):
    """The same in a worker, with its sandbox."""

    LARGE = ("100,000 files", "100,000 files in a tar", "1,000,000 local headers", "10,000 names for one file", "as 42.zip",
             "8 MB of beginnings of nothing", "10 GB of zeros in a gz in a zip", "a gz that lies", "64 MB of zeros")

    def send(self, client, case):
        client.mail(), client.rcpt(), client.data()
        client.sock.sendall(stream(mail(case.name, case.make())))
        return client.eom()

    def test_each(self):
        self.start(FILTER, {**TIME, "multiplexor.min_workers": 1, "multiplexor.max_workers": 1, "multiplexor.recycle_memory": 0,
                            "worker.sandbox": "available" if SANITIZE else "required"})
        worker = self.postern.workers()[0]["pid"]
        client = self.client(60).start()
        for name, case in CASES.items():
            if name in self.LARGE:
                continue
            with self.subTest(name=name):
                answer = self.send(client, case)
                self.assertEqual(answer.code, "continue", f"{answer}\n{self.postern.logs()}")
                self.check(case, Seen([action[-2:] for action in answer.actions]))
                self.assertEqual([found["pid"] for found in self.postern.workers()], [worker])
        self.assertEqual(self.postern.status()["outcomes"]["error"], 0)

    def test_memory_that_is_not_there(self):
        """Dictionaries up to what worker.address_space leaves, and beyond: the worker lives, and has a listing or says why not."""
        self.start(FILTER, {**TIME, "multiplexor.min_workers": 1, "multiplexor.max_workers": 1, "multiplexor.recycle_memory": 0})
        worker = self.postern.workers()[0]["pid"]
        client = self.client(60).start()
        for megabytes in (300, 700, 800, 850, 900, 950, 1000, 1500):
            with self.subTest(megabytes=megabytes):
                answer = self.send(client, Case("a.7z", lambda size=megabytes << 20: wants_memory(size)))
                self.assertEqual(answer.code, "continue", f"{answer}\n{self.postern.logs()}")
                seen = Seen([action[-2:] for action in answer.actions])
                self.assertIn("doc.txt", seen.flags)
                self.assertTrue(seen.error or "run.exe" in seen.flags, seen.error)
        self.assertEqual([found["pid"] for found in self.postern.workers()], [worker], self.postern.logs())

    def test_the_time_of_the_hook_ends_a_listing(self):
        self.start("function filter_message(msg) msg.root:has_extension('exe', { archives = true }) msg:add_header('X-Done', '1') end",
                   {**budgets(1500, 1500), "multiplexor.min_workers": 1, "multiplexor.max_workers": 1, "multiplexor.recycle_memory": 0,
                    "worker.max_archive_time": "600s", "worker.max_archive_bytes": "16G", "worker.max_archive_depth": 20,
                    "worker.max_archive_entries": 1000000})
        worker = self.postern.workers()[0]["pid"]
        answer = self.send(self.client(60).start(), CASES["as 42.zip"])
        self.assertEqual(answer.code, "reply", answer)
        self.assertReply(answer, "451 4.3.0 ")
        self.assertEqual([found["pid"] for found in self.postern.workers()], [worker], self.postern.logs())


if __name__ == "__main__":
    unittest.main()
