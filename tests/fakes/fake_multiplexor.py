"""A multiplexor played by the test: real record connections, scripted replies.

    with FakeMultiplexor(path, hooks=["MESSAGE"], answer=lambda asked: reject("no")) as mux: …

`answer` gets an Asked (the request, with the parcel's bytes) and returns what is to happen: a Reply, a list of them to be sent one after the
other, or None to say nothing. It runs on the thread of that connection, so it may wait.
"""

import os
import re
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import postern_wire as wire  # noqa: E402  pylint: disable=wrong-import-position

ACTION_FIELDS = {
    "add_header": (1, "name", "value"), "insert_header": (2, "index", "name", "value"),
    "set_header": (3, "index", "name", "value"), "delete_header": (4, "index", "name"),
    "set_sender": (5, "address", "args"), "add_recipient": (6, "address", "args"),
    "delete_recipient": (7, "address"), "replace_body": (8, "body"), "hold": (9, "value"),
}


def action(kind, **fields):
    """One change as the bytes that travel (common/action.h)."""
    number, *names = ACTION_FIELDS[kind]
    out = bytes([number])
    for name in names:
        value = fields.pop(name, 0 if name == "index" else b"")
        if name == "index":
            out += struct.pack(">I", value)
        else:
            value = value.encode() if isinstance(value, str) else value
            out += struct.pack(">I", len(value)) + value
    assert not fields, fields
    return out


class Reply:
    """A reply record's fields; raw: bytes to send instead; dies: closes the connection instead; wait: seconds before."""

    def __init__(self, verdict="CONTINUE", wait=0.0, raw=None, dies=False, ident=None, outcome="OK", **fields):
        self.wait, self.raw, self.dies, self.ident = wait, raw, dies, ident
        self.fields = {"verdict": wire.VERDICT.get(verdict, verdict), "outcome": wire.OUTCOME.get(outcome, outcome),
                       **fields}


def reject(text="", code=550, dsn="5.7.1", **fields):
    return Reply("REJECT", code=code, dsn=dsn, text=text, **fields)


def tempfail(text="", code=451, dsn="4.7.1", **fields):
    return Reply("TEMPFAIL", code=code, dsn=dsn, text=text, **fields)


def _text(data, at):
    length = struct.unpack_from(">I", data, at)[0]
    return data[at + 4:at + 4 + length], at + 4 + length


def envelope_entries(region):
    """The envelope region as a list of (kind, fields) (common/envelope.h)."""
    at, entries = 0, []
    while at < len(region):
        kind, length = struct.unpack_from(">BI", region, at)
        entries.append((kind, region[at + 5:at + 5 + length]))
        at += 5 + length
    return entries


class Asked:
    """A request as it came: fields by name, hook's name, envelope region and message bytes."""

    def __init__(self, record):
        self.record = record
        self.fields = record.fields
        self.hook = next(name for name, number in wire.HOOK.items() if number == record["hook"])
        self.envelope, self.message = b"", b""
        if record.fds:
            self.envelope, self.message = wire.read_parcel(
                record.fds[0], record["envelope_bytes"], record["message_bytes"])
        record.close()

    def __getitem__(self, name):
        return self.fields[name]

    def entries(self, kind):
        return [data for found, data in envelope_entries(self.envelope) if found == kind]

    def connect(self):
        data = self.entries(1)[-1]
        ip, at = _text(data, 1)
        port = struct.unpack_from(">H", data, at)[0]
        return chr(data[0]), ip.decode(), port, _text(data, at + 2)[0].decode()

    def helo(self):
        return _text(self.entries(2)[-1], 0)[0].decode()

    def sender(self):
        address, at = _text(self.entries(3)[-1], 0)
        return address.decode(), _text(self.entries(3)[-1], at)[0].decode()

    def recipients(self):
        return [_text(data, 0)[0].decode() for data in self.entries(4)]

    def refused(self):
        return [struct.unpack(">I", data)[0] for data in self.entries(5)]

    def macros(self):
        found = {}
        for data in self.entries(6):
            at = 1
            while at < len(data):
                name, at = _text(data, at)
                value, at = _text(data, at)
                found[name.decode()] = value.decode("utf-8", "replace")
        return found


def _hook_rows():
    """SEES and STAGE of each hook, evaluated from hooks.def and hook.h."""
    with open(os.path.join(wire.SOURCE, "common", "hook.h"), encoding="utf-8") as file:
        header = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    with open(os.path.join(wire.SOURCE, "common", "hooks.def"), encoding="utf-8") as file:
        rows = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    body = re.search(r"enum stage \{(.*?)\}", header, re.S).group(1)
    stages = {name: n for n, name in enumerate(re.findall(r"STAGE_(\w+)", body)) if name not in ("COUNT", "NONE")}
    names = {"STAGE_BIT": lambda stage: 1 << stage, **{"STAGE_" + name: n for name, n in stages.items()}}
    for name, text in re.findall(r"#define (SEES_\w+)\s+(.*)", header):
        names[name] = eval(text, {}, names)  # pylint: disable=eval-used
    found = {}
    for name, sees, answers in re.findall(r"HOOK\((\w+), \"\w+\", ([^,]+), (\w+),", rows):
        stage = answers.removeprefix("STAGE_")
        found[name] = (eval(sees, {}, names), stages.get(stage))  # pylint: disable=eval-used
    return stages, names, found


