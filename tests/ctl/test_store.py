"""posternctl store: what it lists, shows, exports and imports, and that filters find there what it wrote."""

import json
import os
import sqlite3
import subprocess
import time
import unittest

from common import CTL, ctl, lines_of
from harness.process import PATIENCE, Folder

MAIL = "From: ann@example.org\nSubject: x\n\nhello\n"
FILTER = """
local store = require "postern.store"
function filter_message(msg)
    store.set("text", "naïve\\0end\\27[2J") store.set("bytes", "\\255\\254") store.set("integer", -7) store.set("float", 2.0) store.set("huge", math.huge)
    store.set("yes", true) store.set("list", { 1, { a = "x" } }) store.set("map", { [1] = "one", k = { 2.5, false } }) store.set("\\255key", 1)
    store.set("short", 1, 3600)
end
"""
CHECK = """
local store = require "postern.store"
function filter_message(msg)
    assert(store.get("text") == "naïve\\0end\\27[2J" and store.get("bytes") == "\\255\\254" and store.get("integer") == -7)
    assert(math.type(store.get("float")) == "float" and store.get("huge") == math.huge and store.get("yes") == true)
    local list, map = store.get("list"), store.get("map")
    assert(list[1] == 1 and list[2].a == "x" and map[1] == "one" and map.k[1] == 2.5 and map.k[2] == false)
    assert(store.get("\\255key") == 1)
end
"""
GREYLIST = """#
# milter-greylist databases, dumped by milter-greylist-4.6.2 on 2026-11-22 12:00:00.
#
# Sender IP	Sender e-mail	Recipient e-mail	Time accepted
198.51.100.7	<ann@Example.org>	<bob@example.net>	{soon} # 2026-11-22 12:10:00
198.51.100.8	<ann@example.com>	<Bob@example.net>	{past} # 2026-11-22 11:00:00
2001:db8:1:2::3	<>	<carol@example.net>	{long_past} # 2020-01-01 00:00:00
203.0.113.5	ann@example.org	dan@example.net	{later} AUTO # 2026-12-22 12:00:00
203.0.113.6	ann@example.org	dan@example.net	{past} AUTO
this is no tuple
nonsense	<a@b>	<c@d>	12
"""


