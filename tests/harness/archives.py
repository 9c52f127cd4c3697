"""Archives made byte by byte: honest ones of formats that Python does not write, and those that say two things."""

import binascii
import gzip
import io
import struct
import tarfile
import zipfile
import zlib


# Zip (APPNOTE.TXT): built of records, so that each can lie.

def local(name, data=b"", flags=0, method=0, extra=b"", packed=None, unpacked=None):
    """A local header with its data. Method 8 deflates."""
    body = deflated(data) if method == 8 else data
    packed = len(body) if packed is None else packed
    unpacked = len(data) if unpacked is None else unpacked
    return struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, flags, method, 0, 0x21, zlib.crc32(data), packed & 0xffffffff,
                       unpacked & 0xffffffff, len(name), len(extra)) + name + extra + body


def central(name, data=b"", offset=0, flags=0, method=0, extra=b"", packed=None, unpacked=None, mode=0):
    body = deflated(data) if method == 8 else data
    packed = len(body) if packed is None else packed
    unpacked = len(data) if unpacked is None else unpacked
    return struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 0x314, 20, flags, method, 0, 0x21, zlib.crc32(data), packed, unpacked,
                       len(name), len(extra), 0, 0, 0, mode << 16, offset) + name + extra


def end(directory, n, offset, comment=b""):
    return struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, n & 0xffff, n & 0xffff, len(directory), offset, len(comment)) + comment


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def zip_of(*files, **given):
    """An honest zip: (name, data) pairs."""
    body, directory, at = [], [], 0
    for name, data in files:
        directory.append(central(name, data, at, **given))
        body.append(local(name, data, **given))
        at += len(body[-1])
    directory = b"".join(directory)
    return b"".join(body) + directory + end(directory, len(files), at)


def zip_of_records(locals_, centrals, n=None):
    """Any records: local ones, then central ones, then the end."""
    body, directory = b"".join(locals_), b"".join(centrals)
    return body + directory + end(directory, len(centrals) if n is None else n, len(body))


def unicode_name(name, utf8):
    """The extra field 0x7075."""
    return struct.pack("<HHBI", 0x7075, 5 + len(utf8), 1, zlib.crc32(name)) + utf8


def aes_zip(name):
    extra = struct.pack("<HHHHBH", 0x9901, 7, 2, 0x4541, 3, 8)
    return zip_of_records([local(name, b"x" * 40, flags=1, method=99, extra=extra)],
                          [central(name, b"x" * 40, flags=1, method=99, extra=extra)])


def deflate_bomb(name, size):
    """`size` zeros in one entry."""
    packer, packed = zlib.compressobj(9, zlib.DEFLATED, -15), []
    crc, left, piece = 0, size, bytes(1 << 20)
    while left > 0:
        some = piece[:min(left, len(piece))]
        packed.append(packer.compress(some))
        crc = zlib.crc32(some, crc)
        left -= len(some)
    packed = b"".join(packed) + packer.flush()
    head = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 0x21, crc, len(packed), size, len(name), 0) + name
    directory = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 0x314, 20, 0, 8, 0, 0x21, crc, len(packed), size, len(name), 0, 0, 0, 0, 0,
                            0) + name
    return head + packed + directory + end(directory, 1, len(head) + len(packed))


def nested_zips(levels, width, inner):
    """As 42.zip: each level holds the one below `width` times; small, since they are alike."""
    data = inner
    for level in range(levels):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for i in range(width):
                archive.writestr(f"lib{level}{i:x}.zip", data)
        data = out.getvalue()
    return data


# Streams

def gz(data, name=None):
    out = io.BytesIO()
    with gzip.GzipFile(name or "", "wb", fileobj=out, mtime=0) as file:
        file.write(data)
    return out.getvalue()


def gz_bomb(size):
    """Zeros, a multiple of 16 MB, in as many members."""
    return gz(bytes(16 << 20)) * (size >> 24)


