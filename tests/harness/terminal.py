"""A terminal of a given size with one program in it: tmux, with a server, a socket and a configuration of its own."""

import os
import re
import shutil
import subprocess

from .process import PATIENCE, wait_until


class Screen:
    """folder: of the test; the socket lies in it. The caller ends it with end()."""

    def __init__(self, folder, columns, rows, *argv, env=None):
        assert shutil.which("tmux"), "tmux is missing; tools/test installs it"
        self.socket = folder("tmux.sock")
        inherited = {key: value for key, value in os.environ.items() if key not in ("TMUX", "NO_COLOR", "ENV")}
        subprocess.run([*self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows)), *argv], check=True,
                       env={**inherited, **(env or {})}, stdin=subprocess.DEVNULL, timeout=30 * PATIENCE)

    def tmux(self, *words):
        return ["tmux", "-S", self.socket, *words]

    def run(self, *words):
        return subprocess.run(self.tmux(*words), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=30 * PATIENCE)

    def keys(self, *words):
        return self.run("send-keys", *words)

    def type(self, text):
        """A line, as a user would: the text, then Enter."""
        self.run("send-keys", "-l", text)
        self.run("send-keys", "Enter")

    def resize(self, columns, rows):
        return self.run("resize-window", "-x", str(columns), "-y", str(rows))

    def lines(self, with_history=False):
        """What the screen shows; with history also what has left it at the top, wrapped lines joined."""
        return self.run("capture-pane", "-p", *(("-J", "-S", "-2000") if with_history else ())).stdout.splitlines()

    def wait(self, pattern, seconds=10.0):
        found = []

        def there():
            found[:] = self.lines()
            return re.search(pattern, "\n".join(found), flags=re.M)
        return wait_until(there, lambda: f"{pattern} on the screen:\n" + "\n".join(found), seconds, pause=0.05)

    def is_over(self):
        return self.run("has-session").returncode != 0

    def end(self):
        self.run("kill-server")