class Store(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("ctl-store")
        self.addCleanup(self.folder.remove)
        self.folder.write("mail.eml", MAIL)
        self.use("state")

    def use(self, name):
        os.makedirs(self.folder(name), exist_ok=True)
        self.state = "worker.state_dir=" + self.folder(name)

    def store(self, *words, data=None, options=()):
        done = subprocess.run([CTL, "store", *words, "-o", self.state, *(word for option in options for word in ("-o", option))], input=data,
                              capture_output=True, text=True, timeout=60 * PATIENCE, check=False)
        return done.returncode, done.stdout, done.stderr

    def run_filter(self, text, *words):
        code, out, err = ctl("run", "--json", "--deeds", "-o", self.state, *words, self.folder.write("filter.lua", text), self.folder("mail.eml"))
        self.assertEqual(code, 0, out + err)
        result = json.loads(out)
        self.assertIsNone(result["error"], result)
        return result

    def test_nothing_kept(self):
        self.assertEqual(self.store("list")[:2], (0, "none\n"))
        self.assertEqual(self.store("list", "--json")[:2], (0, ""))
        self.assertEqual(self.store("export")[:2], (0, ""))
        self.assertEqual(self.store("expire")[:2], (0, "removed: 0\n"))
        code, _, err = self.store("get", "k")
        self.assertEqual((code, err), (1, "posternctl: there is no entry k\n"))
        self.assertEqual(os.listdir(self.folder("state")), [])

    def test_list_get_delete(self):
        self.run_filter(FILTER)
        code, out, _ = self.store("list")
        self.assertEqual(code, 0)
        lines = out.splitlines()
        self.assertEqual(len(lines), 10)
        self.assertNotIn("\x1b", out)
        self.assertTrue(lines[0].startswith("never"))
        self.assertIn("  list = [1,{\"a\":\"x\"}]", out)
        self.assertRegex(out, r"(?m)^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d  short = 1$")
        self.assertEqual([line.split("  ", 1)[1].strip() for line in self.store("list", "i")[1].splitlines()], ["integer = -7"])
        self.assertEqual(self.store("get", "integer")[:2], (0, "-7\n"))
        one, = lines_of(self.store("get", "short", "--json")[1])
        self.assertEqual((one["key"], one["value"]), ("short", 1))
        self.assertAlmostEqual(one["expires"], time.time() + 3600, delta=300)
        self.assertEqual(self.store("delete", "integer")[:2], (0, ""))
        self.assertEqual(self.store("delete", "integer")[0], 1)
        self.assertEqual(self.store("get", "integer")[0], 1)

    def test_what_is_exported_can_be_imported(self):
        self.run_filter(FILTER)
        code, exported, _ = self.store("export")
        self.assertEqual(code, 0)
        self.assertEqual(len(lines_of(exported)), 10)
        self.use("other")
        self.assertEqual(self.store("import", data=exported)[:2], (0, "imported: 10, ended already: 0, wrong: 0\n"))
        self.run_filter(CHECK)
        again = [{**row, "expires": None} for row in lines_of(self.store("export")[1])]
        self.assertEqual(again, [{**row, "expires": None} for row in lines_of(exported)])
        self.assertEqual(os.stat(self.folder("other", "store.db")).st_mode & 0o777, 0o600)

    def test_import_of_what_was_written_by_hand(self):
        rows = [{"key": "list", "value": [1, {"a": "x"}]}, {"key": "map", "value": {"k": [2.5, False]}, "expires": None},
                {"key": "gone", "value": 1, "expires": time.time() - 1}]
        wrong = ["no json", "[]", '{"key": "", "value": 1}', '{"value": 1}', '{"key": "x"}', '{"key": "x", "value": null}', '{"key_hex": "zz", "value": 1}',
                 '{"key": "x", "packed": "05"}x', '{"key": "x", "packed": "0700"}', '{"key": "x", "packed": "05ff"}', '{"key": "x", "value": 1, "expires": "now"}',
                 '{"key": "x", "value": 1, "value": 2}', '{"key": "x", "value": %s}' % ("[" * 40 + "]" * 40), json.dumps({"key": "x" * 1025, "value": 1})]
        path = self.folder.write("lines", "\n".join([*map(json.dumps, rows), "", *wrong]) + "\n")
        code, out, err = self.store("import", path)
        self.assertEqual((code, out), (1, f"imported: 2, ended already: 1, wrong: {len(wrong)}\n"))
        self.assertIn(f"{path}:5: this is no JSON", err)
        self.assertEqual(len(err.splitlines()), len(wrong))
        self.assertEqual([row["key"] for row in lines_of(self.store("export")[1])], ["list", "map"])
        self.run_filter('local store = require "postern.store" function filter_message() assert(store.get("list")[2].a == "x" and store.get("map").k[1] == 2.5) end')

    def test_tuples_of_milter_greylist(self):
        now = int(time.time())
        text = GREYLIST.format(soon=now + 600, past=now - 60, long_past=1577836800, later=now + 86400)
        path = self.folder.write("greylist.db", text)
        code, out, err = self.store("import", path, "--from", "milter-greylist")
        self.assertEqual((code, out), (1, "imported: 3, ended already: 2, wrong: 2\n"), err)
        self.assertIn(f"{path}:10: this is no tuple", err)
        self.assertEqual([row["key"] for row in lines_of(self.store("export")[1])],
                         ["greylist:198.51.100.0/24|example.com|bob@example.net", "greylist:198.51.100.0/24|example.org|bob@example.net",
                          "greylist:203.0.113.0/24|example.org|dan@example.net"])
        greylist = 'local greylist = require "postern.greylist" function filter_message(msg) msg:log("wait", greylist.check(msg, msg.recipients[1]) or "no") end'

        def wait(ip, sender, recipient):
            found = self.run_filter(greylist, "--ip", ip, "--sender", sender, "--recipient", recipient)
            return found["log"][0].removeprefix("wait=")
        self.assertEqual(wait("203.0.113.77", "eve@example.org", "dan@example.net"), "no")
        self.assertEqual(wait("198.51.100.77", "ann@example.com", "bob@example.net"), "no")
        self.assertEqual(wait("198.51.100.7", "ann@example.org", "bob@example.net"), "300")  # and then what is left of it
        self.assertEqual(wait("198.51.100.7", "ann@example.org", "new@example.net"), "300")

    def test_expire(self):
        rows = "".join(json.dumps({"key": f"k{i}", "value": i, "expires": time.time() + 10}) + "\n" for i in range(30))
        self.store("import", data=rows + '{"key": "stays", "value": 1}\n')
        db = sqlite3.connect(self.folder("state", "store.db"))
        with db:
            db.execute("UPDATE entry SET expires = 1000 WHERE value < 25 AND key <> CAST('stays' AS BLOB)")
        db.close()
        self.assertEqual(len(lines_of(self.store("list", "--json")[1])), 6)
        self.assertEqual(lines_of(self.store("expire", "--json")[1]), [{"removed": 25}])
        self.assertEqual(self.store("expire")[1], "removed: 0\n")

    def test_a_long_list_in_pages(self):
        rows = "".join(json.dumps({"key": f"k{i:05}", "value": "v" * (i % 50)}) + "\n" for i in range(1234))
        self.assertEqual(self.store("import", data=rows)[0], 0)
        found = lines_of(self.store("export", "k")[1])
        self.assertEqual([row["key"] for row in found], [f"k{i:05}" for i in range(1234)])
        self.assertEqual(len(lines_of(self.store("export", "k000")[1])), 100)

    def test_a_file_that_is_none_of_ours(self):
        self.folder.write("state/store.db", "x" * 5000)
        for words in (("list",), ("get", "k"), ("expire",), ("export",)):
            code, out, err = self.store(*words)
            self.assertEqual((code, out), (71, ""), words)
            self.assertIn("not a database", err)

    def test_usage(self):
        for words in ((), ("nonsense",), ("get",), ("delete",), ("list", "a", "b"), ("expire", "x"), ("delete", "k", "--json"), ("list", "--from", "json"),
                      ("import", "--from", "nonsense"), ("get", "k" * 1025), ("import", "/nowhere/file")):
            self.assertEqual(self.store(*words)[0], 2, words)


if __name__ == "__main__":
    unittest.main()
