"""Back ends that die, or hang, under load: clamd, spamd, the name server and Redis in turn, for two Posterns at the same time.

Both have the same filter, which asks all four about each message. For the strict one a message that cannot be judged is deferred (on_failure =
tempfail; where a plain look-up fails, the filter says so), for the lenient one it goes on, marked (on_failure = continue). Messages of a known kind
come through a real Postfix: one that is infected, spam or listed is refused, or bears the mark of the one that could not tell. Then the
back end is there again, and mail is judged again: nothing of Postern is started anew or reloaded.
"""

import re
import signal
import time
import unittest

import paths  # noqa: F401
from harness.dns_server import Nsd
from harness.lines import lines_of
from harness.mail import Smtp, message
from harness.mta import Postfix
from harness.postern import Postern
from harness.process import PATIENCE, SANITIZE, Folder, scaled, wait_until
from harness.redis_server import Redis
from harness.scanners import SPAM, VIRUS, Clamd, Spamd
from load import Load, n_delivered

N_MESSAGES = scaled(24, 6)  # for each Postern in each outage
N_CALM = 10                 # judged in a row, and none that was not: the back end is back for all workers
WORKERS, RATE = 4, 8
RECOVERY_SECS = 5 * PATIENCE
KINDS = ("clean", "virus", "spam", "listed", "clean")  # by number
BODIES = {"virus": VIRUS.decode() + "\r\n", "spam": SPAM.decode() + "\r\n"}
TELLS = {"virus": "clamav", "spam": "spamassassin", "listed": "dns"}  # who has to say so

FILTER = """
local async, log, metrics = require "postern.async", require "postern.log", require "postern.metrics"
local clamav, dns, spamassassin, store = require "postern.clamav", require "postern.dns", require "postern.spamassassin", require "postern.store"
local not_asked = metrics.counter("not_asked", "mail about which a look-up failed")

-- on_failure of those whose nil is the filter's to judge
local function mark(msg, found)
    local names = {}
    for _, name in ipairs{ "dns", "store" } do
        if found[name] == nil then
            log.warn("%s: %s; nobody asked", name, found.errors[name] or "no answer")
            names[#names + 1] = name
        end
    end
    if #names > 0 then
        not_asked:inc(#names)
        msg:log("not_asked", table.concat(names, " ") .. ": no answer")
        msg:add_header("X-Not-Asked", table.concat(names, " "))
    end
    return names[1]
end

function filter_message(msg)
    local n, kind = msg:header("X-Number"), msg:header("X-Kind")
    local found = async.all{
        clamav = function() return clamav.scan(msg) end,
        spamassassin = function() return spamassassin.check(msg) end,
        dns = function() return dns.query(("n%s.%s.test"):format(n, kind == "listed" and "bad" or "good"), "A") end,
        store = function() return store.incr("seen/" .. n, 1, 3600) end,
    }
    local missing = mark(msg, found)
    if missing and config.mode == "strict" then return tempfail(missing .. " does not answer") end
    if found.clamav.status == "infected" then return reject("virus") end
    if found.spamassassin.status == "spam" then return reject("spam") end
    if found.dns and #found.dns > 0 then return reject("listed") end
    msg:add_header("X-Found", ("clamav=%s spamassassin=%s dns=%s store=%s"):format(found.clamav.status, found.spamassassin.status,
        found.dns and #found.dns or "?", found.store or "?"))
end
"""


def kind_of(n):
    return KINDS[n % len(KINDS)]


