"""posternctl urls: what it lists, shows, removes by age, size and name, and what it does with an index that lies."""

import hashlib
import json
import os
import time
import unittest

from common import ctl, lines_of
from harness.process import Folder

DAY = 86400


class Urls(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("urls")
        self.addCleanup(self.folder.remove)
        os.mkdir(self.folder("files"))
        os.makedirs(self.folder("state", "urls"))
        os.chmod(self.folder("state", "urls"), 0o700)
        self.now = int(time.time())

    def run_urls(self, *words, options=()):
        return ctl("urls", *words, "-o", "worker.state_dir=" + self.folder("state"), "-o", "urls.directory=" + self.folder("files"),
                   *(word for option in options for word in ("-o", option)))

    def index_name(self, name, directory):
        return os.path.join("state", "urls", name[:2], f"{name}-{hashlib.sha256(directory.encode()).hexdigest()[:8]}.json")

    def file(self, name):
        return self.folder("files", name[:2], name + ".bin")

    def store(self, number, age=0, expires=30 * DAY, size=100, with_file=True, **members):
        """A file stored so many seconds ago, as a worker would have; returns its id."""
        name = f"{number:040x}"
        stored = self.now - age
        directory = self.folder("files")
        entry = {"id": name, "directory": directory, "url": f"https://files.example.org/{name[:2]}/{name}.bin", "type": "application/pdf",
                 "size": size, "sha256": "0" * 64, "stored": stored, "used": stored, "expires": stored + expires if expires else 0,
                 "uses": [{"time": stored, "filename": f"file {number}\x1b[2J", "message_id": f"<{number}@x>", "sender": "a@example.org",
                           "queue_id": "Q"}], **members}
        self.folder.write(self.index_name(name, directory), json.dumps(entry), 0o600)
        if with_file:
            self.folder.write(f"files/{name[:2]}/{name}.bin", "x" * size)
        return name

    def left(self):
        code, out, _ = self.run_urls("list", "--json")
        self.assertEqual(code, 0)
        return [row["id"] for row in lines_of(out)]

    def test_nothing_stored(self):
        os.rmdir(self.folder("state", "urls"))
        self.assertEqual(self.run_urls("list")[:2], (0, "none\n"))
        self.assertEqual(self.run_urls("list", "--json")[:2], (0, ""))
        self.assertEqual(self.run_urls("expire")[0], 0)
        self.assertEqual(self.run_urls("show", "f" * 40)[0], 1)

    def test_list_and_show(self):
        old, new = self.store(1, age=10), self.store(2, expires=0, with_file=False)
        code, out, err = self.run_urls("list")
        self.assertEqual(code, 0, err)
        lines = out.splitlines()
        self.assertEqual(len(lines), 3)
        self.assertRegex(lines[1], rf"100 B +{old} +a@example\.org +file 1\\x1B\[2J")
        self.assertRegex(lines[2], rf"never .*{new}")
        code, out, _ = self.run_urls("list", "--json")
        self.assertEqual([(row["id"], row["has_file"]) for row in lines_of(out)], [(old, True), (new, False)])
        for which in (old, f"https://files.example.org/{old[:2]}/{old}.bin"):
            code, out, _ = self.run_urls("show", which)
            self.assertEqual(code, 0)
            self.assertIn("file       is there", out)
            self.assertIn("<1@x>", out)
            self.assertNotIn("\x1b", out)
        self.assertEqual(lines_of(self.run_urls("show", new, "--json")[1])[0]["uses"][0]["message_id"], "<2@x>")
        for wrong in ("0" * 39, "f" * 40, "../../etc/passwd", "", "https://x/" + old + ".exe"):
            code, _, err = self.run_urls("show", wrong)
            self.assertEqual((code, err.startswith("posternctl: there is no file behind a link")), (1, True), wrong)

    def test_expiry_by_age(self):
        gone, kept, for_ever = self.store(1, age=31 * DAY), self.store(2, age=29 * DAY), self.store(3, age=1000 * DAY, expires=0)
        code, out, _ = self.run_urls("expire", "--dry-run")
        self.assertEqual((code, out.splitlines()[-1]), (0, "would be removed: 1 (100 B), half done: 0; left: 2 (200 B)"))
        self.assertEqual(self.left(), [for_ever, gone, kept])
        code, out, _ = self.run_urls("expire", "--json")
        self.assertEqual([(row["id"], row["reason"], row["size"]) for row in lines_of(out)], [(gone, "expired", 100)])
        self.assertEqual(self.left(), [for_ever, kept])
        self.assertFalse(os.path.exists(self.file(gone)))
        self.assertTrue(os.path.exists(self.file(kept)))
        self.assertEqual(self.run_urls("expire")[1], "removed: 0 (0 B), half done: 0; left: 2 (200 B)\n")

    def test_expiry_by_size(self):
        names = [self.store(n, age=100 - n) for n in range(1, 6)]
        code, out, _ = self.run_urls("expire", "--json", options=["urls.max_bytes=250"])
        self.assertEqual([(row["id"], row["reason"]) for row in lines_of(out)], [(name, "max_bytes") for name in names[:3]])
        self.assertEqual(self.left(), names[3:])

    def test_what_is_lost_or_half_done_goes(self):
        lost, fresh = self.store(1, age=2 * 3600, with_file=False), self.store(2, with_file=False)
        kept = self.store(3)
        for name, age in (("old", 7200), ("new", 0)):
            path = self.folder.write(f"files/00/.new-{name}", "half")
            os.utime(path, (self.now - age, self.now - age))
        code, out, _ = self.run_urls("expire")
        self.assertEqual((code, out), (0, f"{lost} lost file 1\\x1B[2J\nremoved: 1 (0 B), half done: 1; left: 2 (200 B)\n"))
        self.assertEqual(sorted(self.left()), [fresh, kept])
        self.assertEqual(sorted(os.listdir(self.folder("files", "00"))), [".new-new", kept + ".bin"])

    def test_delete(self):
        one, two = self.store(1), self.store(2)
        self.assertEqual(self.run_urls("delete", one)[:2], (0, ""))
        self.assertEqual(self.left(), [two])
        self.assertFalse(os.path.exists(self.file(one)))
        self.assertEqual(self.run_urls("delete", one)[0], 1)

    def test_an_index_that_lies_removes_nothing(self):
        """A worker that was taken over can write the index."""
        victim = self.folder.write("victim/00/" + "0" * 40 + ".bin", "mine")
        self.store(1, age=99 * DAY, directory=self.folder("victim"))
        self.store(2, age=99 * DAY, id="../../../victim")
        self.store(3, age=99 * DAY, uses=[])
        self.folder.write(self.index_name("0" * 39 + "4", "x"), "{" * 100000)
        os.mkfifo(self.folder(self.index_name("0" * 39 + "5", "x")))
        os.symlink("/etc/passwd", self.folder(self.index_name("0" * 39 + "6", "x")))
        kept = self.store(7)
        code, out, err = self.run_urls("expire")
        self.assertEqual((code, err), (1, "posternctl: 6 entries of the index cannot be read\n"))
        self.assertIn("removed: 0", out)
        self.assertTrue(os.path.exists(victim))
        code, out, err = self.run_urls("list", "--json")
        self.assertEqual((code, [row["id"] for row in lines_of(out)]), (1, [kept]))

    @unittest.skipIf(os.geteuid() != 0, "giving files away needs root")
    def test_files_of_others_stay(self):
        gone, foreign = self.store(1, age=99 * DAY), self.store(2, age=99 * DAY)
        os.chown(self.file(foreign), 65534, 65534)
        code, out, err = self.run_urls("expire")
        self.assertEqual(code, 1)
        self.assertIn(f"{foreign}: its file is not one of ours", err)
        self.assertEqual((os.path.exists(self.file(gone)), os.path.exists(self.file(foreign))), (False, True))
        os.unlink(self.file(foreign))
        os.symlink(self.folder.write("mine", "mine"), self.file(foreign))
        self.assertEqual(self.run_urls("expire")[0], 1)
        self.assertTrue(os.path.exists(self.folder("mine")))

    def test_a_folder_others_can_enter_is_refused(self):
        os.chmod(self.folder("state", "urls"), 0o755)
        code, _, err = self.run_urls("list")
        self.assertNotEqual(code, 0)
        self.assertIn("it is not a folder of its owner alone", err)

    def test_wrong_use(self):
        for words in ((), ("list", "x"), ("show",), ("expire", "x"), ("list", "--dry-run"), ("delete", "0" * 40, "--json"), ("frob",)):
            self.assertEqual(self.run_urls(*words)[0], 2, words)


if __name__ == "__main__":
    unittest.main()
