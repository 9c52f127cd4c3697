"""docs/operations.md in a real terminal: every command that it shows is typed into one (tmux) beside a running system, and what comes has the shape
of what the page shows: its headings, columns and words; numbers, times, ids and paths are the machine's own.

With the word "write" it puts what the commands show now into the page, below each of them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from common import CTL, SOURCE, ctl, sample
from harness.lines import split_lines
from harness.mta import Postfix
from harness.postern import Postern
from harness.process import BUILD, PATIENCE, wait_until
from harness.terminal import Screen

FILTER = """
local async = require "postern.async"
local clamav = require "postern.clamav"
local metrics = require "postern.metrics"
local mails = metrics.counter("mails", "messages seen")

local function is_held()
    local file = io.open(config.gate)
    if file then file:close() end
    return file ~= nil
end

local words = {}
for i = 1, 400 do words[i] = "unwanted word " .. i end

local function find_word(text)
    for i = 1, #words do
        if text:find(words[i], 1, true) then return words[i] end
    end
end

local function looks_like_link(text)
    return text:find("h.-t.-t.-p.-:.-$") ~= nil
end

function filter_sender(msg)
end

function filter_tick(name)
end

function filter_recipient(msg, rcpt)
    if rcpt.address == "gone@example.net" then
        return reject { code = 550, dsn = "5.1.1", text = "No such user here" }
    end
end

function filter_message(msg)
    mails:inc()
    msg:log("score", 1.5)
    msg:add_header("X-Checked", "yes")
    if msg.conn.helo == "busy.example" then
        local text = ("hatatapa "):rep(8)
        local found = find_word(text) or looks_like_link(text)
    end
    if msg.conn.helo == "unscanned.example" then
        clamav.scan(msg)
    end
    if msg.conn.helo == "deadly.example" then
        package.cpath = config.modules .. "/?.so"
        require("deadly").abort()
    end
    while msg.conn.helo == "slow.example" and is_held() do async.sleep(0.05) end
end
"""
# What a mail server's settings are like whose administrator asks the doctor.
POSTFIX = "milter_content_timeout = 300s\nmilter_command_timeout = 8s\nmilter_default_action = accept\n"
PAGE = os.path.join(SOURCE, "docs", "operations.md")
QUEUE_ID, ASKED_ID, TRACED_ID, DEADLY_ID = "4XqT3k1vzLz1b", "4XqT3j5Wrhz2c", "4XqT3p0bXvz3d", "4XqT3r7gMwz4f"
MODULES = os.path.join(BUILD, "tests", "faults")
COLUMNS, ROWS = 110, 40


def commands_of(body):
    """(command with its prompt, lines shown) for each command of a block."""
    parts = filter(None, re.split(r"^(?=\$ )", body, flags=re.M))
    return [(part.partition("\n")[0].strip(), part.partition("\n")[2].splitlines()) for part in parts]


def blocks(text):
    """The same of every block without a language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.M | re.S)
    return [item for fence, body in found if not fence for item in commands_of(body)]


# In order: later ones see what earlier ones left.
PLACES = (
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z?", "TIME"),
    (r"(?<![\w)/])(?:/[\w.+-]+)+/?", "PATH"),
    (r"\b\d+\.\d+\.\d+[\w.:-]*", "VERSION"),
    (r"\b(?=[a-z]*[A-Z0-9])(?=\w*\d)(?=\w*[A-Za-z])\w{9,}\b(?:\.\d+)?", "ID"),
    (r"(?<![\w.])\d+(?:\.\d+)?(?: ?(?:ms|us|ns|s|m|h|d|K|M|G|T|%)(?![\w]))?", "N"),
    (r"#+", "#"),
    (r"\s+", " "),
    (r"\bN(?: N)+\b", "N"),
    (r"\buucp\b", "postfix"),
    (r"^(front ends|recycles|ticks|sandbox|multiplexor|milterd) .*", r"\1"),  # what there has been meanwhile, and what the build and the kernel give
    (r"^< N #?$", "< N"),
    (r"^(N ok), N notes?, N warnings?, N problems?$", r"\1"),
)
# What these say is the machine's, not ours.
OWN = re.compile(r"^(?:ok|note|warning|problem) (memory|descriptors|processes|kernel|sandbox|users|spool|state folder|trace file) .*")


