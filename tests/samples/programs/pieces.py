"""Encodings, and small files that mail carries around, made here so that nobody else's content is in the samples."""

import base64
import io
import quopri
import struct
import textwrap
import zipfile
import zlib


def b64(data):
    return "\n".join(textwrap.wrap(base64.b64encode(data).decode(), 76)) + "\n"


def qp(text, charset="utf-8"):
    return quopri.encodestring(text.encode(charset)).decode("ascii")


def word(text, charset, how="B"):
    data = text.encode(charset)
    if how == "B":
        return f"=?{charset}?B?{base64.b64encode(data).decode()}?="
    quoted = "".join(chr(c) if chr(c).isalnum() and c < 128 else "_" if c == 32 else f"={c:02X}" for c in data)
    return f"=?{charset}?Q?{quoted}?="


def png(width, height, colour):
    """A picture of one colour (r, g, b)."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = (b"\0" + bytes(colour) * width) * height
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def pdf(text):
    """A page with one line of text on it."""
    stream = f"BT /F1 24 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
               b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
               b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
               b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    out, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return out + (b"xref\n0 6\n0000000000 65535 f \n" + table + b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(out))


def archive(files):
    """A zip of {name: bytes}; the same bytes each time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(zipfile.ZipInfo(name, (2026, 1, 5, 10, 0, 0)), content)
    return out.getvalue()


class Tnef:
    """A winmail.dat as Outlook writes it ([MS-OXTNEF]): attributes with a checksum each, attachments with a long name among their properties."""

    MESSAGE, ATTACHMENT = 1, 2
    VERSION, CODE_PAGE, CLASS, SUBJECT, RENDERING = 0x00089006, 0x00069007, 0x00078008, 0x00018004, 0x00069002
    TITLE, DATA, PROPERTIES = 0x00018010, 0x0006800F, 0x00069005

    def __init__(self, subject):
        self.out = struct.pack("<IH", 0x223E9F78, 1)
        self.add(self.MESSAGE, self.VERSION, struct.pack("<I", 0x00010000))
        self.add(self.MESSAGE, self.CODE_PAGE, struct.pack("<II", 1252, 0))
        self.add(self.MESSAGE, self.CLASS, b"IPM.Microsoft Mail.Note\0")
        self.add(self.MESSAGE, self.SUBJECT, subject.encode("cp1252") + b"\0")

    def add(self, level, attribute, data):
        self.out += struct.pack("<BII", level, attribute, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)

    @staticmethod
    def text_property(tag, text):
        """A PT_UNICODE property: one value, padded to four bytes."""
        data = text.encode("utf-16-le") + b"\0\0"
        return struct.pack("<III", tag << 16 | 0x001F, 1, len(data)) + data + b"\0" * (-len(data) % 4)

    def attach(self, short, name, content):
        self.add(self.ATTACHMENT, self.RENDERING, struct.pack("<HIHHI", 1, 0xFFFFFFFF, 0, 0, 0))
        self.add(self.ATTACHMENT, self.TITLE, short.encode("ascii") + b"\0")
        self.add(self.ATTACHMENT, self.DATA, content)
        properties = struct.pack("<III", 1, 0x37050003, 1) + self.text_property(0x3707, name)
        properties = struct.pack("<I", 2) + properties[4:]  # PR_ATTACH_METHOD and PR_ATTACH_LONG_FILENAME
        self.add(self.ATTACHMENT, self.PROPERTIES, properties)
        return self
