"""A filter tries what it must not do, each attempt by itself: it fails there, and the mail is answered. What is granted works; modes and status."""

import errno
import os
import socket
import sys
import unittest

sys.path.insert(0, os.path.join(os.environ["POSTERN_SOURCE"], "tests"))
from harness.postern import Postern  # noqa: E402
from harness.process import BIN, BUILD, SANITIZE, Folder, Process, wait_until  # noqa: E402

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


# A program that its parent has left asks what the worker asked: a command, and the HELLO of a milterd.
ORPHAN = """
import os, socket
if os.fork() == 0:
    if os.fork() != 0:
        os._exit(0)
    answers = []
    hello = bytes.fromhex("0001 0000 0001 0000 0000000000000000 0000000d 01 00000009 00000000 00000000")
    for path, kind, question in (("%(control)s", socket.SOCK_STREAM, b'{"v":1,"command":"ping"}' + bytes([10])), ("%(records)s", socket.SOCK_SEQPACKET, hello)):
        with socket.socket(socket.AF_UNIX, kind) as conn:
            conn.settimeout(20)
            try:
                conn.connect(path)
                conn.sendall(question)
                answers.append(repr(conn.recv(100)))
            except OSError as error:
                answers.append(repr(error))
    with open("%(said)s.new", "w") as file:
        print(*answers, sep=chr(10), file=file)
    os.rename("%(said)s.new", "%(said)s")
"""


class Without(Postern):
    """On a kernel that lacks something, for the multiplexor and its workers."""

    def __init__(self, lacking, filter_text, options=None, **kwargs):
        self.lacking = lacking
        super().__init__(filter_text, options, name="without", **kwargs)

    def start_multiplexor(self):
        self.multiplexor = Process([os.path.join(MODULE, "without"), self.lacking, os.path.join(BIN, "postern-multiplexor"), "-c", self.conf],
                                   self.folder("multiplexor.log"))


class Tried(unittest.TestCase):
    def start(self, options=None):
        folder = self.folder = Folder("sandbox")
        for name in ("filters", "state"):
            os.mkdir(folder(name))
            os.chmod(folder(name), 0o777)
        self.secret = folder.write("secret", "key\n")
        os.symlink(self.secret, folder("state", "link"))
        folder.write("state/own", "own\n", 0o666)
        self.abstract = "postern-sandbox-%s" % os.path.basename(folder.path)
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
            own = postern.status()["multiplexor_sandbox"]
            self.assertIn("no seccomp: off in a build with sanitizers" if SANITIZE else "no-new-privs, seccomp", own)
            fronts = postern.status()["front_sandboxes"]
            self.assertEqual(len(fronts), 1)
            self.assertIn("sandbox: " + fronts[0], postern.milterd.output())
            for text in (own, *fronts):
                self.assertIn(text, postern.ctl("status")[1])

    def write_filter(self, body):
        """A filter_message that has the module, and `say`, which writes a line to the state folder."""
        self.folder.write("filters/filter.lua", 'package.cpath = "%s/?.so"\nlocal attempts = require "attempts"\n'
                          'local function say(...) local out = assert(io.open("%s/said", "a")) out:write(table.concat({...}, " "), "\\n") out:close() end\n'
                          'function filter_message(msg) %s end\n' % (MODULE, self.folder("state"), body))

    def start_with(self, body, options=None):
        postern = self.start(options)
        self.write_filter(body)
        self.assertTrue(postern.reload()["ok"], postern.logs())
        return postern

    def said(self):
        with open(self.folder("state", "said"), encoding="utf-8") as file:
            return file.read().splitlines()

    def test_own_sockets(self):
        """A worker has the uid that our sockets are for, and is turned away all the same; so is a program that it starts, orphaned or not."""
        with self.start_with("", {"worker.allow_exec": "yes"}) as postern:
            control, records, orphan = postern.folder("control.sock"), postern.folder("multiplexor.sock"), self.folder("state", "orphan")
            self.assertTrue(postern.control("ping")["ok"], "another peer gets an answer")
            script = self.folder.write("filters/orphan.py", ORPHAN % {"control": control, "records": records, "said": orphan})
            self.write_filter('for name, number in pairs(attempts.ask("%s", "%s")) do say(number, name) end '
                              'say(attempts.program("/usr/bin/python3", "%s"), "program")' % (control, records, script))
            self.assertTrue(postern.reload()["ok"], postern.logs())
            self.send(postern)
            said = dict(reversed(line.split(" ", 1)) for line in self.said())
            self.assertEqual({name: errno.errorcode[int(said[name])] for name in ("a command at the control socket", "a question at the record socket")},
                             {"a command at the control socket": "EACCES", "a question at the record socket": "EACCES"})
            self.assertEqual(said["program"], "0", postern.logs())
            wait_until(lambda: os.path.exists(orphan), lambda: "the orphan to tell:\n" + postern.logs())
            with open(orphan, encoding="utf-8") as file:
                for answer in file.read().splitlines():
                    self.assertTrue(answer == "b''" or "Error" in answer, answer)
            self.assertIn("is refused, or of a worker", postern.multiplexor.output())
            self.assertIn("it is a worker, or a program of its", postern.multiplexor.output())

    @unittest.skipIf(SANITIZE, "no list of system calls in a build with sanitizers")
    def test_programs(self):
        """A program runs when worker.allow_exec grants it, and only then."""
        for grant, expected in (("no", str(-errno.EPERM)), ("yes", "0")):
            with self.subTest(grant), self.start_with('say(attempts.program("/usr/bin/true"))', {"worker.sandbox": "required", "worker.allow_exec": grant}) as postern:
                self.send(postern)
                self.assertEqual(self.said(), [expected], postern.logs())
                self.assertEqual("programs allowed" in postern.status()["sandbox"], grant == "yes")

    def test_kernel_without_landlock(self):
        """Status says so, and mail is answered; where it is required, no filter loads and mail is deferred."""
        with Without("landlock", "function filter_message(msg) msg:add_header('X-Seen', 'yes') end") as postern:
            self.assertIn("no Landlock (the kernel does not have it)", postern.status()["sandbox"])
            self.assertIn("no Landlock", postern.multiplexor.output())
            code, out, err = postern.ctl("send", postern.spec, postern.folder.write("mail.eml", MAIL))
            self.assertIn("X-Seen", out + err)
        with Without("landlock", "", {"worker.sandbox": "required"}, start=False) as postern:
            postern.start_multiplexor()
            error = wait_until(lambda: (postern.status() or {}).get("filter_error"), postern.logs)
            self.assertIn("worker.sandbox = required", error)
            self.assertEqual(postern.status()["generation"], 0)

    @unittest.skipIf(SANITIZE, "no list of system calls in a build with sanitizers")
    def test_kernel_without_seccomp(self):
        """The same for the lists of system calls; a daemon whose own is required does not start."""
        with Without("seccomp", "function filter_message() end") as postern:
            self.assertIn("no seccomp (Function not implemented)", postern.status()["sandbox"])
        with Without("seccomp", "", {"multiplexor.sandbox": "required"}, start=False) as postern:
            postern.start_multiplexor()
            self.assertEqual(postern.multiplexor.popen.wait(30), 71)
            self.assertIn("multiplexor.sandbox = required", postern.multiplexor.output())

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
