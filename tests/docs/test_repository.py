"""Links lead somewhere; what is installed is of use: systemd units, the sample configuration."""

import os
import re
import shutil
import subprocess
import unittest

from common import BIN, SOURCE, Folder, ctl, read

UNITS = ("postern-milterd.service", "postern-milterd.socket", "postern-multiplexor.service")


def markdown():
    for folder, folders, names in os.walk(SOURCE):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in ("build", "corpus")]
        for name in names:
            if name.endswith(".md"):
                yield os.path.join(folder, name)


def anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


class Links(unittest.TestCase):
    def test_relative_links_exist(self):
        n = 0
        for path in markdown():
            with open(path, encoding="utf-8") as file:
                text = re.sub(r"^```.*?^```$", "", file.read(), flags=re.M | re.S)
            for target in re.findall(r"\]\(([^)\s]+)\)", text):
                if re.match(r"[a-z]+:", target):
                    continue
                n += 1
                name, _, part = target.partition("#")
                there = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
                with self.subTest(f"{os.path.relpath(path, SOURCE)}: {target}"):
                    self.assertTrue(os.path.exists(there))
                    if part:
                        with open(there, encoding="utf-8") as file:
                            headings = re.findall(r"^#+ (.*)$", file.read(), flags=re.M)
                        self.assertIn(part, [anchor(heading) for heading in headings])
        self.assertGreater(n, 5)


class Installed(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("docs-inst")
        self.addCleanup(self.folder.remove)

    def test_systemd_takes_the_units(self):
        if shutil.which("systemd-analyze") is None:
            self.skipTest("systemd-analyze is not installed")
        paths = [self.folder.write(name, read("conf", name).replace("@CMAKE_INSTALL_FULL_SBINDIR@", BIN)) for name in UNITS]
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True, check=False)
        ours = [line for line in (done.stdout + done.stderr).splitlines() if "postern" in line]
        self.assertEqual((done.returncode, ours), (0, []))

    def test_the_sample_configuration_is_one(self):
        code, sample = ctl("config", "--sample")
        self.assertEqual(code, 0)
        self.assertFalse(re.findall(r"^[^#\[\n]", sample, flags=re.M), "everything is commented out")
        everything = re.sub(r"^#(\w+ =)", r"\1", sample, flags=re.M)
        path = self.folder.write("postern.conf", everything)
        code, out = ctl("config", "-c", path, "-o", "multiplexor.control_socket=" + self.folder("none.sock"), "--json")
        self.assertEqual(code, 0, out)


if __name__ == "__main__":
    unittest.main()
