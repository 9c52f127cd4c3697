"""What a filter waits for, it waits for at the same time: ten block lists, SPF, DKIM, DMARC, clamd and spamd in one async.all, with slow servers.

The servers are the real ones, behind proxies that delay what they answer. No name is asked twice, so that no cache helps. Messages that ask one
part alone and messages that ask all are mixed over several connections, so that both meet the same machine.
"""

import os
import queue
import statistics
import sys
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "milter"), os.path.join(os.path.dirname(HERE), "auth")]

import dkim  # noqa: E402
from harness.delays import DelayedDns, DelayedServer  # noqa: E402
from harness.dns_server import Nsd  # noqa: E402
from harness.postern import Postern  # noqa: E402
from harness.process import PATIENCE, SANITIZE, Folder  # noqa: E402
from harness.scanners import Clamd, Spamd  # noqa: E402
from milter_client import MilterClient  # noqa: E402
from oracles import keys  # noqa: E402

N_ALL, N_ALONE, CONNECTIONS = 15, 5, 5
MOST = 1.2  # times the slowest part
SLOWER = 2 if SANITIZE else 1  # delays must stay far above what the machine does by itself
LISTS = {f"list{i}": 0.05 * i for i in range(1, 11)}
SPF_STEP, KEYS, WALK, CLAMD, SPAMD = 0.15, (0.35, 0.4, 0.45), 0.4, 0.8, 1.5
SPF = 3 * SPF_STEP  # the record, the mail servers, their addresses: each waits for the one before, and the addresses not for each other
HOSTS = 8
PARTS = {**LISTS, "spf": SPF, "dkim": max(KEYS), "dmarc": max(SPF, max(KEYS), WALK), "clamd": CLAMD, "spamd": SPAMD}
ONE_BY_ONE = {"spf": (2 + HOSTS) * SPF_STEP, "dkim": sum(KEYS), "dmarc": SPF + max(KEYS) + WALK}  # how long they took without being side by side

FILTER = """
local async = require "postern.async"
local clamav, dkim, dmarc, dnsbl = require "postern.clamav", require "postern.dkim", require "postern.dmarc", require "postern.dnsbl"
local spamassassin, spf = require "postern.spamassassin", require "postern.spf"

local parts = {
    spf = function(msg) return spf.check(msg).result end,
    dkim = function(msg)
        local results = {}
        for i, one in ipairs(dkim.verify(msg).signatures) do results[i] = one.result end
        return table.concat(results, "+")
    end,
    dmarc = function(msg) local judged = dmarc.check(msg) return judged.result .. " " .. judged.policy end,
    clamd = function(msg) return clamav.scan(msg).status end,
    spamd = function(msg) return spamassassin.check(msg).status end,
}
for i = 1, 10 do
    parts["list" .. i] = function(msg) return dnsbl.listed(msg, ("list%d.test"):format(i)) or "not listed" end
end

function filter_message(msg)
    local calls = {}
    for name in msg:header("X-Parts"):gmatch("%S+") do
        calls[name] = function() return parts[name](msg) end
    end
    local before = async.time_left()
    local found = async.all(calls)
    msg:add_header("X-Took", ("%.3f"):format(before - async.time_left()))
    local told = {}
    for name in pairs(calls) do
        told[#told + 1] = name .. "=" .. tostring(found[name] or found.errors[name])
    end
    msg:add_header("X-Found", table.concat(told, "; "))
end
"""
FOUND = {**{name: f"{name}.test" if int(name[4:]) % 2 else "not listed" for name in LISTS},
         "spf": "pass", "dkim": "pass+pass+pass", "dmarc": "pass reject", "clamd": "clean", "spamd": "clean"}


def ip_of(n):
    return f"198.51.100.{n + 1}"


def records_of(n):
    """A domain for one message: mail servers, of which the last is its client, three keys of one text, a policy."""
    key, name = keys().records["rsa"], f"m{n}.author"
    lines = [f'{name} TXT "v=spf1 mx -all"', f'_dmarc.{name} TXT "v=DMARC1; p=reject"']
    for i in range(HOSTS):
        lines += [f"{name} MX {i} h{i}.{name}.test.", f"h{i}.{name} A {ip_of(n) if i == HOSTS - 1 else f'192.0.2.{i + 1}'}"]
    return lines + [f's{i}._domainkey.{name} TXT "{key[:200]}" "{key[200:]}"' for i in range(len(KEYS))]


def delay_of(query):
    labels = query.name.split(".")
    if labels[0] == "_dmarc":
        delay = WALK
    elif "_domainkey" in labels:
        delay = KEYS[int(labels[0][1:])]
    else:
        delay = LISTS.get(labels[-2], SPF_STEP)
    return delay * SLOWER


