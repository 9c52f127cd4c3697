"""TNEF ([MS-OXTNEF]), what Outlook puts into winmail.dat, made byte by byte."""

import struct

SIGNATURE = struct.pack("<IH", 0x223e9f78, 1)
IID_MESSAGE = bytes.fromhex("0703020000000000c000000000000046")
MESSAGE, ATTACHMENT = 1, 2
REND_DATA, TITLE, DATA, PROPERTIES = 0x00069002, 0x00018010, 0x0006800f, 0x00069005
STRING8, UNICODE, BINARY, OBJECT, LONG, SHORT, SYSTIME = 0x1e, 0x1f, 0x102, 0xd, 3, 2, 0x40


def attribute(tag, data, level=ATTACHMENT):
    return struct.pack("<BII", level, tag, len(data)) + data + struct.pack("<H", sum(data) & 0xffff)


def padded(data):
    return data + bytes(-len(data) % 4)


def value(data):
    return struct.pack("<II", 1, len(data)) + padded(data)


def text(number, name):
    return struct.pack("<I", number << 16 | UNICODE) + value((name + "\0").encode("utf-16-le"))


def text8(number, name):
    return struct.pack("<I", number << 16 | STRING8) + value(name + b"\0")


def binary(number, data):
    return struct.pack("<I", number << 16 | BINARY) + value(data)


def nested(data):
    return struct.pack("<I", 0x3701 << 16 | OBJECT) + value(IID_MESSAGE + data)


def properties(*items):
    return attribute(PROPERTIES, struct.pack("<I", len(items)) + b"".join(items))


def others():
    """Properties of each width, a named one and one of several values: to be skipped."""
    return [struct.pack("<IHH", 0x0037 << 16 | SHORT, 5, 0), struct.pack("<II", 0x3705 << 16 | LONG, 1),
            struct.pack("<Iq", 0x3007 << 16 | SYSTIME, 99), struct.pack("<I16sII", 0x8001 << 16 | LONG, b"g" * 16, 0, 7) + bytes(4),
            struct.pack("<I16sII", 0x8002 << 16 | LONG, b"g" * 16, 1, 6) + padded(b"n\0m\0\0\0") + bytes(4),
            struct.pack("<II", (0x1000 | LONG) | 0x6001 << 16, 3) + bytes(12),
            struct.pack("<I", (0x1000 | STRING8) | 0x6002 << 16) + struct.pack("<I", 2) + struct.pack("<I", 1) + padded(b"a")
            + struct.pack("<I", 5) + padded(b"bcdef")]


def attached(data, title=None, *items):
    """What Outlook writes of an attachment: its short name, its content, its properties."""
    out = attribute(REND_DATA, bytes(14))
    if title is not None:
        out += attribute(TITLE, title + b"\0")
    if data is not None:
        out += attribute(DATA, data)
    return out + (properties(*items) if items else b"")


def message(*items):
    """Properties of the message itself: to be given to tnef() among the attachments."""
    return attribute(0x00069003, struct.pack("<I", len(items)) + b"".join(items), MESSAGE)


def number(tag, value_):
    return struct.pack("<II", tag << 16 | LONG, value_)


RTF_START = (b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans SerifSymbol"
             b"ArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx")


def rtf(data, ends=True):
    """Compressed RTF ([MS-OXRTFCP]): the longest reference at each place."""
    window, at, units = RTF_START, 0, []
    while at < len(data):
        recent = window[-4000:]
        size = next((n for n in range(min(17, len(data) - at), 1, -1) if data[at:at + n] in recent), 0)
        if size > 1:
            offset = (len(window) - len(recent) + recent.index(data[at:at + size])) % 4096
            units.append((True, struct.pack(">H", offset << 4 | size - 2)))
        else:
            size = 1
            units.append((False, data[at:at + 1]))
        window += data[at:at + size]
        at += size
    if ends:
        units.append((True, struct.pack(">H", len(window) % 4096 << 4)))
    out = b""
    for i in range(0, len(units), 8):
        run = units[i:i + 8]
        out += bytes([sum(is_reference << bit for bit, (is_reference, _) in enumerate(run))]) + b"".join(unit for _, unit in run)
    return struct.pack("<II4sI", len(out) + 12, len(data), b"LZFu", 0) + out


def tnef(*attachments):
    head = attribute(0x00089006, struct.pack("<I", 0x10000), MESSAGE) + attribute(0x00069007, struct.pack("<II", 1252, 0), MESSAGE)
    subject = attribute(0x00018004, b"hello\0", MESSAGE)
    return SIGNATURE + head + subject + b"".join(attachments)


def winmail():
    """A message as Outlook sends it: an attachment of two names, a message in it with another, and a picture in the text."""
    inner = tnef(attached(b"inner bytes", b"INNER~1.TXT", text(0x3707, "inner name.txt")))
    return tnef(
        attached(b"MZ" + b"program" * 50, b"INVOIC~1.EXE", *others(), text(0x3704, "INVOIC~1.EXE"), text(0x3707, "Invoice \u2014 May.exe"),
                 text(0x370e, "application/x-msdownload")),
        attached(None, b"Untitled", text(0x3001, "a forwarded message"), nested(inner)),
        attached(b"\x89PNG\r\n\x1a\n" + bytes(20), b"image001.png", text8(0x370e, b"image/png")))


if __name__ == "__main__":
    import sys
    sys.stdout.buffer.write(winmail())
