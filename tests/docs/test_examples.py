"""Every filter in the documents loads without a warning, and every command shown with it runs."""

import os
import re
import subprocess
import unittest

from common import BIN, MODULES, PATIENCE, SOURCE, Folder, ctl, page, read, section

PART = "-- part of a filter"


def documents():
    found = [("README.md",)]
    for name in sorted(os.listdir(os.path.join(SOURCE, "docs"))):
        if name.endswith(".md"):
            found.append(("docs", name))
    found += [("docs", "filters", name) for name in sorted(os.listdir(os.path.join(SOURCE, "docs", "filters")))]
    return found


def blocks(text, language):
    """(line, text) of each fenced block in a language."""
    for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S):
        yield text.count("\n", 0, match.start()) + 1, match.group(1)


def file_name(block):
    """A block that begins with `-- name.lua` is that file."""
    match = re.match(r"-- ([\w-]+\.lua)\n", block)
    return match.group(1) if match else None


class Examples(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("docs-try")
        self.addCleanup(self.folder.remove)

    def test_filters_load(self):
        n = 0
        for path in documents():
            for line, block in blocks(read(*path), "lua"):
                where = f"{'/'.join(path)}:{line}"
                if block.startswith(PART):
                    print(f"skipped {where}: only a part of a filter")
                    continue
                n += 1
                with self.subTest(where):
                    name = file_name(block) or "filter.lua"
                    code, out = ctl("check", self.folder.write(name, block))
                    self.assertEqual(code, 0, out)
        self.assertGreater(n, 10)

    def test_configurations_are_valid(self):
        """Each block of a configuration in the documents, and the samples of conf/."""
        texts = [("conf/postern-outside.conf", read("conf", "postern-outside.conf"))]
        for path in documents():
            texts += [(f"{'/'.join(path)}:{line}", block) for line, block in blocks(read(*path), "ini") if block.startswith(("[", "#"))]
        self.assertGreater(len(texts), 15)
        for where, text in texts:
            with self.subTest(where):
                code, out = ctl("config", "-c", self.folder.write("postern.conf", text), "-s", self.folder("none.sock"))
                self.assertEqual(code, 0, out)
                uncommented = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.M)
                code, out = ctl("config", "-c", self.folder.write("postern.conf", uncommented), "-s", self.folder("none.sock"))
                self.assertEqual(code, 0, out)

    def test_examples_of_modules_load(self):
        """Whole filters, or what may stand in a hook; the key that they read is made here."""
        key = self.folder("key.pem")
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
        os.chmod(key, 0o600)
        for name in MODULES:
            for example in re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed$", section(page(f"postern-{name}.3"), "EXAMPLES"), flags=re.M | re.S):
                with self.subTest(name):
                    text = example.replace("\\e", "\\").replace("/etc/postern/keys/2026.pem", key)
                    if "function filter_" not in text:
                        text = f"function filter_message(msg)\n{text}end\n"
                    code, out = ctl("check", self.folder.write("filter.lua", text))
                    self.assertEqual(code, 0, out)

    def lay_out(self, *path):
        """The folder as a reader would have it: the filters of the page, and the checkout's samples."""
        for _, block in blocks(read(*path), "lua"):
            if file_name(block):
                self.folder.write(file_name(block), block)
        for name in ("tests", "scripts"):
            os.symlink(os.path.join(SOURCE, name), self.folder(name))

    def run_shell(self, text):
        done = subprocess.run(["bash", "-e", "-c", text], cwd=self.folder.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=120 * PATIENCE, check=False,
                              env={**os.environ, "PATH": BIN + ":" + os.environ["PATH"]})
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def test_commands_of_the_guide(self):
        self.lay_out("docs", "filter-guide.md")
        shells = list(blocks(read("docs", "filter-guide.md"), "sh"))
        self.assertGreater(len(shells), 5)
        for line, block in shells:
            with self.subTest(f"docs/filter-guide.md:{line}"):
                code, out = self.run_shell(block)
                self.assertEqual(code, 0, out)

    def test_each_filter_of_the_guide_runs(self):
        """Also those without a command beside them, over a message that they let pass or refuse, but never fail over."""
        self.lay_out("docs", "filter-guide.md")
        for _, block in blocks(read("docs", "filter-guide.md"), "lua"):
            name = file_name(block)
            self.assertTrue(name, block)
            with self.subTest(name):
                for sample in ("clean", "executable", "html", "null-sender", "no-header", "nul"):
                    code, out = ctl("run", "-o", "smtp.reinject=inet:10026@127.0.0.1", "-o", "dns.servers=127.0.0.1:1", name, f"tests/samples/{sample}.eml", cwd=self.folder.path)
                    self.assertEqual(code, 0, out)

    def test_verdicts_of_the_guide(self):
        """What its text promises."""
        self.lay_out("docs", "filter-guide.md")
        cases = [("attachments", "executable", (), "reject"), ("attachments", "two-names", (), "reject"), ("attachments", "clean", (), "continue"),
                 ("replies", "clean", ("--ip", "198.51.100.7"), "554"), ("recipients", "clean", ("--recipient", "old@example.net"), "new@example.net"),
                 ("recipients", "null-sender", ("--recipient", "sales@example.net"), "550"),
                 ("settings", "clean", ("-o", "filter.max_recipients=1", "--recipient", "a@example.net", "--recipient", "b@example.net"), "reject"),
                 ("text", "clean", ("--ip", "local"), "replace_body"), ("header", "clean", (), "[external]"),
                 ("structure", "html", (), "1.2 text/html"), ("looking", "executable", (), "we take no programs"),
                 ("looking", "clean", (), '"verdict":"continue"'), ("changing", "executable", (), "A program was taken out of this mail: invoice.exe"),
                 ("footer", "html", ("--ip", "local"), "K=C3=B6ln"), ("footer", "programs/smime-signed", ("--ip", "local"), "no_footer=signed"),
                 ("keeping", "executable", (), "trap=copy: a program: invoice.exe"),
                 ("waiting", "clean", ("-o", "dns.servers=127.0.0.1:1"), "mx: network"), ("scanning", "clean", (), "tempfail"),
                 ("scanning", "clean", ("-o", "clamav.on_failure=continue", "-o", "spamassassin.on_failure=continue"), "X-Postern-Unscanned"),
                 ("who", "clean", ("-o", "dns.servers=127.0.0.1:1"), "tempfail"), ("twice", "clean", (), "please try again in 300 seconds"),
                 ("gateway", "clean", ("--ip", "local"), "tempfail")]
        for name, sample, words, expected in cases:
            with self.subTest(name + " " + sample):
                code, out = ctl("run", "--json", name + ".lua", f"tests/samples/{sample}.eml", *words, cwd=self.folder.path)
                self.assertEqual(code, 0, out)
                self.assertIn(expected, out)

    def test_commands_of_getting_started(self):
        self.lay_out("docs", "getting-started.md")
        commands = re.findall(r"^    build/release/bin/(posternctl (?:check|run) .*)$", read("docs", "getting-started.md"), flags=re.M)
        self.assertTrue(commands)
        for command in commands:
            with self.subTest(command):
                code, out = self.run_shell(command)
                self.assertEqual(code, 0, out)


if __name__ == "__main__":
    unittest.main()
