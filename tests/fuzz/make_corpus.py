#!/usr/bin/python3
"""Writes the seeds of the fuzzers wire, envelope, action, plan, trace and edit into corpus/NAME/seed-*: run it again when a format changes.

Files of other names (what a fuzzer found) are left alone.
"""

import functools
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "fakes"))

import postern_wire as wire  # noqa: E402

RECORDS = [
    ("hello", "MILTERD", "HELLO", {"role": 1, "pid": 4711, "build": "0.1.0"}),
    ("watch", "MILTERD", "WATCH", {"sandbox": "no-new-privs, seccomp"}),
    ("needs", "MULTIPLEXOR", "NEEDS", {"generation": 3, "union_sees": 0xfff}),
    ("release", "MILTERD", "RELEASE", {"generation": 2}),
    ("fork", "MULTIPLEXOR", "FORK", {"number": 9}),
    ("forked", "NURSERY", "FORKED", {"number": 9, "pid": 99}),
    ("loaded", "NURSERY", "LOADED", {"is_ok": 1, "hooks": 6, "sandbox": "rlimits"}),
    ("ready", "WORKER", "READY", {"error": "filter.lua:3: no"}),
    ("quit", "MULTIPLEXOR", "QUIT", {}),
    ("request", "MILTERD", "REQUEST",
     {"hook": 6, "attempt": 1, "conn_id": "C1", "uid": "C1.1", "name": "Subject", "argument": " hi", "changes": b"\1"}),
    ("reply", "WORKER", "REPLY",
     {"verdict": 2, "code": 550, "dsn": "5.7.1", "where": "filter.lua:1", "text": "no\nreally", "msg_state": b"x"}),
]


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(value)) + value


def entry(kind, *parts):
    return bytes([kind]) + text(b"".join(parts))


def wire_seeds():
    for name, role, record, fields in RECORDS:
        flags = wire.WIRE_SOCKET if record == "FORK" else 0
        data, _ = wire.encode(record, fields, ident=5, flags=flags)
        yield name, bytes([wire.ROLE[role], 1 if flags else 0, 0]) + data
    for name, role, record, fields in RECORDS[-2:]:
        data, annex = wire.encode(record, fields, ident=5, spill=True)
        # The third byte says which part in 256 of the rest is the annex: fill up until it comes out even.
        for share in range(256):
            if (len(data) + len(annex)) * share // 256 == len(annex):
                yield name + "-annex", bytes([wire.ROLE[role], 1, share]) + annex + data
                break
        else:
            raise SystemExit("no share fits " + name)


CONNECT = entry(1, b"4", text("192.0.2.1"), b"\0\x19", text("client.example.net"))
FRONT = (CONNECT + entry(6, b"\0", text("j"), text("mx.example.org")) + entry(2, text("client"))
         + entry(3, text("<s@example.net>"), text("SIZE=10")))
RECIPIENTS = b"".join(entry(4, text("<%s@example.org>" % name), text("")) + entry(6, b"\3", text("{rcpt_mailer}"), text("local"))
                      for name in "abc")


def envelope_seeds():
    region = FRONT + RECIPIENTS + entry(5, struct.pack(">I", 1)) + entry(99, b"later") + entry(6, b"\4", text("i"), text("Q1"))
    yield "empty", struct.pack(">I", 0)
    yield "front", struct.pack(">I", 0) + FRONT
    yield "whole", struct.pack(">I", len(FRONT)) + region


def header(kind, name, value=None, index=None):
    data = bytes([kind])
    if index is not None:
        data += struct.pack(">I", index)
    return data + text(name) + (text(value) if value is not None else b"")


ACTIONS = {
    "add": header(1, "X-A", "v\n w"),
    "insert": header(2, "X-B", "v", 1),
    "set": header(3, "Subject", "new", 1) + header(3, "Subject", "more", 2),
    "delete": header(4, "received", None, 0) + header(4, "To", None, 1),
    "sender": bytes([5]) + text("a@b.example") + text("SIZE=1"),
    "recipients": bytes([6]) + text("a@b") + text("NOTIFY=NEVER") + bytes([7]) + text("a@b"),
    "body": bytes([8]) + text(b"body\r\n\0"),
    "hold": bytes([9]) + text("why"),
}


def action_seeds():
    yield from ACTIONS.items()
    yield "all", b"".join(ACTIONS.values())


BLOCKS = {
    "usual": b"Received: a\r\n\tb\r\nReceived: c\r\nSubject: hi\r\nTo: x\r\n",
    "odd": b"no colon\n blank\nA:\0\r\rB : x\n: y\r\n\r\nC:\xff",
    "twelve": b"".join(b"Received: %d\r\n" % i for i in range(12)),
}


def plan_seeds():
    for block_name, block in BLOCKS.items():
        for name in ("add", "insert", "set", "delete"):
            yield block_name + "-" + name, struct.pack(">H", len(block)) + block + ACTIONS[name]
        yield block_name + "-all", struct.pack(">H", len(block)) + block + b"".join(ACTIONS.values())


