"""Faults of the daemons themselves: stopped, started twice or in the wrong order, ended under load, short of descriptors, time, log and disk."""

import os
import random
import resource
import signal
import socket
import subprocess
import threading
import time
import unittest

import paths  # noqa: F401
from harness.process import BIN, PATIENCE, SANITIZE, Process, scaled, wait_until
from injection import BROKEN_FILTERS
from stack import BUDGET_SECS, MilterClosed, Stack


class Load:
    """Good messages over n connections until stopped; answers holds (verdict, seconds) of each."""

    def __init__(self, stack, n=8, deed="pass"):
        self.stack, self.deed, self.answers, self.is_ending = stack, deed, [], False
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(n)]
        for thread in self.threads:
            thread.start()

    def _run(self):
        client = None
        while not self.is_ending:
            begin = time.monotonic()
            try:
                client = client or self.stack.client().start()
                answer = self.stack.send(self.deed, 1, client)
                kind = answer.verdict if answer.verdict != "continue" or answer.actions or self.deed != "pass" else "unfiltered"
            except (OSError, MilterClosed, AssertionError):
                client, kind = None, "closed"
                time.sleep(0.05)
            self.answers.append((kind, time.monotonic() - begin))

    def stop(self):
        self.is_ending = True
        for thread in self.threads:
            thread.join(60)

    def kinds(self):
        return {kind for kind, _ in self.answers}


class Stopped(Stack):
    def test_multiplexor_stopped_under_load(self):
        """Five seconds of SIGSTOP: the front end answers by itself, each within its budget and half a second."""
        load = Load(self)
        wait_until(lambda: len(load.answers) > 50, "the load")
        self.postern.multiplexor.kill(signal.SIGSTOP)
        try:
            time.sleep(5)
        finally:
            self.postern.multiplexor.kill(signal.SIGCONT)
        self.assert_serves()
        load.stop()
        self.assertLessEqual(load.kinds(), {"continue", "tempfail"})
        self.assertLess(max(took for _, took in load.answers), BUDGET_SECS + 0.5 * PATIENCE)

    def test_milterd_stopped_under_load(self):
        load = Load(self)
        wait_until(lambda: len(load.answers) > 50, "the load")
        self.postern.milterd.kill(signal.SIGSTOP)
        time.sleep(1)
        self.postern.milterd.kill(signal.SIGCONT)
        self.assert_serves()
        load.stop()
        self.assertEqual(load.kinds(), {"continue"})


class Starts(Stack):
    def test_second_instances_refuse(self):
        for program in ("postern-milterd", "postern-multiplexor"):
            done = subprocess.run([os.path.join(BIN, program), "-c", self.postern.conf], capture_output=True, text=True, timeout=30 * PATIENCE, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stderr, "in use|another process answers")
        self.assert_serves()

    def test_either_order_and_stale_sockets(self):
        """Both killed, their sockets left: started front end first, then the other way round."""
        for first, second in ((self.postern.start_milterd, self.postern.start_multiplexor), (self.postern.start_multiplexor, self.postern.start_milterd)):
            for process in (self.postern.milterd, self.postern.multiplexor):
                process.kill()
                process.popen.wait()
            first()
            second()
            self.assert_serves(10)

    def test_socket_paths_that_are_attacks(self):
        """A file, a folder, a link to somewhere else or a path without end where the socket should be: refused, and left as it was."""
        folder = self.postern.folder
        folder.write("precious", "text")
        os.symlink(folder("precious"), folder("link"))
        os.mkdir(folder("box"))
        for path in (folder("precious"), folder("link"), folder("box"), folder("x" * 120)):
            for words in (("postern-milterd", f"milterd.socket=unix:{path}"), ("postern-multiplexor", f"multiplexor.socket={path}"),
                          ("postern-multiplexor", f"multiplexor.control_socket={path}")):
                with self.subTest(words):
                    done = subprocess.run([os.path.join(BIN, words[0]), "-c", self.postern.conf, "-o", words[1]], capture_output=True,
                                          timeout=30 * PATIENCE, check=False)
                    self.assertNotEqual(done.returncode, 0)
                    with open(folder("precious"), encoding="ascii") as file:
                        self.assertEqual(file.read(), "text")
        self.assertTrue(os.path.islink(folder("link")))

    @unittest.skipUnless(os.geteuid() == 0, "needs root to be somebody else")
    def test_other_users(self):
        """Where the modes let anybody in, the peer's uid keeps him out."""
        script = ("import socket, sys\ns = socket.socket(socket.AF_UNIX, getattr(socket, sys.argv[2]))\ns.settimeout(10)\ns.connect(sys.argv[1])\n"
                  "s.sendall(b'{\"v\":1,\"command\":\"reload\"}\\n')\nsys.stdout.buffer.write(s.recv(65536))\n")
        for name, kind in (("control.sock", "SOCK_STREAM"), ("multiplexor.sock", "SOCK_SEQPACKET")):
            os.chmod(self.postern.folder(name), 0o666)
            done = subprocess.run(["/usr/bin/python3", "-c", script, self.postern.folder(name), kind], capture_output=True, timeout=60, check=False,
                                  user=65534, group=65534, cwd="/")
            self.assertNotIn(b'"ok":true', done.stdout)
        self.assertEqual(self.counter("generation"), 1)
        self.assert_serves()


