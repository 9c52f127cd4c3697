"""Nursery and workers as processes: start, fork, requests, parcels that come again, limits, and each way in which they end. The test plays the multiplexor."""

import os
import signal
import socket
import struct
import sys
import unittest

sys.path.insert(0, os.path.join(os.environ["POSTERN_SOURCE"], "tests"))
from fakes import postern_wire as wire  # noqa: E402
from harness.process import BIN, PATIENCE, Folder, wait_until  # noqa: E402

FILTER = """
local log = require "postern.log"
local n = 0
function filter_init() n = n + 100 end
function filter_helo(conn) n = n + 1 return reject("request " .. n .. " " .. math.random(1, 2^40)) end
function filter_sender(msg) while true do end end
function filter_data(msg) return reject(msg.conn.ip) end
function filter_headers(msg) return tempfail(#msg:raw_headers() .. " bytes") end
function filter_message(msg)
    if msg.subject == "large" then msg:replace_body(("x"):rep(200000)) end
    return reject(msg.subject .. " " .. msg.size)
end
function filter_exit() log.info("leaving in good order") end
"""
TIMEOUT = 10 * PATIENCE


def text(value):
    return struct.pack(">I", len(value)) + value


def envelope():
    payload = b"4" + text(b"192.0.2.7") + struct.pack(">H", 25) + text(b"mx.example.org")
    return b"\1" + struct.pack(">I", len(payload)) + payload


def pair():
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Nursery:
    """postern-worker --nursery, with its record socket at descriptor 3."""

    def __init__(self, folder, overrides=()):
        self.folder = folder
        self.sock, theirs = pair()
        argv = [os.path.join(BIN, "postern-worker"), "-o", "worker.filter=" + folder("filter.lua")]
        for override in overrides:
            argv += ["-o", override]
        argv += ["--nursery", "7"]
        self.log = folder("log")
        self.pid = os.fork()
        if self.pid == 0:
            out = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(out, 1)
            os.dup2(out, 2)
            os.dup2(theirs.fileno(), 3)  # dup2 clears close-on-exec
            os.execv(argv[0], argv)
        theirs.close()
        wire.hello(self.sock, wire.ROLE["MULTIPLEXOR"], timeout=TIMEOUT, first=False)

    def loaded(self):
        return wire.receive(self.sock, TIMEOUT)

    def fork(self):
        ours, theirs = pair()
        with theirs:
            wire.send(self.sock, "FORK", {"number": 5}, id=9, socket_fd=theirs.fileno())
        forked = wire.receive(self.sock, TIMEOUT)
        assert forked.name == "FORKED" and forked["number"] == 5 and forked.id == 9, forked
        return Worker(ours, forked["pid"])

    def output(self):
        with open(self.log, encoding="utf-8") as file:
            return file.read()


class Worker:
    """One worker that the nursery forked: a child of this process."""

    def __init__(self, sock, pid):
        self.sock, self.pid = sock, pid
        self.hello = wire.hello(sock, wire.ROLE["MULTIPLEXOR"], timeout=TIMEOUT, first=False)

    def ready(self):
        return wire.receive(self.sock, TIMEOUT)

    def ask(self, hook, message=b"", header_bytes=0, parcel=None, region=None, **fields):
        region = envelope() if region is None else region
        fd = wire.parcel(message, region) if parcel is None else parcel
        request = {"budget_ms": 20000, "generation": 7, "attempt": 1, "hook": wire.HOOK[hook], "capabilities": 255,
                   "envelope_bytes": len(region), "header_bytes": header_bytes, "message_bytes": len(message),
                   "conn_id": b"C1", "uid": b"C1.1", **fields}
        wire.send(self.sock, "REQUEST", request, id=77, parcel=fd)
        if parcel is None:
            os.close(fd)
        reply = wire.receive(self.sock, TIMEOUT)
        assert reply.name == "REPLY" and reply.id == 77 and reply["generation"] == 7, reply
        assert reply["worker_pid"] == self.pid
        return reply


