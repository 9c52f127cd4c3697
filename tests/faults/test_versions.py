"""Programs of different versions meet, as in the middle of an upgrade: refused, both versions in the log, mail deferred and not held up, and all is well once
they are of one kind again. The other version is a real program whose HELLO is changed on its way out and whose peers' are on their way in (inject.c)."""

import signal
import time
import unittest

import paths  # noqa: F401
from harness.process import PATIENCE, SANITIZE, Folder, wait_until
from injector import Injector
from stack import BUDGET_SECS, Stack


@unittest.skipIf(SANITIZE == "thread", "no library is preloaded beside this sanitizer")
class Versions(Stack):
    def env(self):
        folder = Folder("versions")
        self.addCleanup(folder.remove)
        self.injector = Injector(folder("control"))
        return self.injector.env()

    def restart(self, name):
        process = getattr(self.postern, name)
        process.kill(signal.SIGKILL)
        process.popen.wait()
        getattr(self.postern, f"start_{name}")()
        return getattr(self.postern, name)

    def assert_deferred(self):
        """Each command is answered within the budget, and one of them with a tempfail; if milterd has not noticed yet, with the hooks of before, a later one."""
        with self.client() as client:
            answer = None
            for step in (client.negotiate, client.connect, client.helo, client.mail, client.rcpt, client.data, client.eoh, client.eom):
                begin = time.monotonic()
                answer = step()
                self.assertLess(time.monotonic() - begin, (BUDGET_SECS + 0.5) * PATIENCE, step)
                if step != client.negotiate and answer is not None and answer.code != "continue":
                    break
            self.assert_tempfail(answer)

    def meet(self, role, daemon, by, refused_by, versions):
        """A daemon of another version is started: what its peer says of it, what the mail server hears, and that the right one serves again."""
        self.injector.shift(role, by)
        self.restart(daemon)
        if daemon == "milterd":
            milterd = self.postern.milterd
            wait_until(lambda: f"[{milterd.pid}]: info: listening on" in milterd.output(), "milterd to listen")
        self.assert_deferred()
        for process, text in zip(refused_by, versions):
            wait_until(lambda: text in process().output(), lambda: f"{text}:\n{self.postern.logs()}", 5)
        self.injector.shift(role, 0)
        self.restart(daemon)
        self.assert_serves(10)

    def test_milterd(self):
        """Newer and older than the multiplexor."""
        for by, theirs, ours in ((1, "2.0", "1.0"), (-1, "0.0", "1.0")):
            with self.subTest(by):
                self.meet("milterd", "milterd", by, (lambda: self.postern.multiplexor, lambda: self.postern.milterd),
                          (f"speaks protocol {theirs}, we speak {ours}", f"the multiplexor speaks protocol {1 - by}.0, we speak 1.0"))

    def test_nursery(self):
        """A worker program that was replaced under a running multiplexor: the reload is refused and the old filter serves on; no start is possible with it."""
        self.injector.shift("nursery", 1)
        answer = self.postern.reload()
        self.assertFalse(answer["ok"])
        self.assertEqual(self.send("pass", 4).all("add_header"), [["X-Seen", " 4"]])
        self.meet("nursery", "multiplexor", 1, (lambda: self.postern.multiplexor,), ("speaks protocol 2.0, we speak 1.0",))


if __name__ == "__main__":
    unittest.main(verbosity=2)
