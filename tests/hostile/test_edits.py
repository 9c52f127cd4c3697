"""Changes of parts times mail: what nobody touched keeps its bytes, what was taken out is gone, and Python's email and Perl's MIME::Parser find in the
result what the changes must come to; and no change of a single part is refused. Prints how many combinations were tried, and differences, which must be none. POSTERN_LOAD scales the number.
The same ones are tried each time, but with POSTERN_SEED=N, or POSTERN_SEED=random, which prints what it took."""

import collections
import email
import email.policy
import glob
import hashlib
import itertools
import os
import random
import struct
import subprocess
import sys
import unittest

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]

from edit_mail import KINDS, Maker, model  # noqa: E402
from harness.process import BUILD, SOURCE, Folder, scaled  # noqa: E402
from inside import CASES  # noqa: E402
from messages import ROWS  # noqa: E402
from tricks import TRICKS  # noqa: E402

SEED = os.environ.get("POSTERN_SEED") or "1"
SEED = random.SystemRandom().randrange(1 << 32) if SEED == "random" else int(SEED)
AMBIGUOUS = ("bad-line.eml",)  # of the samples
# Ambiguous mail of which some part cannot be taken out, replaced or defanged, by the reasons in docs/design/editing.md.
REFUSED = {
    "the header is the mail server's": (
        "text behind a CR, then multipart, at the top", "NUL before the colon, at the top", "control character before the colon, at the top",
        "line end before the colon, at the top", "blank in the name, at the top", "behind a bare CR, at the top", "junk line in the middle", "only CR",
        "CR CR LF", "LF CR", "11000 fields"),
    "two readings share its bytes": ("message, then multipart", "message, then multipart, at the top", "2000 letters", "20 boundaries"),
    "encoded, and not": ("message in quoted-printable", "multipart in quoted-printable", "multipart in base64 in a multipart in base64"),
    "more than is read": ("1100 parts", "1100 empty parts"),
}
LARGEST = 100000  # bytes of a hostile message: larger ones are the same again

Part = collections.namedtuple("Part", "depth container decoded second header_at header_len content_at content_len type")
Played = collections.namedtuple("Played", "outcome refused why parts message header_bytes result")


