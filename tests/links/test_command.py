"""part:filter_through in the real daemons, with their sandbox: real programs, well behaved and not."""

import email
import json
import os
import threading
import unittest

from links import Links, attachment, mixed, wait_until

FILTER = """
local function through(msg, options)
    for part in msg:parts() do
        if part.disposition == "attachment" then
            local ok, why = part:filter_through(options)
            if not ok then return reject(why) end
        end
    end
end
local deeds = {
    upper = function(msg) return through(msg, { command = { "tr", "a-z", "A-Z" } }) end,
    shell = function(msg) return through(msg, { command = "tr a-z A-Z | rev" }) end,
    same = function(msg) return through(msg, { command = { "cat" } }) end,
    empty = function(msg) return through(msg, { command = { "true" } }) end,
    ["false"] = function(msg) return through(msg, { command = { "false" } }) end,
    returns = function(msg) return through(msg, { command = "echo no >&2; exit 3", on_failure = "return" }) end,
    missing = function(msg) return through(msg, { command = { "/usr/bin/no-such-program" } }) end,
    outside = function(msg) return through(msg, { command = { "@FOLDER@/program" }, on_failure = "return" }) end,
    reads = function(msg) return through(msg, { command = "cat /etc/shadow", on_failure = "return" }) end,
    sleeps = function(msg) return through(msg, { command = { "sleep", "600.@ID@" }, timeout = msg.attempt == 1 and 3600 or 0.2 }) end,
    timeout = function(msg) return through(msg, { command = { "sleep", "600.@ID@" }, timeout = "200ms", on_failure = "return" }) end,
    yes = function(msg) return through(msg, { command = { "yes" }, on_failure = "return" }) end,
    huge = function(msg) return through(msg, { command = { "head", "-c", "1073741824", "/dev/zero" }, on_failure = "return" }) end,
    little = function(msg) return through(msg, { command = { "cat" }, max_output = 3, on_failure = "return" }) end,
    early = function(msg) return through(msg, { command = { "head", "-c", "5" } }) end,
    closes = function(msg) return through(msg, { command = "exec <&-; echo closed" }) end,
    chain = function(msg)
        through(msg, { command = { "tr", "a-z", "A-Z" } })
        return through(msg, { command = { "rev" } })
    end,
    wrong = function(msg)
        local part, said = msg.root, {}
        for i, options in ipairs{ {}, { command = 7 }, { command = {} }, { command = { "" } }, { command = { "a", 7 } }, { command = "a\\0b" },
                { command = "x", timeout = 0 }, { command = "x", timeout = 0/0 }, { command = "x", max_output = "much" },
                { command = "x", on_failure = "ignore" }, { comand = "x" } } do
            local ok, why = pcall(part.filter_through, part, options)
            assert(not ok)
            said[i] = why
        end
        return reject(table.concat(said, "\\n"))
    end,
}
function filter_message(msg)
    return deeds[msg:header("X-Do")](msg)
end
"""
MAIL = mixed(attachment(b"hello world"))


