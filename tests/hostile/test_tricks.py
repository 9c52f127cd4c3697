"""The catalogue of tricks through `posternctl run`: what must be seen is seen, and clean mail is not called ambiguous. Then the same files
through Python's email package and Perl's MIME::Parser, to tell how much of it they see; nothing is asked of them."""

import email
import email.header
import email.policy
import json
import os
import shutil
import subprocess
import sys
import unittest
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

from harness.process import BIN, PATIENCE, Folder  # noqa: E402
from tricks import TRICKS, write  # noqa: E402

# Tells of each mail what `run` does not: the marks in the contents of its leaves, containers, charsets, and whether the questions that
# filters ask about names hold for all of them.
FILTER = r'''
function filter_message(msg)
    msg:log("charsets", table.concat(msg:charsets(), " "))
    local types, marks = {}, {}
    for part in msg:walk() do
        types[#types + 1] = part.type
        if part.is_container and part.filename then
            msg:log("container_name", part.filename)
        end
        for _, name in ipairs(part.filenames) do
            local ext = name:match("%.(%w+)$")
            assert(ext == nil or part:has_extension{ ext }, "has_extension does not hold for " .. name)
        end
        if not part.is_container then
            local seen = part:content() .. "\n" .. part:text()
            for mark in seen:gmatch("EVIL") do marks[mark] = true end
        end
    end
    msg:log("types", table.concat(types, " "))
    for mark in pairs(marks) do msg:log("mark", mark) end
    msg:log("is_ambiguous", tostring(msg.ambiguous))
end
'''


class Seen:
    """What a program sees in a mail."""

    def __init__(self, names=(), contents=(), has_complained=False):
        self.names, self.contents, self.has_complained = set(names), list(contents), has_complained

    def missing_names(self, trick):
        return [name for name in trick.names if name not in self.names]

    def missing_marks(self, trick):
        return [mark for mark in trick.marks if not any(mark.encode() in content for content in self.contents)]


def is_seen(text):
    return text is not None and str(text).strip()


def python_names(part):
    """get_filename, and what a program makes of it that decodes encoded words too."""
    for ask in (part.get_filename, lambda: part.get_param("name"), lambda: part.get_param("filename", header="content-disposition")):
        try:
            value = ask()
            value = email.utils.collapse_rfc2231_value(value) if isinstance(value, tuple) else value
        except Exception:  # noqa: BLE001  its own errors are its answer: no name
            continue
        if not is_seen(value):
            continue
        yield str(value)
        try:
            yield str(email.header.make_header(email.header.decode_header(str(value))))
        except Exception:  # noqa: BLE001
            continue


def by_python(data, policy):
    try:
        message = email.message_from_bytes(data, policy=policy)
        parts = list(message.walk())
    except Exception:  # noqa: BLE001
        return Seen(has_complained=True)
    names, contents, has_complained = [], [], False
    for part in parts:
        names += list(python_names(part))
        if not part.is_multipart():
            try:
                contents.append(part.get_payload(decode=True) or b"")
            except Exception:  # noqa: BLE001
                has_complained = True
        has_complained = has_complained or bool(part.defects)
    return Seen([name.strip() for name in names], contents, has_complained)


def by_perl(paths):
    """In one process; it goes on behind a file that it cannot read."""
    run = subprocess.run(["/usr/bin/perl", os.path.join(HERE, "parse.pl")], input="\n".join(paths) + "\n", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         encoding="latin-1", timeout=300 * PATIENCE, check=True)
    for line in run.stdout.rstrip("\n").split("\n"):
        told = json.loads(line)
        names = []
        for name in told["names"]:
            raw = name.encode("utf-8", "surrogatepass") if any(ord(c) > 255 for c in name) else name.encode("latin-1")
            names += [name, raw.decode("utf-8", "replace"), raw.decode("latin-1")]
            try:
                names.append(str(email.header.make_header(email.header.decode_header(name))))
            except Exception:  # noqa: BLE001
                continue
        yield Seen([name.strip() for name in names], [content.encode("utf-8", "surrogatepass") for content in told["contents"]], "error" in told)


