"""The real redis-server of a test, with password, TLS, replicas and Sentinels as it likes."""

import os
import socket

from harness.process import CACHE, Process, loopback_address, wait_until

ROOT = os.path.join(CACHE, "redis")
SERVER = os.path.join(ROOT, "usr", "bin", "redis-server")
LIBRARIES = ":".join(os.path.join(ROOT, "usr", "lib", "x86_64-linux-gnu", name) for name in ("", "lua/5.1"))


class RedisError(Exception):
    """An error reply."""


def read_reply(file):
    line = file.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("the server has gone")
    kind, text = line[:1], line[1:-2]
    if kind == b"-":
        return RedisError(text.decode())
    if kind == b":":
        return int(text)
    if kind == b"$":
        return None if text == b"-1" else file.read(int(text) + 2)[:-2]
    if kind == b"*":
        return [read_reply(file) for _ in range(int(text))]
    return text.decode()


class Redis:
    """A server on a UNIX socket and a port of its own address. Words of `settings` go to its command line."""

    def __init__(self, folder, name="redis", settings=(), sentinel_of=None, password=None):
        if not os.path.exists(SERVER):
            raise AssertionError(f"redis-server is not unpacked ({SERVER}); tools/test does that")
        self.folder, self.name, self.settings, self.sentinel_of, self.password = folder, name, list(settings), sentinel_of, password
        self.address, self.port, self.process, self.n_starts = loopback_address(), None, None, 0
        self.path = folder(name + ".sock")

    def command_line(self):
        home = self.folder(self.name)
        os.makedirs(home, exist_ok=True)
        if self.sentinel_of:
            master = self.sentinel_of
            conf = self.folder.write(f"{self.name}/sentinel.conf", f"""
sentinel monitor mail {master.address} {master.port} 1
sentinel down-after-milliseconds mail 300
sentinel failover-timeout mail 3000
""")
            return [SERVER, conf, "--sentinel", "--port", str(self.port), "--bind", self.address, "--dir", home]
        words = [SERVER, "--port", str(self.port), "--bind", self.address, "--unixsocket", self.path, "--unixsocketperm", "777",
                 "--save", "", "--appendonly", "no", "--dir", home, "--repl-diskless-sync-delay", "0", "--replica-announce-ip", self.address]
        return words + (["--requirepass", self.password] if self.password else []) + self.settings

    def start(self):
        for _ in range(20):
            self.port = self.port or free_port(self.address)
            self.n_starts += 1
            self.process = Process(self.command_line(), self.folder(f"{self.name}.{self.n_starts}.log"), env={"LD_LIBRARY_PATH": LIBRARIES},
                                   start_new_session=True)
            wait_until(lambda: not self.process.is_alive() or self.answers(), f"redis to answer or to end; see {self.process.log}", 20)
            if self.process.is_alive():
                return self
            if self.n_starts > 1 and self.has_served:
                raise AssertionError("redis does not start again: " + self.process.output()[-2000:])
            self.port = None
        raise AssertionError("redis does not start: " + self.process.output()[-2000:])

    has_served = False

    def answers(self):
        try:
            self.has_served = self.ask("PING") == "PONG" or self.has_served
            return self.has_served
        except OSError:
            return False

    def ask(self, *words):
        """One command on a connection of its own, without TLS. A server that changes its role drops its clients: it is asked again."""
        for _ in range(5):
            try:
                return self.ask_once(*words)
            except ConnectionRefusedError:
                raise
            except ConnectionError:
                pass
        return self.ask_once(*words)

    def ask_once(self, *words):
        with socket.create_connection((self.address, self.port), 10) as connection, connection.makefile("rwb") as file:
            for command in ([("AUTH", self.password)] if self.password else []) + [words]:
                file.write(b"*%d\r\n" % len(command))
                for word in command:
                    data = word if isinstance(word, bytes) else str(word).encode()
                    file.write(b"$%d\r\n%s\r\n" % (len(data), data))
                file.flush()
                reply = read_reply(file)
            return reply

    def kill(self):
        """As a machine that loses its power: at once."""
        self.process.kill()
        self.process.popen.wait()

    def stop(self):
        if self.process is not None:
            self.process.stop()

    @property
    def server(self):
        return f"{self.address}:{self.port}"


def free_port(address):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
        tcp.bind((address, 0))
        return tcp.getsockname()[1]


def greet(connection):
    """Answers the PING of a new link; then the next request is read, as far as it comes at once."""
    connection.recv(4096)
    connection.sendall(b"+PONG\r\n")
    return connection.recv(65536)