class Reloads(Stack):
    def test_each_broken_filter_is_refused(self):
        """Under load, and nothing is deferred."""
        load = Load(self, 4)
        path = self.postern.folder("filter.lua")
        for name, text in BROKEN_FILTERS.items():
            with self.subTest(name):
                self.postern.save_filter(text)
                answer = self.postern.reload()
                self.assertFalse(answer["ok"], name)
                self.assertEqual(self.postern.status()["filter_error"], answer["error"])
        for name, make in (("folder", os.mkdir), ("links in a circle", lambda p: os.symlink(p, p)), ("no file", lambda p: None)):
            with self.subTest(name):
                os.unlink(path)
                make(path)
                self.assertFalse(self.postern.reload()["ok"])
                os.rmdir(path) if os.path.isdir(path) else None
                self.postern.save_filter(self.filter_text)
        self.assertTrue(self.postern.reload()["ok"])
        load.stop()
        self.assertEqual(load.kinds(), {"continue"})

    def test_reload_that_never_drains(self):
        """A sender that holds its message open: new messages have the new filter at once, the old one goes when the sender does."""
        holder = self.client().start()
        holder.mail(), holder.rcpt()
        self.postern.save_filter(self.filter_text.replace("X-Seen", "X-New"))
        self.assertTrue(self.postern.reload()["ok"])
        begin = time.monotonic()
        self.assertEqual(self.send("pass", 5).all("add_header"), [["X-New", " 5"]])
        self.assertLess(time.monotonic() - begin, 1.0 * PATIENCE)
        holder.close()
        wait_until(lambda: len(self.postern.status()["generations"]) == 1, "the old filter to go", 10)


