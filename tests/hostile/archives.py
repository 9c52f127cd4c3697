"""Archives that a stranger may send: each with what must be seen of it."""

import bz2
import lzma
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness import archives as a  # noqa: E402
from harness.process import SANITIZE  # noqa: E402

EXE = b"MZ" + bytes(100)
NOISE = random.Random(1).randbytes(5000)
PAIR = (("doc.txt", b"hello"), ("run.exe", EXE))
B_PAIR = tuple((name.encode(), data) for name, data in PAIR)


class Case:
    """name of the attachment, its bytes; see: paths that must be listed; flags: path to flags that must stand there; error: words of why
    it cannot be read, None: it can; of_memory: that is for want of memory, which a sanitizer's build does not limit."""

    def __init__(self, name, make, see=(), flags=None, error=None, count=None, of_memory=False):
        self.name, self.make, self.see, self.flags, self.count = name, make, list(see), flags or {}, count
        self.error = None if of_memory and SANITIZE else error


def wants_memory(size, files=PAIR):
    """A 7z in LZMA with a dictionary of that size, which has to be there before the first byte comes out."""
    def pack(data):
        return lzma.compress(data, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 4096}])
    return a.seven_zip_of(*files, coder=b"\x23\x03\x01\x01\x05\x5d" + size.to_bytes(4, "little"), pack=pack)


def unknown_method(name, data):
    return a.zip_of_records([a.local(name, data, method=77)], [a.central(name, data, method=77)])


def broken_deflate(name, data):
    """Deflated, with a first block of a kind that there is not."""
    body = bytearray(a.zip_of((name, data), method=8))
    body[30 + len(name)] |= 6
    return bytes(body)


def two_names(local_name, central_name):
    return a.zip_of_records([a.local(local_name, EXE)], [a.central(central_name, EXE)])


def only_local():
    body = a.local(b"hidden.exe", EXE)
    seen = a.local(b"ok.txt", b"hi")
    directory = a.central(b"ok.txt", b"hi", len(body))
    return body + seen + directory + a.end(directory, 1, len(body) + len(seen))


def two_ends():
    """Two directories, each with an end record: what is read depends on who looks from where."""
    first = a.zip_of((b"first.exe", EXE))
    body = a.local(b"second.txt", b"hi")
    directory = a.central(b"second.txt", b"hi", len(first))
    return first + body + directory + a.end(directory, 1, len(first) + len(body))


def comment_holds_zip():
    inner = a.zip_of((b"comment.exe", EXE))
    outer = a.zip_of((b"ok.txt", b"hi"))
    return outer[:-2] + len(inner).to_bytes(2, "little") + inner


def hidden_zip_inside():
    """A zip that only the local headers have."""
    inner = a.zip_of((b"deep.exe", EXE))
    body, seen = a.local(b"inner.zip", inner), a.local(b"ok.txt", b"hi")
    directory = a.central(b"ok.txt", b"hi", len(body))
    return body + seen + directory + a.end(directory, 1, len(body) + len(seen))


def overlapping(n):
    """One file, which n entries of the directory stand for."""
    body = a.local(b"x", bytes(1000), method=8)
    directory = b"".join(a.central(b"x%d" % i, bytes(1000), 0, method=8) for i in range(n))
    return body + directory + a.end(directory, n, len(body))


def quine_like(depth):
    data = a.zip_of((b"run.exe", EXE))
    for i in range(depth):
        data = a.zip_of((b"%d.zip" % i, data))
    return data


def nested_gz(data, levels):
    for _ in range(levels):
        data = a.gz(data)
    return data


def lying_gz():
    """Its last four bytes say that there is next to nothing in it."""
    return a.gz_bomb(64 << 20)[:-4] + (5).to_bytes(4, "little")


def huge_tar_entry():
    data = bytearray(a.tar_of(("big.bin", b"x"), ("run.exe", EXE)))
    data[124:136] = b"77777777777\0"
    data[148:156] = b"        "
    total = sum(data[:512])
    data[148:156] = b"%06o\0 " % total
    return bytes(data)


