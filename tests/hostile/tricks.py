#!/usr/bin/python3
"""The catalogue of tricks. `tricks.py FOLDER` writes each as a file; `tricks.py FOLDER mime|header` writes them as inputs of that fuzzer."""

import os
import re
import sys

from trick import TRICKS
from tricks_clean import clean_mails
from tricks_content import charset_tricks, encoding_tricks, limit_tricks
from tricks_names import extended_tricks, field_tricks, name_tricks, title_tricks
from tricks_smime import smime_tricks
from tricks_structure import boundary_tricks, structure_tricks, type_tricks

for make in (name_tricks, extended_tricks, field_tricks, title_tricks, type_tricks, boundary_tricks, structure_tricks, encoding_tricks, charset_tricks, limit_tricks, smime_tricks, clean_mails):
    make()


def save(folder, files):
    os.makedirs(folder, exist_ok=True)
    paths = []
    for name, data in files:
        paths.append(os.path.join(folder, name))
        with open(paths[-1], "wb") as file:
            file.write(data)
    return paths


def write(folder):
    """Each as a file, in order; returns the paths."""
    return save(folder, [(f"{number:03d}-{one.group}.eml", one.data) for number, one in enumerate(TRICKS)])


def mime_inputs():
    """Under the usual limits, and under small ones."""
    for number, one in enumerate(TRICKS):
        for limits in (b"\0", b"\1"):
            yield f"{number:03d}-{limits[0]}", limits + one.data


def header_inputs():
    """The values of all content fields, each once."""
    values = set()
    for one in TRICKS:
        values.update(re.findall(rb"(?i)(?:^|[\r\n])content-[a-z-]+[^:\r\n]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", one.data))
    for number, value in enumerate(sorted(values)):
        yield f"{number:04d}", b"\0" + value.strip()


if __name__ == "__main__":
    INPUTS = {"mime": mime_inputs, "header": header_inputs}
    print(len(save(sys.argv[1], INPUTS[sys.argv[2]]()) if sys.argv[2:] else write(sys.argv[1])), "files")
