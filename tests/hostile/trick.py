"""A trick: a mail that two programs read in two ways, and what must be seen in it whatever a reader makes of it: names that must be in the
union, contents (marks) that some part must have, types that must be listed, kinds of defects, and whether the mail is ambiguous (None: either).

Texts are Python strings: each line end becomes CR LF; the signs for NUL, LF and CR (U+2400, U+240A, U+240D) stand for that single byte, and
U+DC80 … U+DCFF for the bytes 80 … FF.
"""

import base64
import collections

# Where a trick comes from. Standards by section; the rest:
INVASION = "Zhang et al., Inbox Invasion, CCS 2024"  # header, structure and encoding ambiguities against attachment detectors
NISCC = "NISCC 403518, MIME anomalies, 2004"  # Corsaire's series on content scanners: repeated fields, blanks, quotes, comments, separators
GAP = "Ullrich, semantic gap in MIME, noxxi.de"  # conflicting encodings, boundaries and base64 against scanners
MAILSPLOIT = "Haddouche, Mailsploit, 2017"
SMUGGLING = "Longin, SMTP smuggling, 2023"
EFAIL = "Poddebniak et al., EFAIL, USENIX Security 2018"
SOURCE = "Boucher and Anderson, Trojan Source, 2021"
UTR36 = "Unicode TR 36, security considerations"

Trick = collections.namedtuple("Trick", "group name source data names marks types defects ambiguous charsets")

TRICKS = []
MARK = "EVIL"  # a content that must be seen
B64 = "RVZJTCBpcyBoZXJl"  # the same, encoded: "EVIL is here"
TOP = "From: a@example.org\nTo: b@example.net\nSubject: s\nMIME-Version: 1.0\n"
MULTI = TOP + "Content-Type: multipart/mixed; boundary=b\n\n"
TEXT = "--b\nContent-Type: text/plain\n\nhello\n"
END = "--b--\n"
ATTACH = "Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=evil.exe\n\nEVIL\n"

SIGNS = {"\n": b"\r\n", "\u2400": b"\0", "\u240a": b"\n", "\u240d": b"\r"}


def to_bytes(text):
    return text if isinstance(text, bytes) else b"".join(SIGNS.get(c) or c.encode("utf-8", "surrogateescape") for c in text)


def trick(group, name, source, text, names=(), marks=(MARK,), types=(), defects=(), ambiguous=True, charsets=()):
    TRICKS.append(Trick(group, name, source, to_bytes(text), tuple(names), tuple(marks), tuple(types), tuple(defects), ambiguous, tuple(charsets)))


def clean(name, text, names=(), marks=(), types=(), charsets=(), source="honest mail", defects=()):
    trick("clean", name, source, text, names, marks, types, defects, False, charsets)


def encode(text):
    return base64.encodebytes(to_bytes(text)).decode()


def part(header, body="EVIL\n"):
    """A mail with a text and a part of this header."""
    return MULTI + TEXT + "--b\n" + header + "\n\n" + body + END


def disposition(value):
    return part("Content-Type: application/octet-stream\nContent-Disposition: " + value)