class Tricks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder("tricks")
        cls.paths = write(cls.folder("mails"))
        cls.answers = cls.run_all()

    @classmethod
    def tearDownClass(cls):
        cls.folder.remove()

    @classmethod
    def run_all(cls):
        path = cls.folder.write("filter.lua", FILTER)
        ran = subprocess.run([os.path.join(BIN, "posternctl"), "run", "--json", path, *cls.paths], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, timeout=300 * PATIENCE, check=False)
        answers = [json.loads(line) for line in ran.stdout.decode("utf-8").split("\n") if line]
        if len(answers) != len(cls.paths):
            raise AssertionError(ran.stderr.decode("utf-8", "replace"))
        return answers

    def logged(self, answer, key):
        return [line.partition("=")[2] for line in answer["log"] if line.partition("=")[0] == key]

    def check(self, trick, answer):
        self.assertEqual((answer["verdict"], answer["error"]), ("continue", None))
        names = {name for part in answer["parts"] for name in part["filenames"]}
        names |= set(self.logged(answer, "container_name"))
        kinds = {defect["kind"] for defect in answer["defects"]}
        self.assertLessEqual(set(trick.names), names, "names that are not in the union")
        self.assertLessEqual(set(trick.marks), set(self.logged(answer, "mark")), "contents that no part has")
        types = " ".join(self.logged(answer, "types")).split()
        self.assertLessEqual(set(trick.types), set(types), "types that are not listed")
        self.assertLessEqual(set(trick.defects), kinds, "defects that are not reported")
        charsets = " ".join(self.logged(answer, "charsets")).split()
        self.assertLessEqual(set(trick.charsets), set(charsets), "charsets that are not told")
        ambiguous = {defect["kind"] for defect in answer["defects"] if defect["ambiguous"]}
        self.assertEqual(self.logged(answer, "is_ambiguous"), [str(bool(ambiguous)).lower()])
        if trick.ambiguous is not None:
            self.assertEqual(bool(ambiguous), trick.ambiguous, f"ambiguous because of {sorted(ambiguous)}" if ambiguous else f"not ambiguous: {sorted(kinds)}")

    def test_each_is_seen(self):
        for trick, answer in zip(TRICKS, self.answers):
            with self.subTest(group=trick.group, name=trick.name):
                self.check(trick, answer)

    def test_there_are_hundreds(self):
        self.assertGreaterEqual(sum(trick.group != "clean" for trick in TRICKS), 300)
        self.assertGreaterEqual(sum(trick.group == "clean" for trick in TRICKS), 60)
        self.assertEqual(len({(trick.group, trick.name) for trick in TRICKS}), len(TRICKS), "two tricks of one name")

    def test_others(self):
        """Counts only: what the others miss of what must be seen, and how often they say nothing about it."""
        self.assertTrue(shutil.which("perl"))
        warnings.simplefilter("ignore")
        ours = [Seen({name for part in answer["parts"] for name in part["filenames"]}, [mark.encode() for mark in self.logged(answer, "mark")],
                     bool(answer["defects"])) for answer in self.answers]
        rows = {
            "Postern": ours,
            "Python's email, compat32": [by_python(trick.data, email.policy.compat32) for trick in TRICKS],
            "Python's email, default": [by_python(trick.data, email.policy.default) for trick in TRICKS],
            "Perl's MIME::Parser": list(by_perl(self.paths)),
        }
        tricks = [number for number, trick in enumerate(TRICKS) if trick.group != "clean"]
        wanted = [TRICKS[number] for number in tricks]
        print(f"\n{len(tricks)} tricks and {len(TRICKS) - len(tricks)} clean mails; {sum(len(t.names) for t in wanted)} names and "
              f"{sum(len(t.marks) for t in wanted)} contents must be seen")
        print(f"{'missed by':28}{'names':>8}{'contents':>10}{'tricks':>8}{'silently':>10}")
        for program, seen in rows.items():
            self.assertEqual(len(seen), len(TRICKS), program)
            names = [seen[number].missing_names(TRICKS[number]) for number in tricks]
            marks = [seen[number].missing_marks(TRICKS[number]) for number in tricks]
            missed = [bool(a or b) for a, b in zip(names, marks)]
            silent = sum(m and not seen[number].has_complained for m, number in zip(missed, tricks))
            print(f"{program:28}{sum(map(len, names)):8}{sum(map(len, marks)):10}{sum(missed):8}{silent:10}")
            if program == "Postern":
                self.assertEqual(sum(missed), 0)


if __name__ == "__main__":
    unittest.main()
