"""Mail made by a seeded generator for the tests of the editor: as trees, so that what a change must come to can be told from the tree alone."""

import base64
import quopri

TOP = b"From: a@example.org\r\nTo: b@example.net\r\nSubject: =?utf-8?q?edit=C3=A9?=\r\n  folded\r\nMIME-Version: 1.0\r\n"
KINDS = ("drop", "warn", "replace-text", "replace-binary", "set-text", "set-binary", "set-header", "defang", "add", "append", "add-first", "add-message")


class Node:
    """A part: its header lines, and content (a leaf), or children."""

    def __init__(self, kind, header, children=(), content=b"", raw=b""):
        self.kind, self.header, self.children = kind, header, list(children)
        self.content, self.raw = content, raw  # decoded, and as it stands

    def walk(self):
        """In our walk order: this part, then those in it."""
        yield self
        for child in self.children:
            yield from child.walk()


class Maker:
    """Trees from a random generator."""

    def __init__(self, random):
        self.random, self.n = random, 0

    def word(self):
        self.n += 1
        return f"m{self.n}x{self.random.randrange(1 << 40):010x}".encode()

    def leaf(self):
        random, word = self.random, self.word()
        encoding = random.choice(("7bit", "7bit", "8bit", "base64", "quoted-printable", None))
        is_text = encoding in (None, "7bit", "8bit", "quoted-printable")
        lines = [word] + [self.word() * random.randrange(4) for _ in range(random.randrange(6))]
        if encoding in ("8bit", "quoted-printable", "base64"):
            lines.append("é=äö".encode())
        if random.random() < 0.2:
            lines.append(b"-- ")
        content = b"\r\n".join(lines) + (b"\r\n" if random.random() < 0.7 else b"")
        if encoding == "base64":
            content = word + random.randbytes(random.randrange(200))
            raw = base64.encodebytes(content).replace(b"\n", b"\r\n")
        elif encoding == "quoted-printable":
            raw = b"\r\n".join(quopri.encodestring(line) for line in content.split(b"\r\n"))
        else:
            raw = content
        header = []
        if is_text and (encoding in ("8bit", "quoted-printable") or random.random() < 0.8):
            header.append(b"Content-Type: text/" + random.choice((b"plain", b"html")) + b"; charset=utf-8")
        elif not is_text:
            name = self.word() + random.choice((b".exe", b".pdf", b""))
            header.append(b"Content-Type: application/octet-stream;\r\n\tname=\"" + name + b"\"")
            header.append(b"Content-Disposition: attachment; filename=" + name)
        if encoding is not None:
            header.append(b"Content-Transfer-Encoding: " + encoding.encode())
        if random.random() < 0.3:
            header.append(b"Content-ID: <" + self.word() + b">")
        random.shuffle(header)
        return Node("leaf", header, content=content, raw=raw)

    def multipart(self, depth):
        random = self.random
        boundary = random.choice((self.word(), b"=_" + self.word(), b"a b:" + self.word(), b"b" + str(self.n).encode() + b"-"))
        subtype = random.choice((b"mixed", b"mixed", b"alternative", b"related", b"signed", b"x-other"))
        children = [self.part(depth + 1) for _ in range(random.choice((1, 2, 2, 3, 4)))]
        value = b"multipart/" + subtype + b";" + random.choice((b" ", b"\r\n\t")) + b"boundary=\"" + boundary + b"\""
        header = [b"Content-Type: " + value]
        blank = random.choice((b"", b"", b" ", b"\t "))
        raw = random.choice((b"", b"", b"a preamble\r\n"))
        for child in children:
            raw += b"--" + boundary + blank + b"\r\n" + block(child) + b"\r\n" + child.raw + b"\r\n"
        raw += b"--" + boundary + b"--" + random.choice((b"\r\n", b"\r\n", b"", b"\r\nan epilogue\r\n"))
        return Node("multipart", header, children, raw=raw)

    def message(self, depth):
        child = self.part(depth + 1)
        raw = b"Subject: inner " + self.word() + b"\r\nX-Other: kept\r\n" + block(child) + b"\r\n" + child.raw
        return Node("message", [b"Content-Type: message/rfc822"], [child], raw=raw)

    def part(self, depth):
        chance = self.random.random()
        if depth < 5 and chance < 0.45 - 0.08 * depth:
            return self.multipart(depth)
        return self.message(depth) if 0 < depth < 5 and chance > 0.93 else self.leaf()

    def mail(self):
        """The tree, and its bytes."""
        root = self.multipart(0) if self.random.random() < 0.8 else self.leaf()
        return root, TOP + block(root) + b"\r\n" + root.raw


def block(node):
    return b"".join(line + b"\r\n" for line in node.header)


# What a change must come to. A leaf is ("same", node), ("defanged", node), ("whole", node) for what was a
# container, or ("new", None).

def model(root, script):
    """The leaves after the changes, in order; None when some change has no defined place (a multipart's own content)."""
    nodes = list(root.walk())
    asked, first, last = {}, 0, 0
    parents = {id(child): node for node in nodes for child in node.children}

    def is_gone(node):
        if asked.get(id(node)) in ("drop", "warn"):
            return True
        while id(node) in parents:
            node = parents[id(node)]
            if asked.get(id(node)) in ("drop", "warn", "replace", "defang-container"):
                return True
        return False

    for kind, number in script:
        node = nodes[number % len(nodes)]
        kind = KINDS[kind % len(KINDS)]
        if kind == "add-first":
            first += 1
        elif kind.startswith("add"):
            last += 1
        elif kind in ("drop", "warn"):
            if not (kind == "drop" and asked.get(id(node)) == "warn"):
                asked[id(node)] = kind
        elif kind.startswith("replace"):
            asked[id(node)] = "replace"
        elif not is_gone(node):
            if kind in ("set-text", "set-binary") and not node.children and asked.get(id(node)) != "replace":
                asked[id(node)] = "set"
            elif kind == "append" and not node.children and asked.get(id(node)) != "replace":
                is_plain = not any(line.lower().endswith((b"base64", b"quoted-printable")) for line in node.header)
                if is_plain or asked.get(id(node)) == "set":
                    asked[id(node)] = "set"
            elif kind == "defang":
                if node.children and asked.get(id(node)) != "replace":
                    asked[id(node)] = "defang-container"
                elif not node.children and asked.get(id(node)) is None:
                    asked[id(node)] = "defang"
    return [("new", None)] * first + _leaves(root, asked, True) + [("new", None)] * last


def _leaves(node, asked, is_root):
    what = asked.get(id(node))
    if what == "drop" and not is_root:
        return []
    if what in ("drop", "warn", "replace", "set"):
        return [("new", None)]
    if what == "defang-container":
        return [("whole", node)]
    if not node.children:
        return [("defanged" if what == "defang" else "same", node)]
    lists = [_leaves(child, asked, node.kind == "message") for child in node.children]
    if node.kind == "multipart" and not any(lists):
        return [("new", None)]
    return [leaf for leaves in lists for leaf in leaves]
