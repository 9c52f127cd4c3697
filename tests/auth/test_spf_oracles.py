"""postern.spf beside pyspf, Mail::SPF and libspf2, over random zones: records with every mechanism, macro and mistake, hosts that are not there, names that fail."""

import random
import unittest

import spf

from common import Folder, logged, lua, play
from oracle_peers import Book, ask_library, ask_perl

SEED, ZONES, CASES_EACH, AT_ONCE = 7208, 60, 12, 15

DOMAINS = [f"d{i}.example.com" for i in range(6)]
HOSTS = [f"h{i}.example.com" for i in range(6)]
CLIENTS = ["192.0.2.1", "192.0.2.2", "192.0.2.77", "198.51.100.9", "2001:db8::1", "2001:db8:0:1::2"]
SPECS = ["%{i}.x.example.com", "%{ir}.%{v}.example.com", "%{l}.%{d}", "%{d2}", "%{o}", "%{l1r-}.d1.example.com", "%{h}", "%{d1r}.example.com", "%{dr}.%{d3}", "%{s}.example.com", "%{p}",
         "%%%_.example.com", "%{L}.example.com", "%{l2r+-}.h1.example.com", "%{d4096}", "%{i1}.example.com"]
WRONG = ["ip4:1.2.3", "ip4:192.0.2.1/33", "ip4:192.0.2.1/", "ip6:192.0.2.1", "ip6:2001:db8::/129", "a:", "include", "include:", "foo", "foo:bar", "all:x", "exists", "redirect=", "a:%{x}.com",
         "a:%(d)", "a/33", "a//129", "mx:example..com", "-all;", "exists:%{d0}", "ptr/24", "a:example", "all/8", "%{d}=x", "a=b"]
QUALIFIERS = ["", "", "", "+", "-", "~", "?"]


def term(rng):
    host = rng.choice(HOSTS + DOMAINS)
    ways = [lambda: f"ip4:{rng.choice(CLIENTS[:4])}", lambda: f"ip4:192.0.2.0/{rng.choice((0, 8, 24, 25, 26, 30, 31, 32))}", lambda: f"ip6:2001:db8::/{rng.choice((0, 32, 63, 64, 65, 128))}",
            lambda: "a", lambda: f"a:{host}", lambda: f"a:{host}/{rng.choice((8, 24, 32))}", lambda: f"a:{host}//{rng.choice((32, 64, 128))}", lambda: f"a/{rng.choice((16, 24))}//64",
            lambda: "mx", lambda: f"mx:{rng.choice(DOMAINS)}", lambda: f"mx:{host}/24", lambda: f"include:{rng.choice(DOMAINS)}", lambda: f"include:{rng.choice(DOMAINS)}",
            lambda: f"exists:{rng.choice(SPECS)}", lambda: f"exists:{host}", lambda: f"a:{rng.choice(SPECS)}", lambda: "ptr", lambda: f"ptr:{rng.choice(('example.com', host))}",
            lambda: rng.choice(("IP4:192.0.2.1", "A:" + host, "ALL", "Include:" + DOMAINS[1]))]
    return rng.choice(QUALIFIERS) + rng.choice(ways)()


def record(rng):
    terms = [term(rng) for _ in range(rng.choice((1, 2, 3, 3, 4, 5, 12)))]
    if rng.random() < 0.06:
        terms.insert(rng.randrange(len(terms) + 1), rng.choice(WRONG))
    if rng.random() < 0.08:
        terms.append(rng.choice(("exp=why.example.com", "x-other=%{d}", "op=x", "exp=" + rng.choice(SPECS))))
    last = rng.random()
    terms.append("redirect=" + rng.choice(DOMAINS + SPECS) if last < 0.2 else rng.choice(("-all", "~all", "?all", "+all")) if last < 0.85 else "ip4:203.0.113.0/24")
    return "v=spf1 " + "  ".join(terms) if rng.random() < 0.1 else "v=spf1 " + " ".join(terms)