def running(argument):
    """Pids of living programs with such an argument."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    if argument.encode() in file.read().split(b"\0"):
                        found.append(int(name))
            except OSError:
                continue
    return found


class Programs(Links):
    options = {"worker.allow_exec": "yes", "worker.command_time": "20s", "worker.command_output": "1M"}

    def setUp(self):
        self.id = str(os.getpid())
        self.filter = FILTER.replace("@ID@", self.id)
        super().setUp()
        self.folder.write("program", "#!/bin/sh\necho out\n", 0o755)

    def content(self, deed, mail=MAIL):
        """The attachment as it goes on, decoded."""
        body = self.body_of(self.send(deed, mail))
        parsed = email.message_from_bytes(b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + body)
        return parsed.get_payload()[1].get_payload(decode=True)

    def refusal(self, deed):
        answer = self.send(deed, MAIL)
        self.assertEqual(answer.verdict, "reject", f"{answer}\n{self.postern.logs()}")
        return answer.text

    def test_programs_change_the_content(self):
        for deed, wanted in (("upper", b"HELLO WORLD"), ("shell", b"DLROW OLLEH"), ("chain", b"DLROW OLLEH"), ("empty", b""), ("early", b"hello"),
                             ("closes", b"closed\n")):
            self.assertEqual(self.content(deed), wanted, deed)

    def test_the_same_content_is_no_change(self):
        answer = self.send("same", MAIL)
        self.assertEqual((answer.verdict, answer.actions), ("continue", []))

    def test_much_goes_through(self):
        content = bytes(range(256)) * 3000
        self.assertEqual(self.content("upper", mixed(attachment(content))), bytes(b - 32 if 97 <= b <= 122 else b for b in content))

    def test_a_failure_is_an_error_of_the_hook(self):
        for deed, text in (("false", "false: exit status 1"), ("missing", "no-such-program: not started: No such file or directory")):
            answer = self.send(deed, MAIL)
            self.assertEqual((answer.verdict, answer.actions), ("tempfail", []), deed)
            self.assertIn("part:filter_through: ", self.postern.logs())
            self.assertIn(text, self.postern.logs())

    def test_a_failure_can_be_returned(self):
        self.assertIn("/bin/sh: exit status 3", self.refusal("returns"))
        self.assertRegex(self.postern.multiplexor.output(), r"part [\d.]+: /bin/sh: no")
        self.assertIn("after its time", self.refusal("timeout"))
        self.assertEqual(running("600." + self.id), [])
        for deed in ("yes", "huge"):
            self.assertIn("more output than worker.command_output", self.refusal(deed))
        self.assertIn("more output than max_output", self.refusal("little"))

    def test_the_sandbox_holds_for_programs(self):
        self.assertIn("Permission denied", self.refusal("outside"))
        self.assertIn("/bin/sh: exit status 1", self.refusal("reads"))
        self.assertIn("/etc/shadow: Permission denied", self.postern.logs())

    def test_wrong_options_are_errors(self):
        text = self.refusal("wrong")
        for part in ("command is a text for the shell", "command has 1 to 100 texts", "names no program", "has a NUL", "timeout is a number over 0",
                     "max_output is a number over 0", 'on_failure is "error" or "return"', "did you mean 'command'"):
            self.assertIn(part, text)


class Killed(Links):
    """A worker that is killed leaves its program behind."""

    options = {"worker.allow_exec": "yes", "worker.command_time": "5s"}

    def setUp(self):
        self.id = f"{os.getpid()}8"
        self.filter = FILTER.replace("@ID@", self.id)
        super().setUp()

    def test_its_program_ends_soon(self):
        """The program ends by itself soon after the time that it had."""
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.send("sleeps", MAIL, timeout=60)))
        thread.start()
        (pid,) = wait_until(lambda: running("600." + self.id), lambda: "the program\n" + self.postern.logs())
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            worker = int(file.read().rsplit(")", 1)[1].split()[1])
        self.assertIn(worker, [row["pid"] for row in self.postern.workers()])
        os.kill(worker, 9)
        thread.join()
        self.assertEqual(answers[0].verdict, "tempfail", answers)
        wait_until(lambda: not running("600." + self.id), "the program to end", 40)


class Deadline(Links):
    """The hook's own time is shorter than the program's."""

    options = {"worker.allow_exec": "yes", "milterd.stage_time": "1s", "milterd.message_time": "6s"}

    def setUp(self):
        self.id = f"{os.getpid()}9"
        self.filter = FILTER.replace("@ID@", self.id)
        super().setUp()

    def test_it_ends_before_the_hook_does(self):
        answer = self.send("sleeps", MAIL)
        self.assertEqual((answer.verdict, answer.actions), ("tempfail", []))
        self.assertIn("sleep: still running after its time", self.postern.logs())
        self.assertEqual(running("600." + self.id), [])


class Forbidden(Links):
    filter = FILTER.replace("@ID@", "0")

    def test_error_and_log_name_the_option(self):
        self.assertIn("part:filter_through starts a program; worker.allow_exec = no forbids it", self.postern.logs())
        answer = self.send("upper", MAIL)
        self.assertEqual(answer.verdict, "tempfail")
        self.assertIn("worker.allow_exec = yes allows those below /usr", self.postern.logs())

    def test_reload_names_it(self):
        code, out, _ = self.postern.ctl("reload")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"^reloaded: generation \d+\nwarning: .*filter\.lua:5: part:filter_through .*worker\.allow_exec = no forbids it\n$")
        _, out, _ = self.postern.ctl("reload", "--json")
        self.assertIn("worker.allow_exec", json.loads(out)["warning"])
        self.postern.save_filter("function filter_message(msg) end")
        self.assertNotIn("warning", self.postern.ctl("reload")[1])

    def test_a_filter_that_cannot_ask(self):
        """Said by reload, log and check; for modules that ask, and where the options lead out."""
        for text, options, module in (('require "postern.spf"', (), "spf"), ('require "postern.greylist"', (), None), ('require "postern.dkim"', (), None),
                                      ('require "postern.greylist"', ("store.backend=redis",), "store"),
                                      ('require "postern.clamav"', ("clamav.sockets=inet:3310@127.0.0.1",), "clamav"),
                                      ('require "postern.icap"', (), "icap"),
                                      ('require "postern.spf"', ("worker.allow_network=yes",), None), ('require "postern.spf"', ("worker.sandbox=off",), None)):
            self.postern.save_filter(text + " function filter_message(msg) end")
            code, out, _ = self.postern.ctl("check", self.postern.filter, "--json", *(word for option in options for word in ("-o", option)))
            self.assertEqual((code, json.loads(out)["offline"]), (0, module and "postern." + module), (text, options))
            if module and not options:
                says = f"postern.{module} asks over the network; worker.allow_network = no forbids it"
                self.assertIn(says, self.postern.ctl("reload")[1])
                self.assertIn(says, self.postern.logs())

    def test_check_names_it(self):
        code, out, _ = self.postern.ctl("check", self.postern.filter)
        self.assertEqual(code, 1)
        self.assertRegex(out, r"filter\.lua:5: part:filter_through starts a program; worker\.allow_exec = no forbids it")
        code, out, _ = self.postern.ctl("check", self.postern.filter, "-o", "worker.allow_exec=yes")
        self.assertEqual(code, 0, out)


if __name__ == "__main__":
    unittest.main()
