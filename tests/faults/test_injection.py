"""Each call into the C library fails, one at a time: while messages run, while a filter is loaded, while a daemon starts.

Whatever fails, and wherever: no message is accepted unfiltered; the process answers, or ends with an exit code of its own and is started again; good
mail flows again within 5 s. Which calls there are is counted in rounds without a fault, so that none is forgotten. An ordinary run draws some of all
cases (POSTERN_INJECT_SEED repeats it); with POSTERN_LOAD of 5 and more all of them run, POSTERN_INJECT_CASE="worker read EIO 3" runs one.
"""

import os
import random
import re
import signal
import threading
import time
import unittest

import paths  # noqa: F401
from harness.dns_server import FakeDns, record
from harness.fake_server import FakeServer
from harness.process import LOAD, PATIENCE, SANITIZE, Folder, wait_until
from injection import kill, nursery_pid
from injector import ALLOCATIONS, CALLS, Injector
from stack import BUDGET_SECS, MilterClient, MilterClosed, Stack

SEED = int(os.environ.get("POSTERN_INJECT_SEED") or random.SystemRandom().randrange(1 << 31))
ONE = os.environ.get("POSTERN_INJECT_CASE", "").split()
ALL = LOAD >= 5
SECS = max(1.0, 2.5 * min(LOAD, 1.0)) * PATIENCE
CASES_MIN = 5
FAILURES_MAX = 5
NTH_MAX = 40
LARGE = b"a line of a large message\r\n" * 6000
# GLib ends a worker that has no memory by ABRT or TRAP; these show a mistake.
CRASHES = "SEGV|BUS|ILL|FPE"


class Case:
    """Call `call` of processes `role` fails with `error` at its nth time."""

    def __init__(self, role, call, error, nth):
        self.role, self.call, self.error, self.nth = role, call, error, int(nth)

    def __str__(self):
        return f"{self.role} {self.call} {self.error} {self.nth}"