def make_zone(rng):
    zone = {}
    for name in HOSTS + DOMAINS:
        if rng.random() < 0.15:
            continue
        entry = zone.setdefault(name, {})
        if rng.random() < 0.6:
            entry["A"] = rng.sample(CLIENTS[:4], rng.choice((1, 1, 2)))
        if rng.random() < 0.4:
            entry["AAAA"] = rng.sample(CLIENTS[4:], 1)
        if rng.random() < 0.04:
            entry["FAILS"] = ["x"]
    for name in DOMAINS:
        entry = zone.setdefault(name, {})
        if rng.random() < 0.5:
            entry["MX"] = [[10 * i, rng.choice(HOSTS)] for i in range(rng.choice((1, 2, 3, 11)))]
        texts = [record(rng) for _ in range(rng.choice((0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2)))]
        entry["TXT"] = texts + rng.choice(([], ["v=spf10 -all"], ["other text"])) or ["other text"]
    for name in ("ann.d1.example.com", "1.2.0.192.in-addr.example.com", "192.0.2.1.x.example.com", "ann.example.com"):
        zone[name] = {"A": ["127.0.0.2"]}
    zone["why.example.com"] = {"TXT": ["%{i} is not ours"]}
    for address in ("1.2.0.192.in-addr.arpa", "2.2.0.192.in-addr.arpa", "9.100.51.198.in-addr.arpa"):
        if rng.random() < 0.7:
            zone[address] = {"PTR": rng.sample(HOSTS + DOMAINS, rng.choice((1, 2, 12)))}
    return zone


def generate():
    rng = random.Random(SEED)
    zones = [make_zone(rng) for _ in range(ZONES)]
    cases = [{"zone": number, "ip": rng.choice(CLIENTS), "sender": rng.choice(("ann", "ann", "a.b-c", "x+y-z")) + "@" + rng.choice(DOMAINS[:3]), "helo": rng.choice(HOSTS)}
             for number in range(ZONES) for _ in range(CASES_EACH)]
    return zones, cases


FILTER = """
local spf = require "postern.spf"
function filter_message(msg)
    for number, zone in ipairs(zones) do
        fake.zone = zone
        local results = {}
        for i, case in ipairs(cases[number]) do
            local got = spf.check_host(case.ip, case.sender:match("@(.*)"), case.sender, case.helo)
            results[i] = got.result .. "/" .. (got.result == "permerror" and got.reason:gsub(":.*", ""):gsub(" ", "_") or "")
        end
        msg:log(number, table.concat(results, " "))
    end
end
"""


def ours_of(zones, cases, folder):
    """A result for each case; why it is permerror goes into the case. A few zones at a time: a message's log line has its bounds."""
    out = []
    for first in range(0, len(zones), AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, len(zones)))
        split = [[case for case in cases if case["zone"] == number] for number in numbers]
        notes = logged(play(folder, f"local zones, cases = {lua([ours(zones[number]) for number in numbers])}, {lua(split)}\n{FILTER}"))
        out += [answer.split("/") for i in range(len(numbers)) for answer in notes[str(i + 1)][0].split()]
    for case, (_, why) in zip(cases, out):
        case["why"] = why.replace("_", " ")
    return [result for result, _ in out]


def ours(zone):
    """As FAKE_DNS has it."""
    out = {}
    for name, entry in zone.items():
        kept = {kind: [{"preference": value[0], "exchange": value[1]} for value in values] if kind == "MX" else values for kind, values in entry.items() if kind != "FAILS"}
        out[name] = kept | ({"fails": True} if "FAILS" in entry else {})
    return out


def pyspf_says(zones, cases):
    def lookup(name, kind, *_, **__):
        entry = zone.get(name.rstrip(".").lower(), {})
        if "FAILS" in entry and kind not in entry:
            raise spf.TempError("DNS timeout")
        for value in entry.get(kind, []):
            yield (name, kind), {"MX": lambda: (value[0], value[1]), "TXT": lambda: (value.encode(),), "A": lambda: value, "AAAA": lambda: value, "PTR": lambda: value}[kind]()
    known = spf.DNSLookup
    spf.DNSLookup = lambda *words, **more: list(lookup(*words, **more))
    try:
        for case in cases:
            zone = zones[case["zone"]]
            query = spf.query(i=case["ip"], s=case["sender"], h=case["helo"], receiver="x", strict=True)
            result = query.check()[0]
            case["pyspf"] = str(getattr(query, "perm_error", None) or "")
            yield result
    finally:
        spf.DNSLookup = known