def status_of(pid):
    """Waits for a child's end; its exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(wait_until(lambda: (lambda r: r if r[0] else None)(os.waitpid(pid, os.WNOHANG)), "end of %d" % pid)[1])


def is_running(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def proc_field(pid, file, name):
    with open("/proc/%d/%s" % (pid, file), encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(name):
                return line[len(name):].split()
    raise AssertionError("no %s in %s" % (name, file))


class Processes(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("worker")
        self.addCleanup(self.folder.remove)
        self.folder.write("filter.lua", FILTER)
        self.started = []
        self.sockets = []

    def tearDown(self):
        for sock in self.sockets:
            sock.close()
        for pid in self.started:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass

    def nursery(self, *overrides):
        nursery = Nursery(self.folder, overrides)
        self.started.append(nursery.pid)
        self.sockets.append(nursery.sock)
        return nursery

    def fork(self, nursery):
        worker = nursery.fork()
        self.started.append(worker.pid)
        self.sockets.append(worker.sock)
        return worker

    def worker(self, nursery):
        worker = self.fork(nursery)
        ready = worker.ready()
        self.assertEqual((ready.name, ready["is_ok"]), ("READY", 1))
        return worker

    def pair(self, *overrides):
        nursery = self.nursery(*overrides)
        loaded = nursery.loaded()
        self.assertEqual((loaded.name, loaded["is_ok"]), ("LOADED", 1), loaded)
        return nursery, self.worker(nursery)

    def test_serves_requests(self):
        nursery, worker = self.pair()
        self.assertEqual(worker.hello["pid"], worker.pid)
        self.assertEqual(worker.hello["generation"], 7)
        first, second = worker.ask("HELO"), worker.ask("HELO")
        self.assertTrue(first["text"].startswith(b"request 101 "), first)
        self.assertTrue(second["text"].startswith(b"request 102 "), second)
        self.assertEqual((first["outcome"], first["code"], first["dsn"]), (0, 550, b"5.7.1"))
        self.assertEqual(worker.ask("DATA")["text"], b"192.0.2.7")
        other = self.worker(nursery)
        third = other.ask("HELO")
        self.assertTrue(third["text"].startswith(b"request 101 "), third)
        self.assertNotEqual(first["text"], third["text"], "workers draw their own random numbers")

    def test_heap_is_told_after_a_collection(self):
        self.folder.write("filter.lua", "local kept = {}\n"
                          "function filter_helo(conn) local t = {} for i = 1, 40 do t[i] = (tostring(i)):rep(100000) end end\n"
                          "function filter_data(msg) for i = 1, 40 do kept[i] = (tostring(i)):rep(100000) end end")
        _, worker = self.pair("multiplexor.recycle_heap=2M")
        for _ in range(5):
            self.assertLess(worker.ask("HELO")["heap_kb"], 2048, "what is garbage does not count")
        self.assertGreater(worker.ask("DATA")["heap_kb"], 2048)

    def test_parcel_that_grows_and_comes_again(self):
        _, worker = self.pair()
        fd = os.memfd_create("parcel", os.MFD_ALLOW_SEALING)
        self.addCleanup(os.close, fd)
        os.ftruncate(fd, wire.PARCEL_MESSAGE_OFFSET + (4 << 20))
        os.pwrite(fd, envelope(), 0)
        wire.fcntl.fcntl(fd, wire.F_ADD_SEALS, wire.SEAL_SHRINK | wire.SEAL_GROW | wire.SEAL_SEAL)
        for n, size in enumerate([10, 100, 3 << 20, 2000, 0]):
            head = b"Subject: %d\r\n" % n
            message = head + b"\r\n" + b"y" * size
            os.pwrite(fd, message, wire.PARCEL_MESSAGE_OFFSET)
            early = worker.ask("HEADERS", head, len(head), parcel=fd)
            self.assertEqual(early["text"], b"%d bytes" % len(head))
            reply = worker.ask("MESSAGE", message, len(head), parcel=fd)
            self.assertEqual(reply["text"], b"%d %d" % (n, len(message)))

    def test_many_parcels(self):
        _, worker = self.pair()
        for n in range(60):
            message = b"Subject: %d\r\n\r\n" % n
            self.assertEqual(worker.ask("MESSAGE", message, len(message) - 2)["text"], b"%d %d" % (n, len(message)))
        if os.geteuid() == 0:
            with open("/proc/%d/maps" % worker.pid, encoding="utf-8") as maps:
                self.assertLessEqual(sum("memfd" in line for line in maps), 40, "mappings are bounded")

    def test_refused_message_has_no_changes(self):
        _, worker = self.pair()
        message = b"Subject: large\r\n\r\n"
        reply = worker.ask("MESSAGE", message, len(message) - 2)
        self.assertEqual(reply["verdict"], wire.VERDICT["REJECT"])
        self.assertEqual(reply["changes"], b"")

    def test_annex_both_ways(self):
        self.folder.write("filter.lua", """
            function filter_message(msg) msg.state.long = ("x"):rep(30000) msg:replace_body(("x"):rep(200000)) end
            function filter_unknown(conn, command) return reject("" .. #command) end""")
        _, worker = self.pair()
        message = b"Subject: x\r\n\r\n"
        reply = worker.ask("MESSAGE", message, len(message) - 2)
        self.assertEqual(reply["outcome"], 0, reply["error"])
        self.assertGreater(len(reply["changes"]), 200000)
        self.assertGreater(len(reply["msg_state"]), 30000)
        self.assertEqual(worker.ask("UNKNOWN", argument=b"z" * 100000)["text"], b"100000")

    def test_deadline(self):
        _, worker = self.pair()
        reply = worker.ask("SENDER", budget_ms=300)
        self.assertEqual(reply["outcome"], wire.OUTCOME["DEADLINE"])
        self.assertEqual((reply["verdict"], reply["code"]), (wire.VERDICT["TEMPFAIL"], 451))
        self.assertIn(b"filter.lua:6: filter_sender did not end", reply["error"])
        self.assertEqual(worker.ask("HELO")["outcome"], 0)

    def test_requests_that_lie(self):
        _, worker = self.pair()
        bad = [{"message_bytes": 1 << 40}, {"envelope_bytes": 1 << 25}, {"region": b"\1\xff\xff\xff\xff"},
               {"header_bytes": 999}, {"changes": b"\xff" * 50}]
        for fields in bad:
            reply = worker.ask("MESSAGE", b"A: b\r\n\r\n", **{"header_bytes": 6, **fields})
            self.assertEqual(reply["outcome"], wire.OUTCOME["ERROR"], fields)
            self.assertEqual(reply["verdict"], wire.VERDICT["TEMPFAIL"])
        reply = worker.ask("HELO", conn_state=b"\6\xff\xff\xff\xff", flags=1)
        self.assertEqual(reply["outcome"], 0, "state that nobody looks at is not read")

    def test_quit(self):
        nursery, worker = self.pair()
        wire.send(worker.sock, "QUIT")
        self.assertEqual(status_of(worker.pid), 0)
        self.assertIn("leaving in good order", nursery.output())
        wire.send(nursery.sock, "QUIT")
        self.assertEqual(status_of(nursery.pid), 0)

    def test_end_of_connection(self):
        nursery, worker = self.pair()
        worker.sock.close()
        self.assertEqual(status_of(worker.pid), 0)
        nursery.sock.close()
        self.assertEqual(status_of(nursery.pid), 0)

    def test_workers_outlive_their_nursery(self):
        nursery, worker = self.pair()
        os.kill(nursery.pid, signal.SIGKILL)
        self.assertEqual(status_of(nursery.pid), -signal.SIGKILL)
        self.assertEqual(worker.ask("HELO")["outcome"], 0)

    def test_bad_records(self):
        good = wire.encode("REQUEST", {"hook": 1})[0]
        for record in [b"x", good[:-1], good + b"x", b"\0\x09" + good[2:], wire.encode("FORK", {"number": 1})[0],
                       wire.encode("REQUEST", {"hook": 200})[0], wire.encode("REPLY")[0]]:
            nursery, worker = self.pair()
            wire.send_raw(worker.sock, record)
            self.assertEqual(status_of(worker.pid), 76, record)
            wire.send_raw(nursery.sock, record if record[4:6] != wire.encode("FORK")[0][4:6] else b"x")
            self.assertEqual(status_of(nursery.pid), 76, record)

    def test_too_many_descriptors(self):
        _, worker = self.pair()
        wire.send_raw(worker.sock, wire.encode("REQUEST", {"hook": 1})[0], [0, 1, 2])
        self.assertEqual(status_of(worker.pid), 76)

    def test_broken_filter(self):
        self.folder.write("filter.lua", "function filter_message(msg)\n  return reject(\nend\n")
        nursery = self.nursery()
        loaded = nursery.loaded()
        self.assertEqual(loaded["is_ok"], 0)
        self.assertIn(b"filter.lua:3:", loaded["error"])
        self.assertEqual(status_of(nursery.pid), 1)
        self.assertIn("filter.lua:3:", nursery.output())

    def test_broken_init(self):
        self.folder.write("filter.lua", "function filter_init() error('no database') end\nfunction filter_helo() end")
        nursery = self.nursery()
        self.assertEqual(nursery.loaded()["is_ok"], 1)
        worker = self.fork(nursery)
        ready = worker.ready()
        self.assertEqual(ready["is_ok"], 0)
        self.assertIn(b"filter.lua:1: no database", ready["error"])
        self.assertEqual(status_of(worker.pid), 1)

    def test_what_a_worker_is(self):
        nursery, worker = self.pair("worker.max_files=64")
        self.assertEqual(proc_field(worker.pid, "status", "PPid:"), [str(os.getpid())])
        self.assertEqual(proc_field(worker.pid, "status", "Threads:"), ["1"])
        for pid in (nursery.pid, worker.pid):
            self.assertEqual(proc_field(pid, "status", "NoNewPrivs:"), ["1"])
            self.assertEqual(proc_field(pid, "limits", "Max core file size")[:2], ["0", "0"])
            self.assertEqual(proc_field(pid, "limits", "Max open files")[:2], ["64", "64"])
        if os.geteuid() == 0:
            fds = os.listdir("/proc/%d/fd" % worker.pid)
            self.assertLessEqual(len(fds), 5, fds)  # standard ones, the socket, perhaps the log's

    def test_group_signals_are_ignored(self):
        nursery, worker = self.pair()
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(worker.pid, sig)
            os.kill(nursery.pid, sig)
        self.assertEqual(worker.ask("HELO")["outcome"], 0)
        self.assertTrue(is_running(nursery.pid))

    def test_multiplexor_dies(self):
        """All end with it by the kernel's hand, even one that is in an endless loop in C."""
        self.folder.write("filter.lua", "function filter_helo() string.find(('a'):rep(60), ('a?'):rep(60) .. ('a'):rep(60) .. 'b') end")
        reader, writer = os.pipe()
        parent = os.fork()
        if parent == 0:
            nursery = Nursery(self.folder)
            nursery.loaded()
            worker = nursery.fork()
            worker.ready()
            request = {"budget_ms": 600000, "hook": wire.HOOK["HELO"], "attempt": 1}
            wire.send(worker.sock, "REQUEST", request)
            os.write(writer, b"%d %d\n" % (nursery.pid, worker.pid))
            signal.pause()
        self.started.append(parent)
        os.close(writer)
        with os.fdopen(reader) as lines:
            pids = [int(pid) for pid in lines.readline().split()]
        self.assertEqual([is_running(pid) for pid in pids], [True, True])
        os.kill(parent, signal.SIGKILL)
        for pid in pids:
            wait_until(lambda p=pid: not is_running(p), "the end of %d" % pid)

    def test_wrong_usage(self):
        for arguments in ([], ["--nursery"], ["--nursery", "x"], ["--nursery", "0"], ["--nursery", "1", "2"], ["-o", "worker.fliter=x", "--nursery", "1"]):
            pid = os.fork()
            if pid == 0:
                null = os.open("/dev/null", os.O_RDWR)
                os.dup2(null, 2)
                os.execv(os.path.join(BIN, "postern-worker"), ["postern-worker", *arguments])
            self.assertEqual(status_of(pid), 2, arguments)


if __name__ == "__main__":
    unittest.main()