class Injection(Stack):
    deeds = """
    large = function(msg) msg:add_header("X-Seen", msg:header("X-Number")); msg:replace_body(("line\\r\\n"):rep(20000)) end,
    """
    options = {"milterd__parcel_memory": "64K", "milterd__max_message": "16M", "multiplexor__load_time": "2s"}
    may_end_by = ()
    recovery_secs = 5
    right = {"pass": ("continue", ["add_header"]), "refuse": ("reject", []), "large": ("continue", ["add_header", "replace_body"])}

    def setUp(self):
        super().setUp()
        self.deaths = []
        self.lock = threading.Lock()
        self.is_ending = threading.Event()
        supervisor = threading.Thread(target=self.supervise, daemon=True)
        supervisor.start()
        self.addCleanup(lambda: (self.is_ending.set(), supervisor.join()))

    def env(self):
        self.folder = Folder("inject")
        self.addCleanup(self.folder.remove)
        self.injector = Injector(self.folder("control"))
        return self.injector.env()

    # What is done while a call fails

    def message(self, kind, number):
        """right, tempfail or closed; anything else fails the test, as does an answer that is late."""
        begin = time.monotonic()
        try:
            answer = self.answer_to(kind, number)
        except (MilterClosed, ConnectionError, FileNotFoundError):
            return "closed"
        # The negotiation and the message have a budget each.
        self.assertLess(time.monotonic() - begin, (2 * BUDGET_SECS + 2) * PATIENCE)
        if answer.verdict == "tempfail":
            return "tempfail"
        names = sorted({name for name, *_ in answer.actions})
        self.assertEqual((answer.verdict, names), self.right[kind], answer)
        self.assertEqual(answer.all("add_header"), [] if kind == "refuse" else [["X-Seen", f" {number}"]])
        return "right"

    def answer_to(self, kind, number):
        with MilterClient(self.postern.spec, timeout=30.0 * PATIENCE) as client:
            client.negotiate()
            for answer in (client.connect(), client.helo()):
                if answer is not None and answer.code != "continue":
                    return answer
            return self.send(kind, number, client, body=LARGE if kind == "large" else b"text\r\n")

    def counted_right(self):
        return ["right"] * len(self.right)

    def messages(self):
        return [self.message(kind, number) for number, kind in enumerate(self.right)]

    def reload(self):
        """A nursery and workers start; refused or not, who serves goes on."""
        self.quietly(self.postern.reload)
        return self.messages()

    @staticmethod
    def quietly(ask):
        """What the control socket says, or None: a command that meets a fault may go without an answer, or with half of one."""
        try:
            return ask()
        except (OSError, ValueError):
            return None

    def restart(self, name):
        with self.lock:
            process = getattr(self.postern, name)
            process.kill(signal.SIGKILL)
            process.popen.wait()
            getattr(self.postern, f"start_{name}")()
        self.wait_for_start(name)
        return self.messages()

    def wait_for_start(self, name):
        """Until it serves, perhaps in a second try."""
        def has_started():
            process = getattr(self.postern, name)
            if name == "milterd":
                return f"postern-milterd[{process.pid}]: info: listening on " in process.output()
            answer = self.quietly(lambda: self.postern.control("status", seconds=1)) or {}
            return answer.get("data", {}).get("generation")  # a refusal, for want of memory, has no data
        try:
            wait_until(has_started, f"{name} to start", 3)
        except AssertionError:
            pass  # neither is held against it here: good mail has to flow in time

    def renew(self):
        """Both daemons anew: what a case that failed has left is not the next one's."""
        self.injector.disarm()
        with self.lock:
            for process in (self.postern.milterd, self.postern.multiplexor):
                process.kill(signal.SIGKILL)
                process.popen.wait()
            self.postern.start_multiplexor()
            self.postern.start_milterd()
            self.deaths.clear()
        self.wait_for_start("milterd")
        self.wait_for_start("multiplexor")

    # What a supervisor does

    def supervise(self):
        """Starts a daemon that has ended again, as its unit would."""
        while not self.is_ending.wait(0.02):
            with self.lock:
                for name in ("multiplexor", "milterd"):
                    process = getattr(self.postern, name)
                    if not process.is_alive():
                        self.deaths.append((name, process.popen.returncode, process.output()[-2000:]))
                        getattr(self.postern, f"start_{name}")()

    def assert_recovers(self):
        def good():
            try:
                return self.message("pass", 7) == "right"
            except AssertionError:
                return False
        wait_until(good, lambda: "good mail again:\n" + self.postern.logs(), self.recovery_secs, pause=0.05)
        if "large" in self.right:
            self.assertEqual(self.message("large", 8), "right", self.postern.logs())

    def assert_no_crash(self, log_before):
        with self.lock:
            deaths, self.deaths = self.deaths, []
        for name, code, output in deaths:
            self.assertTrue(code > 0 or -code in self.may_end_by, f"{name} ended by signal {-code}, or as if all were well:\n{output}")
        said = self.postern.multiplexor.output()[log_before:]
        self.assertEqual(re.findall(rf"worker .* signal \d+ \(SIG(?:{CRASHES})\).*", said), [])
        self.assertNotIn("invariant does not hold", said + self.postern.milterd.output()[-5000:])

    # The rounds

    def run_case(self, case, action):
        before = len(self.postern.multiplexor.output())
        self.injector.arm(case.role, case.call, case.error, case.nth)
        outcomes = action()
        n_fired = self.injector.disarm()
        self.assert_recovers()
        self.assert_no_crash(before)
        return n_fired, outcomes

    def counted(self, action):
        """{(role, call): calls of one round without a fault}; the most of two rounds."""
        most = {}
        for _ in range(2):
            before = self.injector.counts()
            self.assertEqual(action(), self.counted_right(), self.postern.logs())
            for key, count in self.injector.counts().items():
                most[key] = max(most.get(key, 0), count - before[key])
        return most

    @staticmethod
    def cases_of(counts, roles, calls):
        """Each call, each error, each time that it was made: all of the first few, then ever fewer."""
        cases = []
        for (role, call), count in counts.items():
            if role in roles and call in calls:
                times = [n for n in range(1, count + 1) if n <= NTH_MAX or n % (n // NTH_MAX + 1) == 0]
                cases += [Case(role, call, error, n) for error in CALLS[call] for n in times]
        return cases

    def drawn(self, cases):
        """All, or as many as there is time for: calls are drawn first, so that those made often do not crowd out the others."""
        if ONE:
            return [Case(*ONE)]
        seed = random.Random(SEED)
        if ALL:
            return cases
        groups = {}
        for case in cases:
            groups.setdefault((case.role, case.call), []).append(case)
        order = []
        while groups:
            for key in seed.sample(sorted(groups), len(groups)):
                order.append(groups[key].pop(seed.randrange(len(groups[key]))))
                if not groups[key]:
                    del groups[key]
        return order

    def run_round(self, action, roles, calls, must_have=()):
        self.assertEqual(self.messages(), self.counted_right(), self.postern.logs())
        counts = self.counted(action)
        for key in must_have:
            self.assertGreater(counts[key], 0, f"{key} is not met: does the library still stand before it?")
        cases = self.drawn(self.cases_of(counts, roles, calls))
        begin, n_run, n_met, n_failed, outcomes = time.monotonic(), 0, 0, 0, []
        for case in cases:
            if not ALL and n_run >= CASES_MIN and time.monotonic() - begin > SECS:
                break
            is_good = False
            with self.subTest(str(case)):
                n_fired, answers = self.run_case(case, action)
                is_good = True
                n_met += n_fired > 0
                outcomes += answers
            n_run += 1
            n_failed += not is_good
            if n_failed == FAILURES_MAX:
                break
            if not is_good:
                self.renew()
        print(f"seed {SEED}: {n_run} of {len(cases)} cases, {n_met} met a call; " +
              ", ".join(f"{outcomes.count(kind)} {kind}" for kind in ("right", "tempfail", "closed")))
        self.assertTrue(ONE or n_met > n_run / 3, "most faults have met no call")


CALLS_ONLY = [name for name in CALLS if name not in ALLOCATIONS]


class Calls(Injection):
    """Input, output and everything else that the kernel answers."""

    def test_messages(self):
        self.run_round(self.messages, ("milterd", "multiplexor", "worker"), CALLS_ONLY,
                       [("milterd", "recvmsg"), ("milterd", "sendmsg"), ("multiplexor", "epoll_wait"), ("multiplexor", "recvmsg"), ("worker", "mmap")])

    def test_loading(self):
        self.run_round(self.reload, ("multiplexor", "nursery", "worker"), CALLS_ONLY,
                       [("multiplexor", "fork"), ("nursery", "syscall"), ("nursery", "read"), ("worker", "sendmsg")])

    def test_start_of_milterd(self):
        self.run_round(lambda: self.restart("milterd"), ("milterd",), CALLS_ONLY, [("milterd", "bind"), ("milterd", "pthread_create")])

    def test_start_of_the_multiplexor(self):
        self.run_round(lambda: self.restart("multiplexor"), ("multiplexor",), CALLS_ONLY, [("multiplexor", "bind"), ("multiplexor", "socketpair")])


@unittest.skipIf(SANITIZE, "a sanitizer has an allocator of its own")
class Allocations(Injection):
    """malloc, calloc, realloc of our own code and of all libraries. Ours end the process in good order when there is no memory. libseccomp does not look:
    it frees twice, follows NULL or goes round in circles. That is while a process starts, and before it has answered anybody."""

    may_end_by = (signal.SIGABRT, signal.SIGSEGV, signal.SIGVTALRM)
    recovery_secs = 10  # a second of CPU is what such a circle gets, and longer than that on a busy machine

    def test_messages(self):
        self.may_end_by = ()
        self.run_round(self.messages, ("milterd", "multiplexor", "worker"), ALLOCATIONS, [("milterd", "malloc"), ("worker", "realloc")])

    def test_loading(self):
        self.run_round(self.reload, ("multiplexor", "nursery", "worker"), ALLOCATIONS, [("nursery", "realloc"), ("multiplexor", "calloc")])

    def test_start_of_milterd(self):
        self.run_round(lambda: self.restart("milterd"), ("milterd",), ALLOCATIONS, [("milterd", "malloc")])

    def test_start_of_the_multiplexor(self):
        self.run_round(lambda: self.restart("multiplexor"), ("multiplexor",), ALLOCATIONS, [("multiplexor", "malloc")])


class Outside(Injection):
    """What asks others: the loop, the resolver, libcurl, the client of Redis, SQLite, streams. An answer is right, or there is none and the message is
    deferred: nothing is taken for an answer that is none."""

    deeds = """
    pass = (function()
        local clamav, dns, http, redis, store = require "postern.clamav", require "postern.dns", require "postern.http", require "postern.redis", require "postern.store"
        return function(msg)
            local n = msg:header("X-Number")
            local asked = async.all{
                dns = function() return dns.query("q" .. n .. ".example", "A") end,
                http = function() return http.get(config.web) end,
                redis = function() return redis.call("INCR", "n") end,
                store = function()
                    local ok, why = store.set("n" .. n, n, 60)
                    if not ok then return nil, why end
                    return store.get("n" .. n)
                end,
                clamav = function() return clamav.scan(msg) end,
            }
            for _, name in ipairs{ "dns", "http", "redis", "store", "clamav" } do
                if not asked[name] then return tempfail(name .. ": " .. tostring(asked.errors[name])) end
            end
            if asked.dns[1] ~= "192.0.2.1" or asked.http.body ~= "hello" or asked.redis ~= 1 or asked.store ~= n or asked.clamav.status ~= "clean" then
                return reject("wrong")
            end
            msg:add_header("X-Seen", n)
        end
    end)(),
    """
    right = {"pass": ("continue", ["add_header"])}

    def setUp(self):
        dns = FakeDns(lambda query: query.answer([record(query.name, "A", "192.0.2.1", 0)]))
        servers = [FakeServer(handle) for handle in (self.web, self.redis, self.clamd)]
        for server in (dns, *servers):
            self.addCleanup(server.stop)
        web, redis, clamd = servers
        state = Folder("inject")
        self.addCleanup(state.remove)
        self.options = {**Injection.options, "worker__state_dir": state(), "worker__allow_network": "yes", "dns__servers": dns.server, "dns__timeout": "400ms", "dns__tries": "1",
                        "redis__server": redis.server, "redis__retry_time": "50ms", "redis__timeout": "1s", "http__timeout": "1s",
                        "clamav__sockets": f"inet:{clamd.port}@127.0.0.1", "clamav__timeout": "1s", "backend__retry_time": "50ms",
                        "filter__web": f"http://{web.server}/"}
        super().setUp()

    @staticmethod
    def web(connection):
        with connection.makefile("rb") as file:
            while file.readline():
                while file.readline().strip():
                    pass
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    @staticmethod
    def redis(connection):
        said = b""
        while piece := connection.recv(4096):
            said += piece
            if said.endswith((b"PING\r\n", b"$1\r\nn\r\n")):
                connection.sendall(b"+PONG\r\n" if said.endswith(b"PING\r\n") else b":1\r\n")
                said = b""

    @staticmethod
    def clamd(connection):
        with connection.makefile("rb") as file:
            file.readline()
            while n := int.from_bytes(file.read(4), "big"):
                file.read(n)
        connection.sendall(b"stream: OK\n")

    def test_calls(self):
        self.run_round(self.messages, ("worker",), CALLS_ONLY,
                       [("worker", call) for call in ("connect", "epoll_ctl", "fcntl64", "getsockopt", "pwrite64", "recv", "recvfrom", "send", "socket")])

    def test_first_calls(self):
        """Of a worker that has not asked anybody yet: the loop and the store are opened."""
        self.run_round(self.reload, ("worker",), CALLS_ONLY, [("worker", call) for call in ("epoll_create1", "fstat64", "mmap64", "open64", "pread64")])

    @unittest.skipIf(SANITIZE, "a sanitizer has an allocator of its own")
    def test_allocations(self):
        self.run_round(self.messages, ("worker",), ALLOCATIONS, [("worker", "malloc"), ("worker", "calloc"), ("worker", "realloc")])


class Refused(Injection):
    """The system has no process and no thread for us for a while."""

    TRIES_A_SECOND = 10
    refused_secs = 2.0

    def refuse(self, role, call, fault):
        """Every such call fails for a while after the fault; how often it was tried meanwhile."""
        begin = time.monotonic()
        self.injector.arm(role, call, "EAGAIN", times=1 << 30)
        fault()
        outcomes = []
        while time.monotonic() - begin < self.refused_secs or not self.injector.n_fired():
            outcomes += self.messages()
            self.assertLess(time.monotonic() - begin, 30 * PATIENCE, f"{call} is not tried")
        tried = self.injector.disarm() / (time.monotonic() - begin)
        self.assert_recovers()
        self.assert_no_crash(0)
        return tried, outcomes

    def kill_workers(self):
        for worker in self.postern.workers():
            if worker.get("pid"):
                kill(worker["pid"], signal.SIGKILL)

    def kill_nursery(self):
        kill(nursery_pid(self.postern), signal.SIGKILL)
        self.kill_workers()

    def test_no_process(self):
        """Neither nursery nor workers can be forked, those there were are gone: answered in time, tried again in growing pauses."""
        for role, call, fault in (("nursery", "syscall", self.kill_workers), ("multiplexor", "fork", self.kill_nursery)):
            with self.subTest(role):
                tried, outcomes = self.refuse(role, call, fault)
                self.assertIn("tempfail", outcomes)
                self.assertLess(tried, self.TRIES_A_SECOND)

    def test_no_thread(self):
        """A connection of the mail server's without a thread is closed, and no other suffers."""
        held = self.client().start()
        tried, outcomes = self.refuse("milterd", "pthread_create", lambda: None)
        self.assertLessEqual(set(outcomes), {"closed", "tempfail"})
        self.assertEqual(self.send("pass", 5, held).all("add_header"), [["X-Seen", " 5"]])


if __name__ == "__main__":
    unittest.main(verbosity=2)
