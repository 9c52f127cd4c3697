"""A filter tries what it must not do, each attempt by itself: it fails there, and the mail is answered. What is granted works; modes and status."""

import errno
import os
import socket
import sys
import unittest

sys.path.insert(0, os.path.join(os.environ["POSTERN_SOURCE"], "tests"))
from harness.postern import Postern  # noqa: E402
from harness.process import BUILD, SANITIZE, Folder, wait_until  # noqa: E402

MODULE = os.path.join(BUILD, "tests", "sandbox")
FILTER = """
package.cpath = "%(module)s/?.so"
local attempts = require "attempts"
function filter_message(msg)
    local state = "%(state)s"
    local out = assert(io.open(state .. "/result.new", "w"))
    local pids = assert(io.open("%(filters)s/pids"))
    local one, two = pids:read("n", "n")
    for name, number in pairs(attempts.run(state, "%(secret)s", "%(filters)s/filter.lua", one, "%(abstract)s", two)) do
        out:write(number, " ", name, "\\n")
    end
    for _, path in ipairs{ "%(secret)s", "/tmp/postern-outside" } do
        local file, why = io.open(path, path == "%(secret)s" and "r" or "w")
        out:write(file and 0 or 1, " lua ", tostring(why), "\\n")
    end
    local saved, why = msg.root:save("%(filters)s/x")
    out:write(saved and 0 or 1, " lua ", tostring(why), "\\n")
    assert(msg.root:save(state .. "/part"))
    out:close()
    return reject("tried everything")
end
"""
MAIL = "From: a@example.org\nSubject: x\n\nhello\n"


