"""postern.file: what a file holds, read again when it has changed, through the daemons and their sandbox; and what is no file to go by."""

import json
import os
import subprocess
import unittest

from fixture import SystemTest
from harness.process import BIN, PATIENCE, Folder

FILTER = """
local file = require "postern.file"
local function parse(content)
    if content:find("raise") then error("raised") end
    local map, why = file.map(content)
    return map, why
end
local get = file.watch(config.list, parse, { refresh = 0, max = 100 })
function filter_headers(msg)
    return reject(tostring(get()[msg.subject]))
end
"""


class Watched(SystemTest):
    def setUp(self):
        self.folder = Folder("file")
        self.addCleanup(self.folder.remove)
        self.start(FILTER, {"filter.list": self.folder.write("list", "One first\n"), "worker.read_paths": self.folder.path})

    def value(self, key):
        with self.client() as client:
            client.start()
            return client.message(headers=(("Subject", " " + key),)).text

    def test_read_again(self):
        self.assertIn("first", self.value("one"))
        self.folder.write("list", "# a remark\r\n\r\n  ONE\tsecond  value  \r\ntwo")
        self.assertIn("second  value", self.value("one"))
        self.worker_lines("list was read again", least=1)
        for content, why in (("one x\nOne y\n", "line 2: one is there twice"), ("raise", "raised"), ("x" * 101, "larger than 100 bytes")):
            self.folder.write("list", content)
            self.assertIn("second  value", self.value("one"), content)
            self.worker_lines(why, least=1)
        os.unlink(self.folder("list"))
        self.assertIn("second  value", self.value("one"))
        self.worker_lines("what was read last stays in force: ", least=4)
        self.folder.write("list", "")
        self.assertIn("nil", self.value("one"))


class Uses(unittest.TestCase):
    def run_filter(self, code, **files):
        folder = Folder("file")
        self.addCleanup(folder.remove)
        for name, content in files.items():
            folder.write(name, content)
        path = folder.write("filter.lua", 'local file = require "postern.file"\n' + code)
        done = subprocess.run([os.path.join(BIN, "posternctl"), "run", "--json", path, folder.write("mail.eml", "Subject: x\n\nx\n")],
                              capture_output=True, timeout=60 * PATIENCE, check=False, cwd=folder.path)
        return json.loads(done.stdout)

    def test_beside(self):
        result = self.run_filter("""local get = file.watch(file.beside("list"))
            function filter_message(msg) msg:log("v", get()) msg:log("none", tostring(file.beside("none"))) end""", list="a\nb")
        self.assertIn("none=nil", result["log"])
        self.assertTrue(any(line.startswith("v=a") for line in result["log"]), result)

    def test_what_does_not_load(self):
        rows = (('"/nonexistent/x"', "/nonexistent/x: No such file or directory"), ("file.beside('no')", "a path expected, not nil"), ("''", "an empty text"),
                ("'/etc'", "/etc: "), ("file.beside('list'), 7", "parse is a function"), ("file.beside('list'), nil, 7", "options is a table"),
                ("file.beside('list'), nil, { refersh = 1 }", "no option 'refersh'"), ("file.beside('list'), nil, { max = -1 }", "max is a number, not negative"),
                ("file.beside('list'), nil, { max = 0/0 }", "max is a number"), ("file.beside('list'), nil, { max = 2 }", "larger than 2 bytes"),
                ("file.beside('list'), file.map", "line 2: a is there twice"), ("file.beside('list'), function() end", "nothing came of it"))
        for words, why in rows:
            result = self.run_filter(f"file.watch({words})\nfunction filter_message() end", list="a\nA\n")
            self.assertEqual(result["verdict"], "error", words)
            self.assertIn(why, result["error"])
            self.assertIn("filter.lua:2: ", result["error"], words)
        for name in ('""', '"/etc/passwd"', "nil", "7"):
            result = self.run_filter(f"file.beside({name})\nfunction filter_message() end")
            self.assertIn("filter.lua:2: file.beside: the name of a file expected", result["error"])


if __name__ == "__main__":
    unittest.main()
