"""Messages made to exhaust or mislead a reader, as raw bytes: what no mail program sends, and a mail filter must answer all the same."""

import os


def _levels(n, opening, middle, closing=None):
    """n levels of nesting: the openings, the middle, the endings from the innermost out."""
    parts = [opening % ((k,) * opening.count(b"%d")) for k in range(n)] + [middle]
    if closing:
        parts += [closing % ((k,) * closing.count(b"%d")) for k in range(n - 1, -1, -1)]
    return b"".join(parts)


def _numbered(n, row):
    return b"".join(row % ((k,) * row.count(b"%d")) for k in range(n))


TOP = b"From: a@example.org\r\nTo: b@example.net\r\nSubject: hostile\r\n"
MIXED = TOP + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"

# name: function that makes the bytes. Plain ones first.
ROWS = {
    "nothing at all": lambda: b"",
    "only a line end": lambda: b"\r\n",
    "only a NUL": lambda: b"\0",
    "no body": lambda: TOP,
    "no final newline": lambda: TOP + b"\r\nlast line",
    "no header": lambda: b"just text\r\nand more: of it\r\n",
    "no empty line": lambda: TOP + b"this line is no header\r\nX: y\r\n\r\nbody\r\n",
    "first line folded": lambda: b" folded\r\n" + TOP + b"\r\nx\r\n",
    "header without a colon": lambda: TOP + b"NoColonHere\r\nX-After: seen\r\n\r\nx\r\n",
    "header with an empty name": lambda: TOP + b": value\r\n\r\nx\r\n",
    "header with spaces in its name": lambda: TOP + b"Content-Type : text/html\r\nX Y: z\r\n\r\nx\r\n",
    "NUL in a header": lambda: TOP + b"X-Nul: a\0b\r\nContent-Type: text/plain; name=\"a\0.exe\"\r\n\r\nx\r\n",
    "NUL in a header's name": lambda: TOP + b"X-N\0ul: a\r\n\r\nx\r\n",
    "NUL in the body": lambda: TOP + b"\r\nbefore\0after\r\n",
    "8 MB of NUL": lambda: TOP + b"\r\n" + b"\0" * (8 << 20),
    "bare CR": lambda: TOP + b"X-Cr: a\rX-Injected: b\r\n\r\none\rtwo\rthree\r\n",
    "bare LF": lambda: (TOP + b"\r\none\r\ntwo\r\n").replace(b"\r\n", b"\n"),
    "mixed line ends": lambda: b"From: a@b\nTo: c@d\r\nSubject: x\r\n\nbody\r\nmore\n",
    "only CR": lambda: MIXED.replace(b"\r\n", b"\r") + b"--b\r\rx\r--b--\r" * 20000,
    "bytes over 127 everywhere": lambda: bytes(range(128, 256)) * 4000,
    "all bytes": lambda: TOP + b"X: " + bytes(range(1, 10)) + bytes(range(14, 256)) + b"\r\n\r\n" + bytes(range(256)) * 1000,
    "noise": lambda: os.urandom(1 << 20),
    "noise in a body": lambda: TOP + b"\r\n" + os.urandom(1 << 20),
    "mbox line": lambda: b"From a@b Sun Nov 22 10:00:00 2026\r\n" + TOP + b"\r\nx\r\n",
    "dots": lambda: TOP + b"\r\n.\r\n..\r\n.leading\r\n",
    # many, long, deep
    "100,000 headers": lambda: TOP + _numbered(100000, b"X-%d: y\r\n") + b"\r\nx\r\n",
    "100,000 headers of one name": lambda: TOP + b"X-Same: y\r\n" * 100000 + b"\r\nx\r\n",
    "100,000 empty headers": lambda: TOP + b"X:\r\n" * 100000 + b"\r\nx\r\n",
    "1 MB single header": lambda: TOP + b"X-Long: " + b"v" * (1 << 20) + b"\r\n\r\nx\r\n",
    "1 MB header in folds": lambda: TOP + b"X-Long:" + b" v\r\n" * (1 << 18) + b"\r\nx\r\n",
    "1 MB header name": lambda: TOP + b"X" * (1 << 20) + b": v\r\n\r\nx\r\n",
    "1 MB line": lambda: TOP + b"\r\n" + b"x" * (1 << 20),
    "84 KB of nested groups": lambda: TOP + b"Cc: " + b"a:" * 42000 + b"\r\n\r\nx\r\n",
    "84 KB of nested groups, closed": lambda: TOP + b"Cc: " + b"a:" * 28000 + b";" * 28000 + b"\r\n\r\nx\r\n",
    "200 KB of comments": lambda: TOP + b"To: " + b"(" * 200000 + b"\r\nContent-Type: text/plain " + b"(" * 100000 + b"\r\n\r\nx\r\n",
    "200 KB of angle brackets": lambda: TOP + b"Cc: " + b"<" * 200000 + b"\r\n\r\nx\r\n",
    "100,000 addresses": lambda: TOP + b"Cc: " + _numbered(100000, b"a%d@x,") + b"\r\n\r\nx\r\n",
    "20,000 nested multiparts": lambda: TOP + _levels(20000, b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", b"\r\nx\r\n", b"--b%d--\r\n"),
    "20,000 nested multiparts, one boundary": lambda: TOP + _levels(20000, b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", b"\r\nx\r\n"),
    "20,000 nested message/rfc822": lambda: TOP + _levels(20000, b"Content-Type: message/rfc822\r\n\r\n", b"\r\nx\r\n"),
    "20,000 nested digests": lambda: TOP + _levels(20000, b"Content-Type: multipart/digest; boundary=b%d\r\n\r\n--b%d\r\n\r\n", b"\r\nx\r\n"),
    "100,000 parts": lambda: MIXED + _numbered(100000, b"--b\r\nContent-Type: text/plain; name=%d.txt\r\n\r\nx\r\n") + b"--b--\r\n",
    "1,000,000 empty parts": lambda: MIXED + b"--b\r\n" * 1000000,
    "10 MB of '--b' lines": lambda: MIXED + b"--b\r\n" * (2 << 20),
    "10 MB of '--b--' lines": lambda: MIXED + b"--b--\r\n" * (10 << 17),
    "10 MB of dashes": lambda: MIXED + b"--b\r\n\r\n" + b"-" * (10 << 20),
    "5 MB of '--' lines at depth 45": lambda: TOP + _levels(45, b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", b"\r\nx\r\n") + b"--b\r\n" * (1 << 20),
    "10 MB of line ends": lambda: TOP + b"\r\n" + b"\r\n" * (5 << 20),
    # parameters, names, words
    "100,000 parameters": lambda: TOP + b"Content-Type: text/plain" + _numbered(100000, b"; p%d=x") + b"\r\n\r\nx\r\n",
    "100,000 names": lambda: TOP + b"Content-Disposition: attachment" + _numbered(100000, b"; filename=%d.exe") + b"\r\n\r\nx\r\n",
    "100,000 RFC 2231 continuations": lambda: TOP + b"Content-Disposition: attachment" + _numbered(100000, b"; filename*%d=x") + b"\r\n\r\nx\r\n",
    "RFC 2231 sections backwards": lambda: TOP + b"Content-Disposition: attachment" + b"".join(
        b"; filename*%d*=%%41" % n for n in range(9999, -1, -1)) + b"\r\n\r\nx\r\n",
    "RFC 2231 huge section numbers": lambda: TOP + b"Content-Disposition: attachment; filename*0=a; filename*4294967295=b; filename*" + b"9" * 5000 + b"=c\r\n\r\nx\r\n",
    "100,000 encoded words": lambda: TOP + b"X-Words: " + b"=?utf-8?q?=C3=A4?= " * 100000 + b"\r\n\r\nx\r\n",
    "encoded words without end": lambda: TOP + b"X-Words: " + b"=?utf-8?q?" * 100000 + b"\r\n\r\nx\r\n",
    "unknown charset": lambda: TOP + b"Content-Type: text/plain; charset=" + b"x" * 100000 + b"\r\nX: =?no-such?q?abc?= =?utf-8?x?abc?=\r\n\r\n\xff\xfe\r\n",
    "quotes without end": lambda: TOP + b"Content-Type: text/plain; name=\"" + b"\\\"" * 100000 + b"\r\n\r\nx\r\n",
    "100,000 Content-Types": lambda: TOP + _numbered(100000, b"Content-Type: multipart/mixed; boundary=b%d\r\n") + b"\r\n--b1\r\n\r\nx\r\n",
    "conflicting encodings": lambda: TOP + b"Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nQUJD=41\r\n",
    # boundaries
    "empty boundary": lambda: TOP + b"Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n\r\nx\r\n----\r\n",
    "no boundary": lambda: TOP + b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
    "boundary of spaces": lambda: TOP + b"Content-Type: multipart/mixed; boundary=\"   \"\r\n\r\n--   \r\n\r\nx\r\n",
    "boundary of 64 KB": lambda: TOP + b"Content-Type: multipart/mixed; boundary=" + b"b" * 65536 + b"\r\n\r\n--" + b"b" * 65536 + b"\r\n\r\nx\r\n",
    "boundary that is a prefix": lambda: TOP + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n"
                                               b"--bb\r\nContent-Disposition: attachment; filename=a.exe\r\n\r\nx\r\n--bb--\r\n--b--\r\n",
    "100,000 prefixes of a boundary": lambda: MIXED + b"--b\r\n\r\n" + _numbered(100000, b"--b%d\r\n") + b"--b--\r\n",
    "same boundary inside": lambda: MIXED + b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n--b--\r\n",
    "boundary with NUL": lambda: TOP + b"Content-Type: multipart/mixed; boundary=\"a\0b\"\r\n\r\n--a\0b\r\n\r\nx\r\n--a\r\n\r\ny\r\n",
    # encodings
    "12 MB of base64": lambda: TOP + b"Content-Transfer-Encoding: base64\r\n\r\n" + (b"QUJD" * 19 + b"\r\n") * 160000,
    "broken base64": lambda: TOP + b"Content-Transfer-Encoding: base64\r\n\r\n" + b"Q=U=J=D=*&^%\r\n" * 100000,
    "quoted-printable of '='": lambda: TOP + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=" * (4 << 20),
    "uuencode without end": lambda: TOP + b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 a.exe\r\n" + b"M" * 100000,
    "broken UTF-7": lambda: TOP + b"Content-Type: text/plain; charset=utf-7\r\n\r\n" + b"+\xff\xfe/v8-" * 200000,
    "base64 multipart": lambda: TOP + b"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"LS1iDQoNCng=\r\n" * 50000,
    # text
    "300,000 tags": lambda: TOP + b"Content-Type: text/html\r\n\r\n" + _numbered(300000, b"<a href=\"http://x/%d\"><b x='"),
    "4 MB of '<'": lambda: TOP + b"Content-Type: text/html\r\n\r\n" + b"<" * (4 << 20),
    "4 MB of comments": lambda: TOP + b"Content-Type: text/html\r\n\r\n" + b"<!--" * (1 << 20),
    "1,000,000 entities": lambda: TOP + b"Content-Type: text/html\r\n\r\n" + b"&#1114112;&amp" * 500000,
    "200,000 links": lambda: TOP + b"\r\n" + _numbered(200000, b"http://%d.example/ "),
    "4 MB of 'http:'": lambda: TOP + b"\r\n" + b"http:" * (1 << 20) + b"//",
}

# Reads everything that a filter may ask about a mail.
READS_EVERYTHING = r'''
local log = require "postern.log"
local function look(msg)
    local n, bytes = 0, 0
    for part in msg:walk() do
        n = n + 1
        local _ = part.type, part.charset, part.encoding, part.disposition, part.content_id, part.filename, part.extension, part.path,
            part.depth, part.parent, part.is_signed, part.is_encrypted, part.detected_type, part:header("Content-Type")
        for key, value in pairs(part.params) do _ = key .. value end
        for _, name in ipairs(part.filenames) do bytes = bytes + #name end
        part:has_extension{ "exe", "scr" }
        part:name_matches("\\.exe$")
        if not part.is_container then
            bytes = bytes + part.size + #part:content(1, 1000)
            part:hash("sha256")
            part:text()
        end
    end
    return n, bytes
end
function filter_message(msg)
    local n, bytes = look(msg)
    local headers = 0
    for name, value in msg:each_header() do headers = headers + 1 end
    local text, urls, charsets = msg:text(), msg:urls(), msg:charsets()
    local _ = msg.subject, msg.message_id, msg.ambiguous, msg:header("Content-Type"), msg:headers("X-Same"), msg:raw_header("X-Long"),
        msg:header("X-Words"), msg:header("Cc"), msg.size, msg:raw_headers()
    if msg.size < 4000000 then _ = msg:raw() _ = msg:raw_body() end
    msg:add_header("X-Read", n .. " parts, " .. headers .. " headers, " .. #msg.defects .. " defects")
    if msg.size < 4000000 then _ = msg:to_eml() end
end
'''
