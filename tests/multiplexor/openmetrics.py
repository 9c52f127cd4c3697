"""A reader of OpenMetrics text that takes nothing which is not in the format."""

import re

LABEL = r'[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\n"])*"'
SAMPLE = re.compile(rf"([a-zA-Z_:][\w:]*)(?:\{{({LABEL}(?:,{LABEL})*)\}})? ([+-]?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|Inf)|NaN)$")
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",)}


def parse(text):
    """{family: {"type", "unit", "help", "samples": {(name, labels): value}}}; raises AssertionError where the text breaks a rule."""
    families, current = {}, None
    assert text.endswith("\n# EOF\n"), text[-100:]
    for line in text[:-len("# EOF\n")].splitlines():
        if match := re.match(r"# (TYPE|UNIT|HELP) ([a-zA-Z_:][\w:]*) (.+)$", line):
            word, name, value = match.groups()
            if name != current:
                assert word == "TYPE" and name not in families, f"not in order: {line}"
                families[name] = {"samples": {}}
                current = name
            assert word.lower() not in families[name] and not families[name]["samples"], line
            families[name][word.lower()] = value
            assert word != "UNIT" or name.endswith("_" + value), line
            continue
        match = SAMPLE.match(line)
        assert match, f"no sample: {line!r}"
        name, labels, value = match.groups()
        kind = families[current]["type"]
        assert any(name == current + suffix for suffix in SUFFIXES[kind]), f"{line} in {current}"
        pairs = dict(pair.split("=", 1) for pair in re.findall(LABEL, labels or ""))
        key = (name, tuple(sorted((key, value.strip('"')) for key, value in pairs.items())))
        assert key not in families[current]["samples"], f"twice: {line}"
        families[current]["samples"][key] = float(value)
    for name, family in families.items():
        assert "type" in family and "help" in family, name
        if family["type"] == "histogram":
            check_histogram(name, family["samples"])
    return families


def check_histogram(name, samples):
    series = {}
    for (sample, labels), value in samples.items():
        rest = tuple(pair for pair in labels if pair[0] != "le")
        one = series.setdefault(rest, {"buckets": []})
        if sample == name + "_bucket":
            one["buckets"].append((float(dict(labels)["le"].replace("+Inf", "inf")), value))
        else:
            one[sample[len(name):]] = value
    for labels, one in series.items():
        assert one["buckets"] == sorted(one["buckets"]), (name, labels)
        counts = [count for _, count in one["buckets"]]
        assert counts == sorted(counts) and one["buckets"][-1][0] == float("inf") and counts[-1] == one["_count"], (name, labels)
        assert one["_sum"] >= 0


def value(families, name, **labels):
    for family in families.values():
        for (sample, pairs), number in family["samples"].items():
            if sample == name and dict(pairs) == labels:
                return number
    return None
