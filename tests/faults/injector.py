"""The test's side of inject.c: a mapped file that says which call fails, and counts how often each is made."""

import errno
import mmap
import os
import re
import struct
import subprocess

from harness.process import BIN, BUILD, SANITIZE

LIBRARY = os.path.join(BUILD, "tests", "faults", "inject.so")
ROLES = ("milterd", "multiplexor", "nursery", "worker")
SHORT = -1
HEAD = struct.Struct("=7i4i")  # struct control of inject.c, up to its counts


def read_calls():
    """{name: (errors)} in the order of inject.def, and the names of the allocations."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "inject.def"), encoding="utf-8") as file:
        rows = re.findall(r'^(CALL|ALLOCATION)\((\w+), \w+, "([^"]+)"\)', file.read(), re.M)
    return {name: errors.split() for _, name, errors in rows}, [name for kind, name, _ in rows if kind == "ALLOCATION"]


CALLS, ALLOCATIONS = read_calls()
NAMES = list(CALLS)


def preload():
    """What LD_PRELOAD has to name: a sanitizer's library wants to be the first."""
    first = ""
    if SANITIZE:
        libraries = subprocess.run(["ldd", os.path.join(BIN, "postern-milterd")], capture_output=True, text=True, check=True).stdout
        first = " ".join(re.findall(r"(/\S*lib[at]san\S*)", libraries)) + " "
    return first + LIBRARY


class Injector:
    """One for each test; env() goes to the daemons."""

    def __init__(self, path):
        self.path = path
        size = HEAD.size + 4 * len(ROLES) * len(NAMES)
        with open(path, "w+b") as file:
            file.truncate(size)
            self.map = mmap.mmap(file.fileno(), size)
        os.chmod(path, 0o666)

    def env(self):
        return {"LD_PRELOAD": preload(), "POSTERN_INJECT": self.path}

    def _put(self, index, value):
        struct.pack_into("=i", self.map, 4 * index, value)

    def _get(self, index):
        return struct.unpack_from("=i", self.map, 4 * index)[0]

    def arm(self, role, call, error, nth=1, times=1):
        """The nth call from now on (1: the next), and times - 1 after it, fail. error: a name of errno, or "short"."""
        self._put(0, 0)
        number = SHORT if error == "short" else getattr(errno, error)
        for index, value in enumerate((ROLES.index(role), NAMES.index(call), number, nth - 1, times, 0), start=1):
            self._put(index, value)
        self._put(0, 1)

    def disarm(self):
        """How many calls have failed."""
        self._put(0, 0)
        return self._get(6)

    def n_fired(self):
        return self._get(6)

    def shift(self, role, by):
        """Programs of this role speak a protocol that is newer by so many major versions."""
        self._put(7 + ROLES.index(role), by)

    def counts(self):
        """{(role, call): how often until now}."""
        values = struct.unpack_from(f"={len(ROLES) * len(NAMES)}I", self.map, HEAD.size)
        return {(role, call): values[i * len(NAMES) + j] for i, role in enumerate(ROLES) for j, call in enumerate(NAMES)}

    def close(self):
        self.map.close()
