"""A mail server that takes mail and tells what it got, or refuses, hangs and lies as it is told to."""

import socket
import threading


class Received:
    """One message: sender and recipients without brackets, the options of MAIL, the bytes between DATA and the final dot."""

    def __init__(self, sender, options):
        self.sender, self.options, self.recipients, self.data = sender, options, [], b""
        self.recipient_options = {}
        self.is_tls = False


class SmtpServer:
    """Listens on a port of its own of 127.0.0.1, or on a UNIX socket; .spec is for Postern, .messages what has arrived.

    extensions:  what EHLO offers; None: EHLO is refused, and HELO taken.
    refuse:      {"greeting" | "mail" | "rcpt" | "data" | "end" or an address: "550 5.1.1 no"}.
    close_at:    "greeting", "mail", "rcpt", "data" or "end": the connection is closed there; "end" after the message was taken.
    hang_at:     the same, and nothing is said.
    tls:         a server's ssl.SSLContext: STARTTLS is offered, and taken.
    address:     (host, port) in place of a port of its own.
    All but the address may be changed meanwhile.
    """

    def __init__(self, path=None, extensions=("8BITMIME", "SMTPUTF8", "SIZE 10000000"), refuse=None, close_at=None, hang_at=None,
                 tls=None, address=("127.0.0.1", 0)):
        self.extensions, self.refuse, self.close_at, self.hang_at = extensions, refuse or {}, close_at, hang_at
        self.tls = tls
        self.messages, self.commands, self.connections = [], [], 0
        self.lock = threading.Lock()
        self.is_over = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(path or address)
        self.listener.listen(100)
        self.port = None if path else self.listener.getsockname()[1]
        self.spec = "unix:" + path if path else f"inet:{self.port}@{address[0]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self.is_over.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _serve(self):
        while not self.is_over.is_set():
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
            threading.Thread(target=self._talk, args=(conn,), daemon=True).start()

    def _talk(self, conn):
        try:
            with conn, conn.makefile("rb") as lines:
                if not self._at(conn, "greeting", "220 fake ESMTP") or not self._dialogue(conn, lines, self.tls):
                    return
                with self.tls.wrap_socket(conn, server_side=True) as secret, secret.makefile("rb") as secret_lines:
                    self._dialogue(secret, secret_lines, None)
        except (OSError, _Closed):
            pass

    def _at(self, conn, stage, answer):
        """Says what is said at a stage; whether that was no refusal."""
        if self.close_at == stage:
            raise _Closed
        if self.hang_at == stage:
            self.is_over.wait()
            raise _Closed
        answer = self.refuse.get(stage, answer)
        conn.sendall(answer.encode() + b"\r\n")
        return answer[0] in "23"

    def _dialogue(self, conn, lines, tls):
        """Until the end; True: TLS begins."""
        current = None
        for raw in lines:
            line = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
            with self.lock:
                self.commands.append(line)
            word = line.split(" ")[0].split(":")[0].upper()
            if word == "EHLO" and self.extensions is not None:
                offered = ["fake", *self.extensions, *(["STARTTLS"] if tls else [])]
                conn.sendall("".join(f"250{'-' if n + 1 < len(offered) else ' '}{text}\r\n" for n, text in enumerate(offered)).encode())
            elif word == "HELO":
                conn.sendall(b"250 fake\r\n")
            elif word == "STARTTLS" and tls:
                if self._at(conn, "starttls", "220 go on"):
                    return True
            elif word == "RSET":
                current = None
                conn.sendall(b"250 fine\r\n")
            elif word == "MAIL":
                address, _, options = line.partition(">")
                current = Received(address.split("<", 1)[1], options.split())
                current.is_tls = hasattr(conn, "version")
                self._at(conn, "mail", "250 2.1.0 fine")
            elif word == "RCPT" and current:
                address = line.split("<", 1)[1].split(">")[0]
                if self._at(conn, address if address in self.refuse else "rcpt", "250 2.1.5 fine"):
                    current.recipients.append(address)
                    current.recipient_options[address] = line.partition(">")[2].split()
            elif word == "DATA" and current:
                if self._at(conn, "data", "354 go on"):
                    self._content(conn, lines, current)
                    current = None
            elif word == "QUIT":
                conn.sendall(b"221 bye\r\n")
                return False
            else:
                conn.sendall(b"502 5.5.1 what?\r\n")
        return False

    def _content(self, conn, lines, current):
        data = []
        for raw in lines:
            if raw == b".\r\n":
                break
            data.append(raw[1:] if raw.startswith(b".") else raw)
        else:
            return
        current.data = b"".join(data)
        if self.refuse.get("end", "2")[0] == "2":
            with self.lock:
                self.messages.append(current)
        self._at(conn, "end", "250 2.0.0 taken")


class _Closed(Exception):
    """The dialogue ends here."""