class Side:
    """A Postern, and the load through a port of the mail server that has it as its milter."""

    def __init__(self, mode, options, port):
        self.mode, self.port, self.load = mode, port, None
        policy = "tempfail" if mode == "strict" else "continue"
        self.postern = Postern(FILTER, start=False, name=mode, options={
            "backend.on_failure": policy, "clamav.on_failure": policy, "spamassassin.on_failure": policy, "filter.mode": mode,
            "multiplexor.min_workers": WORKERS, "multiplexor.max_workers": WORKERS, "worker.allow_network": "yes",
            "worker.sandbox": "available" if SANITIZE else "required", "store.prefix": mode + ":", **options})

    def begin(self, mta):
        self.mta = mta
        self.postern.start_multiplexor()
        self.postern.start_milterd()
        self.postern.wait_ready()
        self.load = Load(self, RATE, self.give, WORKERS)

    def smtp(self):
        return Smtp(self.mta.address, self.port)

    def give(self, smtp, n):
        mail = message(subject=f"number {n}", headers=(f"X-Number: {n}", f"X-Kind: {kind_of(n)}"), body=f"body {n}\r\n" + BODIES.get(kind_of(n), ""))
        return smtp.transaction(f"n{n}@{self.mode}.test", [f"r{n}@{self.mode}.test"], mail)

    def n_since(self, moment):
        """How many attempts that began after the moment have ended."""
        with self.load.lock:
            return sum(attempt.begin >= moment for attempt in self.load.tries)

    def unjudged(self):
        """How many messages so far were deferred, or went on though somebody did not look at them."""
        if self.mode == "strict":
            return self.load.counts()["tempfail"]
        return len(re.findall(r"the mail goes on unscanned|; nobody asked", self.postern.multiplexor.output()))

    def log_lines(self):
        """(number, line of the front end's log) of each attempt, in their order."""
        lines = self.postern.log_lines(" verdict=")
        return [(int(found.group(1)), line) for line in lines if (found := re.search(r" from=<n(\d+)@", line))]

    def n_logged(self):
        return len(self.log_lines())

    def reasons(self):
        """{number: [{back end: why it did not judge} of each attempt]}."""
        out = {}
        for n, line in self.log_lines():
            told = dict(re.findall(r' x-(?:deferred|unscanned)="(\w+): ([^"]*)"', line))
            for name in " ".join(re.findall(r' x-not_asked="([\w ]+): no answer"', line)).split():
                told[name] = "no answer"
            out.setdefault(n, []).append(told)
        return out

    def pair(self):
        """Gives each attempt .reasons, who did not judge it, .why, and .is_first. Attempts at one number do not overlap."""
        told = self.reasons()
        for attempt in sorted(self.load.tries, key=lambda one: one.begin):
            rows = told[attempt.n]
            attempt.is_first = len(rows) == sum(one.n == attempt.n for one in self.load.tries)
            row = rows.pop(0)
            attempt.reasons, attempt.why = set(row), "; ".join(row.values())

    def counter(self, name):
        text = self.postern.ctl("metrics")[1]
        return sum(float(value) for value in re.findall(rf"^postern_user_{name}_total(?:{{.*}})? (\S+)$", text, flags=re.M))


class Calm:
    """Watches a side until nothing has been unjudged for a while; .since is when the last one was."""

    def __init__(self, side):
        self.side, self.since, self.unjudged, self.final = side, time.monotonic(), side.unjudged(), len(side.load.final)

    def is_calm(self):
        unjudged = self.side.unjudged()
        if unjudged != self.unjudged:
            self.unjudged, self.since, self.final = unjudged, time.monotonic(), len(self.side.load.final)
        return len(self.side.load.final) - self.final >= N_CALM


class Outage:
    """From begin to up, in monotonic seconds, nobody answers; at end somebody does. recovery: {mode: seconds from then to the last unjudged message}."""

    def __init__(self, name, how):
        self.name, self.how, self.begin, self.end, self.recovery = name, how, time.monotonic(), None, None
        self.up = None

    def holds(self, attempt):
        return attempt.begin > self.begin and attempt.end < self.up

    def explains(self, attempt, name):
        return name == self.name and attempt.end >= self.begin and attempt.begin <= self.end + RECOVERY_SECS


