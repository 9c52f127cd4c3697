"""The cases: which message, what the filters do with it, and for how long it is loaded in a round."""

from collections import namedtuple

# mail: of corpus.py. kind of work:
#   parts    looks at each part, decodes it, refuses *.exe, adds one header
#   header   adds one header and reads nothing; the bare filter parses nothing
#   hooks    as parts, and is asked at connect, HELO, MAIL, RCPT, DATA and end of headers too
#   content  as parts, with each part's decoded content in memory, as one string
# seconds: factor for the time of a cell
Case = namedtuple("Case", "name title mail kind seconds")

CASES = {case.name: case for case in (
    Case("small", "3 KB text", "small", "parts", 1),
    Case("html", "40 KB html", "html", "parts", 1),
    Case("attach", "1 MB attachment", "attach", "parts", 1),
    Case("big", "10 MB attachment", "big", "parts", 2),
    Case("header", "3 KB, header only", "small", "header", 1),
    Case("hooks", "3 KB, every envelope hook", "small", "hooks", 1),
    Case("content", "1 MB, each part read", "attach", "content", 1),
)}

# What --compare runs: every case at 10 connections, the first and the third also at 1 and 50.
DEFAULT = tuple((name, 10) for name in CASES) + tuple((name, n) for name in ("small", "attach") for n in (1, 50))
QUICK = (("small", 10), ("attach", 10), ("header", 10))


def chosen(cases, connections, default=DEFAULT):
    """[(case, connections)] from two lists, either of which may be empty: then the default's."""
    if not cases and not connections:
        return list(default)
    unknown = [name for name in cases if name not in CASES]
    if unknown:
        raise SystemExit(f"no such case: {', '.join(unknown)}; there are {', '.join(CASES)}")
    return [(name, n) for name in (cases or CASES) for n in (connections or [10])]