def tar_of(*files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tar_link(name, target):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = tarfile.SYMTYPE, target
        archive.addfile(info)
    return out.getvalue()


def cpio_of(*files):
    """The "newc" format."""
    out = b""
    for name, data in [*files, ("TRAILER!!!", b"")]:
        name = name.encode() + b"\0"
        head = b"070701" + b"".join(b"%08x" % n for n in (1, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)) + name
        out += head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
    return out


def ar_of(*files):
    out = b"!<arch>\n"
    for name, data in files:
        out += b"%-16s%-12d%-6d%-6d%-8o%-10d`\n" % (name.encode() + b"/", 0, 0, 0, 0o100644, len(data)) + data + b"\n" * (len(data) % 2)
    return out


# Formats that Python does not write, all without compression

def rar4_of(*files, names_encrypted=False, encrypted=False):
    def block(data):
        return struct.pack("<H", zlib.crc32(data) & 0xffff) + data
    out = b"Rar!\x1a\7\0" + block(struct.pack("<BHHHI", 0x73, 0x80 if names_encrypted else 0, 13, 0, 0))
    for name, data in files:
        name = name.encode()
        out += block(struct.pack("<BHHIIBIIBBHI", 0x74, 0x8000 | (4 if encrypted else 0), 32 + len(name), len(data), len(data), 2,
                                 zlib.crc32(data), 0x21, 29, 0x30, len(name), 0x20) + name) + data
    return out + b"\xc4\x3d\x7b\0\x40\7\0"


def rar5_of(*files):
    def vint(n):
        out = b""
        while n > 0x7f:
            out += bytes([n & 0x7f | 0x80])
            n >>= 7
        return out + bytes([n])

    def block(data):
        data = vint(len(data)) + data
        return struct.pack("<I", zlib.crc32(data)) + data
    out = b"Rar!\x1a\7\1\0" + block(vint(1) + vint(0) + vint(0))
    for name, data in files:
        name = name.encode()
        out += block(vint(2) + vint(2) + vint(len(data)) + vint(4) + vint(len(data)) + vint(0x20) + struct.pack("<I", zlib.crc32(data))
                     + vint(0) + vint(0) + vint(len(name)) + name) + data
    return out + block(vint(5) + vint(0) + vint(0))


def cab_of(*files):
    data = b"".join(body for _, body in files)
    entries, at = b"", 0
    for name, body in files:
        entries += struct.pack("<IIHHHH", len(body), at, 0, 0x21, 0, 0x20) + name.encode() + b"\0"
        at += len(body)
    start = 36 + 8 + len(entries)
    blocks = b"".join(struct.pack("<IHH", 0, len(data[i:i + 32768]), len(data[i:i + 32768])) + data[i:i + 32768]
                      for i in range(0, len(data), 32768))
    return struct.pack("<4sIIIIIBBHHHHH", b"MSCF", 0, start + len(blocks), 0, 44, 0, 3, 1, 1, len(files), 0, 1, 0) + struct.pack(
        "<IHH", start, -(-len(data) // 32768), 0) + entries + blocks


def lzh_of(*files):
    def crc16(data):
        crc = 0
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0xa001 if crc & 1 else 0)
        return crc
    out = b""
    for name, data in files:
        name = name.encode()
        head = b"-lh0-" + struct.pack("<IIIBBB", len(data), len(data), 0x21 << 16, 0x20, 0, len(name)) + name + struct.pack("<H", crc16(data))
        out += bytes([len(head), sum(head) & 0xff]) + head + data
    return out + b"\0"


def seven_zip_of(*files, coder=b"\x01\x00", pack=bytes, names_encrypted=False):
    """One stream; coder: how its bytes are packed (stored), pack: packs them so. names_encrypted: the header is said to be AES."""
    def number(n):
        return bytes([n]) if n < 0x80 else bytes([0x80 | n >> 8, n & 0xff])
    plain = b"".join(body for _, body in files)
    data = pack(plain)
    if names_encrypted:
        coder = b"\x24\x06\xf1\x07\x01" + b"\x02\x13\x00"
    streams = (b"\x06" + number(0) + b"\x01\x09" + number(len(data)) + b"\x00"
               + b"\x07\x0b\x01\x00\x01" + coder + b"\x0c" + number(len(plain)) + b"\x00")
    if names_encrypted:
        header = b"\x17" + streams + b"\x00"
    else:
        names = b"\x00" + b"".join((name + "\0").encode("utf-16-le") for name, _ in files)
        parts = b"\x08\x0d" + number(len(files)) + b"\x09" + b"".join(number(len(body)) for _, body in files[:-1]) + b"\x00"
        header = (b"\x01\x04" + streams + parts + b"\x00" + b"\x05" + number(len(files)) + b"\x11" + number(len(names)) + names
                  + b"\x00\x00")
    start = struct.pack("<QQI", len(data), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<I", zlib.crc32(start)) + start + data + header


def iso_of(*files, joliet=None, udf=False):
    """A disc image with files in its root; joliet: names of the second tree for the same files."""
    def both(n, size):
        return struct.pack("<I" if size == 4 else "<H", n) + struct.pack(">I" if size == 4 else ">H", n)

    def record(name, sector, size, flags=0):
        data = struct.pack("<B", 0) + both(sector, 4) + both(size, 4) + bytes([70, 1, 1, 0, 0, 0, 0, flags, 0, 0]) + both(1, 2) + bytes(
            [len(name)]) + name
        data += bytes((len(data) + 1) % 2)
        return bytes([len(data) + 1]) + data

    def descriptor(kind, root, escapes=b""):
        data = bytes([kind]) + b"CD001\1" + bytes(1) + b" " * 64 + bytes(8) + both(40 + len(files), 4) + escapes.ljust(32, b"\0")
        data += both(1, 2) + both(1, 2) + both(2048, 2) + both(10, 4) + struct.pack("<II", 19, 0) + struct.pack(">II", 19, 0)
        return (data + record(b"\0", root, 2048, 2)).ljust(881, b" ").ljust(882, b"\1").ljust(2048, b"\0")

    def folder(sector, names):
        data = record(b"\0", sector, 2048, 2) + record(b"\1", sector, 2048, 2)
        for i, (name, (_, body)) in enumerate(zip(names, files)):
            data += record(name, 30 + i, len(body))
        return data.ljust(2048, b"\0")
    sectors = {16: descriptor(1, 20), 17: b"\xffCD001\1", 20: folder(20, [name.encode() + b";1" for name, _ in files])}
    if joliet is not None:
        sectors[17] = descriptor(2, 21, b"%/E")
        sectors[18] = b"\xffCD001\1"
        sectors[21] = folder(21, [name.encode("utf-16-be") for name in joliet])
    if udf:
        sectors[19] = b"\0BEA01\1"
        sectors[22] = b"\0NSR02\1"
    for i, (_, body) in enumerate(files):
        sectors[30 + i] = body
    out = bytearray(2048 * (40 + len(files)))
    for sector, data in sectors.items():
        out[sector * 2048:sector * 2048 + len(data)] = data
    return bytes(out)


def uuencoded(data, name, mode="644", last="end\n"):
    lines = [binascii.b2a_uu(data[i:i + 45]).decode() for i in range(0, len(data), 45)]
    return f"begin {mode} {name}\n" + "".join(lines) + "`\n" + last


def yencoded(data, name, last=True):
    out = bytearray()
    for byte in data:
        byte = byte + 42 & 0xff
        out += bytes([ord("="), byte + 64 & 0xff]) if byte in b"\0\n\r=" else bytes([byte])
    lines = b"".join(bytes(out[i:i + 120]) + b"\r\n" for i in range(0, len(out), 120))
    return b"=ybegin line=120 size=%d name=%s\r\n" % (len(data), name.encode()) + lines + (
        b"=yend size=%d\r\n" % len(data) if last else b"")
