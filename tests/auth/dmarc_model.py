"""DMARC written a second time, as plainly as the RFCs tell it, for tests to compare with: nothing here is taken from postern.dmarc.

A zone is { "_dmarc.name": [ texts ] }; a case { from, spf: { domain, result }, dkim: [ { domain, result } ], zone }."""


class Suffixes:
    """The list of public suffixes, as publicsuffix.org tells to read it."""

    def __init__(self, path):
        self.rules = set()
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.strip() and not line.startswith("//"):
                    rule = line.split()[0]
                    self.rules.add(".".join(label if label in ("*", "") or label.isascii() else label.encode("idna").decode() for label in rule.split(".")))

    def organizational(self, name):
        """RFC 7489 section 3.2."""
        labels = name.split(".")
        n_suffix = 1
        for n in range(len(labels), 0, -1):
            tail = labels[-n:]
            if "!" + ".".join(tail) in self.rules:
                n_suffix = n - 1
                break
            if ".".join(tail) in self.rules or ".".join(["*", *tail[1:]]) in self.rules:
                n_suffix = n
                break
        return ".".join(labels[-(n_suffix + 1):])


def read(text):
    """The tags of a record, or None. RFC 9989 section 4.8: v stands first and is told exactly; what is wrong behind it is left out."""
    first, *rest = text.split(";")
    if [part.strip(" \t") for part in first.split("=")] != ["v", "DMARC1"]:
        return None
    tags = {}
    for part in rest:
        name, equals, value = part.partition("=")
        if equals and name.strip(" \t").isidentifier():
            tags.setdefault(name.strip(" \t"), value.strip(" \t"))
    policies = [tags[name].lower() for name in ("p", "sp", "np") if name in tags]
    if all(policy in ("none", "quarantine", "reject") for policy in policies):
        return tags | {"p": tags.get("p", "none").lower()} | {name: tags[name].lower() for name in ("sp", "np") if name in tags}
    # Section 4.7: a wrong policy is none where somebody reads reports of it; where nobody does, nothing is to be done.
    kept = {name: tags[name] for name in ("adkim", "aspf", "psd") if name in tags}
    return kept | {"p": "none" if "mailto:" in tags.get("rua", "").lower() else None}


def records_at(zone, name):
    return [tags for tags in map(read, zone.get("_dmarc." + name, [])) if tags is not None]


def walk(zone, name):
    """RFC 9989 section 4.10: [(name, record)] from below, and the names that were asked for."""
    labels, found, asked = name.split("."), [], []
    while labels:
        here = ".".join(labels)
        asked.append(here)
        records = records_at(zone, here)
        if len(records) == 1:
            found.append((here, records[0]))
            if records[0].get("psd", "u").lower() in "yn":
                break
        labels = labels[-7:] if len(labels) > 8 else labels[1:]
    return found, asked


def organizational_by_tree(zone, name):
    """Section 4.10.2."""
    found, _ = walk(zone, name)
    for here, record in found:
        psd = record.get("psd", "u").lower()
        if psd == "n":
            return here
        if psd == "y" and here != name:
            return ".".join(name.split(".")[-(here.count(".") + 2):])
    return min((here for here, _ in found), key=lambda here: here.count("."), default=name)


def find_by_tree(zone, name):
    """Section 4.10.1: the record that applies, and where it stands."""
    org = organizational_by_tree(zone, name)
    found = dict(walk(zone, name)[0])
    suffix = [here for here, record in found.items() if record.get("psd", "u").lower() == "y"]
    for here in (name, org, *suffix):
        if here in found:
            return found[here], here
    return None, None


def find_by_suffixes(zone, name, suffixes):
    """RFC 7489 section 6.6.3: several records at the author's own name end the search."""
    for here in dict.fromkeys((name, suffixes.organizational(name))):
        records = records_at(zone, here)
        if records:
            return (records[0], here) if len(records) == 1 else (None, None)
    return None, None


def judge(case, suffixes=None):
    """{ result, disposition, spf, dkim }. suffixes: None for the tree walk."""
    zone, author = case["zone"], case["from"]
    organizational = suffixes.organizational if suffixes else lambda name: organizational_by_tree(zone, name)
    record, where = find_by_suffixes(zone, author, suffixes) if suffixes else find_by_tree(zone, author)
    if record is None or record["p"] is None:
        return {"result": "none", "disposition": "none", "spf": "fail", "dkim": "fail"}

    def is_aligned(identifier, mode):
        if identifier["result"] != "pass":
            return False
        name = identifier["domain"]
        return name == author or (mode != "s" and organizational(name) == organizational(author))
    spf = is_aligned(case["spf"], record.get("aspf", "r").lower())
    dkim = any(is_aligned(one, record.get("adkim", "r").lower()) for one in case["dkim"])
    policy = record["p"] if where == author else record.get("sp", record["p"])
    return {"result": "pass" if spf or dkim else "fail", "disposition": "none" if spf or dkim else policy,
            "spf": "pass" if spf else "fail", "dkim": "pass" if dkim else "fail"}
