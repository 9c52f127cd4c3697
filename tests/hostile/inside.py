"""Mails with parts in parts that are no containers, TNEF, uuencode, yEnc, messages of another type, S/MIME: each with the parts that must be seen."""

import base64
import hashlib
import os
import quopri
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness import archives as a  # noqa: E402
from harness import cms as c  # noqa: E402
from harness import tnef as t  # noqa: E402

EXE = b"MZ" + bytes(range(256)) * 3
OTHER = b"other content\r\n" * 20


class Case:
    """make: the mail; see: of each part its path, names and content (None: any), in order, those carried alone; defects that must be there
    (None: no ambiguous one); options of the configuration."""

    def __init__(self, make, see, defects=None, options=()):
        self.make, self.see, self.defects, self.options = make, see, defects, options


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

RTF = b"{\\rtf1\\ansi\\deff0 " + b"\\par text of some length, text of some length; ".join(b"%d" % i for i in range(40)) + b"}\r\n"
# The examples of [MS-OXRTFCP] section 3.1.
HELLO = bytes.fromhex("2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0")
WXYZ = bytes.fromhex("1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0")
P7M = "application/pkcs7-mime; smime-type=signed-data"
ENTITY = (b"Content-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\nContent-Type: text/plain\r\n\r\nhello\r\n--q\r\n"
          b"Content-Type: application/octet-stream; name=run.exe\r\nContent-Transfer-Encoding: base64\r\n\r\n"
          + base64.encodebytes(EXE).replace(b"\n", b"\r\n") + b"--q--\r\n")
IN_ENTITY = [("1.1", [], ENTITY.split(b"\r\n\r\n", 1)[1]), ("1.1.1", [], b"hello"), ("1.1.2", ["run.exe"], EXE)]


def p7m(data, kind=P7M, name="smime.p7m", encoding="base64"):
    return mail(data, kind, encoding, name)


def raw_mail(data, kind=P7M):
    """Not encoded."""
    return f"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: binary\r\n\r\n".encode() + data


def seals(levels):
    data = ENTITY
    for _ in range(levels):
        data = b"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: binary\r\n\r\n" + c.signed(data)
    return p7m(c.signed(data))


def nested_kinds(levels):
    data = c.signed_data(c.octets(ENTITY))
    for _ in range(levels):
        data = c.signed_data(c.octets(data), c.SIGNED)
    return p7m(c.info(c.SIGNED, data))


