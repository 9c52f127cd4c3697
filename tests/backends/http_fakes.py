"""Web servers that answer as they like: each request of each connection goes to a function of the test."""

import os
import ssl
import subprocess

from harness.fake_server import FakeServer


class Request:
    def __init__(self, line, fields, body):
        self.method, self.target, _ = line.split(" ", 2)
        self.fields, self.body = fields, body

    def field(self, name):
        """The first value; None."""
        return next((value for key, value in self.fields if key.lower() == name.lower()), None)

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]


def answer(body=b"", status="200 OK", fields=(), length=None):
    """An answer as bytes; length: what it claims."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *fields]
    return "".join(line + "\r\n" for line in lines).encode() + b"\r\n" + body


def read_request(file):
    """None at the end of the connection."""
    line = file.readline().decode("latin-1").rstrip("\r\n")
    if not line:
        return None
    fields = []
    while field := file.readline().decode("latin-1").rstrip("\r\n"):
        fields.append(tuple(field.split(": ", 1)) if ": " in field else (field.rstrip(":"), ""))
    length = next((int(value) for name, value in fields if name.lower() == "content-length"), 0)
    return Request(line, fields, file.read(length))


class Web(FakeServer):
    """answer(request, connection) → bytes to send, and the connection stays; or None, and it is closed."""

    def __init__(self, answer, context=None, address="127.0.0.1", port=0):
        self.answer, self.requests = answer, []
        super().__init__(self.talk, context=context, address=address, port=port)
        self.url = f"{'https' if context else 'http'}://{self.server}"

    def talk(self, connection):
        with connection.makefile("rb") as file:
            while request := read_request(file):
                self.requests.append(request)
                reply = self.answer(request, connection)
                if reply is None:
                    return
                connection.sendall(reply)


def certificate(folder, name, names, since=None):
    """A server's context with a certificate that signs itself, good for two days, and its file."""
    key, file = folder(name + ".key"), folder(name + ".pem")
    when = ["faketime", since] if since else []
    subprocess.run([*when, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", file,
                    "-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName={names}"], check=True, capture_output=True)
    os.chmod(file, 0o644)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return context, file
