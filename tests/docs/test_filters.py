"""Each ready filter has tests that pass and a page whose commands show what the page says."""

import os
import re
import subprocess
import unittest

from common import BIN, PATIENCE, SOURCE, Folder, ctl, read

FILTERS = os.path.join(SOURCE, "scripts", "filters")
PAGES = os.path.join(SOURCE, "docs", "filters")


def filters():
    return sorted(name[:-4] for name in os.listdir(FILTERS) if name.endswith(".lua") and not name.endswith("_test.lua"))


def blocks(text):
    """(language, content) of each fenced block, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.M | re.S)


def settings_of(source):
    """The names that a filter asks config for."""
    return set(re.findall(r"\bconfig\.(\w+)", source)) | set(re.findall(r'\b(?:setting|list)\("(\w+)"', source))


def pattern_of(line):
    """A line of a page as a regular expression: … stands for anything."""
    return ".*".join(re.escape(piece) for piece in line.split("…")) + "$"


class Ready(unittest.TestCase):
    def test_each_has_a_page_and_tests(self):
        for name in filters():
            with self.subTest(name):
                self.assertTrue(os.path.isfile(os.path.join(FILTERS, name + "_test.lua")), f"scripts/filters/{name}_test.lua is missing")
                self.assertTrue(os.path.isfile(os.path.join(PAGES, name + ".md")), f"docs/filters/{name}.md is missing")

    def test_the_index_names_them_all(self):
        listed = re.findall(r"^\| \[([\w-]+)\]\(([\w-]+)\.md\) \|", read("docs", "filters", "README.md"), flags=re.M)
        self.assertEqual([name for name, _ in listed], filters())
        self.assertEqual([name for name, _ in listed], [target for _, target in listed])

    def test_nothing_is_left_over(self):
        known = filters()
        for folder, suffix in ((FILTERS, "_test.lua"), (PAGES, ".md")):
            left = [name for name in os.listdir(folder) if name.endswith(suffix) and name != "README.md" and name.removesuffix(suffix) not in known]
            self.assertEqual(left, [])

    def test_each_begins_with_what_it_does(self):
        for name in filters():
            with self.subTest(name):
                self.assertRegex(read("scripts", "filters", name + ".lua"), rf"^-- {name}\.lua: [a-z].+")
                self.assertTrue(read("docs", "filters", name + ".md").startswith(f"# {name}\n"))

    def test_settings_stand_in_filter_and_page(self):
        for name in filters():
            source, page = read("scripts", "filters", name + ".lua"), read("docs", "filters", name + ".md")
            head = re.match(r"(?:--.*\n)+", source).group(0)
            for setting in sorted(settings_of(source)):
                with self.subTest(f"{name}: {setting}"):
                    self.assertRegex(head, rf"\b{setting}\b")
                    self.assertIn(f"`{setting}`", page)


class Tests(unittest.TestCase):
    def test_they_pass(self):
        for name in filters():
            with self.subTest(name):
                path = os.path.join(FILTERS, name)
                code, out = ctl("test", "--filter", path + ".lua", path + "_test.lua")
                self.assertEqual(code, 0, out)


class Pages(unittest.TestCase):
    """A page is tried from the top: its commands run in one folder, and each line of a block of text is found, in order, in what they printed
    since the block before."""

    def setUp(self):
        self.folder = Folder("docs-filter")
        self.addCleanup(self.folder.remove)
        for name in ("tests", "scripts"):
            os.symlink(os.path.join(SOURCE, name), self.folder(name))

    def run_shell(self, text):
        done = subprocess.run(["bash", "-e", "-c", text], cwd=self.folder.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=120 * PATIENCE, check=False,
                              env={**os.environ, "PATH": BIN + ":" + os.environ["PATH"]})
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def find_in_order(self, wanted, printed):
        at = 0
        for line in wanted.splitlines():
            pattern = re.compile(pattern_of(line))
            while at < len(printed) and not pattern.match(printed[at]):
                at += 1
            self.assertLess(at, len(printed), f"not printed: {line}\nbut:\n" + "\n".join(printed))
            at += 1

    def test_commands_show_what_the_page_says(self):
        for name in filters():
            with self.subTest(name):
                printed = []
                found = blocks(read("docs", "filters", name + ".md"))
                self.assertIn("sh", [language for language, _ in found], "no command to try it with")
                self.assertIn("text", [language for language, _ in found], "nothing of what it shows")
                for language, content in found:
                    if language == "sh":
                        code, out = self.run_shell(content)
                        self.assertEqual(code, 0, out)
                        printed = out.splitlines()
                    elif language == "text":
                        self.find_in_order(content, printed)


if __name__ == "__main__":
    unittest.main()
