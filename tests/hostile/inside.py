"""Mails with parts in parts that are no containers, TNEF, uuencode, yEnc, messages of another type: each with the parts that must be seen."""

import base64
import hashlib
import os
import quopri
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness import archives as a  # noqa: E402
from harness import tnef as t  # noqa: E402

EXE = b"MZ" + bytes(range(256)) * 3
OTHER = b"other content\r\n" * 20


class Case:
    """make: the mail; see: of each part its path, names and content (None: any), in order, those carried alone; defects that must be there
    (None: no ambiguous one)."""

    def __init__(self, make, see, defects=None):
        self.make, self.see, self.defects = make, see, defects


def mail(content, kind="text/plain; charset=utf-8", encoding="8bit", name=None):
    if encoding == "base64":
        content = base64.encodebytes(content)
    elif encoding == "quoted-printable":
        content = quopri.encodestring(content)
    content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    disposition = f"Content-Disposition: attachment; filename={name}\r\n" if name else ""
    return (f"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\n{disposition}"
            f"Content-Transfer-Encoding: {encoding}\r\n\r\n").encode() + content


def winmail(data, kind="application/ms-tnef", name="winmail.dat", encoding="base64"):
    return mail(data, kind, encoding, name)


def text(*pieces):
    return b"".join(piece.encode("utf-8") if isinstance(piece, str) else piece for piece in pieces)


def deep(levels):
    data = t.tnef(t.attached(EXE, b"run.exe"))
    for _ in range(levels):
        data = t.tnef(t.attached(None, None, t.text(0x3001, "m"), t.nested(data)))
    return data


def letters(levels, line=b"x\r\n", lines=1):
    data = b"Subject: y\r\n\r\n" + line * lines
    for _ in range(levels):
        data = mail(data, BINARY, "8bit", "a.eml")
    return data


EML = b"Subject: y\r\nContent-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\nContent-Type: text/plain; name=run.exe\r\n\r\nx\r\n--q--\r\n"
RECEIVED = b"Received: from a by b; Sun, 22 Nov 2026 10:00:00 +0000\r\nFrom: a@example.org\r\n"
BINARY = "application/octet-stream"
IN_EML = [("1.1", [], None), ("1.1.1", [], None), ("1.1.1.1", ["run.exe"], b"x")]
ONE = t.attached(EXE, b"run.exe")

