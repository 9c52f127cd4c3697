"""posternctl dev: ready, reloading on save, broken filters, what dies, and how it ends."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import unittest

from common import CTL, ctl, lines_of, sample, shipped
from harness.process import PATIENCE, Folder, processes_of, wait_until

PLAIN = 'function filter_message(msg) return reject("%s") end\n'


class Dev:
    """A running posternctl dev with its standard output and log in files."""

    def __init__(self, filter_path, folder, *words, use_dir=True):
        self.folder = folder
        self.out = folder("dev.out")
        self.err = folder("dev.err")
        argv = [CTL, "dev", filter_path, *words]
        if use_dir:
            argv += ["--dir", folder("run")]
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.popen = subprocess.Popen(argv, stdout=out, stderr=err, stdin=subprocess.DEVNULL)

    def said(self):
        with open(self.out, encoding="utf-8") as file:
            return file.read()

    def logged(self):
        with open(self.err, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_said(self, pattern, seconds=20):
        def find():
            assert self.popen.poll() is None or re.search(pattern, self.said(), re.M), \
                f"dev ended with {self.popen.returncode}\n{self.said()}{self.logged()[-3000:]}"
            return re.search(pattern, self.said(), re.M)
        return wait_until(find, lambda: f"dev to say {pattern!r}:\n{self.said()}{self.logged()[-3000:]}", seconds)

    def wait_ready(self):
        self.spec = self.wait_said(r"^ready (\S+)$").group(1)
        return self.spec

    def status(self):
        code, out, _ = ctl("status", "--json", "-s", self.folder("run", "control.sock"))
        return json.loads(out) if code == 0 else None

    def send(self, *words):
        code, out, err = ctl("send", "--json", self.spec, *words)
        assert code == 0, (code, err, self.logged()[-3000:])
        return lines_of(out)[0]

    def try_text(self):
        """The reply's text for a clean message, or None while nobody answers."""
        code, out, _ = ctl("send", "--json", self.spec, sample("clean"))
        return (lines_of(out)[0]["reply"] or {}).get("text") if code == 0 else None

    def program_pid(self, name):
        for pid in processes_of(self.folder("run")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    program = os.path.basename(file.read().split(b"\0")[0].decode())
                with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                    parent = int(file.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            if program == name and parent == self.popen.pid:
                return pid
        return None

    def stop(self, sig=signal.SIGTERM):
        if self.popen.poll() is None:
            self.popen.send_signal(sig)
        try:
            return self.popen.wait(30 * PATIENCE)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError("dev did not end\n" + self.logged()[-3000:]) from None


class DevTest(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("ctl-dev")
        self.addCleanup(self.folder.remove)

    def start(self, text, *words, **more):
        self.filter = self.folder.write("site/filter.lua", text)
        return self.start_file(self.filter, *words, **more)

    def start_file(self, path, *words, **more):
        dev = Dev(path, self.folder, *words, **more)
        self.addCleanup(self.end, dev)
        return dev

    def end(self, dev):
        self.assertEqual(dev.stop(), 0, dev.logged()[-3000:])
        wait_until(lambda: not processes_of(self.folder.path), lambda: f"left over: {processes_of(self.folder.path)}")
        self.assertNotRegex(dev.logged(), r"ERROR: \w+Sanitizer|runtime error:")

    def overwrite(self, text):
        with open(self.filter, "w", encoding="utf-8") as file:
            file.write(text)


class Ready(DevTest):
    def test_inet_with_any_port(self):
        dev = self.start_file(shipped("example"), "--socket", "inet:0@127.0.0.1")
        self.assertRegex(dev.wait_ready(), r"^inet:[1-9]\d*@127\.0\.0\.1$")
        self.assertEqual(dev.send(sample("html"))["actions"], [{"action": "add_header", "name": "X-Postern", "value": "2 parts"}])
        self.assertEqual(dev.send(sample("html"), "--ip", "203.0.113.7")["verdict"], "reject")

    def test_default_socket_is_in_the_folder(self):
        dev = self.start(PLAIN % "one")
        self.assertEqual(dev.wait_ready(), "unix:" + self.folder("run", "milter.sock"))
        self.assertEqual(dev.try_text(), "one")
        code, out, _ = ctl("-c", self.folder("run", "postern.conf"), "status", "--json")
        self.assertEqual((code, json.loads(out)["filter"]), (0, self.filter))

    def test_own_folder_is_removed(self):
        dev = self.start(PLAIN % "one", use_dir=False)
        private = os.path.dirname(dev.wait_ready().removeprefix("unix:"))
        self.assertEqual(os.stat(private).st_mode & 0o777, 0o700)
        self.assertEqual(dev.stop(), 0)
        self.assertFalse(os.path.exists(private))

    def test_options_are_passed_on(self):
        dev = self.start(PLAIN % "one", "-o", "multiplexor.min_workers=3", "-o", "multiplexor.max_workers=3")
        dev.wait_ready()
        self.assertEqual(dev.status()["workers"]["max"], 3)

    def test_wrong_option_is_2(self):
        self.filter = self.folder.write("site/filter.lua", PLAIN % "one")
        code, out, err = ctl("dev", self.filter, "--dir", self.folder("run"), "-o", "worker.fliter=x")
        self.assertEqual((code, out), (2, ""))
        self.assertIn("did you mean", err)

    def test_socket_in_use_gives_up(self):
        self.filter = self.folder.write("site/filter.lua", PLAIN % "one")
        with socket.socket(socket.AF_UNIX) as taken:
            taken.bind(self.folder("taken.sock"))
            taken.listen()
            code, out, err = ctl("dev", self.filter, "--dir", self.folder("run"), "--socket", "unix:" + self.folder("taken.sock"))
        self.assertNotEqual(code, 0)
        self.assertNotIn("ready", out)
        self.assertIn("giving up", err)
        self.assertEqual(processes_of(self.folder.path), [])


class Reload(DevTest):
    def test_saved_in_place(self):
        dev = self.start(PLAIN % "one")
        dev.wait_ready()
        self.assertEqual(dev.try_text(), "one")
        self.overwrite(PLAIN % "two")
        dev.wait_said(r"^reloaded generation \d+$")
        self.assertEqual(dev.try_text(), "two")

    def test_renamed_by_an_editor(self):
        dev = self.start(PLAIN % "one")
        dev.wait_ready()
        self.folder.write("site/filter.lua", PLAIN % "two")
        dev.wait_said(r"^reloaded generation \d+$")
        self.assertEqual(dev.try_text(), "two")

    def test_module_beside_it(self):
        self.folder.write("site/words.lua", 'return { text = "one" }')
        dev = self.start('local words = require "words"\nfunction filter_message(msg) return reject(words.text) end')
        dev.wait_ready()
        self.assertEqual(dev.try_text(), "one")
        self.folder.write("site/words.lua", 'return { text = "two" }')
        dev.wait_said(r"^reloaded generation \d+$")
        self.assertEqual(dev.try_text(), "two")

    def test_broken_changes_nothing_and_says_why(self):
        dev = self.start(PLAIN % "one")
        dev.wait_ready()
        self.overwrite("function filter_message(msg\n")
        dev.wait_said(r"^not reloaded: .*filter\.lua:\d+")
        self.assertEqual(dev.try_text(), "one")
        self.overwrite(PLAIN % "mended")
        dev.wait_said(r"^reloaded generation \d+$")
        self.assertEqual(dev.try_text(), "mended")

    def test_broken_at_first(self):
        dev = self.start("function filter_message(msg\n")
        dev.wait_ready()
        dev.wait_said(r"^not loaded: .*filter\.lua:\d+")
        self.assertEqual(dev.send(sample("clean"))["verdict"], "tempfail")
        self.overwrite(PLAIN % "mended")
        dev.wait_said(r"^reloaded generation \d+$")
        wait_until(lambda: dev.try_text() == "mended", "the mended filter to answer")

    def test_several_saves_at_once_are_few_reloads(self):
        dev = self.start(PLAIN % "one")
        dev.wait_ready()
        for i in range(20):
            self.overwrite(PLAIN % f"save {i}")
        wait_until(lambda: dev.try_text() == "save 19", "the last save to count")
        self.assertLess(dev.said().count("reloaded"), 10)

    def test_other_files_do_not_count(self):
        dev = self.start(PLAIN % "one")
        dev.wait_ready()
        generation = dev.status()["generation"]
        self.folder.write("site/notes.txt", "nothing")
        self.folder.write("site/words.lua", "return {}")
        dev.wait_said(r"^reloaded generation \d+$")
        self.assertEqual(dev.status()["generation"], generation + 1)


class Deaths(DevTest):
    def test_killed_programs_are_started_again(self):
        dev = self.start(PLAIN % "one", "--socket", "inet:0@127.0.0.1")
        dev.wait_ready()
        for name in ("postern-milterd", "postern-multiplexor"):
            with self.subTest(name=name):
                pid = dev.program_pid(name)
                os.kill(pid, signal.SIGKILL)
                wait_until(lambda n=name, p=pid: dev.program_pid(n) not in (None, p), f"{name} to be started again")
                wait_until(lambda: dev.try_text() == "one", lambda: "mail to flow again at the same place:\n" + dev.logged()[-3000:])
        self.assertIn("is started again", dev.logged())

    def test_signals_end_everything_with_0(self):
        for sig in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(sig=sig):
                dev = self.start(PLAIN % "one")
                dev.wait_ready()
                self.assertEqual(dev.stop(sig), 0)
                self.assertEqual(processes_of(self.folder.path), [])
                self.assertEqual(os.listdir(self.folder("run")), [])
                shutil.rmtree(self.folder("run"))

    def test_killed_itself_it_leaves_nobody(self):
        dev = self.start(PLAIN % "one")
        dev.wait_ready()
        dev.popen.kill()
        dev.popen.wait()
        dev.popen.returncode = 0  # what the cleanup expects of one that ended by itself
        wait_until(lambda: not processes_of(self.folder.path), lambda: f"left over: {processes_of(self.folder.path)}", 30)


if __name__ == "__main__":
    unittest.main()
