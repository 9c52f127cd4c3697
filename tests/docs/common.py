"""The tables of the source and the documents, as the tests compare them."""

import functools
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["POSTERN_SOURCE"], "tests"))

from harness.process import BIN, BUILD, PATIENCE, SOURCE, Folder  # noqa: E402,F401

CTL = os.path.join(BIN, "posternctl")
MODULES = sorted(name[len("postern-"):-2] for name in os.listdir(os.path.join(SOURCE, "docs", "man")) if name.endswith(".3"))
PAGES = ("postern-milterd.8", "postern-multiplexor.8", "postern-worker.8", "posternctl.1", "postern.conf.5", "postern-filter.5",
         "postern-protocol.7", *(f"postern-{name}.3" for name in MODULES))


def read(*names):
    with open(os.path.join(SOURCE, *names), encoding="utf-8") as file:
        return file.read()


def ctl(*words, cwd=None):
    """Runs posternctl; returns (exit code, output and errors)."""
    done = subprocess.run([CTL, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd,
                          timeout=60 * PATIENCE, check=False)
    return done.returncode, done.stdout.decode("utf-8", "replace")


@functools.lru_cache(maxsize=None)
def page(name):
    """A manual page; postern.conf(5) as the build makes it."""
    if name != "postern.conf.5":
        return read("docs", "man", name)
    code, options = ctl("config", "--manual")
    assert code == 0, options
    return read("docs", "man", name + ".in").replace("@OPTIONS@", options.strip())


def without_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def rows(text, macro):
    """The arguments of each use of a macro in a table, as texts; commas within quotes are kept."""
    found = []
    for match in re.finditer(rf"^{macro}\((.*)\)\s*(?:/\*.*)?$", text, flags=re.M):
        words = re.findall(r'"(?:[^"\\]|\\.)*"|[^,"]+', match.group(1))
        found.append([word.strip().strip('"') for word in words if word.strip()])
    return found


def section(text, title, level="Sh"):
    """What stands between a heading of a manual page and the next of its level or above."""
    ends = "Sh" if level == "Sh" else "S[hs]"
    match = re.search(rf"^\.{level} {re.escape(title)}\n(.*?)(?=^\.{ends} |\Z)", text, flags=re.M | re.S)
    assert match, f"no section {title}"
    return match.group(1)


def items(text, macro):
    """The rest of each `.It MACRO …` line."""
    return re.findall(rf"^\.It {macro} (.*)$", text, flags=re.M)