class Shortages(Stack):
    def test_descriptors(self):
        """No descriptor left in each daemon in turn, with a crowd at the door: all is well when there are some again, and it does not spin meanwhile."""
        for process in (self.postern.milterd, self.postern.multiplexor):
            limit = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{process.pid}/fd")), limit[1]))
            crowd = []
            for _ in range(50):
                conn = socket.socket(socket.AF_UNIX)
                conn.setblocking(False)
                try:
                    conn.connect(self.postern.folder("milter.sock"))
                except OSError:
                    pass
                crowd.append(conn)
            before = cpu_secs(process.pid)
            time.sleep(2)
            used = cpu_secs(process.pid) - before
            for conn in crowd:
                conn.close()
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limit)
            self.assertLess(used, 0.4 * PATIENCE, "it spins")
            self.assert_serves()

    @unittest.skipUnless(os.geteuid() == 0, "needs root to mount")
    def test_full_spool(self):
        """64 KiB of spool: a message that does not fit is deferred, small ones go on, no file stays."""
        spool = self.postern.folder("spool")
        self.postern.milterd.stop()
        script = 'mount -t tmpfs -o size=64k tmpfs "$1" && exec "$2/postern-milterd" -c "$3" -o milterd.parcel_memory=64K'
        self.postern.milterd = Process(["unshare", "--mount", "bash", "-c", script, "bash", spool, BIN, self.postern.conf], self.postern.folder("milterd.log"))
        self.assert_serves(10)
        for n in range(5):
            self.assert_tempfail(self.send("pass", n, body=b"x" * 78 + b"\r\n" + b"y" * 500000))
            self.assertEqual(self.send("pass", n).all("add_header"), [["X-Seen", f" {n}"]])
        inside = f"/proc/{self.postern.milterd.pid}/root{spool}"
        self.assertEqual(os.listdir(inside), [])
        self.assertEqual(os.statvfs(inside).f_bfree, os.statvfs(inside).f_blocks)

    def test_log_that_nobody_reads(self):
        """A full pipe at stderr: mail goes on."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.postern.milterd.stop()
        self.postern.milterd.popen = subprocess.Popen([os.path.join(BIN, "postern-milterd"), "-c", self.postern.conf], stdin=subprocess.DEVNULL,
                                                      stdout=writer, stderr=writer)
        self.postern.milterd.pid = self.postern.milterd.popen.pid
        os.close(writer)
        self.assert_serves()
        client = self.client().start()
        answers = [self.send("pass", n, client) for n in range(600)]  # each line has some 300 bytes, a pipe 64 KiB
        self.assertEqual({answer.code for answer in answers}, {"continue"})
        self.assertLess(max(answer.took for answer in answers), 1.0 * PATIENCE)


def cpu_secs(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Storms(Stack):
    def test_signals_under_load(self):
        """Some hundreds a second to each daemon for three seconds: nothing is deferred."""
        load = Load(self, 4)
        end = time.monotonic() + 3
        seed = random.Random(1)
        while time.monotonic() < end:
            self.postern.multiplexor.kill(seed.choice((signal.SIGCHLD, signal.SIGWINCH, signal.SIGPIPE)))
            self.postern.milterd.kill(seed.choice((signal.SIGHUP, signal.SIGWINCH, signal.SIGPIPE, signal.SIGCHLD)))
            time.sleep(0.002)
        load.stop()
        self.assertEqual(load.kinds(), {"continue"})

    def test_stop_under_load(self):
        """Many times: both end with 0 within their time, and what was answered was right."""
        for _ in range(scaled(5, 2)):
            load = Load(self, 4)
            wait_until(lambda: len(load.answers) > random.randrange(40), "the load")
            begin = time.monotonic()
            for process in (self.postern.milterd, self.postern.multiplexor):
                self.assertEqual(process.stop(), 0)
            self.assertLess(time.monotonic() - begin, 10 * PATIENCE)
            load.stop()
            self.assertLessEqual(load.kinds(), {"continue", "tempfail", "closed"})
            self.postern.start_multiplexor()
            self.postern.start_milterd()
            self.assert_serves(10)

    def test_all_killed_at_once(self):
        for _ in range(scaled(5, 2)):
            load = Load(self, 4)
            wait_until(lambda: len(load.answers) > random.randrange(40), "the load")
            for process in (self.postern.milterd, self.postern.multiplexor):
                process.kill()
            for process in (self.postern.milterd, self.postern.multiplexor):
                process.popen.wait()
            load.stop()
            self.assertLessEqual(load.kinds(), {"continue", "tempfail", "closed"})
            self.postern.start_multiplexor()
            self.postern.start_milterd()
            self.assert_serves(10)
            self.assertEqual(os.listdir(self.postern.folder("spool")), [])


FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


@unittest.skipIf(SANITIZE, "no library is preloaded beside a sanitizer")
class Clocks(Stack):
    def test_wall_clock_jumps(self):
        """Ten years forward and back under the daemons: no time-out comes early or late."""
        self.assertTrue(os.path.exists(FAKETIME), "Debian's faketime is missing; tools/test installs it")
        stamp = self.postern.folder("clock")
        self.postern.folder.write("clock", "+0\n")
        env = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": stamp, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        for process in (self.postern.milterd, self.postern.multiplexor):
            process.stop()
        self.postern.multiplexor = Process([os.path.join(BIN, "postern-multiplexor"), "-c", self.postern.conf], self.postern.folder("multiplexor.log"), env=env)
        self.postern.milterd = Process([os.path.join(BIN, "postern-milterd"), "-c", self.postern.conf], self.postern.folder("milterd.log"), env=env)
        self.assert_serves(15)
        for jump in ("+10y\n", "-10y\n", "+0\n"):
            with self.subTest(jump):
                thread = self.in_background("wait_always")
                self.busy()
                self.postern.folder.write("clock", jump)
                good = [self.send("pass", n) for n in range(20)]
                self.assertEqual({answer.code for answer in good}, {"continue"})
                thread.join()
                self.assert_tempfail(thread.answer)
                self.assertGreater(thread.answer.took, BUDGET_SECS - 1.2)
                self.assertLess(thread.answer.took, BUDGET_SECS + 2)  # years would be another matter


if __name__ == "__main__":
    unittest.main(verbosity=2)