RING_SLOTS = 8
STAGE = {2: b"m80z2gx80vk00000.1", 3: b"4XqT3k1vzLz1b", 13: b"rcpt", 14: b"filter_recipient", 15: b"reject", 16: 550, 17: b"5.1.1",
         18: b"No such user\n\xffhere", 19: b"filter.lua:4", 22: 5, 23: 65, 24: 2, 25: 28262, 26: 1, 10: b"<no@example.net>",
         5: b"192.0.2.1", 9: b"<sender@example.org>"}
TRACES = {
    "connection": (1, {1: b"m80z2gx80vk00000", 5: b"2001:db8::1", 6: b"mail.example.org", 7: 4321}),
    "stage": (2, STAGE),
    "action": (3, {2: b"m80z2gx80vk00000.1", 30: b"set_header", 31: 1, 32: b"Subject", 33: b"x\x1b[2J"}),
    "message": (4, {2: b"m80z2gx80vk00000.1", 4: b"<a@b>", 10: b"<c@d>,<e@f>", 11: 2, 12: 1, 15: b"continue", 27: 12, 28: 35, 22: 20000000,
                    38: b"add_header:1", 39: b"score=5.2", 29: 3}),
    "more": (3, {37: 12}),
    "unknown": (9, {200: b"later"}),
}


def trace_entry(kind, fields, cut=False):
    data = b""
    for number, value in fields.items():
        value = value.to_bytes((value.bit_length() + 7) // 8, "little") if isinstance(value, int) else value
        data += struct.pack("<BH", number, len(value)) + value
    return struct.pack("<BBHIq", kind, cut, len(data), 0, 1795329000123456) + data


def ring_slot(number, part, parts, data):
    """A slot and its sum (common/ring.c)."""
    words = struct.unpack("<31Q", struct.pack("<Q", number << 16 | part << 12 | parts << 8 | len(data)) + data.ljust(240, b"\0"))
    def mix(total, word):
        total = (total ^ word) * 0x9E3779B97F4A7C15 & (1 << 64) - 1
        return total ^ total >> 29
    lanes = [0x706F737465726E21, 0, 0, 0]
    for at, word in enumerate(words):
        lane = at % 4 if at < 28 else 0
        lanes[lane] = mix(lanes[lane], word)
    return struct.pack("<32Q", *words, functools.reduce(mix, lanes))


def ring_file(entries, first=0):
    """The entries in the slots from number first on."""
    slots, number = [b"\0" * 256] * RING_SLOTS, first
    for data in entries:
        parts = [data[at:at + 240] for at in range(0, len(data), 240)]
        for part, some in enumerate(parts):
            slots[number % RING_SLOTS] = ring_slot(number, part, len(parts), some)
            number += 1
    header = b"PSTNRING" + struct.pack("<IIQQQ", 1, 256, RING_SLOTS, 1795329000000000, 4711)
    return (header.ljust(128, b"\0") + struct.pack("<Q", number)).ljust(4096, b"\0") + b"".join(slots)


def trace_seeds():
    entries = {name: trace_entry(*row) for name, row in TRACES.items()}
    for name, data in entries.items():
        yield name, b"\1" + data
    yield "cut", b"\1" + trace_entry(2, STAGE, cut=True)
    whole = ring_file(entries.values())
    yield "file", b"\0" + whole
    yield "file-wrapped", b"\0" + ring_file(list(entries.values()) * 3, first=1 << 33)
    yield "file-short", b"\0" + whole[:4096 + 300]
    yield "file-damaged", b"\0" + whole.replace(b"filter.lua", b"filter.lux")
    yield "file-far", b"\0" + whole[:128] + struct.pack("<Q", (1 << 48) - 1) + whole[136:]


EDIT_MAILS = {
    "plain": b"Subject: x\r\n\r\nhello\r\n",
    "mixed": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: a/b; name=c\r\n\r\ntwo\r\n--b--\r\nend",
    "nested": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n"
              b"--c\r\n\r\none\r\n--c\r\n\r\ntwo\r\n--c--\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\nthree\r\n--b--\r\n",
    "encoded": b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogaW4NCg0KaGVsbG8NCg==\r\n",
    "readings": b"Content-Type: multipart/mixed; boundary=b; boundary=c\r\n\r\n--b\r\n\r\none\r--c\r\n\r\ntwo\r\n--b\r\nX\r\n--c--\r\n",
    "unended": b"Content-Type: multipart/mixed; boundary=b\n\n--b\nX: y\n--b\n\n--b\n\nlast",
}


def edit_seeds():
    for name, mail in EDIT_MAILS.items():
        for kind in range(10):
            for part in (0, 1, 2):
                script = bytes([kind, part]) if part < 2 else bytes([kind, 1, (kind + 3) % 10, 2, 8, 0])
                yield f"{name}-{kind}-{part}", bytes([0, len(script)]) + script + mail


def main():
    for name, seeds in (("wire", wire_seeds()), ("envelope", envelope_seeds()), ("action", action_seeds()), ("plan", plan_seeds()),
                        ("trace", trace_seeds()), ("edit", edit_seeds())):
        folder = os.path.join(HERE, "corpus", name)
        os.makedirs(folder, exist_ok=True)
        for seed, data in seeds:
            with open(os.path.join(folder, "seed-" + seed), "wb") as file:
                file.write(data)


main()
