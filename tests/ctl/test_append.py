"""Text appended to mail of every structure, charset and transfer encoding, read back by another program: it stands once at the end of each
alternative, what was there before it is there, and what is not the text a person reads has its old bytes."""

import base64
import email
import email.policy
import html
import json
import os
import quopri
import sys
import unittest

from common import SOURCE, Folder, ctl, lines_of

sys.path.insert(0, os.path.join(SOURCE, "tests", "hostile"))
import tricks  # noqa: E402

WORDS = {
    "us-ascii": "Hello = there.",
    "utf-8": "Grüße, привет, 你好 = €.",
    "iso-8859-1": "Grüße = après.",
    "windows-1251": "Привет = там.",
    "koi8-r": "Привет = там.",
    "iso-2022-jp": "こんにちは = 世界。",
    "shift_jis": "こんにちは = 世界。",
    "gb18030": "你好 = 世界。",
    "utf-16": "Grüße, 你好 = €.",
    "utf-16le": "Grüße, 你好 = €.",
}
ENCODINGS = ("7bit", "8bit", "quoted-printable", "base64")
NOTE = "-- \nBeispiel GmbH, <Straße> & \"€\" 世界\n  second line"
NOTE_HTML = "<p><i>Beispiel</i> GmbH, <b>Straße</b> &amp; € 世界</p>"
MARK = "Beispiel"

MODES = {
    "text": "assert(msg:append_text(NOTE))",
    "html": "assert(msg:append_text(NOTE)) msg:append_html(NOTE_HTML)",
    "swapped": "msg:append_html(NOTE_HTML) assert(msg:append_text(NOTE))",
}


