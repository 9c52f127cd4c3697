#!/usr/bin/python3
"""Writes the seeds of the fuzzer dns into corpus/dns/seed-*: run it again when what it expects changes."""

import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
for name in ("POSTERN_BIN", "POSTERN_BUILD", "POSTERN_SOURCE"):
    os.environ.setdefault(name, HERE)

from harness.dns_server import Query, question, record  # noqa: E402

ORDER = ["A", "AAAA", "CNAME", "MX", "NS", "PTR", "SRV", "TXT"]
VALUES = {"A": "192.0.2.1", "AAAA": "2001:db8::1", "CNAME": "b.test", "MX": (10, "b.test"), "NS": "b.test", "PTR": "b\x01.test",
          "SRV": (1, 2, 3, "b.test"), "TXT": "x" * 300}


def main():
    folder = os.path.join(HERE, "corpus", "dns")
    os.makedirs(folder, exist_ok=True)
    seeds = {}
    for kind in ORDER:
        query = Query(question("a.test", kind), False)
        rows = [record("a.test", kind, VALUES[kind], 7), record("a.test", kind, VALUES[kind], 9)]
        seeds[kind.lower()] = (kind, query.answer(rows))
    query = Query(question("a.test", "A"), False)
    chain = [record("a.test", "CNAME", "b.test"), record("b.test", "CNAME", "c.test"), record("c.test", "A", "192.0.2.1")]
    seeds["chain"] = ("A", query.answer(chain))
    seeds["loop"] = ("A", query.answer([record("a.test", "CNAME", "b.test"), record("b.test", "CNAME", "a.test")]))
    seeds["nxdomain"] = ("A", query.answer(rcode=3, authorities=[record("test", "SOA", 60)]))
    seeds["pointer"] = ("MX", Query(question("a.test", "MX"), False).answer([b"\xc0\x0c" + struct.pack(">HHIH", 15, 1, 60, 4) + b"\0\1\xc0\x0c"]))
    for name, (kind, data) in seeds.items():
        with open(os.path.join(folder, f"seed-{name}"), "wb") as file:
            file.write(bytes([ORDER.index(kind)]) + data)


main()
