"""The MTA's side of the milter protocol (version 6), for tests: raw commands out, replies and actions back.

    client = MilterClient("unix:/path")
    client.negotiate()
    client.connect("mail.example.org", "192.0.2.1"); client.helo("x"); client.mail("<a@b>"); client.rcpt("<c@d>")
    client.data(); client.header("Subject", " hello"); client.eoh(); client.body(b"text\\r\\n")
    answer = client.eom()           # answer.code, answer.text, answer.actions

A command whose reply was negotiated away returns None at once, as an MTA would go on; one that was switched off is not sent.
"""

import socket
import struct
import time

CODES = {b"c": "continue", b"a": "accept", b"r": "reject", b"t": "tempfail", b"d": "discard", b"s": "skip", b"y": "reply",
         b"f": "conn_fail", b"4": "shutdown", b"p": "progress"}
ACTIONS = {b"h": "add_header", b"i": "insert_header", b"m": "change_header", b"+": "add_recipient", b"2": "add_recipient_args",
           b"-": "delete_recipient", b"b": "replace_body", b"e": "change_sender", b"q": "hold"}

ACTIONS_ALL = 0x1FF
STEPS_ALL = 0x1FFFFF
SKIP, RCPT_REJ, HDR_LEADSPC = 0x400, 0x800, 0x100000
# command: (switch-off bit, no-reply bit)
STEPS = {b"C": (0x1, 0x1000), b"H": (0x2, 0x2000), b"M": (0x4, 0x4000), b"R": (0x8, 0x8000), b"T": (0x200, 0x10000),
         b"L": (0x20, 0x80), b"N": (0x40, 0x40000), b"B": (0x10, 0x80000), b"U": (0x100, 0x20000)}
STAGE_OF = {0: b"C", 1: b"H", 2: b"M", 3: b"R", 4: b"T", 5: b"E", 6: b"N"}


class MilterClosed(Exception):
    """The milter closed the connection."""


class Answer:
    """What the milter said to one command."""

    def __init__(self):
        self.code = None      # "continue", "reject" …; for a reply with text "reply"
        self.text = None      # of a reply: "550 5.7.1 no"
        self.actions = []     # (name, field, …) in order, at end of message
        self.progress = 0

    def __repr__(self):
        return "Answer(%s, %r, %r)" % (self.code, self.text, self.actions)

    @property
    def verdict(self):
        """reject and tempfail, whether with a text or without."""
        if self.code != "reply":
            return self.code
        return "reject" if self.text.startswith("5") else "tempfail"

    def all(self, name):
        return [fields for kind, *fields in self.actions if kind == name]


def _z(*texts):
    return b"".join((t.encode("utf-8", "surrogateescape") if isinstance(t, str) else t) + b"\0" for t in texts)


def _texts(data):
    return [part.decode("utf-8", "surrogateescape") for part in data.split(b"\0")[:-1]]


