"""Command line, exit codes, and what works without a server: help, config from the file, check."""

import os
import subprocess
import unittest

from common import CTL, PATIENCE, FilterFolder, ctl, lines_of, sample, shipped
from harness.process import Folder


class Usage(unittest.TestCase):
    def test_help_names_every_command(self):
        code, out, _ = ctl("--help")
        self.assertEqual(code, 0)
        for word in ("status", "workers", "config", "reload", "recycle", "scale", "drain", "resume", "doctor", "check", "run", "send", "dev"):
            self.assertIn(f"\n  {word} ", out)

    def test_help_of_a_command(self):
        code, out, _ = ctl("run", "--help")
        self.assertEqual(code, 0)
        self.assertIn("--recipient", out)
        self.assertNotIn("--socket", out)

    def test_version(self):
        code, out, _ = ctl("-V")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"^posternctl \d+\.\d+\.\d+\n$")

    def test_wrong_use_is_2_and_says_what(self):
        for words, text in (
                ((), "usage"),
                (("statsu",), "did you mean status?"),
                (("frobnicate",), "unknown command"),
                (("run", "--jsno", "a", "b"), "did you mean --json?"),
                (("run", "filter.lua"), "usage: posternctl run"),
                (("status", "more"), "usage: posternctl status"),
                (("status", "--ip", "192.0.2.1"), "takes no --ip"),
                (("status", "--json=1"), "takes no value"),
                (("status", "-c"), "needs a value"),
                (("scale", "3"), "usage: posternctl scale"),
                (("scale", "5", "2"), "MIN must not be above MAX"),
                (("scale", "x", "2"), "MIN must be a number"),
                (("recycle", "-1"), "unknown option"),
                (("run", "/nonexistent/filter.lua", "x"), "cannot read"),
                (("send", "tcp:nowhere", "x"), "not a socket"),
                (("dev", "/nonexistent/filter.lua"), "nonexistent"),
                (("config", "-o", "milterd.sokcet=1"), "did you mean socket?"),
                (("config", "-c", "/nonexistent.conf"), "nonexistent")):
            with self.subTest(words=words):
                code, _, err = ctl(*words)
                self.assertEqual(code, 2, err)
                self.assertIn(text, err)

    def test_no_server_is_3(self):
        folder = Folder("ctl-usage")
        self.addCleanup(folder.remove)
        for words in (("status",), ("workers", "--json"), ("reload",), ("recycle",), ("scale", "1", "2")):
            with self.subTest(words=words):
                code, out, err = ctl("-s", folder("none.sock"), *words)
                self.assertEqual((code, out), (3, ""))
                self.assertIn("no server answers", err)

    def test_options_may_follow_the_command(self):
        code, _, err = ctl("status", "-s", "/nonexistent/control.sock")
        self.assertEqual(code, 3)
        self.assertIn("/nonexistent/control.sock", err)


class Config(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("ctl-config")
        self.addCleanup(self.folder.remove)
        self.conf = self.folder.write("postern.conf", "[multiplexor]\nmax_workers = 7\ncontrol_socket = "
                                      + self.folder("control.sock") + "\n[filter]\ncolour = blue\n")

    def test_from_the_file_when_no_server_answers(self):
        code, out, _ = ctl("-c", self.conf, "config", "--json")
        self.assertEqual(code, 0)
        (answer,) = lines_of(out)
        self.assertEqual((answer["source"], answer["where"]), ("file", self.conf))
        self.assertEqual(answer["options"]["multiplexor.max_workers"], "7")
        self.assertEqual(answer["options"]["filter.colour"], "blue")

    def test_as_text_says_where_it_is_from(self):
        code, out, _ = ctl("-c", self.conf, "-o", "multiplexor.max_workers=9", "config")
        self.assertEqual(code, 0)
        self.assertTrue(out.startswith("# from the file: " + self.conf), out)
        self.assertIn("\n[multiplexor]\n", out)
        self.assertIn("\nmax_workers = 9\n", out)


class Check(unittest.TestCase):
    def check(self, text, *words):
        with FilterFolder("ctl-check", text) as folder:
            code, out, err = ctl("check", folder.filter, "--json", *words)
            self.assertEqual(err, "")
            (answer,) = lines_of(out)
            return code, answer

    def test_hooks_and_stages(self):
        code, answer = self.check("function filter_helo(conn) end\nfunction filter_message(msg) end\n")
        self.assertEqual(code, 0)
        self.assertEqual(answer["hooks"], ["filter_helo", "filter_message"])
        self.assertIn("helo", answer["answers"])
        self.assertIn("body", answer["sees"])
        self.assertNotIn("body", answer["answers"])
        self.assertIsNone(answer["error"])

    def test_what_does_not_load_is_1(self):
        for text, part in (
                ("function filter_message(msg", "filter.lua:1"),
                ("\nerror('no wonder')", "filter.lua:2"),
                ("x = 1", "hook"),
                ("function filter_mesage(msg) end", "filter_message"),
                ("\x1bLua", "")):
            with self.subTest(text=text):
                code, answer = self.check(text)
                self.assertEqual(code, 1)
                self.assertFalse(answer["ok"])
                self.assertIn(part, answer["error"])

    def test_unknown_globals_are_warnings(self):
        code, answer = self.check("function filter_message(msg)\n  if msg.size > 1 then\n    return rejct('no')\n  end\nend\n")
        self.assertEqual(code, 1)
        self.assertTrue(answer["ok"])
        self.assertEqual([(w["name"], w["line"]) for w in answer["warnings"]], [("rejct", 3)])

    def test_endless_load_ends(self):
        code, answer = self.check("while true do end", "-o", "multiplexor.load_time=200ms", "-o", "multiplexor.kill_grace=100ms")
        self.assertEqual(code, 1)
        self.assertIsNotNone(answer["error"])

    def test_shipped_filters_are_fine(self):
        for name in ("example", "block-executables", "pass", "refuse-in-recipient", "tag-external"):
            with self.subTest(name=name):
                code, out, err = ctl("check", shipped(name))
                self.assertEqual((code, err), (0, ""), out)


class Terminal(unittest.TestCase):
    """Colours on a terminal only, and never a control character of the mail's or the filter's own."""

    def on_terminal(self, *words, **env):
        ours, theirs = os.openpty()
        done = subprocess.run([CTL, *words], stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, timeout=60 * PATIENCE,
                              env={**os.environ, "TERM": "xterm", **env}, check=False)
        os.close(theirs)
        text = b""
        try:
            while more := os.read(ours, 65536):
                text += more
        except OSError:
            pass  # the other end is closed and all is read
        os.close(ours)
        return done.returncode, text.decode("utf-8", "replace")

    def test_colours(self):
        _, text = self.on_terminal("run", shipped("pass"), sample("clean"))
        self.assertIn("\x1b[32mcontinue\x1b[0m", text)
        _, text = self.on_terminal("run", shipped("pass"), sample("clean"), NO_COLOR="1")
        self.assertNotIn("\x1b", text)

    def test_no_control_characters_pass(self):
        with FilterFolder("ctl-terminal", 'function filter_message(msg) msg:log("x", msg.subject) end') as folder:
            message = folder.write("m.eml", b"Subject: a\x1b[31mb\x07\n\n")
            _, text = self.on_terminal("run", folder.filter, message, NO_COLOR="1")
            self.assertNotIn("\x1b", text)
            self.assertNotIn("\x07", text)


if __name__ == "__main__":
    unittest.main()
