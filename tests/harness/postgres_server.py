"""The real PostgreSQL of a test, on a UNIX socket and a port of its own address; and a proxy before it that does what it likes with the answers."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time

from harness.process import CACHE, Process, loopback_address, wait_until

BINARIES = os.path.join(CACHE, "sql", "usr", "lib", "postgresql", "15", "bin")
NOBODY = 65534
AS_NOBODY = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}  # it does not run as root

ACCESS = """
local    all  all                   trust
host     all  guarded  127.0.0.0/8  scram-sha-256
host     all  all      127.0.0.0/8  trust
"""


class Postgres:
    """User and data base `mail`; `guarded` has a password. Settings go to its configuration. certificate: (chain, key), for TLS."""

    def __init__(self, folder, settings=(), certificate=None):
        if not os.path.exists(os.path.join(BINARIES, "postgres")):
            raise AssertionError(f"PostgreSQL is not unpacked ({BINARIES}); tools/test does that")
        self.folder, self.address, self.port, self.process, self.n_starts = folder, loopback_address(), None, None, 0
        self.home, self.data = folder("postgres"), folder("postgres", "data")
        os.makedirs(self.home)
        settings = [*settings, "fsync = off", "jit = off", "shared_buffers = 8MB", "max_connections = 60", "autovacuum = off", "log_statement = all",
                    "timezone = UTC", "log_timezone = UTC"]
        if certificate:
            for name, path in zip(("server.pem", "server.key"), certificate, strict=True):
                shutil.copy(path, os.path.join(self.home, name))
                os.chmod(os.path.join(self.home, name), 0o600)
            settings += ["ssl = on", f"ssl_cert_file = '{self.home}/server.pem'", f"ssl_key_file = '{self.home}/server.key'"]
        for name in ("", *os.listdir(self.home)):
            os.chown(os.path.join(self.home, name), *((NOBODY, NOBODY) if AS_NOBODY else (-1, -1)))
        done = subprocess.run([os.path.join(BINARIES, "initdb"), "-D", self.data, "-U", "mail", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"],
                              capture_output=True, text=True, cwd=self.home, check=False, **AS_NOBODY)
        if done.returncode != 0:
            raise AssertionError("initdb: " + done.stdout + done.stderr)
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="ascii") as file:
            file.write("\n".join(settings) + "\n")
        with open(os.path.join(self.data, "pg_hba.conf"), "w", encoding="ascii") as file:
            file.write(ACCESS)
        self.make_data_base()

    def make_data_base(self):
        done = subprocess.run([os.path.join(BINARIES, "postgres"), "--single", "-D", self.data, "postgres"], capture_output=True, text=True, cwd=self.home,
                              input="CREATE DATABASE mail\nCREATE ROLE guarded LOGIN PASSWORD 'geheim, sehr'\n", check=False, **AS_NOBODY)
        if done.returncode != 0 or "ERROR" in done.stderr:
            raise AssertionError("postgres --single: " + done.stdout + done.stderr)

    def start(self):
        for _ in range(100):
            self.port = self.port or free_port(self.address)
            self.n_starts += 1
            self.process = Process([os.path.join(BINARIES, "postgres"), "-D", self.data, "-p", str(self.port), "-k", self.home, "-h", self.address],
                                   self.folder(f"postgres.{self.n_starts}.log"), cwd=self.home, start_new_session=True, **AS_NOBODY)
            wait_until(lambda: not self.process.is_alive() or "ready to accept connections" in self.process.output(),
                       lambda: "PostgreSQL to be ready: " + self.process.output()[-2000:], 30)
            if self.process.is_alive():
                return self
            if "is still in use" in self.process.output():
                time.sleep(0.2)  # by servers of connections, which end when they see that their postmaster was killed
            elif self.n_starts > 1:
                break
            else:
                self.port = None
        raise AssertionError("PostgreSQL does not start: " + self.process.output()[-2000:])

    def said(self, text):
        return self.process.output().count(text)

    def kill(self):
        """As if it had crashed: the servers of its connections see that, and end."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.popen.wait()

    def stop(self):
        if self.process is not None:
            self.process.stop(signal.SIGQUIT)

    def conninfo(self, more=""):
        """By its socket."""
        return f"host={self.home} port={self.port} user=mail dbname=mail {more}".strip()

    def tcp(self, more=""):
        return f"host={self.address} port={self.port} user=mail dbname=mail {more}".strip()


def free_port(address):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
        tcp.bind((address, 0))
        return tcp.getsockname()[1]


class Proxy:
    """Hands on what client and server say. answer(connection, number of this connection, data) passes on what the server says."""

    def __init__(self, server, answer):
        self.server, self.answer, self.n, self.address = server, answer, 0, loopback_address()
        self.listener = socket.create_server((self.address, 0), backlog=50)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def conninfo(self, more=""):
        return f"host={self.address} port={self.port} user=mail dbname=mail sslmode=disable {more}".strip()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.n += 1
            threading.Thread(target=self.one, args=(connection, self.n), daemon=True).start()

    def one(self, connection, number):
        try:
            with connection, socket.create_connection((self.server.address, self.server.port), 20) as upstream:
                threading.Thread(target=self.questions, args=(connection, upstream), daemon=True).start()
                while data := upstream.recv(65536):
                    self.answer(connection, number, data)
        except OSError:
            pass

    @staticmethod
    def questions(connection, upstream):
        try:
            while data := connection.recv(65536):
                upstream.sendall(data)
        except OSError:
            pass
        finally:
            try:
                upstream.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        self.listener.close()
