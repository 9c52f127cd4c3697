"""ICAP servers that answer what a test says, and hold every question to RFC 3507."""

import re
import socket

OFFER = b'ICAP/1.0 200 OK\r\nMethods: RESPMOD, REQMOD\r\nISTag: "one"\r\nPreview: 8\r\nAllow: 204\r\nOptions-TTL: 60\r\nEncapsulated: null-body=0\r\n\r\n'
PLAIN_OFFER = OFFER.replace(b"Preview: 8\r\n", b"")
UNCHANGED = b'ICAP/1.0 204 Unmodified\r\nISTag: "one"\r\n\r\n'
PAGE = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\n\r\n"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: message/rfc822\r\n\r\n"


def chunked(*pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n\r\n"


def changed(body, http=PAGE, fields=b"", kind=b"res"):
    """An answer with another HTTP message in it; body None: without one."""
    head = b"%s-hdr=0, " % kind if http else b""
    what = b"null-body" if body is None else b"%s-body" % kind
    return (b'ICAP/1.0 200 OK\r\nISTag: "one"\r\n%sEncapsulated: %s%s=%d\r\n\r\n' % (fields, head, what, len(http))
            + http + (b"" if body is None else chunked(body)))


def found(fields, status=b"204 Unmodified"):
    return b"ICAP/1.0 %s\r\n%s\r\n" % (status, fields)


class Question:
    """method, service, fields, http (the headers that are encapsulated), content, preview (what came of it before the rest, or None)."""


def read_head(file):
    line = file.readline()
    if not line:
        return None
    question = Question()
    question.method, host, question.service = re.fullmatch(rb"([A-Z]+) icap://([^/ ]+)/(\S+) ICAP/1\.0\r\n", line).groups()
    question.fields = {}
    while (line := file.readline()) != b"\r\n":
        name, value = re.fullmatch(rb"([\w-]+): ([^\r\n]+)\r\n", line).groups()
        assert name not in question.fields, name
        question.fields[name] = value
    assert question.fields[b"Host"] == host, question.fields
    return question


def read_chunks(file):
    """The content, and whether nothing comes after it."""
    pieces = []
    while True:
        size, _, extension = file.readline().partition(b";")
        assert size, "it ends early"
        size = int(size, 16)
        pieces.append(file.read(size))
        assert len(pieces[-1]) == size
        assert file.readline() == b"\r\n"
        if not size:
            return b"".join(pieces), extension.strip() == b"ieof"


def read_body(file, question, connection):
    """The headers and the content of a question, which is asked for its rest."""
    sections = re.fullmatch(rb"req-hdr=0, (?:req-body=(\d+)|res-hdr=(\d+), res-body=(\d+))", question.fields[b"Encapsulated"]).groups()
    edges = [0] + [int(edge) for edge in sections if edge]
    question.http = [file.read(after - before) for before, after in zip(edges, edges[1:])]
    assert all(head.endswith(b"\r\n\r\n") and head.count(b"\r\n\r\n") == 1 for head in question.http), question.http
    question.content, is_whole = read_chunks(file)
    question.preview = None
    if b"Preview" in question.fields:
        question.preview = question.content
        assert len(question.preview) == int(question.fields[b"Preview"]) or is_whole
        if not is_whole:
            connection.sendall(b"ICAP/1.0 100 Continue\r\n\r\n")
            rest, is_last = read_chunks(file)
            assert rest and not is_last
            question.content += rest
    assert re.search(rb"\r\nContent-Length: (\d+)\r\n", question.http[-1]).group(1) == b"%d" % len(question.content)


class Speaker:
    """handle(connection) answers OPTIONS with the offer, and each question with the next of answers (the last one again and again); what is
    called gets the question and the connection. Notes the questions, and which offers were asked for. After one that closes nothing comes."""

    def __init__(self, *answers, offer=OFFER, write=socket.socket.sendall, closes=False):
        self.answers, self.offer, self.write, self.closes = list(answers), offer, write, closes
        self.questions, self.n_offers = [], 0

    def handle(self, connection):
        with connection.makefile("rb") as file:
            while (question := read_head(file)) is not None:
                if question.method == b"OPTIONS":
                    self.n_offers += 1
                    self.write(connection, self.offer)
                    continue
                read_body(file, question, connection)
                self.questions.append(question)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if callable(answer):
                    answer(question, connection)
                else:
                    self.write(connection, answer)
                if self.closes:
                    return