class Tried(unittest.TestCase):
    def start(self, options=None):
        folder = self.folder = Folder("sandbox")
        for name in ("filters", "state"):
            os.mkdir(folder(name))
            os.chmod(folder(name), 0o777)
        self.secret = folder.write("secret", "key\n")
        os.symlink(self.secret, folder("state", "link"))
        folder.write("state/own", "own\n", 0o666)
        self.abstract = "postern-sandbox-%d" % os.getpid()
        text = FILTER % {"module": MODULE, "state": folder("state"), "filters": folder("filters"), "secret": self.secret,
                         "abstract": self.abstract}
        path = folder.write("filters/filter.lua", text)
        folder.write("filters/pids", "1 1\n")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("\0" + self.abstract)
        listener.listen()
        self.addCleanup(listener.close)
        self.addCleanup(folder.remove)
        return Postern("function filter_message() end", folder=folder, options={
            "worker.filter": path, "worker.state_dir": folder("state"), "worker.read_paths": MODULE, "multiplexor.max_workers": 2, **(options or {})})

    def send(self, postern):
        mail = self.folder.write("mail.eml", MAIL)
        self.folder.write("filters/pids", " ".join(str(w["pid"]) for w in wait_until(lambda: len(postern.workers()) == 2 and postern.workers(), "two workers")))
        return postern.ctl("send", postern.spec, mail)

    def results(self):
        with open(self.folder("state", "result.new"), encoding="utf-8") as file:
            rows = [line.rstrip("\n").split(" ", 1) for line in file]
        return {name: int(number) for number, name in rows if not name.startswith("lua ")}, [(int(n), t[4:]) for n, t in rows if t.startswith("lua ")]

    @unittest.skipIf(SANITIZE, "no list of system calls in a build with sanitizers")
    def test_attempts(self):
        """At least 40 forbidden deeds: none is done, no worker dies of it, and the sender gets the filter's answer."""
        with self.start({"worker.sandbox": "required"}) as postern:
            before = sorted(worker["pid"] for worker in postern.workers())
            code, out, err = self.send(postern)
            self.assertIn("tried everything", out + err, postern.logs())
            tried, lua = self.results()
            self.assertGreaterEqual(len(tried), 40)
            self.assertEqual([name for name, number in tried.items() if number == 0], [])
            allowed = {"clone3": errno.ENOSYS}
            wrong = {name: errno.errorcode.get(number, number) for name, number in tried.items()
                     if number not in (errno.EPERM, errno.EACCES) and number != allowed.get(name)}
            # What is not there on this machine is no proof, and no escape.
            self.assertLessEqual(set(wrong.values()), {"ENOENT", "EXDEV", "ENXIO"}, wrong)
            self.assertLessEqual(len(wrong), 4, wrong)
            self.assertEqual(sorted(worker["pid"] for worker in postern.workers()), before, "a worker died")
            self.assertEqual([number for number, _ in lua], [1, 1, 1])
            self.assertIn("worker.read_paths", lua[0][1])
            self.assertIn("worker.write_paths", lua[1][1])
            self.assertIn("worker.write_paths", lua[2][1])
            for outside in ("/tmp/postern-outside", "/dev/shm/postern-outside", "/tmp/postern-link", "/tmp/postern-moved", "/tmp/postern-device"):
                self.assertFalse(os.path.lexists(outside), outside)
            with open(self.folder("state", "part"), encoding="utf-8") as file:
                self.assertEqual(file.read().replace("\r\n", "\n"), "hello\n")

    @unittest.skipIf(SANITIZE, "no list of system calls in a build with sanitizers")
    def test_grants(self):
        """allow_exec and allow_network open what they say, and no more."""
        with self.start({"worker.sandbox": "required", "worker.allow_network": "yes"}) as postern:
            code, out, err = self.send(postern)
            self.assertIn("tried everything", out + err, postern.logs())
            tried, _ = self.results()
            self.assertEqual([name for name, number in sorted(tried.items()) if number == 0], ["inet socket", "inet6 socket"])
            self.assertIn("network allowed", postern.status()["sandbox"])

    def test_status(self):
        """Status says what is in force; each process is under a filter and can gain no privilege."""
        with self.start() as postern:
            sandbox = postern.status()["sandbox"]
            self.assertIn("no-new-privs, rlimits", sandbox)
            self.assertIn("no seccomp (off in a build with sanitizers)" if SANITIZE else "seccomp", sandbox)
            pids = [worker["pid"] for worker in postern.workers()]
            for pid in pids + [postern.multiplexor.pid, postern.milterd.pid]:
                with open("/proc/%d/status" % pid, encoding="utf-8") as file:
                    fields = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
                if not SANITIZE:
                    self.assertEqual(fields["NoNewPrivs"], "1")
                    self.assertEqual(fields["Seccomp"], "2")
            for process in (postern.multiplexor, postern.milterd):
                self.assertIn("sandbox: no" if SANITIZE else "sandbox: no-new-privs, seccomp", process.output())

    def test_off(self):
        """worker.sandbox = off is said, and the API still keeps to its folders."""
        with self.start({"worker.sandbox": "off", "milterd.sandbox": "off", "multiplexor.sandbox": "off"}) as postern:
            self.assertIn("worker.sandbox = off", postern.status()["sandbox"])
            postern.save_filter("")
            self.folder.write("filters/filter.lua", "function filter_message() return reject(select(2, io.open('/tmp/postern-outside', 'w'))) end")
            self.assertTrue(postern.reload()["ok"])
            code, out, err = self.send(postern)
            self.assertIn("worker.write_paths", out + err)

    def test_check_names_the_option(self):
        """posternctl check runs under the same sandbox."""
        folder = Folder("sandbox")
        self.addCleanup(folder.remove)
        path = folder.write("filter.lua", "assert(io.open('%s/x', 'w'))\nfunction filter_message() end\n" % folder.path)
        with self.start() as postern:
            code, out, err = postern.ctl("check", path)
            self.assertEqual(code, 1)
            self.assertIn("worker.write_paths", out + err)


if __name__ == "__main__":
    unittest.main(verbosity=2)
