"""The record format in Python, for fakes and tests.

Rows, enums and hooks are read from common/records.def, wire.h, verdict.h and hooks.def when the module is loaded, so that
this codec cannot drift from the C one. Records are dicts of field values; texts and spilled fields are bytes.

    sock = connect(path, ROLE["MILTERD"])                  # connects, shakes hands
    send(sock, "REQUEST", {"hook": HOOK["MESSAGE"]}, id=7, parcel=fd)
    got = receive(sock, timeout=5)                         # got.name, got.id, got.fields, got["verdict"]
"""

import array
import fcntl
import mmap
import os
import re
import select
import socket
import struct

SOURCE = os.environ.get("POSTERN_SOURCE") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

HEADER = struct.Struct(">HHHHQI")
RECORD_MAX = 65536
WIRE_PARCEL, WIRE_ANNEX, WIRE_SOCKET, WIRE_NOTE = 1, 2, 4, 8
NUMBERS = {"U8": "B", "U16": "H", "U32": "I", "U64": "Q"}

F_ADD_SEALS, F_GET_SEALS = 1033, 1034
SEAL_SEAL, SEAL_SHRINK, SEAL_GROW, SEAL_WRITE, SEAL_FUTURE_WRITE = 1, 2, 4, 8, 16

PARCEL_MESSAGE_OFFSET = 16 << 20


class WireError(Exception):
    """A record that does not follow the format."""


class PeerGone(Exception):
    """The other end closed the connection."""


def _read(name):
    with open(os.path.join(SOURCE, "common", name), encoding="utf-8") as file:
        return re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)


def _enum(header, name, prefix):
    """The members of a C enum whose values are plain numbers or follow one another."""
    body = re.search(r"enum %s \{(.*?)\}" % name, _read(header), re.S).group(1)
    values, following = {}, 0
    for item in body.split(","):
        match = re.match(r"\s*(\w+)(?:\s*=\s*(\d+))?\s*$", item)
        if not match:
            continue
        following = int(match.group(2)) if match.group(2) else following
        values[match.group(1).removeprefix(prefix)] = following
        following += 1
    return values


def _records():
    rows, current = {}, None
    pattern = r"\b(RECORD|RECORD_END|U8|U16|U32|U64|TEXT|SPILL)\(([^)]*)\)"
    for kind, arguments in re.findall(pattern, _read("records.def")):
        words = [word.strip() for word in arguments.split(",")]
        if kind == "RECORD":
            current = rows[words[0]] = {"number": int(words[2]), "fields": []}
        elif kind != "RECORD_END":
            limit = int(words[1]) if len(words) > 1 else 0
            current["fields"].append((kind, words[0], limit))
    return rows


RECORDS = _records()
NUMBER = {name: row["number"] for name, row in RECORDS.items()}
NAME = {number: name for name, number in NUMBER.items()}
ROLE = _enum("wire.h", "wire_role", "ROLE_")
OUTCOME = _enum("wire.h", "reply_outcome", "OUTCOME_")
REQUEST_FLAG = _enum("wire.h", "request_flag", "REQUEST_")
REPLY_FLAG = _enum("wire.h", "reply_flag", "REPLY_")
VERDICT = _enum("verdict.h", "verdict", "VERDICT_")
HOOK = {name: n for n, name in enumerate(re.findall(r"^HOOK\((\w+),", _read("hooks.def"), re.M))}
STAGES_ALL = (1 << _enum("hook.h", "stage", "STAGE_")["COUNT"]) - 1
MAJOR = int(re.search(r"WIRE_MAJOR = (\d+)", _read("wire.h")).group(1))
MINOR = int(re.search(r"WIRE_MINOR = (\d+)", _read("wire.h")).group(1))


class Record:
    """A decoded record. got["verdict"] is a field; fds are what came along and was not taken as the annex."""

    def __init__(self, name, ident, flags, fields, fds):
        self.name, self.id, self.flags, self.fields, self.fds = name, ident, flags, fields, fds

    def __getitem__(self, key):
        return self.fields[key]

    def close(self):
        while self.fds:
            os.close(self.fds.pop())

    def __repr__(self):
        return "%s(id=%d, flags=%d, %r)" % (self.name, self.id, self.flags, self.fields)


def _bytes(value):
    value = value.encode() if isinstance(value, str) else bytes(value)
    return struct.pack(">I", len(value)) + value


def encode(name, fields=None, ident=0, flags=0, spill=None):
    """One record as bytes, and its annex as bytes or None. spill: True forces the annex, None spills when it must."""
    fields = dict(fields or {})
    fixed, spilled = b"", b""
    for kind, field, _ in RECORDS[name]["fields"]:
        if kind in NUMBERS:
            fixed += struct.pack(">" + NUMBERS[kind], fields.pop(field, 0))
        elif kind == "TEXT":
            fixed += _bytes(fields.pop(field, b""))
        else:
            spilled += _bytes(fields.pop(field, b""))
    if fields:
        raise KeyError("%s has no field %s" % (name, ", ".join(fields)))
    has_spill = any(kind == "SPILL" for kind, _, _ in RECORDS[name]["fields"])
    if spill is None:
        spill = HEADER.size + len(fixed) + len(spilled) > RECORD_MAX
    if spill and has_spill:
        payload, annex, flags = fixed, spilled, flags | WIRE_ANNEX
    else:
        payload, annex = fixed + spilled, None
    head = HEADER.pack(MAJOR, MINOR, NUMBER[name], flags, ident, len(payload))
    return head + payload, annex


