"""Mail in the style of programs that people use is read as those programs meant it: parts, names, text, addresses."""

import os
import quopri
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness.lines import lines_of
from harness.process import BIN, PATIENCE, SOURCE, Folder
from readings import READINGS

PROGRAMS = os.path.join(SOURCE, "tests", "samples", "programs")

# Writes what it reads as lines of hexadecimal fields, so that no text needs escaping.
FILTER = r"""
local path = config.out

local function line(file, ...)
    local fields = {}
    for i, text in ipairs{ ... } do
        fields[i] = text:gsub(".", function(c) return string.format("%02x", c:byte()) end)
    end
    file:write(table.concat(fields, " "), "\n")
end

local function traits(part)
    return (part.is_signed and "[signed]" or "") .. (part.is_encrypted and "[encrypted]" or "")
end

function filter_message(msg)
    local file = assert(io.open(path, "a"))
    line(file, "subject", msg.subject)
    for part in msg:walk() do
        line(file, "part", part.path, part.type, part.charset, part.encoding, part.disposition, part.filename or "", traits(part))
        for _, name in ipairs(part.filenames) do line(file, "name", name) end
    end
    line(file, "text", msg:text())
    for _, url in ipairs(msg:urls()) do line(file, "url", url) end
    for _, defect in ipairs(msg.defects) do line(file, "defect", defect.kind) end
    file:close()
end
"""


class Reading:
    """What the filter wrote about one message."""

    def __init__(self, text):
        self.subject, self.text, self.parts, self.names, self.urls, self.defects = "", "", [], [], [], []
        for row in text.splitlines():
            kind, *fields = (bytes.fromhex(field).decode("utf-8") for field in row.split(" "))
            if kind == "part":
                path, mime, *facts, name, traits = fields
                shown = " ".join(filter(None, [path, mime, *(fact or "-" for fact in (*facts, name)), traits]))
                self.parts.append(re.sub(r"( -)+(?= \[|$)", "", shown))
            elif kind in ("name", "url", "defect"):
                getattr(self, kind + "s").append(fields[0])
            else:
                setattr(self, kind, fields[0])


def posternctl(*words):
    done = subprocess.run([os.path.join(BIN, "posternctl"), *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=60 * PATIENCE, check=False)
    return done.returncode, done.stdout + done.stderr


class Programs(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("programs")
        self.addCleanup(self.folder.remove)
        self.filter = self.folder.write("filter.lua", FILTER)
        os.mkdir(self.folder("state"))

    def read(self, name):
        out = self.folder("state", name)
        code, text = posternctl("run", self.filter, os.path.join(PROGRAMS, name + ".eml"), "-o", "worker.state_dir=" + self.folder("state"),
                                "-o", "filter.out=" + out)
        self.assertEqual(code, 0, text)
        with open(out, encoding="ascii") as file:
            return Reading(file.read())

    def test_each_is_read_as_it_was_meant(self):
        self.assertEqual(sorted(READINGS), sorted(name[:-4] for name in os.listdir(PROGRAMS) if name.endswith(".eml")))
        for name, (subject, parts, text, urls) in READINGS.items():
            with self.subTest(name):
                reading = self.read(name)
                found = [re.sub(r"OpenPGP_0x\w{16}\.asc", "@KEY@", part) for part in reading.parts]
                self.assertEqual(reading.subject, subject)
                self.assertEqual(found, parts)
                self.assertEqual(reading.text.replace("\r\n", "\n"), text)
                self.assertEqual(reading.urls, urls)

    # File names in encoded words are against RFC 2047, and what these programs write.
    ENCODED_WORDS = ("apple-mail", "japanese")

    def test_honest_mail_has_no_defects(self):
        for name in READINGS:
            with self.subTest(name):
                self.assertEqual(self.read(name).defects, ["encoded-word-in-parameter"] if name in self.ENCODED_WORDS else [])

    def test_no_ready_filter_minds_honest_mail(self):
        messages = [os.path.join(PROGRAMS, name + ".eml") for name in READINGS]
        for name in ("block-executables", "charset-block", "minimum-protection", "strict-mime", "tag-ambiguous", "virus-names"):
            code, out = posternctl("run", "--json", os.path.join(SOURCE, "scripts", "filters", name + ".lua"), *messages)
            answers = lines_of(out.decode())
            self.assertEqual((code, len(answers)), (0, len(messages)), out)
            for answer in answers:
                with self.subTest(f"{name}: {os.path.basename(answer['file'])}"):
                    self.assertEqual((answer["verdict"], answer["actions"], answer["error"]), ("continue", [], None))

    def test_a_name_written_in_two_ways_is_found_in_both(self):
        names = self.read("pgp-signed").names
        self.assertLessEqual({"OpenPGP_signature", "OpenPGP_signature.asc"}, set(names))


class Signed(unittest.TestCase):
    """The signatures in the samples are good, so that what breaks one later was not broken before."""

    def setUp(self):
        self.folder = Folder("signed")
        self.addCleanup(self.folder.remove)

    def mail(self, name):
        with open(os.path.join(PROGRAMS, name + ".eml"), "rb") as file:
            return file.read().replace(b"\n", b"\r\n")

    def run_quietly(self, *argv):
        done = subprocess.run(argv, capture_output=True, check=False, timeout=60 * PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_smime(self):
        for name in ("smime-signed", "smime-opaque"):
            with self.subTest(name):
                path = self.folder.write(name, self.mail(name))
                content = self.run_quietly("openssl", "cms", "-verify", "-noverify", "-in", path)
                self.assertIn(b"contract.txt", content)

    def test_openpgp(self):
        mail = self.mail("pgp-signed")
        pieces = mail.split(b"\r\n--------------outer0001")
        signed, signature = pieces[1].removeprefix(b"\r\n"), pieces[2].split(b"\r\n\r\n", 1)[1]
        key = signed.split(b"OpenPGP public key", 1)[1].split(b"\r\n\r\n", 1)[1].split(b"--------------inner")[0]
        home = self.folder("gnupg")
        os.mkdir(home, 0o700)
        gpg = ("gpg", "--homedir", home, "--batch", "--quiet", "--no-autostart", "--trust-model", "always")
        self.run_quietly(*gpg, "--import", self.folder.write("key", quopri.decodestring(key)))
        self.run_quietly(*gpg, "--verify", self.folder.write("signature", signature), self.folder.write("signed", signed))


if __name__ == "__main__":
    unittest.main()
