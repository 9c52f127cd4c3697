"""Each mail of inside.py: the parts that are listed, with names, size and content."""

import json
import os
import subprocess
import sys
import unittest

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]

from harness.process import BIN, SANITIZE, Folder  # noqa: E402
from inside import CASES, digest  # noqa: E402

SECONDS = 30 if SANITIZE else 3  # of processor time

FILTER = r"""
local function hex(text)
    return (text:gsub(".", function(c) return string.format("%02x", c:byte()) end))
end

function filter_message(msg)
    local n = 0
    local whole = msg.root:text()
    for part in msg:walk() do
        n = n + 1
        if part.depth > 0 and n <= 200 then
            local names = {}
            for i, name in ipairs(part.filenames) do names[i] = hex(name) end
            local hash, size = part:hash(), part.size
            assert(size == #part:content())
            msg:add_header("X-Part", table.concat({ part.path, size, hash, table.concat(names, ",") }, " "))
        end
    end
    for _, defect in ipairs(msg.defects) do msg:add_header("X-Defect", defect.kind) end
    msg:add_header("X-Ambiguous", tostring(msg.ambiguous))
    -- Whoever carries something keeps his own content, and is listed.
    msg:add_header("X-Root", string.format("%s %d %d", tostring(msg.root.is_container), msg.root.size, #whole))
end
"""


class Inside(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = Folder("hostile-inside")
        self.addCleanup(self.folder.remove)
        self.filter = self.folder.write("filter.lua", FILTER)

    def run_one(self, case):
        path = self.folder.write("message.eml", case.make())
        options = [word for option in case.options for word in ("-o", option)]
        argv = [os.path.join(BIN, "posternctl"), "run", "--json", *options, self.filter, path]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            out = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 0, out[-2000:])
        values = {}
        for action in json.loads(out.splitlines()[-1])["actions"]:
            values.setdefault(action["name"], []).append(action["value"])
        return values, usage.ru_utime + usage.ru_stime

    def check(self, case, values):
        parts = [value.replace("\n", "").split(" ") for value in values.get("X-Part", [])]
        seen = [(path, [bytes.fromhex(name).decode() for name in names.split(",") if name], int(size), sha)
                for path, size, sha, names in parts]
        defects = values.get("X-Defect", [])
        for path, names, content in case.see:
            found = next((row for row in seen if row[0] == path), None)
            self.assertIsNotNone(found, f"part {path} is not listed: {seen}")
            self.assertEqual(found[1][:len(names)], names)
            if content is not None:
                self.assertEqual((found[2], found[3]), (len(content), digest(content)), f"content of {path}")
        for kind in case.defects or []:
            self.assertIn(kind, defects)
        if case.defects is None:
            self.assertEqual([row[0] for row in seen], [path for path, _, _ in case.see])
            self.assertEqual(values["X-Ambiguous"], ["false"], defects)
        self.assertEqual(values["X-Root"][0].split(" ")[0], "false")
        self.assertNotEqual(values["X-Root"][0].split(" ")[1], "0")

    def test_each(self):
        for name, case in CASES.items():
            with self.subTest(name=name):
                values, seconds = self.run_one(case)
                print(f"{name:45} {len(values.get('X-Part', [])):4} parts {seconds:6.2f} s  {' '.join(sorted(set(values.get('X-Defect', []))))}")
                self.check(case, values)
                self.assertLess(seconds, SECONDS)
        print(f"{len(CASES)} mails")


class Changes(unittest.TestCase):
    """A carrier is changed for what it carries; its neighbours keep their bytes."""

    def run_filter(self, filter_text, message):
        folder = Folder("hostile-inside-changes")
        self.addCleanup(folder.remove)
        path = folder.write("message.eml", message)
        out = os.path.join(folder.path, "out")
        done = subprocess.run([os.path.join(BIN, "posternctl"), "run", "--json", "--output", out, folder.write("filter.lua", filter_text), path],
                              stdin=subprocess.DEVNULL, capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(out, "message.eml"), "rb") as file:
            return json.loads(done.stdout), file.read()

    def mail_with(self, carrier):
        """A multipart of a text and another mail's only part."""
        head, body = carrier.split(b"\r\n\r\n", 1)
        head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.startswith((b"Subject", b"MIME")))
        return (b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n"
                b"Content-Type: text/plain\r\n\r\nneighbour\r\n--bb\r\n" + head + b"\r\n\r\n" + body + b"\r\n--bb--\r\n")

    def test_drop(self):
        for name in ("winmail.dat", "uuencode", "yEnc", "TNEF with a mail in it", "TNEF in TNEF, 20 levels", "S/MIME, signed", "a signed file"):
            with self.subTest(name=name):
                answer, out = self.run_filter("""
                    function filter_message(msg)
                        for part in msg:walk() do
                            if part:has_extension("exe") then part:drop("it is gone") end
                        end
                    end""", self.mail_with(CASES[name].make()))
                self.assertEqual(answer["verdict"], "continue", answer)
                self.assertIn(b"\r\n\r\nneighbour\r\n--bb\r\n", out)
                self.assertIn(b"it is gone", out)
                again, _ = self.run_filter(FILTER, out)
                names = [name for part in again["parts"] for name in part.get("filenames", [])]
                self.assertFalse([name for name in names if name.lower().endswith(".exe")], names)

    def test_others_leave_carriers_alone(self):
        for name in ("winmail.dat", "uuencode", "yEnc", "S/MIME, signed"):
            with self.subTest(name=name):
                carrier = CASES[name].make()
                answer, out = self.run_filter("""
                    function filter_message(msg)
                        local first = true
                        for part in msg:parts() do
                            if first then part:set_content("changed\\r\\n") end
                            first = false
                        end
                    end""", self.mail_with(carrier))
                self.assertEqual(answer["verdict"], "continue", answer)
                self.assertIn(b"changed", out)
                self.assertIn(carrier.split(b"\r\n\r\n", 1)[1], out)

    def test_content_of_what_is_carried(self):
        answer, _ = self.run_filter("""
            function filter_message(msg)
                for part in msg:walk() do
                    if part:has_extension("exe") then
                        local ok, why = pcall(part.set_content, part, "x")
                        msg:add_header("X-Result", tostring(ok) .. " " .. why)
                    end
                end
            end""", self.mail_with(CASES["winmail.dat"].make()))
        self.assertIn("false", answer["actions"][0]["value"], answer)
        self.assertIn("found in decoded content", " ".join(answer["actions"][0]["value"].split()))


if __name__ == "__main__":
    unittest.main()
