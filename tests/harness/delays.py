"""Proxies that make the real servers slow: what they answer arrives so many seconds late, whole and unchanged."""

import os
import socket
import threading
import time

from harness.dns_server import FakeDns
from harness.process import PATIENCE, loopback_address


class DelayedDns(FakeDns):
    """In front of a name server, over UDP. delay_of(query) tells the seconds."""

    def __init__(self, server, delay_of):
        self.real, self.delay_of = (server.address, server.port), delay_of
        super().__init__(self.late)

    def late(self, query):
        begin = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(5 * PATIENCE)
            udp.connect(self.real)
            udp.send(query.packet)
            answer = udp.recv(4096)
        return (max(0.0, self.delay_of(query) - (time.monotonic() - begin)), answer)


class DelayedServer:
    """In front of a server of streams. target: (address, port) or a path; path: where it listens itself, else a port of its own."""

    def __init__(self, target, seconds, path=None):
        self.target, self.seconds, self.path, self.address, self.port = target, seconds, path, loopback_address(), None
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
            self.listener.listen(100)
            os.chmod(path, 0o666)
        else:
            self.listener = socket.create_server((self.address, 0), backlog=100)
            self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def spec(self):
        return f"unix:{self.path}" if self.path else f"inet:{self.port}@{self.address}"

    def _serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client):
        family = socket.AF_UNIX if isinstance(self.target, str) else socket.AF_INET
        with client, socket.socket(family) as server:
            try:
                server.connect(self.target)
                threading.Thread(target=self._carry, args=(client, server, 0), daemon=True).start()
                self._carry(server, client, self.seconds)
            except OSError:
                return

    @staticmethod
    def _carry(source, target, seconds):
        """Until the source says no more; the first piece waits."""
        try:
            while data := source.recv(65536):
                time.sleep(seconds)
                seconds = 0
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def stop(self):
        self.listener.close()