def open_socket(spec, timeout=30.0):
    """spec: unix:PATH, inet:PORT@HOST or inet6:PORT@HOST."""
    kind, rest = spec.split(":", 1)
    if kind in ("unix", "local"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        try:
            sock.connect(rest)
        except OSError:
            sock.close()
            raise
        return sock
    port, host = rest.split("@")
    return socket.create_connection((host, int(port)), timeout)


class MilterClient:
    def __init__(self, spec, timeout=30.0):
        self.sock = open_socket(spec, timeout)
        self.actions = self.steps = 0  # what the milter asked for
        self.wanted_macros = {}        # command: names the milter asked for

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    # Frames

    def send(self, command, data=b""):
        self.sock.sendall(struct.pack(">I", len(data) + 1) + command + data)

    def _read(self, length):
        data = b""
        while len(data) < length:
            more = self.sock.recv(length - len(data))
            if not more:
                raise MilterClosed("after %d of %d bytes" % (len(data), length))
            data += more
        return data

    def receive(self):
        try:
            length = struct.unpack(">I", self._read(4))[0]
            data = self._read(length)
        except ConnectionError as error:
            raise MilterClosed(str(error)) from error
        return data[:1], data[1:]

    def answer(self):
        """Reads up to the next final reply."""
        found = Answer()
        while True:
            code, data = self.receive()
            if code == b"p":
                found.progress += 1
            elif code in ACTIONS:
                found.actions.append(self._action(code, data))
            elif code in CODES:
                found.code = CODES[code]
                found.text = _texts(data)[0] if code == b"y" else None
                return found
            else:
                raise AssertionError("unknown reply %r" % code)

    @staticmethod
    def _action(code, data):
        name = ACTIONS[code]
        if name == "replace_body":
            return (name, data)
        if name in ("insert_header", "change_header"):
            return (name, struct.unpack(">I", data[:4])[0], *_texts(data[4:]))
        return (name, *_texts(data))

    # Commands

    def negotiate(self, actions=ACTIONS_ALL, steps=STEPS_ALL, version=6):
        self.send(b"O", struct.pack(">III", version, actions, steps))
        code, data = self.receive()
        assert code == b"O", code
        _, self.actions, self.steps = struct.unpack(">III", data[:12])
        self._read_wanted(data[12:])
        return self

    def _read_wanted(self, data):
        while data:
            stage = struct.unpack(">I", data[:4])[0]
            names, data = data[4:].split(b"\0", 1)
            self.wanted_macros[STAGE_OF[stage]] = names.decode().split()

    def is_sent(self, command):
        return command not in STEPS or not self.steps & STEPS[command][0]

    def has_reply(self, command):
        return command not in STEPS or not self.steps & STEPS[command][1]

    def macros(self, command, values):
        if values:
            flat = [text for name, value in values.items() for text in (name, value)]
            self.send(b"D", command + _z(*flat))

    def command(self, command, data=b"", macros=None):
        if not self.is_sent(command):
            return None
        self.macros(command, macros)
        self.send(command, data)
        return self.answer() if self.has_reply(command) else None

    def connect(self, hostname="mail.example.org", ip="192.0.2.1", port=4321, macros=None, family=None):
        family = family or (b"6" if ip and ":" in ip else b"4" if ip else b"U")
        data = _z(hostname) + family
        if family != b"U":
            data += struct.pack(">H", port) + _z(ip)
        return self.command(b"C", data, macros)

    def helo(self, name="client.example.org", macros=None):
        return self.command(b"H", _z(name), macros)

    def mail(self, sender="<sender@example.org>", *args, macros=None):
        return self.command(b"M", _z(sender, *args), macros)

    def rcpt(self, recipient="<recipient@example.net>", *args, macros=None):
        return self.command(b"R", _z(recipient, *args), macros)

    def data(self, macros=None):
        return self.command(b"T", macros=macros)

    def header(self, name, value):
        if not self.steps & HDR_LEADSPC and value.startswith(" "):
            value = value[1:]
        return self.command(b"L", _z(name, value))

    def eoh(self, macros=None):
        return self.command(b"N", macros=macros)

    def body(self, data):
        """One chunk, or as many as 65535 bytes each need; the last answer."""
        answer = None
        for at in range(0, len(data), 65535):
            answer = self.command(b"B", data[at:at + 65535])
            if answer and answer.code != "continue":
                break
        return answer

    def eom(self, macros=None):
        return self.command(b"E", macros=macros)

    def unknown(self, command):
        return self.command(b"U", _z(command))

    def abort(self):
        self.send(b"A")

    def quit(self):
        self.send(b"Q")
        self.close()

    def quit_new_connection(self):
        self.send(b"K")

    # Whole dialogues

    def start(self, **offer):
        """Negotiates, connects, says HELO; fails unless both go on."""
        self.negotiate(**offer)
        for answer in (self.connect(), self.helo()):
            assert answer is None or answer.code == "continue", answer
        return self

    def message(self, sender="<sender@example.org>", recipients=("<recipient@example.net>",), headers=(("Subject", " test"),),
                body=b"text\r\n", macros=None):
        """A whole message; the answer that ended it (the first that does not go on, a refused recipient apart)."""
        steps = [lambda: self.mail(sender, macros=macros)]
        steps += [lambda rcpt=rcpt: self.rcpt(rcpt) for rcpt in recipients]
        steps += [self.data]
        steps += [lambda n=name, v=value: self.header(n, v) for name, value in headers]
        steps += [self.eoh, lambda: self.body(body)]
        for number, step in enumerate(steps):
            answer = step()
            is_rcpt = 1 <= number <= len(recipients) and answer and answer.verdict in ("reject", "tempfail")
            if answer and answer.code not in ("continue", "skip") and not is_rcpt:
                return answer
        return self.eom()

    def is_closed_within(self, seconds):
        """Whether the milter closes the connection, and says nothing more, in that time."""
        self.sock.settimeout(seconds)
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                if not self.sock.recv(65536):
                    return True
        except ConnectionError:
            return True
        except socket.timeout:
            return False
        return False
