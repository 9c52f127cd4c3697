"""The same daemons seen by another implementation of the MTA's side: the scripts mt_*.lua, run by Debian's miltertest."""

import glob
import os
import re
import shutil
import subprocess
import unittest

from fixture import HERE, PATIENCE, SystemTest


class Miltertest(SystemTest):
    """One test for each script; the filter stands in the script's first comment."""

    def setUp(self):
        self.program = shutil.which("miltertest")
        self.assertIsNotNone(self.program, "miltertest is not installed")

    def run_script(self, path):
        with open(path, encoding="utf-8") as file:
            script = file.read()
        self.start(re.match(r"--\[==\[(.*?)\]==\]", script, re.DOTALL).group(1))
        # miltertest keeps the text of an error to itself
        script = self.postern.folder.write("script.lua", "local ok, why = xpcall(function() " + script +
                                           "\nend, debug.traceback) mt.echo(ok and 'script ended well' or why)\n")
        done = subprocess.run([self.program, "-D", "socket=" + self.postern.spec, "-s", script], capture_output=True, text=True,
                              timeout=60 * PATIENCE, check=False, cwd=self.postern.folder.path, stdin=subprocess.DEVNULL)
        self.assertEqual((done.returncode, done.stderr), (0, ""), f"{done.stdout}{done.stderr}\n{self.postern.logs()}")
        self.assertIn("script ended well", done.stdout)


def add_tests():
    for path in sorted(glob.glob(os.path.join(HERE, "mt_*.lua"))):
        name = os.path.basename(path)[3:-4]
        setattr(Miltertest, "test_" + name, lambda self, path=path: self.run_script(path))


add_tests()

if __name__ == "__main__":
    unittest.main()
