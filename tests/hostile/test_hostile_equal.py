"""Postern's reader and GMime agree on the whole corpus: ordinary mail, samples, seeds of the fuzzers, hostile mail, mutants. The comparing is done by test_equal_gmime."""

import glob
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [HERE, TESTS, os.path.join(TESTS, "bench")]

import corpus  # noqa: E402
import messages  # noqa: E402
import ordinary  # noqa: E402
import tricks  # noqa: E402
from harness.process import PATIENCE, SANITIZE, Folder  # noqa: E402

PROGRAM = os.path.join(os.environ["POSTERN_BUILD"], "tests", "test_equal_gmime")
MUTANTS = 500 if SANITIZE else 4000
BYTES_MAX = 1 << 20 if SANITIZE else 16 << 20


def file_name(name):
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:80] + ".eml"


class Equal(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("equal")
        self.addCleanup(self.folder.remove)

    def write(self, kind, mails):
        return [self.folder.write(file_name(f"{kind} {name}"), data) for name, data in mails if len(data) <= BYTES_MAX]

    def compare(self, paths, *options):
        done = subprocess.run([PROGRAM, *options, *paths], capture_output=True, text=True, errors="replace", timeout=300 * PATIENCE, check=False)
        print(done.stdout + done.stderr)
        self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr)

    def test_ordinary_mail(self):
        self.compare(self.write("ordinary", ordinary.mails().items()))

    def test_samples(self):
        """What is in the tree, and the benchmark's messages."""
        paths = glob.glob(os.path.join(TESTS, "samples", "**", "*.eml"), recursive=True)
        self.assertGreater(len(paths), 10)
        bench = corpus.write(os.path.join(self.folder.path, "bench")).values()
        self.compare(paths + [path for path in bench if os.path.getsize(path) <= BYTES_MAX])

    def test_seeds_of_the_fuzzer(self):
        seeds = glob.glob(os.path.join(TESTS, "fuzz", "corpus", "mime", "*"))
        self.assertGreater(len(seeds), 10)
        mails = []
        for path in seeds:
            with open(path, "rb") as file:
                mails.append((os.path.basename(path), file.read()[1:]))  # the first byte chooses limits
        self.compare(self.write("seed", mails))

    def test_hostile_mail(self):
        mails = [(name, make()) for name, make in messages.ROWS.items()]
        self.compare(self.write("hostile", mails))

    def test_tricks(self):
        self.compare(self.write("trick", [(f"{number} {one.name}", one.data) for number, one in enumerate(tricks.TRICKS)]))

    def test_mutants(self):
        self.compare([], "-m", str(MUTANTS))


if __name__ == "__main__":
    unittest.main()