def texts_of(case):
    return " ".join(text for entry in case["records"].values() for text in entry.get("TXT", []))


def has_names(case, ours, theirs):
    """The client's address has names, a record asks for them, and some of them have no address."""
    reverse = ".".join(reversed(case["ip"].split("."))) + ".in-addr.arpa"
    names = case["records"].get(reverse, {}).get("PTR", [])
    return theirs == "permerror" and ("ptr" in texts_of(case) or "%{p}" in texts_of(case)) and any(not case["records"].get(name, {}).get("A") for name in names)


def has_many_names(case, ours, theirs):
    reverse = ".".join(reversed(case["ip"].split("."))) + ".in-addr.arpa"
    return theirs == "permerror" and len(case["records"].get(reverse, {}).get("PTR", [])) > 10


PTR = ("it counts the addresses of the client's names among look-ups that find nothing; section 5.5 skips such names, and who has the client's address would turn a fail "
       "into an error with them")
KINDS = {
    "pyspf": {
        "recursion": ("it refuses a record that includes itself before anything of it matches; section 4.6 judges from left to right", lambda case, *_: "trivial recursion" in case["pyspf"]),
        "zero": ("it takes %{d0}, which section 7.3 forbids", lambda case, ours, theirs: "%{d0}" in texts_of(case) and case["why"] == "a wrong term"),
        "names": (PTR, lambda case, ours, theirs: has_names(case, ours, theirs) and "Void" in case["pyspf"]),
        "servers": ("it asks for all mail servers before it looks at the first; section 5.4 ends at a match", lambda case, *_: "Void" in case["pyspf"] and "mx" in texts_of(case)),
    },
    "Mail::SPF": {
        "mx": ("it looks at ten of more than ten mail servers; section 4.6.4 makes them an error", lambda case, *_: case["why"] == "too many mail servers"),
        "all of IPv6": ("an IPv4 address is in its ip6:…/0; section 5.6 lets none match", lambda case, *_: ":" not in case["ip"] and "ip6:2001:db8::/0" in texts_of(case)),
        "names": (PTR, has_names),
    },
    # It knows RFC 4408.
    "libspf2": {
        "void": ("it does not count look-ups that find nothing (section 4.6.4)", lambda case, *_: case["why"] == "too many look-ups find nothing"),
        "wrong": ("it has no result for a record that is wrong; section 2.6.7: permerror", lambda case, ours, theirs: ours == "permerror" and theirs == "invalid"),
        "zero": ("it takes no prefix of length 0 (section 5.6)", lambda case, ours, theirs: "/0" in texts_of(case)),
        "mx": ("it looks at some of more than ten mail servers; section 4.6.4 makes them an error", lambda case, *_: case["why"] == "too many mail servers"),
        "digits": ("it takes no such number in a macro; section 7.1 has no bound", lambda case, ours, theirs: "%{d4096}" in texts_of(case) and theirs == "invalid"),
        "many names": ("more than ten names of the client are an error for it; section 4.6.4 leaves the rest out", has_many_names),
    },
}


class Oracles(unittest.TestCase):
    maxDiff = None

    def test_random_zones(self):
        zones, cases = generate()
        folder = Folder("spf-oracles")
        self.addCleanup(folder.remove)
        ours = ours_of(zones, cases, folder)
        question = {"zones": zones, "jobs": cases}
        answers = {"pyspf": list(pyspf_says(zones, cases)), "Mail::SPF": ask_perl("oracle_spf.pl", question), "libspf2": ask_library("spf2", question)}
        for oracle, theirs in answers.items():
            book = Book(oracle, KINDS[oracle])
            for case, a, b in zip(cases, ours, theirs):
                book.note(case | {"records": zones[case["zone"]]}, a, b)
            book.print(f"SPF: zones of seed {SEED}")
            with self.subTest(oracle):
                self.assertEqual(book.unknown, [])
        self.assertGreater(min(ours.count(result) for result in ("pass", "fail", "softfail", "neutral", "none", "temperror", "permerror")), 10)


if __name__ == "__main__":
    unittest.main()