def fields_of(n, parts):
    """Header fields as a mail server hands them over, and the body: signed three times."""
    domain, body = f"m{n}.author.test", b"hello\r\n"
    mail = (f"From: ann@{domain}\r\nTo: bob@example.net\r\nSubject: number {n}\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
            f"Message-ID: <{n}@{domain}>\r\nX-Parts: {' '.join(parts)}\r\n\r\n").encode() + body
    signatures = [dkim.sign(mail, f"s{i}".encode(), domain.encode(), keys().pem("rsa"), canonicalize=(b"relaxed", b"relaxed"),
                            include_headers=[b"from", b"subject"]) for i in range(len(KEYS))]
    lines = (b"".join(signatures) + mail).split(b"\r\n\r\n")[0].replace(b"\r\n ", b"\n ").decode().split("\r\n")
    return [tuple(line.split(":", 1)) for line in lines], body


class SideBySide(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("side")
        self.addCleanup(self.folder.remove)
        self.jobs = [list(PARTS)] * N_ALL + [[part] for part in PARTS] * N_ALONE
        self.jobs = self.jobs[::2] + self.jobs[1::2]  # mixed
        lists = [f"*.{name} A 127.0.0.2" for name in LISTS if FOUND[name] != "not listed"]
        records = [line for n in range(len(self.jobs)) for line in records_of(n)]
        nsd = self.served(Nsd(self.folder, {"test": "\n".join(lists + records) + "\n"}))
        clamd, spamd = self.served(Clamd(self.folder)), self.served(Spamd(self.folder))
        dns = self.ended(DelayedDns(nsd, delay_of))
        virus = self.ended(DelayedServer(clamd.path, CLAMD * SLOWER, self.folder("slow.sock")))
        spam = self.ended(DelayedServer((spamd.address, spamd.port), SPAMD * SLOWER))
        self.postern = Postern(FILTER, options={
            "dns.servers": dns.server, "dns.timeout": "10s", "clamav.sockets": virus.spec, "spamassassin.sockets": spam.spec,
            "worker.allow_network": "yes", "worker.state_dir": self.folder(), "worker.sandbox": "available" if SANITIZE else "required",
            "multiplexor.min_workers": CONNECTIONS, "multiplexor.max_workers": CONNECTIONS + 2})
        self.addCleanup(self.postern.stop)

    def served(self, server):
        return self.ended(server.start())

    def ended(self, server):
        self.addCleanup(server.stop)
        return server

    def send(self, n, parts):
        """Seconds that the hook took. Each part must have found what there is to find."""
        fields, body = fields_of(n, parts)
        with MilterClient(self.postern.spec, 60 * PATIENCE) as client:
            client.negotiate()
            client.connect(ip=ip_of(n))
            client.helo()
            answer = client.message(sender=f"<ann@m{n}.author.test>", headers=fields, body=body)
        self.assertEqual(answer.code, "continue", answer)
        added = dict(answer.all("add_header"))
        found = dict(told.split("=", 1) for told in " ".join(added["X-Found"].split()).split("; "))  # unfolded
        self.assertEqual(found, {part: FOUND[part] for part in parts})
        return float(added["X-Took"])

    def send_all(self):
        """{parts as a tuple: seconds of each message}."""
        left, took, wrong, lock = queue.Queue(), {}, [], threading.Lock()
        for job in enumerate(self.jobs):
            left.put(job)

        def run():
            while True:
                try:
                    n, parts = left.get_nowait()
                    seconds = self.send(n, parts)
                    with lock:
                        took.setdefault(tuple(parts), []).append(seconds)
                except queue.Empty:
                    return
                except Exception as error:  # noqa: BLE001  told by the test's own thread
                    wrong.append(error)
                    return
        threads = [threading.Thread(target=run) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if wrong:
            raise wrong[0]
        return took

    def test_all_take_as_long_as_the_slowest(self):
        took = {parts: statistics.median(seconds) for parts, seconds in self.send_all().items()}
        together = took.pop(tuple(PARTS))
        alone = {parts[0]: seconds for parts, seconds in took.items()}
        print(f"{'part':8} {'servers take':>12} {'alone, median':>14}")
        for part, due in PARTS.items():
            print(f"{part:8} {due * SLOWER * 1000:9.0f} ms {alone[part] * 1000:11.0f} ms")
        slowest = max(alone, key=alone.get)
        print(f"all in async.all: {together * 1000:.0f} ms, the median of {N_ALL} messages; {together / alone[slowest]:.2f} times {slowest} alone; "
              f"one after the other: {sum(alone.values()) * 1000:.0f} ms")
        self.assertLessEqual(together, MOST * alone[slowest])
        for part, serial in ONE_BY_ONE.items():
            self.assertLess(alone[part], (PARTS[part] + serial) / 2 * SLOWER, f"{part} asks one after the other")


if __name__ == "__main__":
    unittest.main(verbosity=2)
