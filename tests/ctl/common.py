"""What the tests of posternctl share."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["POSTERN_SOURCE"], "tests"))

from harness.lines import lines_of  # noqa: E402
from harness.process import BIN, PATIENCE, SOURCE, Folder  # noqa: E402

CTL = os.path.join(BIN, "posternctl")
SAMPLES = os.path.join(SOURCE, "tests", "samples")
FILTERS = os.path.join(SOURCE, "scripts", "filters")


def sample(name):
    return os.path.join(SAMPLES, name + ".eml")


def shipped(name):
    return os.path.join(FILTERS, name + ".lua")


def ctl(*words, stdin=None, env=None):
    """Runs posternctl; returns (exit code, stdout, stderr)."""
    done = subprocess.run([CTL, *map(str, words)], capture_output=True, timeout=60 * PATIENCE, check=False,
                          input=stdin if stdin is not None else b"", env={**os.environ, **(env or {})})
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


class FilterFolder(Folder):
    """A folder with a filter.lua in it."""

    def __init__(self, name, text):
        super().__init__(name)
        self.filter = self.write("filter.lua", text)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.remove()


def run_filter(text, *words, message=None, files=None):
    """posternctl run --json of a filter's text over one message (bytes, or the sample's name); returns (code, object, stderr)."""
    with FilterFolder("ctl-run", text) as folder:
        for name, content in (files or {}).items():
            folder.write(name, content)
        path = sample("clean") if message is None else sample(message) if isinstance(message, str) else folder.write("message.eml", message)
        code, out, err = ctl("run", "--json", folder.filter, path, *words)
        answers = lines_of(out)
        assert len(answers) == 1, (code, out, err)
        return code, answers[0], err
