"""Servers of the domain name system: the real NSD with zones of the test, and one in Python that hangs, lies, truncates or is late."""

import os
import signal
import socket
import struct
import threading
import time

from harness.process import CACHE, Process, loopback_address, wait_until

NSD = os.path.join(CACHE, "dns", "usr", "sbin", "nsd")
TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33}


class Nsd:
    """zones: {"example.org": "lines of a zone file after the SOA"}; origin and a short SOA are added."""

    def __init__(self, folder, zones):
        if not os.path.exists(NSD):
            raise AssertionError(f"nsd is not unpacked ({NSD}); tools/test does that")
        self.folder, self.address, self.process, self.n_starts = folder, loopback_address(), None, 0
        lines = []
        for name, text in zones.items():
            soa = f"$ORIGIN {name}.\n$TTL 300\n@ SOA ns.{name}. admin.{name}. 1 3600 600 86400 60\n@ NS ns.{name}.\n"
            folder.write(f"zone.{name}", soa + text)
            lines.append(f'zone:\n  name: "{name}"\n  zonefile: "zone.{name}"')
        self.zones = "\n".join(lines)
        self.port = None

    def start(self):
        for _ in range(20):
            self.port = self.port or free_port(self.address)
            self.n_starts += 1
            log = self.folder(f"nsd.{self.n_starts}.log")
            self.folder.write("nsd.conf", f"""server:
  ip-address: {self.address}@{self.port}
  username: ""
  chroot: ""
  database: ""
  zonesdir: "{self.folder()}"
  pidfile: "{self.folder('nsd.pid')}"
  xfrdfile: "{self.folder('nsd.xfrd')}"
  xfrdir: "{self.folder()}"
  zonelistfile: "{self.folder('nsd.zones')}"
  server-count: 1
remote-control:
  control-enable: no
{self.zones}
""")
            self.process = Process([NSD, "-d", "-c", self.folder("nsd.conf")], log,
                                   env={"LD_LIBRARY_PATH": os.path.join(CACHE, "dns", "usr", "lib", "x86_64-linux-gnu")},
                                   start_new_session=True)
            wait_until(lambda: not self.process.is_alive() or answers(self.address, self.port), f"nsd to answer or to end; see {log}")
            if self.process.is_alive():
                return self
            self.port = None
        raise AssertionError("nsd does not start: " + self.process.output()[-2000:])

    def stop(self):
        if self.process is not None:
            self.process.stop()

    def kill(self):
        """With the children that serve."""
        self.process.signal_group(signal.SIGKILL)
        self.process.popen.wait()

    @property
    def server(self):
        return f"{self.address}:{self.port}"


def free_port(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((address, 0))
        return udp.getsockname()[1]


def answers(address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(0.2)
        try:
            udp.sendto(question("example.org", "SOA"), (address, port))
            return len(udp.recv(4096)) > 12
        except OSError:
            return False


def name_bytes(name):
    labels = [label.encode("latin-1") for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def question(name, kind, number=1):
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + name_bytes(name) + struct.pack(">HH", TYPES[kind], 1)


def data_of(kind, value):
    if isinstance(value, bytes):
        return value
    if kind == "A":
        return socket.inet_pton(socket.AF_INET, value)
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, value)
    if kind == "TXT":
        return b"".join(bytes([len(piece)]) + piece for piece in [value.encode()[i:i + 255] for i in range(0, max(len(value.encode()), 1), 255)])
    if kind == "MX":
        return struct.pack(">H", value[0]) + name_bytes(value[1])
    if kind == "SRV":
        return struct.pack(">HHH", *value[:3]) + name_bytes(value[3])
    if kind == "SOA":
        return name_bytes("ns.x") + name_bytes("a.x") + struct.pack(">IIIII", 1, 2, 3, 4, value)
    return name_bytes(value)


def record(name, kind, value, ttl=300):
    data = data_of(kind, value)
    return name_bytes(name) + struct.pack(">HHIH", TYPES.get(kind, 0) or int(kind), 1, ttl, len(data)) + data


class Query:
    """One question that came, and ways to answer it."""

    def __init__(self, packet, is_tcp):
        self.packet, self.is_tcp = packet, is_tcp
        labels, at = [], 12
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode("latin-1"))
            at += 1 + packet[at]
        self.name = ".".join(labels).lower()
        number = struct.unpack(">H", packet[at + 1:at + 3])[0]
        self.kind = {value: key for key, value in TYPES.items()}.get(number, str(number))
        self.end = at + 5

    def answer(self, records=(), rcode=0, authorities=(), truncated=False, number=None, question_bytes=None):
        flags = 0x8180 | rcode | (0x0200 if truncated else 0)
        head = struct.pack(">HHHHHH", struct.unpack(">H", self.packet[:2])[0] if number is None else number, flags, 1, len(records),
                           len(authorities), 0)
        return head + (self.packet[12:self.end] if question_bytes is None else question_bytes) + b"".join(records) + b"".join(authorities)


class FakeDns:
    """handle(query) returns what is sent: bytes, a list of bytes, None for silence, or (seconds, bytes) for later. Counts questions."""

    def __init__(self, handle):
        self.handle, self.asked, self.is_open, self.lock = handle, [], True, threading.Lock()
        for _ in range(50):
            self.address = loopback_address()
            self.tcp = socket.create_server((self.address, 0), backlog=50)
            self.port = self.tcp.getsockname()[1]
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self.udp.bind((self.address, self.port))
                break
            except OSError:
                self.udp.close()
                self.tcp.close()
        threading.Thread(target=self.serve_udp, daemon=True).start()
        threading.Thread(target=self.serve_tcp, daemon=True).start()

    @property
    def server(self):
        return f"{self.address}:{self.port}"

    def count(self, name=None, kind=None):
        with self.lock:
            return sum(1 for query in self.asked if name in (None, query.name) and kind in (None, query.kind))

    def result(self, packet, is_tcp):
        query = Query(packet, is_tcp)
        with self.lock:
            self.asked.append(query)
        return self.handle(query)

    def serve_udp(self):
        while self.is_open:
            try:
                packet, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            threading.Thread(target=self.answer_udp, args=(packet, peer), daemon=True).start()

    def answer_udp(self, packet, peer):
        result = self.result(packet, False)
        if isinstance(result, tuple):
            time.sleep(result[0])
            result = result[1]
        for piece in [result] if isinstance(result, bytes) else result or []:
            try:
                self.udp.sendto(piece, peer)
            except OSError:
                return

    def serve_tcp(self):
        while self.is_open:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self.answer_tcp, args=(connection,), daemon=True).start()

    def answer_tcp(self, connection):
        with connection:
            head = connection.recv(2, socket.MSG_WAITALL)
            if len(head) == 2:
                result = self.result(connection.recv(struct.unpack(">H", head)[0], socket.MSG_WAITALL), True)
                if result:
                    connection.sendall(struct.pack(">H", len(result)) + result)

    def stop(self):
        self.is_open = False
        self.udp.close()
        self.tcp.close()