CASES = {
    "winmail.dat": Case(lambda: winmail(t.winmail()), [
        ("1.1", ["Invoice \u2014 May.exe", "INVOIC~1.EXE"], b"MZ" + b"program" * 50),
        ("1.2", ["Untitled", "a forwarded message"], None), ("1.2.1", ["inner name.txt", "INNER~1.TXT"], b"inner bytes"),
        ("1.3", ["image001.png"], b"\x89PNG\r\n\x1a\n" + bytes(20))]),
    "TNEF by another type": Case(lambda: winmail(t.tnef(ONE), "application/octet-stream", "x.bin"), [("1.1", ["run.exe"], EXE)]),
    "TNEF called a text": Case(lambda: winmail(t.tnef(ONE), "text/plain", "x.txt"), [("1.1", ["run.exe"], EXE)]),
    "TNEF with a short name only": Case(lambda: winmail(t.tnef(ONE)), [("1.1", ["run.exe"], EXE)]),
    "TNEF with the name in its properties": Case(lambda: winmail(t.tnef(t.attached(EXE, None, t.text(0x3707, "run.exe")))),
                                                 [("1.1", ["run.exe"], EXE)]),
    "TNEF with the content in its properties": Case(
        lambda: winmail(t.tnef(t.attached(None, b"run.exe", t.binary(0x3701, EXE)))), [("1.1", ["run.exe"], EXE)]),
    "TNEF with both": Case(lambda: winmail(t.tnef(t.attached(OTHER, b"a.txt", t.binary(0x3701, EXE), t.text(0x3707, "run.exe")))),
                           [("1.1", ["run.exe", "a.txt"], OTHER), ("1.2", ["run.exe", "a.txt"], EXE)]),
    "TNEF with a name and nothing else": Case(lambda: winmail(t.tnef(t.attached(None, b"run.exe"))), [("1.1", ["run.exe"], b"")]),
    "TNEF with a mail in it": Case(
        lambda: winmail(t.tnef(t.attached(EML, b"a.eml", t.text(0x370e, "message/rfc822")))),
        [("1.1", ["a.eml"], None), ("1.1.1", [], None), ("1.1.1.1", ["run.exe"], b"x")]),
    "TNEF with names that end at a NUL": Case(lambda: winmail(t.tnef(t.attached(EXE, b"run.exe\0.txt"))),
                                              [("1.1", ["run.exe", "run.exe.txt", ".txt"], EXE)]),
    "TNEF cut off in the content": Case(lambda: winmail(t.tnef(ONE)[:-300]), [("1.1", ["run.exe"], EXE[:-298])], ["broken-tnef"]),
    "TNEF cut off in its properties": Case(
        lambda: winmail(t.tnef(t.attached(EXE, b"a", t.text(0x3707, "run.exe"), t.text(0x3001, "more")))[:-12]),
        [("1.1", ["run.exe", "a", "m"], EXE)], ["broken-tnef"]),
    "TNEF with a length that lies": Case(
        lambda: winmail(t.tnef() + struct.pack("<BII", 2, t.TITLE, 0xffffffff) + b"run.exe"), [("1.1", ["run.exe"], b"")], ["broken-tnef"]),
    "TNEF with 4,000,000,000 properties": Case(
        lambda: winmail(t.tnef(ONE, t.attribute(t.PROPERTIES, struct.pack("<I", 0xffffffff) + bytes(40)))),
        [("1.1", ["run.exe"], EXE)], ["broken-tnef"]),
    "TNEF with 4,000,000,000 values": Case(
        lambda: winmail(t.tnef(ONE, t.attribute(t.PROPERTIES, struct.pack("<III", 1, (0x1000 | t.LONG) | 1 << 16, 0xffffffff)))),
        [("1.1", ["run.exe"], EXE)], ["broken-tnef"]),
    "TNEF that is none": Case(lambda: winmail(b"hello"), [], ["broken-tnef"]),
    "TNEF with junk behind": Case(lambda: winmail(t.tnef(ONE) + b"junk"), [("1.1", ["run.exe"], EXE)], ["broken-tnef"]),
    "TNEF in TNEF, 20 levels": Case(lambda: winmail(deep(20)), [("1" + ".1" * i, ["m"], None) for i in range(1, 21)]
                                    + [("1" + ".1" * 21, ["run.exe"], EXE)]),
    "TNEF in TNEF, 200 levels": Case(lambda: winmail(deep(200)), [("1.1", ["m"], None)], ["too-deep"]),
    "TNEF with 5,000 attachments": Case(lambda: winmail(t.tnef(ONE * 5000)), [("1.1", ["run.exe"], EXE)], ["too-many-parts"]),
    "TNEF with 5,000 names": Case(
        lambda: winmail(t.tnef(t.attached(EXE, b"run.exe"), *(t.attribute(t.TITLE, b"%d.txt\0" % i) for i in range(5000)))),
        [("1.1", ["run.exe", "0.txt"], EXE)], ["too-many-names"]),
    # uuencode
    "uuencode": Case(lambda: mail(text("hello\n\n", a.uuencoded(EXE, "run.exe"), "\nbye\n")), [("1.1", ["run.exe"], EXE)]),
    "uuencode, nothing before": Case(lambda: mail(text(a.uuencoded(EXE, "run.exe"))), [("1.1", ["run.exe"], EXE)]),
    "uuencode, twice": Case(lambda: mail(text(a.uuencoded(EXE, "run.exe"), "and\n", a.uuencoded(OTHER, "b c.txt"))),
                            [("1.1", ["run.exe"], EXE), ("1.2", ["b c.txt"], OTHER)]),
    "uuencode in quoted-printable": Case(lambda: mail(text("=\n", a.uuencoded(EXE, "run.exe")), encoding="quoted-printable"),
                                         [("1.1", ["run.exe"], EXE)]),
    "uuencode in base64": Case(lambda: mail(text("x\n", a.uuencoded(EXE, "run.exe")), encoding="base64"), [("1.1", ["run.exe"], EXE)]),
    "uuencode in HTML": Case(lambda: mail(text("<p>\n", a.uuencoded(EXE, "run.exe")), "text/html"), [("1.1", ["run.exe"], EXE)]),
    "uuencode without its end": Case(lambda: mail(text("x\n", a.uuencoded(EXE, "run.exe", last="")[:-2], "\nand more text, in prose\n")),
                                     [("1.1", ["run.exe"], EXE)], ["unended-block"]),
    "uuencode, the next one in the middle": Case(
        lambda: mail(text(a.uuencoded(EXE, "run.exe", last="")[:-2], a.uuencoded(OTHER, "b.txt"))),
        [("1.1", ["run.exe"], EXE), ("1.2", ["b.txt"], OTHER)], ["unended-block"]),
    "uuencode with a mode of four and blanks": Case(lambda: mail(text(a.uuencoded(EXE, " run.exe", "  0755 "))), [("1.1", ["run.exe"], EXE)]),
    "uuencode of nothing": Case(lambda: mail(text("begin 644 run.exe\n`\nend\n")), [("1.1", ["run.exe"], b"")]),
    "uuencode in base64 lines": Case(
        lambda: mail(text("begin-base64 644 run.exe\n", base64.encodebytes(EXE), "====\n")), [("1.1", ["run.exe"], EXE)]),
    "a mail about beginnings": Case(lambda: mail(text("begin 644 things\nand end them\n\nbegin the beguine\n")), []),
    "x-uuencode as transfer encoding": Case(lambda: mail(text(a.uuencoded(EXE, "run.exe")), "application/x-y", "x-uuencode"), []),
    "100,000 beginnings": Case(lambda: mail(text("begin 644 run.exe\n`\nend\n" * 100000)), [("1.1", ["run.exe"], b"")], ["too-many-parts"]),
    "300,000 beginnings of nothing": Case(lambda: mail(text("begin \n" * 300000)), []),
    "300,000 blocks of yEnc without end": Case(lambda: mail(text("=ybegin line=128 size=1 name=x\n" * 300000)),
                                               [("1.1", ["x"], b"")], ["too-many-parts"]),
    # yEnc
    "yEnc": Case(lambda: mail(b"hello\r\n" + a.yencoded(EXE, "run.exe") + b"bye\r\n"), [("1.1", ["run.exe"], EXE)]),
    "yEnc without its end": Case(lambda: mail(b"hello\r\n" + a.yencoded(EXE, "run.exe", False)), [("1.1", ["run.exe"], EXE)],
                                 ["unended-block"]),
    "yEnc and uuencode": Case(lambda: mail(a.yencoded(EXE, "run.exe") + text(a.uuencoded(OTHER, "b.txt"))),
                              [("1.1", ["run.exe"], EXE), ("1.2", ["b.txt"], OTHER)]),
    "yEnc without a name": Case(lambda: mail(a.yencoded(EXE, "").replace(b" name=", b"")), [("1.1", [], EXE)]),
    # messages under another type
    "a mail as octet-stream": Case(lambda: mail(EML, BINARY, "base64", "a.eml"), IN_EML),
    "a mail as octet-stream, not encoded": Case(lambda: mail(EML, BINARY, "8bit", "a.eml"), IN_EML),
    "a mail as text": Case(lambda: mail(EML, "text/plain; name=a.eml", "base64"), IN_EML),
    "a mail with letters of any case": Case(lambda: mail(EML, BINARY, "quoted-printable", '"A.EML"'), IN_EML),
    "a mail with an encoded name": Case(lambda: mail(EML, BINARY, "base64", '"=?utf-8?q?a=2Eeml?="'), IN_EML),
    "a mail whose second name says it": Case(lambda: mail(EML, BINARY + "; name=a.eml", "base64", "a.txt"), IN_EML, ["conflicting-names"]),
    "a mail that begins as one": Case(lambda: mail(RECEIVED + EML, BINARY, "base64", "a.bin"), IN_EML),
    "a text that is a mail": Case(lambda: mail(RECEIVED + EML, "text/plain", "base64", "a.txt"), IN_EML),
    "a mail in a mail, both as octet-stream": Case(
        lambda: mail(mail(EML, BINARY, "base64", "b.eml"), BINARY, "base64", "a.eml"),
        [("1.1", [], None), ("1.1.1", ["b.eml"], EML)] + [("1.1.1" + path[1:], names, content) for path, names, content in IN_EML]),
    "mails in mails, 200 levels": Case(lambda: letters(200), [("1.1", [], None), ("1.1.1", ["a.eml"], None)], ["too-deep"]),
    "a large mail, 48 levels": Case(lambda: letters(24, b"x" * 70 + b"\r\n", 20000), [
        ("1" + ".1" * i, ["a.eml"] if i % 2 == 0 and i < 48 else [], None) for i in range(1, 49)]),
    "a text that begins as a mail": Case(lambda: mail(RECEIVED + EML, "text/plain", "8bit"), []),
    "a log of a chat": Case(lambda: mail(b"From: Ann\r\nhello\r\nFrom: Bob\r\nhi\r\n", "text/plain", "8bit", "chat.txt"), []),
    "a list of dates": Case(lambda: mail(b"Date: Monday\r\n\r\nDate: Tuesday\r\n", "text/plain", "8bit", "dates.txt"), []),
    # in one another
    "a zip in uuencode": Case(lambda: mail(text(a.uuencoded(a.zip_of((b"in.exe", EXE)), "a.zip"))),
                              [("1.1", ["a.zip"], a.zip_of((b"in.exe", EXE)))]),
    "uuencode in TNEF": Case(
        lambda: winmail(t.tnef(t.attached(a.uuencoded(EXE, "run.exe").encode(), b"a.txt", t.text(0x370e, "text/plain")))),
        [("1.1", ["a.txt"], None), ("1.1.1", ["run.exe"], EXE)]),
}


def digest(content):
    return hashlib.sha256(content).hexdigest()
