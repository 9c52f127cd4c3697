#!/usr/bin/python3
"""Writes the seeds of the fuzzers archive and tnef into corpus/NAME/seed-*: the hostile archives and carriers that are small."""

import base64
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "hostile"), os.path.dirname(HERE)]

import archives  # noqa: E402
import inside  # noqa: E402
from harness import tnef  # noqa: E402

LARGEST = 12000
LARGE = {"10 GB of zeros in a gz", "10 GB of zeros in a gz in a zip", "zeros called a zip", "as 42.zip", "100,000 files", "100,000 files in a tar",
         "64 MB of zeros", "64 MB of zeros in a gz", "a gz that lies", "1,000,000 local headers", "8 MB of beginnings of nothing",
         "10,000 names for one file", "100,000 beginnings", "300,000 beginnings of nothing", "300,000 blocks of yEnc without end",
         "TNEF with 5,000 attachments", "S/MIME, 20 MB of zeros compressed",
         "S/MIME, 20 MB of zeros compressed, over a limit"}
NAMES = ["a.zip", "a.tar.gz", "run.exe.gz", "x", "a.iso"]


def archive_seeds():
    for name, case in archives.CASES.items():
        data = b"" if name in LARGE else case.make()
        if data:
            yield name, bytes([NAMES.index(case.name) if case.name in NAMES else 0]) + data


def tnef_seeds():
    yield "winmail", b"\0" + tnef.winmail()
    for name, case in inside.CASES.items():
        if name in LARGE:
            continue
        head, body = case.make().split(b"\r\n\r\n", 1)
        if b"base64" in head:
            body = base64.b64decode(body)
        yield name, bytes([1 if b"text/" in head else 8 if name in inside.SMIME_CASES else 0]) + body


def main():
    for folder, seeds in (("archive", archive_seeds()), ("tnef", tnef_seeds())):
        folder = os.path.join(HERE, "corpus", folder)
        os.makedirs(folder, exist_ok=True)
        for name, data in seeds:
            if len(data) <= LARGEST:
                with open(os.path.join(folder, "seed-" + re.sub(r"\W+", "-", name).strip("-")), "wb") as file:
                    file.write(data)


main()
