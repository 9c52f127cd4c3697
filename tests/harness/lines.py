"""Lines of what programs print. LF alone ends one: str.splitlines() breaks JSON and logs at U+2028 and others too, which mail may hold."""

import json


def split_lines(text):
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def lines_of(text):
    """What JSON lines hold."""
    return [json.loads(line) for line in split_lines(text)]