def _take(data, at, kind):
    if kind in NUMBERS:
        size = struct.calcsize(NUMBERS[kind])
        if at + size > len(data):
            raise WireError("short")
        return struct.unpack_from(">" + NUMBERS[kind], data, at)[0], at + size
    if at + 4 > len(data):
        raise WireError("short")
    length = struct.unpack_from(">I", data, at)[0]
    if at + 4 + length > len(data):
        raise WireError("short")
    return bytes(data[at + 4:at + 4 + length]), at + 4 + length


def decode(record, annex=b""):
    """The record's name, id, flags and fields."""
    if len(record) < HEADER.size:
        raise WireError("short")
    major, _, number, flags, ident, length = HEADER.unpack_from(record)
    if major != MAJOR or number not in NAME or length != len(record) - HEADER.size:
        raise WireError("bad header: major %d, type %d, length %d" % (major, number, length))
    fields, at, annex_at = {}, HEADER.size, 0
    for kind, field, _ in RECORDS[NAME[number]]["fields"]:
        if kind == "SPILL" and flags & WIRE_ANNEX:
            fields[field], annex_at = _take(annex, annex_at, kind)
        else:
            fields[field], at = _take(record, at, kind)
    if at != len(record):
        raise WireError("%d bytes left over" % (len(record) - at))
    return NAME[number], ident, flags, fields


def memory_file(data, seals=SEAL_SHRINK | SEAL_GROW | SEAL_WRITE | SEAL_SEAL, name="postern-test"):
    """A sealed memory file with data; the descriptor is the caller's. An annex needs these seals."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, len(data))
    view, at = memoryview(data), 0
    while at < len(data):
        at += os.pwrite(fd, view[at:], at)
    if seals:
        fcntl.fcntl(fd, F_ADD_SEALS, seals)
    return fd


def parcel(message=b"", envelope=b""):
    """A parcel as a reader may get it: envelope region, then the message. The descriptor is the caller's."""
    fd = os.memfd_create("postern-parcel", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, PARCEL_MESSAGE_OFFSET + max(len(message), 4096))
    os.pwrite(fd, envelope, 0)
    os.pwrite(fd, message, PARCEL_MESSAGE_OFFSET)
    fcntl.fcntl(fd, F_ADD_SEALS, SEAL_SHRINK | SEAL_GROW | SEAL_FUTURE_WRITE | SEAL_SEAL)
    return fd


def read_parcel(fd, envelope_bytes, message_bytes):
    """Envelope and message bytes of a parcel that arrived."""
    return (os.pread(fd, envelope_bytes, 0) if envelope_bytes else b"",
            os.pread(fd, message_bytes, PARCEL_MESSAGE_OFFSET) if message_bytes else b"")


def read_annex(fd):
    size = os.fstat(fd).st_size
    if size == 0:
        return b""
    with mmap.mmap(fd, size, prot=mmap.PROT_READ) as mapped:
        return mapped[:]


def send_raw(sock, record, fds=()):
    """Sends bytes as they are with descriptors; blocks while the peer's buffer is full."""
    ancillary = []
    if fds:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    try:
        sock.sendmsg([record], ancillary)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise PeerGone(str(error)) from error


def send(sock, name, fields=None, id=0, parcel=None, socket_fd=None, spill=None):  # pylint: disable=redefined-builtin
    """Encodes and sends one record; parcel and socket_fd stay the caller's."""
    flags = (WIRE_PARCEL if parcel is not None else 0) | (WIRE_SOCKET if socket_fd is not None else 0)
    record, annex = encode(name, fields, id, flags, spill)
    annex_fd = memory_file(annex) if annex is not None else None
    try:
        send_raw(sock, record, [fd for fd in (parcel, annex_fd, socket_fd) if fd is not None])
    finally:
        if annex_fd is not None:
            os.close(annex_fd)


def receive_raw(sock, timeout=None):
    """One datagram and its descriptors. PeerGone at the end of file, TimeoutError when nothing came."""
    if timeout is not None and not select.select([sock], [], [], max(timeout, 0))[0]:
        raise TimeoutError("no record within %s s" % timeout)
    try:
        data, ancillary, _, _ = sock.recvmsg(RECORD_MAX + 1, socket.CMSG_SPACE(4 * 8), socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError as error:
        raise PeerGone(str(error)) from error
    fds = array.array("i")
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(value[:len(value) - len(value) % fds.itemsize])
    if not data:
        raise PeerGone("end of file")
    return data, list(fds)


def receive(sock, timeout=None):
    """The next record, decoded, its annex read; other descriptors are in .fds and the caller's."""
    data, fds = receive_raw(sock, timeout)
    annex = b""
    flags = HEADER.unpack_from(data)[3] if len(data) >= HEADER.size else 0
    if flags & WIRE_ANNEX:
        at = 1 if flags & WIRE_PARCEL else 0
        if at >= len(fds):
            raise WireError("annex announced, none came")
        annex = read_annex(fds[at])
        os.close(fds.pop(at))
    name, ident, flags, fields = decode(data, annex)
    return Record(name, ident, flags, fields, fds)


def hello(sock, role, generation=0, pid=None, timeout=5.0, first=True):
    """Shakes hands: sends HELLO and takes the other's (or the other way round)."""
    ours = {"role": role, "pid": os.getpid() if pid is None else pid, "generation": generation, "build": b"test"}
    if first:
        send(sock, "HELLO", ours)
    theirs = receive(sock, timeout)
    if theirs.name != "HELLO":
        raise WireError("first record is %s" % theirs.name)
    if not first:
        send(sock, "HELLO", ours)
    return theirs


def connect(path, role=None, timeout=5.0):
    """A record connection to path; shakes hands unless role is None."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * (RECORD_MAX + 4096))
        sock.connect(path)
        if role is not None:
            hello(sock, role, timeout=timeout)
    except BaseException:
        sock.close()
        raise
    return sock
