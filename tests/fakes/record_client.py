"""A milterd played by the test: asks the multiplexor for hooks over record connections.

    client = RecordClient(path)
    reply = client.ask("MESSAGE", uid="ok.1")          # a postern_wire.Record; reply["verdict"]
    client.start("MESSAGE", uid="sleep=500.2"); …; reply = client.wait()
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import postern_wire as wire  # noqa: E402  pylint: disable=wrong-import-position

PATIENCE = 4 if os.environ.get("POSTERN_SANITIZE") else 1


class RecordClient:
    def __init__(self, path):
        self.sock = wire.connect(path, wire.ROLE["MILTERD"], timeout=5 * PATIENCE)
        self.last_id = 100

    def start(self, hook="MESSAGE", uid="ok", budget_ms=8000, generation=0, attempt=1, parcel=None, spill=None, **fields):
        """Sends one REQUEST; further fields as in records.def. Returns its id."""
        self.last_id += 1
        request = {
            "budget_ms": budget_ms, "generation": generation, "attempt": attempt, "hook": wire.HOOK[hook],
            "negotiated_sees": wire.STAGES_ALL, "negotiated_answers": wire.STAGES_ALL,
            "flags": wire.REQUEST_FLAG["NEW_MESSAGE"], "conn_id": b"conn", "uid": uid.encode(), **fields,
        }
        wire.send(self.sock, "REQUEST", request, id=self.last_id, parcel=parcel, spill=spill)
        return self.last_id

    def wait(self, timeout=10.0):
        """The REPLY to the request just started."""
        reply = wire.receive(self.sock, timeout * PATIENCE)
        assert reply.name == "REPLY" and reply.id == self.last_id, reply
        return reply

    def ask(self, hook="MESSAGE", uid="ok", timeout=20.0, **kwargs):
        self.start(hook, uid, **kwargs)
        return self.wait(timeout)

    def is_closed(self, timeout=5.0):
        """Whether the other end hangs up, without a further record."""
        try:
            return wire.receive(self.sock, timeout * PATIENCE) is None
        except wire.PeerGone:
            return True
        except TimeoutError:
            return False

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Watcher(RecordClient):
    """A watch connection; needs() gives the newest NEEDS told."""

    def __init__(self, path, sandbox=""):
        super().__init__(path)
        self.needs = None
        wire.send(self.sock, "WATCH", {"sandbox": sandbox})
        self.next_needs()

    def next_needs(self, timeout=10.0):
        record = wire.receive(self.sock, timeout * PATIENCE)
        assert record.name == "NEEDS", record
        self.needs = record.fields
        return self.needs

    def wait_for_generation(self, number, timeout=10.0):
        while self.needs["generation"] != number:
            self.next_needs(timeout)
        return self.needs

    def release(self, number):
        wire.send(self.sock, "RELEASE", {"generation": number})


def outcome(reply):
    """The outcome's name, e.g. "OK"."""
    return {number: name for name, number in wire.OUTCOME.items()}[reply["outcome"]]


def verdict(reply):
    return {number: name for name, number in wire.VERDICT.items()}[reply["verdict"]]