CASES = {
    # what each format gives when all is well
    "zip": Case("a.zip", lambda: a.zip_of(*B_PAIR), ["doc.txt", "run.exe"], count=2),
    "zip, deflated": Case("a.zip", lambda: a.zip_of(*B_PAIR, method=8), ["doc.txt", "run.exe"], count=2),
    "tar": Case("a.tar", lambda: a.tar_of(*PAIR), ["doc.txt", "run.exe"], count=2),
    "tar.gz": Case("a.tar.gz", lambda: a.gz(a.tar_of(*PAIR)), ["doc.txt", "run.exe"], count=2),
    "tar.bz2": Case("a.tbz2", lambda: bz2.compress(a.tar_of(*PAIR)), ["doc.txt", "run.exe"], count=2),
    "tar.xz": Case("a.txz", lambda: lzma.compress(a.tar_of(*PAIR)), ["doc.txt", "run.exe"], count=2),
    "cpio": Case("a.cpio", lambda: a.cpio_of(*PAIR), ["doc.txt", "run.exe"], count=2),
    "ar": Case("a.deb", lambda: a.ar_of(*PAIR), ["doc.txt", "run.exe"], count=2),
    "rar 4": Case("a.rar", lambda: a.rar4_of(*PAIR), ["doc.txt", "run.exe"], count=2),
    "rar 5": Case("a.rar", lambda: a.rar5_of(*PAIR), ["doc.txt", "run.exe"], count=2),
    "cab": Case("a.cab", lambda: a.cab_of(*PAIR), ["doc.txt", "run.exe"], count=2),
    "lzh": Case("a.lzh", lambda: a.lzh_of(*PAIR), ["doc.txt", "run.exe"], count=2),
    "7z": Case("a.7z", lambda: a.seven_zip_of(*PAIR), ["doc.txt", "run.exe"], count=2),
    "iso": Case("a.iso", lambda: a.iso_of(("DOC.TXT", b"hi"), ("RUN.EXE", EXE)), ["RUN.EXE"]),
    "gz without a name": Case("run.exe.gz", lambda: a.gz(EXE), ["run.exe"], count=1),
    "gz with a name of its own": Case("photo.gz", lambda: a.gz(EXE, "run.exe"), ["run.exe", "photo"], count=1),
    "bz2": Case("run.exe.bz2", lambda: bz2.compress(EXE), ["run.exe"], count=1),
    "xz": Case("run.exe.xz", lambda: lzma.compress(EXE), ["run.exe"], count=1),
    "lzma": Case("run.exe.lzma", lambda: lzma.compress(EXE, lzma.FORMAT_ALONE), ["run.exe"], count=1),
    "a document": Case("report.docx", lambda: a.zip_of((b"[Content_Types].xml", b"<Types/>"), (b"word/document.xml", b"<w/>")),
                       ["word/document.xml"], count=2),
    "no archive": Case("report.pdf", lambda: b"%PDF-1.4\n%%EOF\n", error="no archive"),
    "a text": Case("note.txt", lambda: b"PK is a pair of letters\n", error="no archive"),
    # by content, whatever it is called
    "a zip called a picture": Case("a.jpg", lambda: a.zip_of(*B_PAIR), ["run.exe"], count=2),
    "a zip behind a picture": Case("a.gif", lambda: b"GIF89a" + bytes(300) + a.zip_of(*B_PAIR), ["run.exe"], count=2),
    "a rar called a zip": Case("a.zip", lambda: a.rar4_of(*PAIR), ["run.exe"], count=2),
    "a 7z in a gz": Case("a.gz", lambda: a.gz(a.seven_zip_of(*PAIR)), ["a/run.exe"]),
    "a zip in a gz": Case("a.zip.gz", lambda: a.gz(a.zip_of(*B_PAIR)), ["a.zip/run.exe"]),
    "a tar in a gz in a gz": Case("a.tar.gz.gz", lambda: a.gz(a.gz(a.tar_of(*PAIR))), ["run.exe"]),
    # archives in archives
    "a zip in a zip": Case("a.zip", lambda: a.zip_of((b"b.zip", a.zip_of(*B_PAIR))), ["b.zip", "b.zip/run.exe"], count=3),
    "a zip in a zip, called a text": Case("a.zip", lambda: a.zip_of((b"b.txt", a.zip_of(*B_PAIR)), method=8), ["b.txt/run.exe"], count=3),
    "a rar in a tar.gz in a zip": Case("a.zip", lambda: a.zip_of((b"b.tar.gz", a.gz(a.tar_of(("c/d.rar", a.rar4_of(*PAIR))))), method=8),
                                       ["b.tar.gz/c/d.rar/run.exe"]),
    "a cab in a 7z": Case("a.7z", lambda: a.seven_zip_of(("b.cab", a.cab_of(*PAIR))), ["b.cab/run.exe"]),
    "a gz in a zip": Case("a.zip", lambda: a.zip_of((b"run.exe.gz", a.gz(EXE))), ["run.exe.gz/run.exe"]),
    "nested as deep as allowed": Case("a.zip", lambda: quine_like(4), ["3.zip/2.zip/1.zip/0.zip/run.exe"]),
    "nested deeper than allowed": Case("a.zip", lambda: quine_like(5), ["4.zip/3.zip/2.zip/1.zip/0.zip"], error="max_archive_depth"),
    "100 levels": Case("a.zip", lambda: quine_like(100), ["99.zip"], error="max_archive_depth"),
    "gz in gz, 20 times": Case("run.exe.gz", lambda: nested_gz(EXE, 20), ["run.exe"]),
    # two directories that disagree
    "the local header has another name": Case("a.zip", lambda: two_names(b"run.exe", b"run.txt"), ["run.txt"],
                                              {"run.txt": "hidden"}, count=1),
    "a file that only local headers have": Case("a.zip", only_local, ["hidden.exe", "ok.txt"], {"hidden.exe": "hidden"}, count=2),
    "two end records": Case("a.zip", two_ends, ["first.exe", "second.txt"], {"first.exe": "hidden"}),
    "a zip in the comment": Case("a.zip", comment_holds_zip, ["ok.txt", "comment.exe"]),
    "an archive that only local headers have": Case("a.zip", hidden_zip_inside, ["inner.zip", "inner.zip/deep.exe"],
                                                    {"inner.zip": "hidden"}),
    "iso, two trees": Case("a.iso", lambda: a.iso_of(("OK.TXT", EXE), joliet=["run.exe"]), ["run.exe", "OK.TXT"]),
    "iso, with UDF": Case("a.iso", lambda: a.iso_of(("README.TXT", b"hi"), udf=True), ["README.TXT"], error="UDF"),
    # names
    "code page 437": Case("a.zip", lambda: a.zip_of((b"\x84.exe", EXE)), ["\xe4.exe"], count=1),
    "UTF-8 without saying so": Case("a.zip", lambda: a.zip_of(("\xe4.exe".encode(), EXE)), ["\xe4.exe", "\u251c\xf1.exe"], count=1),
    "UTF-8": Case("a.zip", lambda: a.zip_of(("\u65e5.exe".encode(), EXE), flags=0x800), ["\u65e5.exe"], count=1),
    "a Unicode name in the extra field": Case("a.zip", lambda: a.zip_of((b"x.txt", EXE), extra=a.unicode_name(b"x.txt", b"run.exe")),
                                              ["x.txt", "run.exe"], count=1),
    "NUL in a name": Case("a.zip", lambda: a.zip_of((b"run.exe\0.txt", EXE)), ["run.exe", "run.exe.txt"], count=1),
    "a folder with content": Case("a.zip", lambda: a.zip_of((b"run.exe/", EXE)), ["run.exe"], count=1),
    "a name of 60,000 bytes": Case("a.zip", lambda: a.zip_of((b"x" * 60000 + b".exe", EXE)), ["x" * 2048 + "x" * 2044 + ".exe"], count=1),
    "no name": Case("a.zip", lambda: a.zip_of((b"", EXE)), count=1, error="no name"),
    "7z, a Japanese name": Case("a.7z", lambda: a.seven_zip_of(("\u65e5.exe", EXE)), ["\u65e5.exe"]),
    "an absolute name": Case("a.zip", lambda: a.zip_of((b"/etc/passwd", b"x")), flags={"/etc/passwd": "absolute"}),
    "..": Case("a.zip", lambda: a.zip_of((b"x/../../run.exe", b"x")), flags={"x/../../run.exe": "absolute"}),
    "..\\": Case("a.zip", lambda: a.zip_of((b"..\\run.exe", b"x")), flags={"..\\run.exe": "absolute"}),
    "a drive": Case("a.tar", lambda: a.tar_of(("C:run.exe", b"x")), flags={"C:run.exe": "absolute"}),
    "a link that leads out": Case("a.tar", lambda: a.tar_link("x", "../../etc/passwd"), flags={"x": "absolute"}),
    # encrypted
    "an encrypted file": Case("a.zip", lambda: a.zip_of((b"run.exe", EXE), flags=1), flags={"run.exe": "encrypted"}),
    "AES": Case("a.zip", lambda: a.aes_zip(b"run.exe"), flags={"run.exe": "encrypted"}),
    "an encrypted zip in a zip": Case("a.zip", lambda: a.zip_of((b"b.zip", a.zip_of(*B_PAIR)), flags=1), ["b.zip"],
                                      {"b.zip": "encrypted"}, error="encrypted"),
    "rar with encrypted names": Case("a.rar", lambda: a.rar4_of(*PAIR, names_encrypted=True), error="encrypt"),
    "rar, an encrypted file": Case("a.rar", lambda: a.rar4_of(*PAIR, encrypted=True), flags={"run.exe": "encrypted"}),
    "7z with encrypted names": Case("a.7z", lambda: a.seven_zip_of(*PAIR, names_encrypted=True), error="encrypted"),
    # broken
    "empty": Case("a.zip", lambda: b"", error="empty"),
    "nothing of what it is called": Case("a.rar", lambda: b"hello, world\n" * 100, error="no archive that can be read"),
    "ace": Case("x.bin", lambda: bytes(7) + b"**ACE**" + bytes(100), error="no archive that can be read"),
    "a zip cut off": Case("a.zip", lambda: a.zip_of(*B_PAIR)[:150], ["doc.txt", "run.exe"], error="cut off"),
    "a zip without its end": Case("a.zip", lambda: a.zip_of(*B_PAIR)[:-30], ["doc.txt", "run.exe"], error="cut off"),
    "a directory cut off": Case("a.zip", lambda: a.zip_of_records([a.local(b"a", b"x"), a.local(b"run.exe", EXE)],
                                                                 [a.central(b"a", b"x")], n=2), ["a", "run.exe"], error="broken"),
    "a gz cut off": Case("run.exe.gz", lambda: a.gz(NOISE)[:-2000], ["run.exe"], error=""),
    "a tar.gz cut off": Case("a.tar.gz", lambda: a.gz(a.tar_of(("run.exe", EXE), ("b", NOISE)))[:-2000], ["a.tar"], error=""),
    "a rar cut off": Case("a.rar", lambda: a.rar4_of(*PAIR)[:-90], ["doc.txt"], error=""),
    "a 7z cut off": Case("a.7z", lambda: a.seven_zip_of(*PAIR)[:-10], error=""),
    "a 7z that wants 4 GB of memory": Case("a.7z", lambda: wants_memory(0xffffffff), ["doc.txt", "run.exe"], error="", of_memory=True),
    # reasons why a file in it was not looked into, each with a name that says nothing
    "not looked into: memory": Case("a.7z", lambda: wants_memory(0xffffffff, (("a.txt", a.zip_of(*B_PAIR)),)), ["a.txt"], error="", of_memory=True),
    "not looked into: a method that nobody knows": Case("a.zip", lambda: unknown_method(b"a.txt", a.zip_of(*B_PAIR)), ["a.txt"], error=""),
    "not looked into: broken": Case("a.zip", lambda: broken_deflate(b"a.txt", a.zip_of(*B_PAIR)), ["a.txt"], error=""),
    "not looked into: cut off": Case("a.zip", lambda: a.zip_of_records([a.local(b"a.txt", EXE, packed=9999, unpacked=9999)],
                                                                    [a.central(b"a.txt", EXE, packed=9999, unpacked=9999)]), ["a.txt"], error=""),
    "not looked into: nested too deep": Case("a.zip", lambda: a.zip_of((b"a.txt", quine_like(5)), method=8), ["a.txt"], error="max_archive_depth"),
    "not looked into: bytes": Case("a.zip", lambda: a.zip_of((b"a.txt", a.gz_bomb(300 << 20))), ["a.txt"], error="max_archive_bytes"),
    "not looked into: encrypted": Case("a.zip", lambda: a.zip_of((b"a.txt", a.zip_of(*B_PAIR)), flags=1), flags={"a.txt": "encrypted"}),
    "not looked into: a zip that only we find": Case(
        "a.gif", lambda: b"GIF89a" + bytes(300) + a.zip_of((b"a.txt", a.zip_of(*B_PAIR)))[:-2] + (40000).to_bytes(2, "little") + b" " * 40000,
        ["a.txt"], error=""),
    "over ratio, and looked into": Case("a.zip", lambda: a.zip_of((b"a.txt", a.zip_of((b"run.exe", EXE), (b"zeros", bytes(8 << 20)), method=0)), method=8),
                                        ["a.txt/run.exe"], {"a.txt": "over_ratio"}),
    "a tar before a zip": Case("a.tar", lambda: a.tar_of(("run.exe", EXE)) + a.zip_of((b"doc.txt", b"hi")), ["run.exe", "doc.txt"]),
    "a gz before a zip": Case("a.gz", lambda: a.gz(a.tar_of(("run.exe", EXE))) + a.zip_of((b"doc.txt", b"hi")), ["run.exe", "doc.txt"]),
    "iso, a file by one name in two trees": Case("a.iso", lambda: a.iso_of(("A.TXT", b"hi"), joliet=["A.TXT"]), ["A.TXT"]),
    # sizes
    "sizes that lie": Case("a.zip", lambda: a.zip_of_records([a.local(b"run.exe", EXE, packed=0xfffffff0, unpacked=5)],
                                                            [a.central(b"run.exe", EXE, packed=0xfffffff0, unpacked=5)]), ["run.exe"], error=""),
    "a tar entry of 8 GB": Case("a.tar", huge_tar_entry, ["big.bin"], error=""),
    "64 MB of zeros": Case("a.zip", lambda: a.deflate_bomb(b"zeros.bin", 64 << 20), flags={"zeros.bin": "over_ratio"}, count=1),
    "64 MB of zeros in a gz": Case("zeros.bin.gz", lambda: a.gz_bomb(64 << 20), flags={"zeros.bin": "over_ratio"}, count=1),
    "a gz that lies": Case("zeros.bin.gz", lying_gz, flags={"zeros.bin": "over_ratio"}),
    "10 GB of zeros in a gz": Case("zeros.bin.gz", lambda: a.gz_bomb(10 << 30), ["zeros.bin"],
                                   error="max_archive_bytes"),
    "10 GB of zeros in a gz in a zip": Case("a.zip", lambda: a.zip_of((b"b.gz", a.gz_bomb(10 << 30))), ["b.gz"], error="max_archive_bytes"),
    "zeros called a zip": Case("a.zip", lambda: a.deflate_bomb(b"b.zip", 300 << 20), ["b.zip"], error="max_archive_bytes"),
    "as 42.zip": Case("a.zip", lambda: a.nested_zips(4, 16, a.deflate_bomb(b"0.dll", 32 << 20)), ["lib30.zip"], error="max_archive"),
    # counts
    "100,000 files": Case("a.zip", lambda: a.zip_of(*((b"%d" % i, b"") for i in range(100000))), ["9999"], error="max_archive_entries"),
    "100,000 files in a tar": Case("a.tar.gz", lambda: a.gz(a.tar_of(*(("%d" % i, b"") for i in range(30000)))), ["9999"],
                                   error="max_archive_entries"),
    "10,000 names for one file": Case("a.zip", lambda: overlapping(9999), ["x0", "x9998"], count=9999),
    "1,000 end records": Case("a.zip", lambda: a.zip_of(*B_PAIR) + a.end(b"", 0, 0) * 1000, ["doc.txt", "run.exe"], error=None),
    "1,000,000 local headers": Case("a.zip", lambda: a.local(b"x.txt", b"") * 1000000, ["x.txt"], error="max_archive_entries"),
    "8 MB of beginnings of nothing": Case("a.zip", lambda: b"PK\3\4" * 2000000 + a.end(b"", 0, 0), error=None),
}
