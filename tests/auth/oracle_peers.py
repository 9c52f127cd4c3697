"""The peers of the cache's folder "oracle": Mail::DMARC, Mail::SPF, libopendmarc and libspf2, asked in programs of their own; and the book of differences."""

import collections
import glob
import json
import os
import subprocess
import sys

from common import PATIENCE
from harness.process import CACHE

ROOT = os.path.join(CACHE, "oracle")
HERE = os.path.dirname(os.path.abspath(__file__))
SUFFIXES = "/usr/share/publicsuffix/public_suffix_list.dat"


def environment():
    assert os.path.exists(os.path.join(ROOT, ".complete")), f"{ROOT} is not there: tools/test fetches it"
    libraries = [os.path.join(ROOT, "usr", "lib"), *glob.glob(os.path.join(ROOT, "usr", "lib", "*-linux-gnu"))]
    perl = [os.path.join(ROOT, "usr", "share", "perl5"), *glob.glob(os.path.join(ROOT, "usr", "lib", "*-linux-gnu", "perl5", "*"))]
    return {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": ":".join(libraries), "PERL5LIB": ":".join(perl), "HOME": "/nonexistent"}


def ask(command, question):
    done = subprocess.run(command, input=json.dumps(question).encode(), capture_output=True, check=True, timeout=110 * PATIENCE, env=environment(), cwd=HERE)
    lines = done.stdout.decode().splitlines()
    assert len(lines) == len(question["jobs"]), done.stderr.decode()[-2000:]
    return lines


def ask_perl(program, question):
    return ask(["/usr/bin/perl", program], question)


def ask_library(name, question):
    return [json.loads(line) for line in ask([sys.executable, "oracle_libraries.py", name, ROOT], question)]


class Book:
    """Answers of one oracle beside ours: those that agree are counted, those that differ must be of a known kind.

    kinds: { name: (why the oracle is wrong there, predicate of case, ours, theirs) }."""

    def __init__(self, oracle, kinds):
        self.oracle, self.kinds = oracle, kinds
        self.same, self.known, self.unknown = 0, collections.Counter(), []

    def note(self, case, ours, theirs):
        if ours == theirs:
            self.same += 1
            return
        for name, (_, is_of_kind) in self.kinds.items():
            if is_of_kind(case, ours, theirs):
                self.known[name] += 1
                return
        self.unknown.append(f"{self.oracle}: {theirs}, ours: {ours}, of {json.dumps(case)}")

    def print(self, label):
        total = self.same + sum(self.known.values()) + len(self.unknown)
        print(f"{label}: {self.same} of {total} answers as those of {self.oracle}; {sum(self.known.values())} known differences, {len(self.unknown)} others")
        for name, n in sorted(self.known.items()):
            print(f"  {label}: {self.oracle}, {n} times: {name}: {self.kinds[name][0]}")
