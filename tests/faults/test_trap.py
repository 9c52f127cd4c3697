"""Calls of the kernel that fail while mail is kept: it is kept whole or not accepted, and the next try makes it whole."""

import os
import unittest

import paths  # noqa: F401
from harness.lines import lines_of
from harness.process import Folder
from injector import Injector
from stack import Stack

# What a worker calls on the way, and what the kernel may say; short counts are no errors.
CALLS = (("pwrite", "ENOSPC"), ("pwrite", "EIO"), ("pwrite", "short"), ("pwrite", "EINTR"), ("fcntl", "EIO"), ("fstat", "EIO"), ("getrandom", "EIO"),
         ("pread", "EIO"), ("open", "EMFILE"), ("lseek", "EIO"))
TIMES = 8


class Trap(Stack):
    deeds = """
    keep = function(msg) msg:trap{ mode = "store", reason = msg:header("X-Number") } end,
    """
    options = {"trap__min_free": 0, "worker__on_error": "accept"}

    def setUp(self):
        self.kept_in = Folder("kept")
        self.addCleanup(self.kept_in.remove)
        self.injector = Injector(self.kept_in("inject"))
        self.options = {**self.options, "worker__state_dir": self.kept_in.path}
        super().setUp()

    def env(self):
        return self.injector.env()

    def names(self, ending):
        folder = self.kept_in("trap")
        return sorted(name[:24] for name in os.listdir(folder) if name.endswith(ending)) if os.path.isdir(folder) else []

    def test_each_call(self):
        self.assertEqual(self.send("keep", 0).code, "discard")
        number, n_failed = 0, 0
        for call, error in CALLS:
            for nth in range(1, TIMES + 1):
                number += 1
                self.injector.arm("worker", call, error, nth)
                answer = self.send("keep", number)
                fired = self.injector.disarm()
                n_failed += fired
                self.assertIn(answer.verdict, ("discard", "tempfail"), f"{call} {error} {nth}: {answer}\n{self.postern.logs()}")
                if answer.verdict == "discard":
                    self.assertEqual(len(self.names(".json")), number + 1, f"{call} {error} {nth}: accepted, and not kept")
                else:
                    self.assertEqual(self.send("keep", number).code, "discard", f"{call} {error} {nth}: the next try")
                self.assertEqual(len(self.names(".json")), number + 1, f"{call} {error} {nth}")
                self.assertEqual(self.names(".json"), self.names(".eml"), f"{call} {error} {nth}")
        self.assertGreater(n_failed, 20, "calls that failed")
        rows = lines_of(self.postern.ctl("trap", "list", "--json", check=True)[1])
        self.assertEqual(sorted(int(row["reason"]) for row in rows), list(range(number + 1)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