class BackEnds(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("backends")
        self.addCleanup(self.folder.remove)
        self.servers = {"clamav": Clamd(self.folder), "spamassassin": Spamd(self.folder), "dns": Nsd(self.folder, {"test": "*.bad A 127.0.0.2\n"}),
                        "store": Redis(self.folder)}
        for server in self.servers.values():
            server.start()
            self.addCleanup(self.end, server)
        options = {
            "clamav.sockets": self.servers["clamav"].tcp, "clamav.timeout": f"{1000 * PATIENCE}ms", "spamassassin.sockets": self.servers["spamassassin"].tcp,
            "spamassassin.timeout": f"{2000 * PATIENCE}ms", "backend.failures": 2, "backend.retry_time": "1s",
            "dns.servers": self.servers["dns"].server, "dns.timeout": f"{500 * PATIENCE}ms", "store.backend": "redis",
            "redis.server": self.servers["store"].server, "store.timeout": f"{1000 * PATIENCE}ms", "redis.connect_time": f"{500 * PATIENCE}ms"}
        self.sides = [Side("strict", options, Postfix.port), Side("lenient", options, Postfix.port + 1)]
        self.outages = []

    @staticmethod
    def end(server):
        if server.process.is_alive():
            server.process.signal_group(signal.SIGCONT)
        server.stop()

    def test_each_in_turn(self):
        strict, lenient = self.sides
        services = f"@ADDRESS@:{lenient.port} inet n - n - - smtpd\n  -o smtpd_milters={lenient.postern.spec}"
        mta = Postfix(strict.postern.spec, name="backends", settings="default_process_limit = 200\nenable_long_queue_ids = yes\n", services=services)
        with mta.start(), strict.postern, lenient.postern:
            for side in self.sides:
                side.begin(mta)
            self.run_all()
            for side in self.sides:
                side.load.finish()
            self.check(mta)

    def run_all(self):
        self.wait_calm()
        for name in self.servers:
            for how in ("killed", "hanging"):
                self.outage(name, how)
            if name == "spamassassin":
                self.check_list()  # which Redis forgets when it is killed

    def wait_calm(self):
        """{mode: seconds from now on after which all is judged}."""
        begin = time.monotonic()
        watched = [Calm(side) for side in self.sides]
        wait_until(lambda: all([one.is_calm() for one in watched]), lambda: "mail to be judged:\n" + "".join(s.postern.logs() for s in self.sides), 60, 0.05)
        return {one.side.mode: max(0.0, one.since - begin) for one in watched}

    def outage(self, name, how):
        server, outage = self.servers[name], Outage(name, how)
        if how == "killed":
            server.kill()
        else:
            server.process.signal_group(signal.SIGSTOP)
        wait_until(lambda: all(side.n_since(outage.begin) >= N_MESSAGES for side in self.sides), f"messages while {name} is {how}", 60, 0.05)
        outage.up = time.monotonic()
        if how == "killed":
            server.start()
        else:
            server.process.signal_group(signal.SIGCONT)
        outage.end = time.monotonic()
        outage.recovery = self.wait_calm()
        self.outages.append(outage)
        self.assertLessEqual(max(outage.recovery.values()), RECOVERY_SECS, f"{name}, {how}")

    # ---- what became of the messages ----

    def check_list(self):
        """What the lenient one let through unscanned stands in its list, each with its sender."""
        side = self.sides[1]

        def listed():
            entries = lines_of(side.postern.ctl("store", "export", "unscanned/", check=True)[1])
            return sorted((entry["value"]["sender"], entry["key"].rsplit("/", 1)[1]) for entry in entries)

        def logged():
            return sorted((f"n{n}@lenient.test", name) for n, tries in side.reasons().items() for reasons in tries for name in reasons)
        wait_until(lambda: listed() == logged(), lambda: f"the same in the list as in the log: {set(listed()) ^ set(logged())}")
        self.assertGreater(len(listed()), 0)

    def check(self, mta):
        delivered = self.delivered(mta)
        for side in self.sides:
            wait_until(lambda s=side: s.n_logged() == len(s.load.tries), lambda s=side: f"{len(s.load.tries)} log lines of {s.mode}, {s.n_logged()} are there")
            side.pair()
            self.check_answers(side)
            self.check_delivered(side, delivered[side.mode])
            self.check_unjudged(side)
        lenient = self.sides[1]
        n_marks = sum(name in ("clamav", "spamassassin") for attempt in lenient.load.tries for name in attempt.reasons)
        wait_until(lambda: lenient.counter("unscanned") == n_marks, lambda: f"{n_marks} counted, not {lenient.counter('unscanned')}")
        self.report()

    def delivered(self, mta):
        """{mode: {number: mail}}; nothing comes twice."""
        n_due = sum(attempt.kind == "accepted" for side in self.sides for attempt in side.load.final.values())
        wait_until(lambda: n_delivered(mta) >= n_due, lambda: f"{n_due} messages, {n_delivered(mta)} are there:\n{mta.log()[-3000:]}", 60, pause=0.2)
        found = {side.mode: {} for side in self.sides}
        for mail in mta.mailbox():
            n, mode = re.fullmatch(r"n(\d+)@(\w+)\.test", mail.sender).groups()
            self.assertNotIn(int(n), found[mode], "delivered twice")
            self.assertEqual((mail["X-Number"], mail.recipients), (n, [f"r{n}@{mode}.test"]))
            found[mode][int(n)] = mail
        return found

    def check_answers(self, side):
        self.assertEqual(len(side.load.final), side.load.next, "messages without a verdict")
        for attempt in side.load.tries:
            kind = kind_of(attempt.n)
            if attempt.kind == "tempfail":
                self.assertEqual(side.mode, "strict", attempt)
                self.assertRegex(f"{attempt.answer[1]} {attempt.answer[2]}", r"^451 4\.7\.1 (this cannot be checked now|\w+ does not answer)")
                self.assertTrue(attempt.reasons, attempt)
            elif attempt.kind == "reject":
                self.assertEqual((attempt.answer[1], attempt.answer[2].split()[-1]), (550, kind), attempt)
            else:
                self.assertEqual(attempt.kind, "accepted", attempt)
                self.assertTrue(kind == "clean" or TELLS[kind] in attempt.reasons, f"{kind}: {attempt}")
                self.assertTrue(side.mode == "lenient" or not attempt.reasons, f"accepted unjudged: {attempt}")

    def check_delivered(self, side, mails):
        """What was accepted is there; each back end has said what it found, or the mail bears its mark."""
        self.assertEqual(set(mails), {n for n, attempt in side.load.final.items() if attempt.kind == "accepted"}, "lost or not due")
        for n, mail in mails.items():
            marks = set(mail.get_all("X-Postern-Unscanned", [])) | set(mail.get("X-Not-Asked", "").split())
            said = dict(word.split("=") for word in mail["X-Found"].split())
            self.assertEqual(marks, side.load.final[n].reasons, f"marks of {n}")
            self.assertEqual({name for name, what in said.items() if what in ("unscanned", "?")}, marks, f"{n}: {mail['X-Found']}")
            for name, what in (("clamav", "clean"), ("spamassassin", "clean"), ("dns", "0")):
                self.assertTrue(name in marks or said[name] == what, f"{n}: {mail['X-Found']}")

    def check_unjudged(self, side):
        """During an outage its messages, and apart from outages none but those for which a server on a busy machine took too long."""
        for attempt in side.load.tries:
            for outage in self.outages:
                if outage.holds(attempt) and (outage.name != "dns" or attempt.is_first):  # what it said of an earlier attempt is kept
                    self.assertTrue(attempt.reasons, f"{outage.name} is {outage.how}: {attempt}")
            for name in attempt.reasons:
                is_known = any(outage.explains(attempt, name) for outage in self.outages)
                self.assertTrue(is_known or re.search("timeout|left alone|no answer", attempt.why), f"no outage of {name}: {attempt.why}: {attempt}")

    def report(self):
        for outage in self.outages:
            rows = []
            for side in self.sides:
                met = [attempt for attempt in side.load.tries if attempt.end >= outage.begin and attempt.begin <= outage.end]
                counts = {"451": sum(attempt.kind == "tempfail" for attempt in met), "refused": sum(attempt.kind == "reject" for attempt in met),
                          "marked": sum(attempt.kind == "accepted" and bool(attempt.reasons) for attempt in met),
                          "judged good": sum(attempt.kind == "accepted" and not attempt.reasons for attempt in met)}
                told = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
                rows.append(f"{side.mode}: {len(met)} messages, {told}, the longest {max(a.end - a.begin for a in met):.1f} s, "
                            f"judged again after {outage.recovery[side.mode]:.2f} s")
            print(f"{outage.name} {outage.how} for {outage.end - outage.begin:.1f} s\n  " + "\n  ".join(rows))
        for side in self.sides:
            odd = [a for a in side.load.tries if any(not any(o.explains(a, name) for o in self.outages) for name in a.reasons)]
            print(f"{side.mode}: {side.load.next} messages, {side.load.counts()}; {len(odd)} apart from outages; unmarked 0, lost 0, doubled 0")


if __name__ == "__main__":
    unittest.main(verbosity=2)