def encoded(text, charset, encoding):
    """None when the charset cannot stand in the encoding."""
    data = text.replace("\n", "\r\n").encode(charset)
    if encoding == "quoted-printable":
        return quopri.encodestring(data.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n") if not charset.startswith("utf-16") else None
    if encoding == "base64":
        return base64.encodebytes(data).replace(b"\n", b"\r\n")
    if charset.startswith("utf-16") or (encoding == "7bit" and max(data) > 127):
        return None
    return data


def leaf(kind, text, charset, encoding, extra=""):
    body = encoded(text, charset, encoding)
    if body is None:
        return None
    head = f"Content-Type: text/{kind}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n{extra}\r\n"
    return head.encode() + body


def container(kind, *children):
    if None in children:
        return None
    boundary = f"b{kind}{len(b''.join(children))}".encode()
    out = b"Content-Type: multipart/" + kind.encode() + b"; boundary=" + boundary + b"\r\n\r\npreamble\r\n"
    for child in children:
        out += b"--" + boundary + b"\r\n" + child + b"\r\n"
    return out + b"--" + boundary + b"--\r\n"


PDF = b"Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQK"
PNG = b"Content-Type: image/png\r\nContent-ID: <i>\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo="
STATUS = b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; a\r\n\r\nFinal-Recipient: rfc822; b\r\n"


def structures(charset, encoding):
    """Name to (entity, wanted): the paths of the leaves, by depth first, that end the readable text."""
    words = WORDS[charset]
    plain = leaf("plain", words + "\n", charset, encoding)
    page = leaf("html", f"<html><body class=\"x\"><p>{words}</p></body></html>\n", charset, encoding)
    bare = leaf("html", f"<p>{words}</p>", charset, encoding)
    blank = leaf("plain", "\n", charset, encoding)
    note = leaf("plain", words + "\n", charset, encoding, "Content-Disposition: attachment; filename=notes.txt\r\n")
    named = leaf("plain", words + "\n", charset, encoding, "Content-Disposition: inline; filename=notes.txt\r\n")
    both = container("alternative", plain, page)
    return {
        "plain": (plain, [0]),
        "html": (page, [0]),
        "bare": (bare, [0]),
        "alternative": (both, [0, 1]),
        "pictures": (container("alternative", plain, container("related", page, PNG)), [0, 1]),
        "related": (container("related", both, PNG), [0, 1]),
        "attachment": (container("mixed", plain, note, PDF), [0]),
        "named": (container("mixed", plain, named), [0]),
        "mixed": (container("mixed", both, PDF), [0, 1]),
        "two": (container("mixed", plain, PDF, bare), [2]),
        "blank": (container("mixed", plain, PDF, blank), [0]),
        "apple": (container("alternative", plain, container("mixed", bare, PDF, page)), [0, 3]),
        "report": (container("report", plain, STATUS), [0]),
        "nested": (container("mixed", container("mixed", container("mixed", plain), PDF), PDF), [0]),
        "forwarded": (container("mixed", plain, b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner\r\n"), [0]),
    }


def messages():
    for charset in WORDS:
        for encoding in ENCODINGS:
            for name, (entity, wanted) in structures(charset, encoding).items():
                if entity is not None:
                    yield f"{name}-{charset}-{encoding}", b"From: a@example.org\r\nSubject: x\r\nMIME-Version: 1.0\r\n" + entity, wanted, charset


def leaves(message):
    return [part for part in message.walk() if not part.is_multipart()]


def read(data):
    return email.message_from_bytes(data, policy=email.policy.default)


def in_charset(text, charset):
    """As a reader finds it who has only that charset's characters: ASCII may become UTF-8."""
    return text if charset == "us-ascii" else text.encode(charset, "replace").decode(charset)


class Appended(unittest.TestCase):
    maxDiff = None

    def check_text(self, before, after, charset, mode):
        old = before.get_content().replace("\r\n", "\n")
        new = after.get_content().replace("\r\n", "\n")
        if before.get_content_subtype() == "plain":
            self.assertEqual(new, old + ("" if old.endswith("\n") else "\n") + in_charset(NOTE, charset) + "\n")
            return
        note = NOTE_HTML if mode in ("html", "swapped") else "<p>" + "<br>\n".join(html.escape(line) for line in NOTE.split("\n")) + "</p>"
        self.assertEqual(html.unescape(new).count(html.unescape(note)), 1)
        self.assertEqual(html.unescape(new).count(MARK), 1)
        at = new.index(note[:6] if mode == "text" else note[:9], len(old.partition("</p>")[0]))
        ending = old[old.index("</body>"):] if "</body>" in old else ""
        self.assertTrue(new.endswith(ending))
        self.assertEqual(new[:at], old[:len(old) - len(ending)] if ending else old[:at])

    def check_message(self, before, after, wanted, charset, mode):
        self.assertEqual(after.defects, [])
        old, new = leaves(read(before)), leaves(after)
        self.assertEqual(len(old), len(new))
        for number, (was, now) in enumerate(zip(old, new)):
            self.assertEqual(was.get_content_type(), now.get_content_type())
            if number in wanted:
                self.check_text(was, now, charset, mode)
            else:
                self.assertEqual(was.get_payload(), now.get_payload())
                self.assertEqual(was.items(), now.items())

    def run_mode(self, mode, charsets=tuple(WORDS)):
        with_notes = f"local NOTE, NOTE_HTML = [[{NOTE}]], [[{NOTE_HTML}]]\nfunction filter_message(msg) {MODES[mode]} end\n"
        folder = Folder("append-" + mode)
        self.addCleanup(folder.remove)
        given = [message for message in messages() if message[3] in charsets]
        names = [folder.write(name + ".eml", data) for name, data, _, _ in given]
        os.mkdir(folder("out"))
        code, out, err = ctl("run", "--json", "--output", folder("out"), folder.write("filter.lua", with_notes), *names)
        self.assertEqual(code, 0, err)
        self.assertEqual([answer["error"] for answer in lines_of(out) if answer["error"]], [])
        for name, data, wanted, charset in given:
            with self.subTest(name), open(folder("out", name + ".eml"), "rb") as file:
                self.check_message(data, read(file.read()), wanted, charset, mode)
        return len(given)

    def test_text(self):
        self.assertGreater(self.run_mode("text"), 300)

    def test_text_and_html(self):
        self.assertGreater(self.run_mode("html", ("utf-8", "iso-2022-jp", "utf-16")), 100)

    def test_html_and_text(self):
        self.assertGreater(self.run_mode("swapped", ("us-ascii",)), 50)


class Hostile(unittest.TestCase):
    """A mail made to deceive never makes the filter fail: it gets the text, or the filter is told why not, or, seldom, the proof of the result
    drops the change."""
    FILTER = """
        function filter_message(msg)
            local text, why_text = msg:append_text("a note")
            local html, why_html = msg:append_html("<p>a note</p>")
            assert((text or why_text) and (html or why_html))
            require("postern.url").rewrite(msg, function() return "http://new.example/" end)
            msg:log("done", tostring(text))
        end"""

    def test_tricks(self):
        folder = Folder("append-hostile")
        self.addCleanup(folder.remove)
        os.mkdir(folder("tricks"))
        tricks.write(folder("tricks"))
        names = [os.path.join(folder("tricks"), name) for name in sorted(os.listdir(folder("tricks"))) if name.endswith(".eml")]
        _, out, err = ctl("run", "--json", folder.write("filter.lua", self.FILTER), *names)
        answers = [json.loads(line) for line in out.split("\n") if line]  # names have other line ends of Unicode in them
        self.assertEqual(len(answers), len(names), err)
        self.assertEqual([(a["file"], a["error"]) for a in answers if a["error"] and "filter.lua" in a["error"]], [])
        done = [a for a in answers if "done=true" in a["log"]]
        self.assertGreater(len(done), len(names) // 2)
        dropped = [a["file"] for a in done if not any(action["action"] == "replace_body" for action in a["actions"])]
        self.assertLess(len(dropped), len(names) // 50, dropped)


class Once(unittest.TestCase):
    FILTER = ("function filter_message(msg) local ok, why = msg:append_text(%s, { once = %s }) "
              "msg:log('why', tostring(why)) end")

    def answer(self, message, text="'A note, quite long,\\nin two lines'", once="true"):
        folder = Folder("append-once")
        self.addCleanup(folder.remove)
        code, out, err = ctl("run", "--json", folder.write("filter.lua", self.FILTER % (text, once)), folder.write("m.eml", message))
        self.assertEqual(code, 0, err)
        return lines_of(out)[0]["log"][0].partition("=")[2]

    def test_found(self):
        for body in (b"Hi\r\n\r\nA note, quite long,\r\nin two lines\r\n", b"Yes.\r\n> Hi\r\n> A note, quite\r\n> long, in two lines\r\n",
                     b"> > A note, quite long, in\r\n> > two lines\r\n"):
            self.assertEqual(self.answer(b"Subject: x\r\n\r\n" + body), "already there")
        page = b"Content-Type: text/html\r\n\r\n<blockquote><p>A <b>note</b>,&nbsp;quite long,<br>in two lines</p></blockquote>"
        self.assertEqual(self.answer(page), "already there")

    def test_not_found(self):
        self.assertEqual(self.answer(b"Subject: x\r\n\r\nA note, quite short\r\n"), "nil")

    def test_marker(self):
        page = b"Content-Type: text/html\r\n\r\n<p>x</p><!-- note-42 -->"
        self.assertEqual(self.answer(page, once="'note-42'"), "already there")
        self.assertEqual(self.answer(page, once="'note-43'"), "nil")

    def test_list_of_markers(self):
        page = b"Content-Type: text/html\r\n\r\n<p>x <b>note</b> 42, by Ann</p>"
        for once, wanted in (("{ 'note 41', 'note 42' }", "already there"), ("{ 'note 41' }", "nil"), ("{ 'x \\0, by' }", "already there"),
                             ("{ 'by \\0 x' }", "nil"), ("'note \\0 by \\0'", "already there")):
            self.assertEqual(self.answer(page, once=once), wanted, once)
        lacks = b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\n> A note in ? by Ann\r\n"
        self.assertEqual(self.answer(lacks, once="{ 'A note in € by \\0' }"), "already there")
        self.assertEqual(self.answer(lacks, once="{ 'A note in \\0 by Bob' }"), "nil")

    def test_misuse(self):
        for once, why in (("''", "the marker is empty"), ("' \\0'", "the marker is empty"), ("{}", "a list has 1 to 8 markers"),
                          ("{ 'a', 5 }", "a list has markers alone"), ("5", "a marker, or a list of them"), ("{ 'a', '' }", "the marker is empty"),
                          ("{ '1', '2', '3', '4', '5', '6', '7', '8', '9' }", "a list has 1 to 8 markers")):
            folder = Folder("append-misuse")
            self.addCleanup(folder.remove)
            lua = f"function filter_message(msg) msg:append_text('x', {{ once = {once} }}) end"
            _, out, _ = ctl("run", "--json", folder.write("filter.lua", lua), folder.write("m.eml", b"Subject: x\r\n\r\nx\r\n"))
            self.assertIn(why, lines_of(out)[0]["error"], once)

    def test_characters_that_the_charset_lacks(self):
        sent = b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\nHi\r\n> A note in ? and \xfc\r\n"
        self.assertEqual(self.answer(sent, text="'A note in € and ü'"), "already there")


class Changed(unittest.TestCase):
    """Parts are judged by what they will be, not by what they were."""
    HEAD = b"From: ann@example.org\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
    PAGE = b"Content-Type: text/html; charset=utf-8\r\n\r\n<body><p>words</p></body>\r\n"
    PLAIN = b"Content-Type: text/plain; format=flowed\r\n\r\nwords \r\n"

    def change(self, entity, code):
        """The leaves of what leaves, each as (type, content), and what append_text said."""
        folder = Folder("append-changed")
        self.addCleanup(folder.remove)
        os.mkdir(folder("out"))
        lua = "function filter_message(msg) %s local ok, why = msg:append_text('FOOT <1>') %s msg:log('why', tostring(why)) end"
        after = "msg:append_html('<i>FOOT 2</i>')"
        code, out, err = ctl("run", "--json", "--output", folder("out"), folder.write("filter.lua", lua % (code, after)),
                             folder.write("m.eml", self.HEAD + entity))
        self.assertEqual(code, 0, err)
        self.assertIsNone(lines_of(out)[0]["error"], out)
        with open(folder("out", "m.eml"), "rb") as file:
            new = read(file.read())
        found = [(part.get_content_type(), part.get_payload(decode=True).decode().replace("\r\n", "\n")) for part in leaves(new)]
        return found, lines_of(out)[0]["log"][-1].partition("=")[2]

    def test_html_that_is_text_now(self):
        for code in ("msg.root:strip_html()", "msg.root:replace{ type = 'text/plain', body = 'words\\n' }"):
            self.assertEqual(self.change(self.PAGE, code), ([("text/plain", "words\nFOOT <1>\n")], "nil"))

    def test_text_that_is_html_now(self):
        found, why = self.change(self.PLAIN, "msg.root:replace{ type = 'text/html', body = '<p>words</p>' }")
        self.assertEqual(why, "nil")
        self.assertEqual([(kind, text.replace("\n", "")) for kind, text in found], [("text/html", "<p>words</p><i>FOOT 2</i>")])

    def test_flowed_no_more(self):
        found, _ = self.change(self.PLAIN, "msg.root:replace{ type = 'text/plain', body = 'w ' }")
        self.assertEqual(found, [("text/plain", "w \nFOOT <1>\n")])

    def test_no_text_any_more(self):
        for code in ("msg.root:replace{ type = 'application/pdf', body = '%PDF', filename = 'a.pdf' }", "msg.root:defang()",
                     "msg.root:set_header('Content-Disposition', 'attachment')", "msg.root:set_header('Content-Type', 'image/png')"):
            for entity in (self.PAGE, self.PLAIN):
                found, why = self.change(entity, code)
                self.assertEqual(why, "no text part", code)
                self.assertEqual(len(found), 1)
                self.assertNotIn("FOOT", found[0][1])

    def test_the_next_best_part(self):
        entity = container("mixed", self.PLAIN, PDF, self.PAGE)
        change = "for part in msg:parts() do if part.type == 'text/html' then %s end end"
        for code in ("part:defang()", "part:drop()", "part:set_content(' ')", "part:replace{ type = 'image/png', body = 'x' }",
                     "part:set_header('Content-Disposition', 'attachment')"):
            found, why = self.change(entity, change % code)
            self.assertEqual(why, "nil")
            self.assertIn("FOOT <1>", found[0][1], code)
            self.assertNotIn("FOOT", "".join(text for _, text in found[1:]), code)


if __name__ == "__main__":
    unittest.main()