SMIME_CASES = {
    "S/MIME, signed": Case(lambda: p7m(c.signed(ENTITY)), IN_ENTITY),
    "S/MIME, signed, in pieces without lengths": Case(lambda: p7m(c.signed(ENTITY, c.ber)), IN_ENTITY),
    "S/MIME, signed, pieces in pieces": Case(
        lambda: p7m(c.info(c.SIGNED, c.signed_data(c.der(0x24, c.pieces(ENTITY[:99]), c.pieces(ENTITY[99:], 50, c.der))))), IN_ENTITY),
    "S/MIME, signed, not encoded": Case(lambda: raw_mail(c.signed(ENTITY)), IN_ENTITY, ["nul-bytes"]),
    "S/MIME, signed, the older type": Case(lambda: p7m(c.signed(ENTITY), "application/x-pkcs7-mime"), IN_ENTITY),
    "S/MIME, signed, without parameters": Case(lambda: p7m(c.signed(ENTITY), "application/pkcs7-mime", None), IN_ENTITY),
    "S/MIME, signed, called encrypted": Case(lambda: p7m(c.signed(ENTITY), "application/pkcs7-mime; smime-type=enveloped-data"), IN_ENTITY),
    "S/MIME, signed, by its name": Case(lambda: p7m(c.signed(ENTITY), BINARY), IN_ENTITY),
    "S/MIME, signed, by its content": Case(lambda: p7m(c.signed(ENTITY), BINARY, "x.bin"), IN_ENTITY),
    "S/MIME, signed, called a text": Case(lambda: p7m(c.signed(ENTITY), "text/plain", "x.txt"), IN_ENTITY),
    "S/MIME, signed, called a signature": Case(lambda: p7m(c.signed(ENTITY), "application/pkcs7-signature", "smime.p7s"), IN_ENTITY),
    "S/MIME, signed, written as PEM": Case(
        lambda: p7m(b"-----BEGIN PKCS7-----\n" + base64.encodebytes(c.signed(ENTITY)) + b"-----END PKCS7-----\n", encoding="7bit"), IN_ENTITY),
    "S/MIME, signed, in base64 that no header tells": Case(
        lambda: p7m(base64.encodebytes(c.signed(ENTITY)), BINARY, encoding="7bit"), IN_ENTITY),
    "S/MIME, signed, as in PKCS #7": Case(lambda: p7m(c.info(c.SIGNED, c.signed_data(c.der(0x30, c.octets(EXE))))),
                                          [("1.1", ["smime"], c.der(0x30, c.octets(EXE)))]),
    "S/MIME, one part without a multipart": Case(
        lambda: p7m(c.signed(b"Content-Type: application/x-msdownload; name=run.exe\r\n\r\nMZ")), [("1.1", ["run.exe"], b"MZ")]),
    "S/MIME, a part without a header": Case(lambda: p7m(c.signed(text("\r\n", a.uuencoded(EXE, "run.exe")))),
                                            [("1.1", [], None), ("1.1.1", ["run.exe"], EXE)]),
    "S/MIME, a part whose type is no first field": Case(
        lambda: p7m(c.signed(b"junk\r\n" + ENTITY)), [("1.1.2", ["run.exe"], EXE)], ["header-without-colon"]),
    "S/MIME, compressed": Case(lambda: p7m(c.compressed(ENTITY), "application/pkcs7-mime; smime-type=compressed-data", "smime.p7z"), IN_ENTITY),
    "S/MIME, compressed, called signed": Case(lambda: p7m(c.compressed(ENTITY)), IN_ENTITY),
    "S/MIME, digested": Case(lambda: p7m(c.digested(ENTITY)), IN_ENTITY),
    "S/MIME, authenticated": Case(lambda: p7m(c.authenticated(ENTITY)), IN_ENTITY),
    "S/MIME, data alone": Case(lambda: p7m(c.info(c.DATA, c.octets(ENTITY))), IN_ENTITY),
    "S/MIME, signed, compressed in between": Case(
        lambda: p7m(c.info(c.SIGNED, c.signed_data(c.octets(c.compressed_data(ENTITY)), c.COMPRESSED))), IN_ENTITY),
    "S/MIME, signed in signed": Case(lambda: seals(1), [
        ("1.1", [], c.signed(ENTITY))] + [("1.1" + path[1:], names, content) for path, names, content in IN_ENTITY]),
    "S/MIME, signed in signed, without MIME": Case(lambda: nested_kinds(3), IN_ENTITY),
    "S/MIME, 20 layers without MIME": Case(lambda: nested_kinds(20), [("1.1", ["smime"], None)], ["broken-smime"]),
    "S/MIME, 200 levels": Case(lambda: seals(200), [("1.1", [], None)], ["too-deep"]),
    "S/MIME, encrypted": Case(lambda: p7m(c.enveloped()), []),
    "S/MIME, encrypted, by its content": Case(lambda: p7m(c.enveloped(c.AUTH_ENVELOPED), BINARY, "x.bin"), []),
    "S/MIME, a signature": Case(lambda: p7m(c.info(c.SIGNED, c.signed_data(None)), "application/pkcs7-signature", "smime.p7s"), []),
    "S/MIME, certificates": Case(lambda: p7m(c.info(c.SIGNED, c.signed_data(None, make=c.ber), c.ber)), []),
    "a signed file": Case(lambda: p7m(c.signed(EXE), "application/pkcs7-mime", "run.exe.p7m"), [("1.1", ["run.exe"], EXE)]),
    "a signed file by its name": Case(lambda: p7m(c.signed(EXE), BINARY, '"Run.EXE.P7M"'), [("1.1", ["Run.EXE"], EXE)]),
    "a signed file that is a text": Case(
        lambda: p7m(c.signed(b"Content: one\r\nx\r\n"), BINARY, "a.bat.p7m"), [("1.1", ["a.bat"], b"Content: one\r\nx\r\n")]),
    "a signed file that is a part as well": Case(lambda: p7m(c.signed(ENTITY), name="a.bat.p7m"),
                                                 [("1.1", ["a.bat"], ENTITY), ("1.2.2", ["run.exe"], EXE)], []),
    "a file signed twice": Case(lambda: p7m(c.signed(c.signed(EXE)), BINARY, "run.exe.p7m.p7m"),
                                [("1.1", ["run.exe.p7m"], c.signed(EXE)), ("1.1.1", ["run.exe"], EXE)]),
    "S/MIME, cut off in the content": Case(lambda: p7m(c.signed(ENTITY)[:900]), [("1.1.2", ["run.exe"], None)], ["broken-smime"]),
    "S/MIME, cut off in a piece": Case(lambda: p7m(c.signed(ENTITY, c.ber)[:1100]), [("1.1.2", ["run.exe"], None)], ["broken-smime"]),
    "S/MIME, cut off behind the content": Case(lambda: p7m(c.signed(ENTITY)[:-9]), IN_ENTITY, ["broken-smime"]),
    "S/MIME that is none": Case(lambda: p7m(b"hello"), [], ["broken-smime"]),
    "S/MIME that is none, by its name": Case(lambda: p7m(b"hello", BINARY), [], ["broken-smime"]),
    "S/MIME of an unknown kind": Case(lambda: p7m(c.info(c.PKCS7 + b"\x63", c.octets(ENTITY))), [], ["broken-smime"]),
    "S/MIME with a length of 2 to the 64": Case(lambda: p7m(b"\x30\x88" + b"\xff" * 8 + c.signed(ENTITY)[4:]), IN_ENTITY, ["broken-smime"]),
    "S/MIME with a length of 126 bytes": Case(lambda: p7m(b"\x30\xfe" + b"\xff" * 200), [], ["broken-smime"]),
    "S/MIME, compressed, cut off": Case(lambda: p7m(c.info(c.COMPRESSED, c.compressed_data(ENTITY))[:-60]), [], ["broken-smime"]),
    "S/MIME, 20 MB of zeros compressed": Case(lambda: p7m(c.compressed(bytes(20 << 20))), [("1.1", ["smime"], bytes(20 << 20))]),
    "S/MIME, 20 MB of zeros compressed, over a limit": Case(
        lambda: p7m(c.compressed(bytes(20 << 20))), [("1.1", ["smime"], None)], ["too-much-decoded", "broken-smime"], ["worker.max_decoded=1M"]),
    "S/MIME, 1,000,000 open elements": Case(
        lambda: p7m(c.info(c.SIGNED, b"\x30\x80" + c.VERSION + b"\x31\x80" * 1000000)), [], ["broken-smime"]),
    "S/MIME, 1,000,000 open pieces": Case(
        lambda: p7m(c.info(c.SIGNED, c.signed_data(b"\x24\x80" * 1000000))), [], ["broken-smime"]),
}

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
    "TNEF with an HTML text": Case(
        lambda: winmail(t.tnef(ONE, t.message(t.binary(0x1013, "<p>grüße".encode()), t.number(0x3fde, 65001)))),
        [("1.1", ["run.exe"], EXE), ("1.2", [], "<p>grüße".encode())]),
    "TNEF with three texts": Case(
        lambda: winmail(t.tnef(t.message(t.text(0x1000, "grüße"), t.text(0x1013, "<p>grüße"), t.binary(0x1009, t.rtf(RTF))), ONE)),
        [("1.1", [], "grüße".encode()), ("1.2", [], "<p>grüße".encode()), ("1.3", [], RTF), ("1.4", ["run.exe"], EXE)]),
    "TNEF with a file in its text": Case(
        lambda: winmail(t.tnef(t.message(t.text(0x1000, a.uuencoded(EXE, "run.exe"))))), [("1.1", [], None), ("1.1.1", ["run.exe"], EXE)]),
    "TNEF with RTF": Case(lambda: winmail(t.tnef(t.message(t.binary(0x1009, HELLO)))),
                          [("1.1", [], b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n")]),
    "TNEF with RTF that refers to itself": Case(lambda: winmail(t.tnef(t.message(t.binary(0x1009, WXYZ)))), [("1.1", [], b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}")]),
    "TNEF with much RTF": Case(lambda: winmail(t.tnef(t.message(t.binary(0x1009, t.rtf(RTF * 40))))), [("1.1", [], RTF * 40)]),
    "TNEF with RTF that is not compressed": Case(
        lambda: winmail(t.tnef(t.message(t.binary(0x1009, struct.pack("<II4sI", len(RTF) + 12, len(RTF), b"MELA", 0) + RTF)))), [("1.1", [], RTF)]),
    "TNEF with RTF that does not end": Case(lambda: winmail(t.tnef(t.message(t.binary(0x1009, t.rtf(RTF, ends=False))))), [("1.1", [], RTF)], ["broken-tnef"]),
    "TNEF with RTF that is none": Case(lambda: winmail(t.tnef(t.message(t.binary(0x1009, RTF)))), [], ["broken-tnef"]),
    "TNEF with RTF that refers to what is not there": Case(
        lambda: winmail(t.tnef(t.message(t.binary(0x1009, struct.pack("<II4sI", 12, 0xffffffff, b"LZFu", 0) + b"\xff" + b"\xff\xff" * 8)))),
        [("1.1", [], None)], ["broken-tnef"]),
    "TNEF with RTF over a limit": Case(
        lambda: winmail(t.tnef(t.message(t.binary(0x1009, struct.pack("<II4sI", 12, 1, b"LZFu", 0) + (b"\xff" + b"\x00\x0e" * 8) * 3000)))),
        [("1.1", [], None)], ["too-much-decoded"], ["worker.max_decoded=128K"]),
    "TNEF with 5,000 texts": Case(lambda: winmail(t.tnef(t.message(*[t.text(0x1000, "x")] * 5000))), [("1.8", [], b"x")], ["broken-tnef"]),
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
CASES.update(SMIME_CASES)


def digest(content):
    return hashlib.sha256(content).hexdigest()
