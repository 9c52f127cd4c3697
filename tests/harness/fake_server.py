"""A server that does what a test likes, right or wrong."""

import socket
import threading


class FakeServer:
    """Calls handle(connection) in a thread for each connection, over TLS when there is a context; an exception there is the peer's going away."""

    def __init__(self, handle, path=None, context=None, address="127.0.0.1", port=0):
        self.handle, self.context, self.n, self.address = handle, context, 0, address
        if path:
            self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.listener.bind(path)
            self.listener.listen(50)
        else:
            self.listener = socket.create_server((address, port), backlog=50)
            self.port = self.listener.getsockname()[1]
            self.server = f"{address}:{self.port}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.n += 1
            threading.Thread(target=self.one, args=(connection,), daemon=True).start()

    def one(self, connection):
        try:
            with connection:
                if self.context:
                    with self.context.wrap_socket(connection, server_side=True) as tls:
                        self.handle(tls)
                else:
                    self.handle(connection)
        except (OSError, ValueError):
            pass  # it went away, or does not trust us (ssl.SSLError is an OSError)

    def stop(self):
        self.listener.close()
