"""Links lead somewhere; what is installed is of use: systemd units, the sample configuration."""

import os
import re
import shutil
import subprocess
import tarfile
import unittest

from common import BIN, BUILD, PAGES, PATIENCE, SOURCE, Folder, ctl, read

PROGRAMS = ("bin/posternctl", "sbin/postern-milterd", "sbin/postern-multiplexor", "sbin/postern-worker")
UNITS = ("postern-milterd.service", "postern-milterd.socket", "postern-multiplexor.service", "postern-urls.service", "postern-urls.timer",
         "postern-trap.service", "postern-trap.timer")


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
        paths = [self.folder.write(name, re.sub(r"@CMAKE_INSTALL_FULL_S?BINDIR@", BIN, read("conf", name))) for name in UNITS]
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True, check=False)
        ours = [line for line in (done.stdout + done.stderr).splitlines() if "postern" in line]
        self.assertEqual((done.returncode, ours), (0, []))

    def run_quietly(self, *argv, **environment):
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100 * PATIENCE, check=False,
                              cwd=self.folder.path, env=dict(os.environ, **environment))
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def prefix(self):
        with open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8") as file:
            return re.search(r"^CMAKE_INSTALL_PREFIX:\w+=/(.*)$", file.read(), flags=re.M).group(1)

    def test_an_installation_is_whole_and_works(self):
        root, prefix = self.folder("root"), self.prefix()
        self.run_quietly("cmake", "--install", BUILD, DESTDIR=root)
        pages = [f"share/man/man{page[-1]}/{page}" for page in PAGES]
        filters = []
        for folder, _, names in [*os.walk(os.path.join(SOURCE, "scripts", "filters")), *os.walk(os.path.join(SOURCE, "scripts", "lib"))]:
            filters += [os.path.join("share/postern", os.path.relpath(folder, os.path.join(SOURCE, "scripts")), name) for name in names]
        below = [*PROGRAMS, *pages, *filters, *("lib/systemd/system/" + unit for unit in UNITS), "lib/sysusers.d/postern.conf",
                 "lib/tmpfiles.d/postern.conf", "share/postern/types/postern.lua", "share/doc/postern/examples/sendmail.mc", "share/doc/postern/examples/postern-outside.conf",
                 "share/doc/postern/examples/postfix-main.cf", "share/doc/postern/examples/postfix-master.cf", "share/doc/postern/getting-started.md"]
        wanted = [os.path.join(prefix, name) for name in below] + ["etc/postern/postern.conf", "etc/postern/filter.lua"]
        self.assertEqual([name for name in wanted if not os.path.isfile(os.path.join(root, name))], [])
        for unit in UNITS:
            with open(os.path.join(root, prefix, "lib/systemd/system", unit), encoding="utf-8") as file:
                for program in re.findall(r"^ExecStart=(\S+)", file.read(), flags=re.M):
                    self.assertTrue(os.access(root + program, os.X_OK), program)
        conf, control = os.path.join(root, "etc/postern/postern.conf"), os.path.join(root, prefix, "bin/posternctl")
        for program in PROGRAMS[1:3]:
            self.run_quietly(os.path.join(root, prefix, program), "-t", "-c", conf)
        self.run_quietly(control, "-c", conf, "run", os.path.join(root, "etc/postern/filter.lua"),
                         os.path.join(SOURCE, "tests/samples/clean.eml"))
        disclaimer = os.path.join(root, prefix, "share/postern/filters/disclaimer.lua")  # which needs a module in Lua
        self.run_quietly(control, "-c", conf, "check", disclaimer)
        self.run_quietly(control, "-c", conf, "test", "--filter", disclaimer, disclaimer.replace(".lua", "_test.lua"))

    def test_an_edited_filter_stays(self):
        root = self.folder("root")
        mine = self.folder.write("root/etc/postern/filter.lua", "-- mine\n")
        self.run_quietly("cmake", "--install", BUILD, DESTDIR=root)
        with open(mine, encoding="utf-8") as file:
            self.assertEqual(file.read(), "-- mine\n")

    def test_the_archive_is_the_same_and_writes_nowhere_else(self):
        self.run_quietly("cpack", "--config", os.path.join(BUILD, "CPackConfig.cmake"), "-G", "TGZ", "-B", self.folder("pack"))
        (name,) = [name for name in os.listdir(self.folder("pack")) if name.endswith(".tar.gz")]
        with tarfile.open(self.folder("pack", name)) as archive:
            names = {member.split("/", 1)[1] for member in archive.getnames() if "/" in member}
        self.assertLessEqual({os.path.join(self.prefix(), program) for program in PROGRAMS}, names)
        self.assertIn("etc/postern/filter.lua", names)

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
