"""postern-milterd with a multiplexor played by the test, for the test_milterd_*.py programs."""

import itertools
import os
import re
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE, os.path.join(os.path.dirname(HERE), "fakes")]

from fake_multiplexor import FakeMultiplexor  # noqa: E402
from harness.lines import split_lines  # noqa: E402
from harness.process import BIN, Folder, Process, wait_until  # noqa: E402
from milter_client import MilterClient  # noqa: E402


NUMBERS = itertools.count()


def budgets(message_ms, stage_ms=None):
    """Options for short time budgets that fit together."""
    return {"milterd.message_time": f"{message_ms}ms", "milterd.stage_time": f"{stage_ms or message_ms}ms",
            "multiplexor.kill_grace": "10ms"}


class Milterd:
    """The daemon, listening; options: {"milterd.key": value}."""

    def __init__(self, folder, mux_path, options=None, spec=None, env=None, **kwargs):
        settings = {"milterd.socket": spec or "unix:" + folder("milter.sock"), "milterd.spool": folder.path,
                    "multiplexor.socket": mux_path, "log.target": "stderr", **(options or {})}
        words = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        empty = folder.write("empty.conf", "")
        self.process = Process([os.path.join(BIN, "postern-milterd"), "-c", empty, *words], folder(f"milterd-{next(NUMBERS)}.log"), env=env,
                               **kwargs)
        self.process.wait_for_line("listening on ")
        self.spec = re.findall(r"listening on (\S+)", self.process.output())[-1]

    def client(self, **kwargs):
        return MilterClient(self.spec, **kwargs)

    def lines(self, text):
        return [line for line in split_lines(self.process.output()) if text in line]

    def wait_for_lines(self, text, n=1):
        wait_until(lambda: len(self.lines(text)) >= n, lambda: f"{n} lines with {text!r}:\n{self.process.output()[-3000:]}")
        return self.lines(text)

    def n_threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def n_descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self):
        status = self.process.stop() if self.process.is_alive() else self.process.popen.returncode
        if status != 0:
            raise AssertionError(f"postern-milterd ended with {status}:\n{self.process.output()[-4000:]}")


class MilterdTest(unittest.TestCase):
    """Each test has its own folder, multiplexor and daemon."""

    hooks = ("MESSAGE",)
    options = {}

    def setUp(self):
        self.folder = Folder("milterd")
        self.addCleanup(self.folder.remove)
        self.mux = FakeMultiplexor(self.folder("mux.sock"), hooks=self.hooks, answer=self.answer)
        self.addCleanup(self.mux.stop)
        self.milterd = None
        self.start()
        self.addCleanup(lambda: self.milterd.stop())

    def start(self, **options):
        """Starts the daemon (again) and waits until it knows what the filter needs."""
        if self.milterd:
            self.milterd.stop()
        self.milterd = Milterd(self.folder, self.mux.path, {**self.options, **options})
        wait_until(lambda: self.mux.watchers, "milterd to watch")
        return self.milterd

    def answer(self, asked):
        """What the multiplexor says; tests set self.script, or leave it: everything goes on."""
        script = getattr(self, "script", None)
        return script(asked) if script else self.go_on()

    @staticmethod
    def go_on():
        from fake_multiplexor import Reply  # pylint: disable=import-outside-toplevel
        return Reply()

    def client(self, **kwargs):
        client = self.milterd.client(**kwargs)
        self.addCleanup(client.close)
        return client

    def tearDown(self):
        self.assertEqual(self.mux.errors, [])
