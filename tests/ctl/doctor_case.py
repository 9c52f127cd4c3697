"""What the tests of posternctl doctor share."""

import json
import subprocess
import unittest

from common import CTL, PATIENCE
from harness.postern import Postern

FILTER = "function filter_message(msg) end\n"
# A view of the file system of its own: $1 is a command to prepare it, the rest is what runs in it.
INSIDE = 'eval "$1" && shift && exec "$@"'


class Case(unittest.TestCase):
    def make(self, filter_text=FILTER, start=False, **options):
        """A configuration, with everything in a folder of its own: section__key = value; the daemons run when start is set."""
        settings = {key.replace("__", "."): value for key, value in options.items()}
        postern = Postern(filter_text, settings, name="doctor", start=start)
        self.addCleanup(postern.stop if start else postern.folder.remove)
        return postern

    def look(self, postern, *words, prepare=None, before=None):
        """Runs doctor; returns (exit code, findings)."""
        argv = [CTL, "-c", postern.conf, "doctor", "--json", *words]
        if prepare:
            argv = ["unshare", "--mount", "sh", "-c", INSIDE, "sh", prepare, *argv]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60 * PATIENCE, preexec_fn=before)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        data = json.loads(done.stdout)
        self.assertEqual(done.returncode, int(data["problems"] > 0))
        for grade, member in (("ok", "ok"), ("note", "notes"), ("warning", "warnings"), ("problem", "problems")):
            self.assertEqual(data[member], sum(finding["grade"] == grade for finding in data["findings"]))
        return done.returncode, data["findings"]

    def finds(self, findings, check, grade, part):
        """That the check said this; and when it is a trouble, how to mend it."""
        mine = [finding for finding in findings if finding["check"] == check]
        found = [finding for finding in mine if finding["grade"] == grade and part in finding["text"]]
        self.assertTrue(found, f"{grade} {part!r} in {json.dumps(mine, indent=1)}")
        if grade in ("warning", "problem"):
            self.assertTrue(found[0]["mend"], found[0])
        return found[0]

    def content(self, findings, check):
        """That the check found nothing to mend."""
        mine = [finding for finding in findings if finding["check"] == check]
        self.assertTrue(mine, check)
        self.assertEqual([finding for finding in mine if finding["grade"] in ("warning", "problem")], [])