def shape(line):
    line = line.strip()
    for pattern, name in PLACES:
        line = re.sub(pattern, name, line)
    return OWN.sub(r"\1", line).strip()


class Stage:
    """The whole system under a little load, with a shell in a terminal in which posternctl means this system's."""

    def __init__(self):
        self.mta = Postfix(settings=POSTFIX, name="doc")
        self.gate = self.mta.folder("gate")
        # The ring belongs into memory, where there is such a folder.
        self.memory = tempfile.mkdtemp(prefix="postern-doc.", dir="/dev/shm" if os.path.isdir("/dev/shm") else self.mta.folder.path)
        for name in ("state", "bin"):
            os.makedirs(self.mta.folder(name))
        options = {"worker.state_dir": self.mta.folder("state"), "milterd.socket_mode": "0660", "milterd.socket_group": "uucp",
                   "filter.gate": self.gate, "multiplexor.ticks": "expire=1s",
                   "multiplexor.limits": "filter_message=20, filter_recipient@domain=5, any@network=10:refuse",
                   "trace.file": self.memory + "/trace", "filter.modules": MODULES, "worker.read_paths": MODULES, "multiplexor.canary_latency": 0, "multiplexor.respawn_min": "10ms",
                   "clamav.sockets": "unix:/nonexistent/clamd.ctl", "clamav.on_failure": "continue"}
        self.postern = Postern(FILTER, options, folder=self.mta.folder)
        self.mta.spec = self.postern.spec
        self.mta.configure()
        with open(self.mta.folder("etc/master.cf"), encoding="utf-8") as file:
            services = file.read()
        self.mta.folder.write("etc/master.cf", re.sub(r"^\S+:\d+ inet", "smtp inet", services))
        # Where the programs would look by themselves, were they installed.
        self.mta.folder.write("bin/posternctl", f'#!/bin/sh\nword=$1\nshift\ncase $word in\nprofile) cd {self.mta.folder.path} ;;\ndoctor) set -- "$@" --postfix {self.mta.folder("etc")} ;;\nesac\n'
                              f'exec {CTL} -c {self.postern.conf} "$word" "$@"\n', 0o755)
        self.screen = Screen(self.mta.folder, COLUMNS, ROWS, "bash", "--norc", "--noprofile",
                             env={"PATH": self.mta.folder("bin") + ":" + os.environ["PATH"], "PS1": "$ ", "HISTFILE": ""})
        self.screen.wait(r"^\$ *$")
        self.deadly = None

    def load(self, n=40, *words):
        code, _, err = ctl("send", "--json", self.postern.spec, *[sample("clean")] * n, *words)
        assert code == 0, err

    def prepare(self, rounds=1):
        """Some load, over some time; the message that is asked for; the first run of the timer."""
        for _ in range(rounds):
            self.load()
        self.load(1, "--recipient", "gone@example.net", "--recipient", "rcpt@example.net", "--macro", "i=" + ASKED_ID)
        wait_until(lambda: self.postern.status()["ticks"]["expire"]["runs"] > 0, "the timer to run", pause=0.05)

    def hold(self):
        """A message that stays with its worker until let_go; returns when it is there."""
        self.mta.folder.write("gate", "")
        self.held = subprocess.Popen([CTL, "send", self.postern.spec, sample("clean"), "--helo", "slow.example", "--macro", "i=" + QUEUE_ID],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_until(lambda: any(row["state"] == "busy" and row["queue_id"] == QUEUE_ID for row in self.postern.workers()), "a worker to be busy")

    def let_go(self):
        os.unlink(self.gate)
        assert self.held.wait(60 * PATIENCE) == 0

    def shown(self, command):
        """What the terminal shows below the command that was typed last, and whether the prompt is back."""
        lines = self.screen.lines(with_history=True)
        while lines and not lines[-1].strip():
            lines.pop()
        starts = [i for i, line in enumerate(lines) if line.strip() == "$ " + command]
        below = lines[starts[-1] + 1:] if starts else []
        is_back = bool(starts) and bool(below) and below[-1].strip() in ("$", "^C$")
        return (below[:-1] if is_back else below), is_back

    def type(self, command):
        self.screen.keys("C-l")
        wait_until(lambda: "".join(self.screen.lines()).strip() == "$", "an empty screen", pause=0.05)
        self.screen.run("clear-history")
        self.screen.type(command)

    def run(self, command):
        """Types a command that ends by itself; returns the lines that it printed."""
        self.type(command)
        wait_until(lambda: self.shown(command)[1], lambda: f"{command} to end:\n" + "\n".join(self.screen.lines()), 30, pause=0.05)
        return self.shown(command)[0]

    def top(self, command):
        """Live: a frame with a busy worker; then other sizes, the end, and the terminal as it was."""
        self.hold()
        self.type(command)
        self.screen.wait(r"^busy .*" + QUEUE_ID)
        frame = self.screen.lines()
        self.let_go()
        self.screen.wait(r"^workers +0 busy")
        self.screen.resize(90, 20)
        self.screen.wait(r"^STATE +PID .* PSS +GEN$")
        self.screen.resize(COLUMNS, ROWS)
        self.screen.wait(r"^STATE +PID .* LUA +AGE +GEN$")
        self.screen.keys("q")
        wait_until(lambda: self.shown(command) == ([], True), lambda: "the terminal to be as it was:\n" + "\n".join(self.screen.lines()), pause=0.05)
        return frame

    def reload(self, command):
        """The same filter again; from then on messages of many clients, so that some are the candidate's."""
        lines = self.run(command)
        for i in range(1, 25):
            self.load(2, "--ip", f"198.51.100.{i}")
        return lines

    def trace(self, command):
        """Messages while it follows; then it is interrupted."""
        self.type(command)

        def is_followed():
            self.load(1, "--ip", "198.51.100.7", "--hostname", "mail.example.org", "--recipient", "ann@example.net", "--recipient", "gone@example.net",
                      "--macro", "i=" + TRACED_ID)
            return re.search(rf"(?s) connection .* {TRACED_ID} message ", "\n".join(self.screen.lines()))
        wait_until(is_followed, lambda: "a whole message in the trace:\n" + "\n".join(self.screen.lines()), 30, pause=0.3)
        self.screen.keys("C-c")
        wait_until(lambda: self.shown(command)[1], "the trace to end", pause=0.05)
        return self.shown(command)[0]

    def store(self, command):
        """A mail that nobody scanned."""
        self.load(1, "--helo", "unscanned.example", "--macro", "i=" + DEADLY_ID)
        return self.run(command)

    def profile(self, command):
        """Messages that keep the filter busy as long as it looks."""
        self.type(command)
        while not self.shown(command)[1]:
            self.load(5, "--helo", "busy.example")
        return self.shown(command)[0]

    def poisoned(self):
        """The id of a message that has killed two workers."""
        if self.deadly is None:
            ctl("send", self.postern.spec, sample("clean"), "--helo", "deadly.example", "--macro", "i=" + DEADLY_ID)
            rows = wait_until(lambda: split_lines(self.postern.ctl("poison", "list", "--json", check=True)[1]), "the message to be kept")
            self.deadly = json.loads(rows[0])["id"]
        return self.deadly

    def shadow(self, command):
        """Another filter beside; some messages that both have seen."""
        lines = self.run(command)
        if lines[:1] and lines[0].startswith("shadow: generation"):
            self.load(5)
            wait_until(lambda: self.postern.control("shadow")["data"]["actions"] >= 5, "the comparisons", pause=0.05)
        return lines

    def here(self, command):
        """A command of the page with the ids and paths of this stage."""
        if command.startswith("posternctl shadow /"):
            self.mta.folder.write("new.lua", FILTER.replace('"yes"', '"very well"'))
            return command.replace("/etc/postern/new.lua", self.mta.folder("new.lua"))
        if command.startswith("posternctl poison"):
            return re.sub(r"\bm[0-9a-z]{10,}\.\d+", self.poisoned(), command)
        return command

    def play(self, command):
        live = {"top": self.top, "reload": self.reload, "trace": self.trace, "shadow": self.shadow, "profile": self.profile, "store": self.store}
        return live.get((*command.split(), "")[1], self.run)(self.here(command))

    def installed(self, line):
        """A line with the paths that an installed system would have."""
        line = line.replace(self.memory, "/run/postern")
        for name, place in (("postern.conf", "/etc/postern/"), ("filter.lua", "/etc/postern/"), ("new.lua", "/etc/postern/"), ("etc/", "/etc/postfix/"), ("spool", "/var/spool/postern"),
                            ("state", "/var/lib/postern"), ("", "/run/postern/")):
            line = line.replace(self.mta.folder(name), place + (name if "." in name else ""))
        return line.replace("uucp", "postfix").rstrip()

    def end(self):
        self.screen.end()
        self.postern.stop()
        shutil.rmtree(self.memory)
        self.mta.folder.remove()


def page():
    with open(PAGE, encoding="utf-8") as file:
        return file.read()


class Operations(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stage = Stage()
        cls.addClassCleanup(cls.stage.end)
        cls.stage.prepare()

    def test_every_block(self):
        shown = blocks(page())
        self.assertGreater(len(shown), 3)
        for command, lines in shown:
            with self.subTest(command):
                self.assertTrue(command.startswith("$ posternctl "), "a block without a language shows commands and their output")
                real = self.stage.play(command[2:])
                shapes = {shape(line) for line in real}
                for line in lines:
                    self.assertTrue(shape(line) in shapes or line.strip() in ("", "…"), f"{line!r} ({shape(line)}) in\n" + "\n".join(real))


class Shapes(unittest.TestCase):
    """The comparison itself tells apart what it should."""

    def test_what_is_the_same(self):
        for one, other in (("last 10 s   35.6 requests/s, p99 8.19 ms", "last 10 s 1 requests/s, p99 9 us"),
                           ("busy  16429  2.0s message 4XqT3k1vzLz1b  161   2.7M", "busy 1 1m 05s message 0BB2aa17cc9d2f 2 12K"),
                           ("  < 8 us    1  ##", "  < 2.05 ms   12  #########"), ("pid 7, up 4s", "pid 12345, up 3m 12s")):
            self.assertEqual(shape(one), shape(other))

    def test_what_is_not(self):
        for one, other in (("queue length 0", "queue size 0"), ("STATE  PID  FOR", "STATE  PID"), ("p50 3 ms", "p90 3 ms"), ("outcomes ok 1", "outcomes error 1")):
            self.assertNotEqual(shape(one), shape(other))


def rewritten(stage, body):
    """A block with what its commands show now; where the page leaves lines out (…), only those that it has."""
    out = []
    for command, before in commands_of(body):
        real = [stage.installed(line) for line in stage.play(command[2:])]
        if "…" in before:
            real = [line if line == "…" else next((new for new in real if shape(new) == shape(line)), "") for line in before]
        out += ["$ " + stage.here(command[2:]), *real]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)) + "\n"


def write_page():
    stage = Stage()
    try:
        stage.prepare(20)
        text = re.sub(r"^```\n(\$ posternctl .*?)^```$", lambda match: f"```\n{rewritten(stage, match.group(1))}```", page(), flags=re.M | re.S)
        with open(PAGE, "w", encoding="utf-8") as file:
            file.write(text)
    finally:
        stage.end()


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        write_page()
    else:
        unittest.main()
