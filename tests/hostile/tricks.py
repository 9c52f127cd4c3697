#!/usr/bin/python3
"""The catalogue of tricks. `tricks.py FOLDER` writes each as a file; with `seeds` as a second argument, as seeds of the fuzzer of MIME reading."""

import os
import sys

from trick import TRICKS
from tricks_clean import clean_mails
from tricks_content import charset_tricks, encoding_tricks, limit_tricks
from tricks_names import extended_tricks, field_tricks, name_tricks
from tricks_structure import boundary_tricks, structure_tricks, type_tricks

for make in (name_tricks, extended_tricks, field_tricks, type_tricks, boundary_tricks, structure_tricks, encoding_tricks, charset_tricks, limit_tricks, clean_mails):
    make()


def write(folder, is_seed=False):
    """Each as a file, in order; returns the paths. Seeds have the byte in front that says which limits fuzz_mime reads them under."""
    os.makedirs(folder, exist_ok=True)
    paths = []
    for number, one in enumerate(TRICKS):
        paths.append(os.path.join(folder, f"{number:03d}-{one.group}.eml"))
        with open(paths[-1], "wb") as file:
            file.write((b"\0" if is_seed else b"") + one.data)
    return paths


if __name__ == "__main__":
    print(len(write(sys.argv[1], sys.argv[2:] == ["seeds"])), "tricks")