class Player:
    """The program that plays scripts."""

    def __init__(self):
        self.process = subprocess.Popen([os.path.join(BUILD, "tests", "edit_player")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def play(self, message, script):
        script = bytes(byte for change in script for byte in change)
        self.process.stdin.write(struct.pack("<I", len(message)) + message + struct.pack("<I", len(script)) + script)
        self.process.stdin.flush()
        out = self.process.stdout
        first = out.readline().decode("utf-8", "replace").rstrip("\n").split(" ", 3)
        if len(first) < 4:
            raise AssertionError(f"the player ended with {self.process.wait()}")
        parts = []
        for _ in range(int(first[2])):
            row = out.readline().split()
            parts.append(Part(int(row[0]), row[1] == b"1", row[2] == b"1", row[3] == b"1", *map(int, row[4:8]), row[8]))
        _, header_bytes, size = out.readline().split()
        handed = out.read(int(size))
        result = out.read(int(out.readline().split()[1]))
        return Played(first[0], int(first[1]), first[3], parts, handed, int(header_bytes), result)

    def close(self):
        self.process.stdin.close()
        code = self.process.wait()
        self.process.stdout.close()
        return code


def leaves_of(data):
    """What Python's email finds: type, decoded content, content fields."""
    found = []
    for part in email.message_from_bytes(data, policy=email.policy.compat32).walk():
        if not part.is_multipart():
            fields = sorted((name.lower(), str(value)) for name, value in part.items() if name.lower().startswith("content-"))
            found.append((part.get_content_type(), part.get_payload(decode=True) or b"", fields))
    return found


def digest_of(leaf):
    return leaf[0] + ":" + hashlib.md5(leaf[1].replace(b"\r\n", b"\n").rstrip(b"\n")).hexdigest()


def random_script(rng, most):
    return [(rng.randrange(len(KINDS)), rng.randrange(256)) for _ in range(rng.randrange(1, most + 1))]


def difference(wanted, before, after):
    """None, or how the leaves after the changes differ from what they must be. wanted names nodes; before has theirs in order."""
    if len(wanted) != len(after):
        return f"{len(after)} leaves instead of {len(wanted)}"
    for (what, place), leaf in zip(wanted, after):
        if what == "same" and leaf != before[place]:
            return f"{before[place]} became {leaf}"
        if what == "defanged" and (leaf[0] != "application/octet-stream" or leaf[1] != before[place][1] or "attachment-" not in str(leaf[2])):
            return f"{before[place]} was defanged to {leaf}"
        if what == "whole" and (leaf[0] != "application/octet-stream" or leaf[1] != place.raw):
            return f"{place.raw} was defanged to {leaf}"
        if what == "new" and leaf[1] and b"NEW" not in leaf[1]:
            return f"{leaf} is not what was asked for"
    return None


def place_of(parts, number):
    """The part whose bytes a change is about: one around it, when it was found in decoded content, or by a reading that has it elsewhere."""
    place = part = parts[number]
    while part.depth > 0:
        while parts[number].depth >= part.depth:
            number -= 1
        above = parts[number]
        start, end = above.content_at, above.content_at + above.content_len
        if part.decoded or not start <= part.header_at or part.header_at + part.header_len > end:
            place = above
        part = above
    return place


class Edits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f"seed {SEED}")
        cls.random = random.Random(SEED)
        cls.player = Player()

    @classmethod
    def tearDownClass(cls):
        assert cls.player.close() == 0

    def report(self, problems):
        if problems:
            raise AssertionError("\n".join(repr(problem)[:3000] for problem in problems[:4]))

    def compare_made(self, root, mail, script):
        """None or a difference; and the result with what email finds in it."""
        played = self.player.play(mail, script)
        leaves = [node for node in root.walk() if not node.children]
        before, after = leaves_of(mail), leaves_of(played.result)
        if len(before) != len(leaves) or sum(not part.container for part in played.parts) != len(leaves):
            return f"{len(leaves)} leaves, email finds {len(before)}", None
        if played.outcome.startswith("refused"):
            return f"refused: {played.why}", None
        places = {id(node): place for place, node in enumerate(leaves)}
        wanted = [(what, places.get(id(node), node)) for what, node in model(root, script)]
        problem = difference(wanted, before, after)
        if problem and wanted[:1] == [("new", None)] and all(what == "new" for what, _ in wanted) and len(after) == len(wanted) - 1:
            problem = difference(wanted[1:], before, after)  # the added part stands for the empty text
        return problem, (played.result, after)

    def test_made_mail(self):
        """Well-formed mail: strictly as the tree says, by email's reading, and by MIME::Parser's of a share of it."""
        combinations, problems, results = 0, [], []
        for number in range(scaled(800, 20)):
            root, mail = Maker(self.random).mail()
            for _ in range(3):
                script = random_script(self.random, 4)
                problem, result = self.compare_made(root, mail, script)
                combinations += 1
                if problem:
                    problems.append((problem, [(KINDS[kind], part) for kind, part in script], mail))
                elif number % 10 == 0:
                    results.append(result)
        n_perl, differing = self.compare_with_perl(results)
        problems += differing
        print(f"made mail: {combinations} combinations, {n_perl} of them read by MIME::Parser too, {len(problems)} differences")
        self.report(problems)

    def compare_with_perl(self, results):
        folder = Folder("edits")
        self.addCleanup(folder.remove)
        paths = [folder.write(f"{number}.eml", result) for number, (result, _) in enumerate(results)]
        done = subprocess.run(["perl", os.path.join(os.path.dirname(os.path.abspath(__file__)), "edit_leaves.pl")],
                              input="".join(path + "\n" for path in paths), stdout=subprocess.PIPE, text=True, check=True)
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), len(results))
        pairs = [(line.split(), [digest_of(leaf) for leaf in leaves], result) for line, (result, leaves) in zip(lines, results)]
        return len(lines), [("MIME::Parser: " + " ".join(theirs), ours, result) for theirs, ours, result in pairs if theirs != ours]

    # ---- mail of any kind ----

    def hostile(self):
        for name, make in ROWS.items():
            data = make()
            if len(data) <= LARGEST:
                yield name, data
        for trick in TRICKS:
            if len(trick.data) <= LARGEST:
                yield trick.group, trick.data
        for path in sorted(glob.glob(os.path.join(SOURCE, "tests", "samples", "**", "*.eml"), recursive=True)
                           + glob.glob(os.path.join(SOURCE, "tests", "fuzz", "corpus", "mime", "*"))):
            with open(path, "rb") as file:
                yield os.path.basename(path), file.read()

    @staticmethod
    def touched(played, script):
        """Spans of the message that changes are about."""
        spans = []
        for kind, number in script:
            if KINDS[kind].startswith("add"):
                continue
            part = place_of(played.parts, number % len(played.parts))
            spans.append((part.header_at, part.content_at + part.content_len))
        return spans

    def difference_in_bytes(self, played, script):
        """What must hold for any mail."""
        if played.outcome != "changed":
            body = played.message[played.header_bytes:]
            return None if played.result.endswith(body) else "nothing was changed, but the body was"
        spans = self.touched(played, script)
        for part in played.parts:
            content = played.message[part.content_at:part.content_at + part.content_len]
            start, end = part.header_at, part.content_at + part.content_len
            is_touched = any(start < high and low < end for low, high in spans)
            if not part.container and not part.decoded and not part.second and not is_touched and content not in played.result:
                return f"untouched bytes {content[:60]} are gone"
        only = script[0] if len(script) == 1 else None
        part = played.parts[only[1] % len(played.parts)] if only else None
        if part and KINDS[only[0]] in ("drop", "warn", "replace-text", "set-text") and not part.decoded and not part.second:
            content = played.message[part.content_at:part.content_at + part.content_len]
            if len(content) >= 16 and played.message.count(content) == 1 and content in played.result:
                return f"{content[:60]} was to go"
        return None

    def test_any_mail(self):
        """Hostile mail and samples: bytes of what nobody touched, nothing left of what was to go; both parsers read the result."""
        counts, problems = collections.Counter(), []
        mails = list(self.hostile())
        for name, data in mails:
            for _ in range(1 + scaled(3000) // len(mails)):
                script = random_script(self.random, 3)
                played = self.player.play(data, script)
                counts[played.outcome] += 1
                problem = self.difference_in_bytes(played, script)
                leaves_of(played.result)
                if problem:
                    problems.append((name, problem, [(KINDS[kind], part) for kind, part in script]))
        print(f"any mail: {sum(counts.values())} combinations ({', '.join(f'{n} {word}' for word, n in sorted(counts.items()))}), {len(problems)} differences")
        self.report(problems)

    @staticmethod
    def unambiguous():
        """Mail that all readers read alike, with parts in parts that are no containers; none is large."""
        for name, case in CASES.items():
            data = case.make()
            if len(data) <= LARGEST // 10:
                yield name, data
        for trick in TRICKS:
            if trick.ambiguous is False:
                yield f"{trick.group}: {trick.name}", trick.data
        for path in sorted(glob.glob(os.path.join(SOURCE, "tests", "samples", "**", "*.eml"), recursive=True)):
            if os.path.basename(path) in AMBIGUOUS:
                continue
            with open(path, "rb") as file:
                yield os.path.basename(path), file.read()

    def test_each_change(self):
        """Each change of each part alone of mail that is not ambiguous: the integrity guard lets it through."""
        counts, problems = collections.Counter(), []
        for name, data in self.unambiguous():
            parts = self.player.play(data, []).parts[:8]
            for kind, number in itertools.product(range(len(KINDS)), range(len(parts))):
                played = self.player.play(data, [(kind, number)])
                counts[played.outcome] += 1
                if played.outcome.startswith("refused"):
                    problems.append((name, KINDS[kind], number, played.why))
        print(f"each change: {sum(counts.values())} ({', '.join(f'{n} {word}' for word, n in sorted(counts.items()))})")
        self.assertGreater(counts["changed"], 1000)
        self.report(problems)

    def test_ambiguous_mail(self):
        """Each part of ambiguous mail can be taken out, replaced and defanged, but of mails in a list, for a reason each."""
        known, counts, problems = {name for names in REFUSED.values() for name in names}, collections.Counter(), []
        for trick in TRICKS:
            if trick.ambiguous is False or len(trick.data) > LARGEST:
                continue
            parts = self.player.play(trick.data, []).parts[:8]
            for kind, number in itertools.product(("drop", "replace-text", "defang"), range(len(parts))):
                played = self.player.play(trick.data, [(KINDS.index(kind), number)])
                is_refused = played.outcome.startswith("refused")
                counts[kind, "refused" if is_refused else "changed"] += 1
                if is_refused and trick.name not in known:
                    problems.append((trick.name, kind, number, played.why))
        print(f"ambiguous mail: {', '.join(f'{kind} {n} {word}' for (kind, word), n in sorted(counts.items()))}")
        self.report(problems)


if __name__ == "__main__":
    unittest.main()