STAGES, _NAMES, HOOK_ROWS = _hook_rows()
ALWAYS = sum(1 << STAGES[name] for name in ("EOM", "ABORT", "CLOSE"))


def needs_of(hooks):
    """Stage bits that a set of hooks sees and answers."""
    sees, answers = _NAMES["SEES_ENVELOPE"] | ALWAYS, 1 << STAGES["EOM"]
    for name in hooks:
        sees |= HOOK_ROWS[name][0]
        if HOOK_ROWS[name][1] is not None:
            answers |= 1 << HOOK_ROWS[name][1]
    return sees | answers, answers


class FakeMultiplexor:
    """Listens on path from construction on. requests: every Asked so far; released: generations released by the watcher."""

    def __init__(self, path, hooks=("MESSAGE",), answer=None, generation=1):
        self.path = path
        self.answer = answer or (lambda asked: Reply())
        self.generation = generation
        self.candidate = None
        self.hooks = tuple(hooks)
        self.requests, self.released, self.errors = [], [], []
        self.connections, self.watchers = [], []
        self.lock = threading.Lock()
        self.telling = threading.Lock()
        self.listener = None
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def start(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self.listener.bind(self.path)
        self.listener.listen(512)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def stop(self):
        """As if killed: every connection closed, nobody listens."""
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        with self.lock:
            connections, self.connections, self.watchers = self.connections, [], []
        for conn in connections:
            try:
                conn.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def set_filter(self, hooks, generation):
        """A reload: watchers are told."""
        self.change(hooks=tuple(hooks), generation=generation)

    def of_hook(self, hook):
        with self.lock:
            return [asked for asked in self.requests if asked.hook == hook]

    def _accept(self, listener):
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * (wire.RECORD_MAX + 4096))
            with self.lock:
                self.connections.append(conn)
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def set_candidate(self, generation, share, hooks=None):
        """A reload that is tried first, or with 0, 0 its end: watchers are told."""
        self.change(candidate=(generation, share, tuple(hooks or self.hooks)) if generation else None)

    def change(self, **what):
        """Under one lock with the first answer to a watcher, which else could be sent after a later one."""
        with self.telling:
            vars(self).update(what)
            with self.lock:
                watchers = list(self.watchers)
            for conn in watchers:
                self._send_needs(conn)

    def _send_needs(self, conn, ident=0):
        sees, answers = needs_of(self.hooks)
        needs = {"generation": self.generation, "current_sees": sees, "current_answers": answers}
        if self.candidate:
            number, share, hooks = self.candidate
            candidate_sees, candidate_answers = needs_of(hooks)
            needs |= {"candidate": number, "candidate_share": share, "candidate_sees": candidate_sees, "candidate_answers": candidate_answers}
            sees, answers = sees | candidate_sees, answers | candidate_answers
        wire.send(conn, "NEEDS", needs | {"union_sees": sees, "union_answers": answers}, id=ident)

    def _serve(self, conn):
        try:
            wire.hello(conn, wire.ROLE["MULTIPLEXOR"], first=False)
            while self._serve_one(conn):
                pass
        except (wire.PeerGone, OSError):
            pass
        except (wire.WireError, AssertionError) as error:
            self.errors.append(repr(error))
        finally:
            with self.lock:
                if conn in self.watchers:
                    self.watchers.remove(conn)
            conn.close()

    def _serve_one(self, conn):
        record = wire.receive(conn)
        if record.name == "WATCH":
            with self.telling:
                with self.lock:
                    self.watchers.append(conn)
                self._send_needs(conn)
        elif record.name == "ASK_NEEDS":
            self._send_needs(conn, record.id)
        elif record.name == "RELEASE":
            self.released.append(record["generation"])
        elif record.name == "REQUEST":
            return self._serve_request(conn, record)
        elif record.name != "COUNTERS":
            raise wire.WireError("unexpected " + record.name)
        return True

    def _serve_request(self, conn, record):
        asked = Asked(record)
        asked.connection = conn
        with self.lock:
            self.requests.append(asked)
        replies = self.answer(asked)
        for reply in replies if isinstance(replies, list) else [replies]:
            if reply is None:
                continue
            if reply.wait:
                time.sleep(reply.wait)
            if reply.dies:
                return False
            if reply.raw is not None:
                wire.send_raw(conn, reply.raw)
                continue
            fields = {"generation": record["generation"] or self.generation, "attempt": record["attempt"],
                      **reply.fields}
            wire.send(conn, "REPLY", fields, id=record.id if reply.ident is None else reply.ident)
        return True
