"""Each action on parts, and each on the message that MIMEDefang knows, through a real mail server: what is delivered is parsed and compared.

Usage: test_parts.py sendmail|postfix
"""

import base64
import email
import email.policy
import glob
import html
import json
import os
import sys
import unittest
from email.header import decode_header, make_header

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness.lines import lines_of
from harness.mta import Postfix, Sendmail
from harness.postern import Postern
from harness.process import wait_until

MTA = {"sendmail": Sendmail, "postfix": Postfix}[sys.argv.pop(1)]

# The mail says what is done to it: X-Do names the deed, X-Part the part.
FILTER = r"""
local function text_note(body) return { type = "text/plain", charset = "utf-8", filename = "note.txt", body = body, inline = true } end

local deeds = {
    accept = function() end,
    accept_with_warning = function(msg) assert(msg:append_text("Take care: grüße.\n")) end,
    drop = function(msg, part) part:drop() end,
    drop_with_warning = function(msg, part) part:drop("Taken out: grüße.\n") end,
    replace_with_warning = function(msg, part) part:replace(text_note("Was here: grüße.\n.\n")) end,
    replace_with_url = function(msg, part)
        part:replace_with_url{ directory = config.url_directory, base_url = "https://files.example.net/", text = "It is at ${url}\n" }
    end,
    defang = function(msg, part) part:defang("harmless.txt") end,
    external_filter = function(msg, part) part:filter_through{ command = { "/usr/bin/tr", "a-z", "A-Z" } } end,
    quarantine = function(msg, part) part:trap("looks odd") part:drop("Kept.\n") end,
    set_content = function(msg, part) part:set_content("new: " .. part:content()) end,
    set_header = function(msg, part) part:set_header("Content-Description", "grüße") end,
    strip_html = function(msg, part) part:strip_html() end,
    many = function(msg, part)
        assert(msg:append_text("Two things.\n"))
        part:drop("Gone.\n")
        msg:add_part(text_note("And this.\n"))
        msg:add_header("X-Many", "yes")
    end,
    nothing_left = function(msg) for part in msg:parts() do part:drop() end end,

    quarantine_entire_message = function(msg) msg:trap{ mode = "copy", reason = "looks odd" } end,
    quarantine_and_discard = function(msg) msg:trap{ mode = "copy", reason = "looks odd" } return discard() end,
    add_part = function(msg) msg:add_part(text_note("Added: grüße.\n")) end,
    add_first = function(msg)
        local note = text_note("Added: grüße.\n")
        note.position = 1
        msg:add_part(note)
    end,
    add_entity = function(msg)
        msg:add_part{ type = "message/rfc822", filename = "note.eml", body = "Subject: a note\n\nAdded: grüße.\n--\n" }
    end,
    replace_message = function(msg)
        msg:replace_message("Subject: new\nMIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n<p>grüße</p>\n")
    end,
    append_text_boilerplate = function(msg) assert(msg:append_text("-- \nExample Ltd\n")) end,
    append_html_boilerplate = function(msg) assert(msg:append_html("<p>Example &amp; Ltd</p>")) end,
    notify = function(msg)
        msg:notify_admin{ subject = "look: grüße", text = "A mail was kept.\n" }
        msg:notify_sender{ subject = "your mail", text = "It was kept.\n" }
    end,
}

function filter_message(msg)
    local deed = msg:header("X-Do")
    if not deed then return end
    local wanted = msg:header("X-Part")
    for part in msg:walk() do
        if part.path == wanted then return deeds[deed](msg, part) end
    end
    return deeds[deed](msg)
end
"""

HTML = "<html><body><p>Sch=C3=B6ne Gr=C3=BC=C3=9Fe</p></body></html>"
PDF = b"%PDF-1.4 not really, but long enough for two lines of base64, in lines of an odd length\n" * 2
PDF64 = b"\r\n".join(base64.b64encode(PDF)[i:i + 63] for i in range(0, 240, 63)).decode()
EXE = b"MZ a program\n"

# (header and body of each leaf, as they stand in the mail)
PLAIN_PART = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nSch=C3=B6ne Gr=C3=BC=C3=9Fe=20\r\n.dot\r\n"
HTML_PART = f"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{HTML}\r\n"
PDF_PART = ('Content-Type: application/pdf;\r\n\tname="report.pdf"\r\nContent-Disposition:attachment; filename="report.pdf"\r\n'
            f"Content-Transfer-Encoding: BASE64\r\n\r\n{PDF64}\r\n")
EXE_PART = ('Content-Type: application/octet-stream; name="setup.exe"\r\nContent-Disposition: attachment; filename="setup.exe"\r\n'
            f"Content-Transfer-Encoding: base64\r\n\r\n{base64.b64encode(EXE).decode()}\r\n")
LETTER_PART = "Content-Type: message/rfc822\r\n\r\nFrom: dora@example.com\r\nSubject: inner\r\n\r\ninner text  \r\n..two dots\r\n"
LEAVES = {"1.1.1": PLAIN_PART, "1.1.2": HTML_PART, "1.2": PDF_PART, "1.3": EXE_PART, "1.4": LETTER_PART}


def mail(deed, part=""):
    head = ["From: ann@example.org", "To: bob@example.net", f"Subject: {deed}", "Date: Sun, 22 Nov 2026 10:00:00 +0000",
            f"Message-ID: <{deed}@example.org>", "MIME-Version: 1.0", 'Content-Type: multipart/mixed; boundary="outer"', f"X-Do: {deed}", f"X-Part: {part}"]
    inner = f"Content-Type: multipart/alternative; boundary=inner\r\n\r\n--inner\r\n{PLAIN_PART}\r\n--inner\r\n{HTML_PART}\r\n--inner--\r\n"
    body = "".join(f"--outer\r\n{piece}\r\n" for piece in (inner, PDF_PART, EXE_PART, LETTER_PART))
    return ("\r\n".join(head) + f"\r\n\r\npreamble\r\n{body}--outer--\r\nepilogue\r\n").encode()


def leaves(message, path="1"):
    """{path: (type, file name, decoded content)}"""
    if message.is_multipart():
        found = {}
        if message.get_content_type() == "message/rfc822":
            return leaves(message.get_payload(0), path + ".1")
        for n, child in enumerate(message.get_payload(), 1):
            found.update(leaves(child, f"{path}.{n}"))
        return found
    content = message.get_payload(decode=True).replace(b"\r\n", b"\n").decode("utf-8", "replace")
    name = message.get_filename()
    return {path: (message.get_content_type(), name and str(make_header(decode_header(name))), content)}


def content_of(path):
    with open(path, "rb") as file:
        return file.read()


BEFORE = leaves(email.message_from_bytes(mail("x"), policy=email.policy.compat32))


class Parts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mta = MTA(name=MTA.__name__.lower() + ".parts")
        folder = cls.mta.folder
        for name in ("state", "urls"):
            os.makedirs(folder(name))
        cls.postern = Postern(FILTER, folder=folder, options={
            "worker.state_dir": folder("state"), "worker.write_paths": folder("urls"), "worker.allow_exec": "yes", "filter.url_directory": folder("urls"),
            "notify.server": f"inet:{cls.mta.port}@{cls.mta.address}", "notify.from": "postern@example.net", "notify.admin": "admin@example.net"})
        cls.mta.spec = cls.postern.spec
        cls.mta.start()

    @classmethod
    def tearDownClass(cls):
        cls.mta.process.stop()
        cls.postern.stop()
        cls.mta.folder.remove()

    def setUp(self):
        self.addCleanup(self.mta.empty)

    def send(self, deed, part=""):
        smtp = self.mta.smtp()
        smtp.hello()
        answer = smtp.transaction("ann@example.org", ["bob@example.net"], mail(deed, part))
        smtp.close()
        self.assertEqual(answer[:2], ("end", 250), (answer, self.postern.logs()))

    def deliver(self, deed, part="", touched=()):
        """The delivered mail's leaves. Parts that were not touched are there with every byte."""
        self.send(deed, part)
        delivered = self.mta.one()
        raw = delivered.raw.replace(b"\r\n", b"\n")
        for path, piece in LEAVES.items():
            if not any(path == place or path.startswith(place + ".") for place in touched):
                self.assertIn(piece.replace("\r\n", "\n").encode(), raw, path)
        self.assertIn(b"\npreamble\n", raw)
        self.assertIn(b"\nepilogue\n", raw)
        return leaves(delivered), delivered

    def test_accept(self):
        found, _ = self.deliver("accept")
        self.assertEqual(found, BEFORE)

    def test_accept_with_warning(self):
        found, _ = self.deliver("accept_with_warning", touched=("1.1",))
        for path in ("1.1.1", "1.1.2"):
            self.assertIn("Schöne Grüße", found[path][2])
            self.assertIn("Take care: grüße.", html.unescape(found[path][2]))
        self.assertEqual({path: leaf for path, leaf in found.items() if path > "1.2"}, {path: leaf for path, leaf in BEFORE.items() if path > "1.2"})

    def test_drop(self):
        found, _ = self.deliver("drop", "1.3", touched=("1.3",))
        self.assertEqual(found, self.without("1.3"))

    @staticmethod
    def without(gone):
        """BEFORE without the part of that path; those behind it move up."""
        found, parent, n = {}, gone.rpartition(".")[0], int(gone.rpartition(".")[2])
        for path, leaf in BEFORE.items():
            if path == gone or path.startswith(gone + "."):
                continue
            if path.startswith(parent + "."):
                first, _, rest = path[len(parent) + 1:].partition(".")
                if int(first) > n:
                    path = ".".join(filter(None, (parent, str(int(first) - 1), rest)))
            found[path] = leaf
        return found

    def test_drop_of_a_group(self):
        found, _ = self.deliver("drop", "1.1", touched=("1.1",))
        self.assertEqual(found, self.without("1.1"))

    def test_drop_of_an_enclosed_message(self):
        found, _ = self.deliver("drop", "1.4", touched=("1.4",))
        self.assertEqual(found, self.without("1.4"))

    def test_drop_with_warning(self):
        found, _ = self.deliver("drop_with_warning", "1.3", touched=("1.3",))
        kind, _, content = found["1.3"]
        self.assertEqual((kind, content.strip()), ("text/plain", "Taken out: grüße."))
        self.assertEqual({**found, "1.3": BEFORE["1.3"]}, BEFORE)

    def test_replace_with_warning(self):
        found, _ = self.deliver("replace_with_warning", "1.3", touched=("1.3",))
        kind, name, content = found["1.3"]
        self.assertEqual((kind, name, content.rstrip("\n")), ("text/plain", "note.txt", "Was here: grüße.\n."))
        self.assertEqual({**found, "1.3": BEFORE["1.3"]}, BEFORE)

    def test_replace_with_url(self):
        found, _ = self.deliver("replace_with_url", "1.3", touched=("1.3",))
        kind, _, content = found["1.3"]
        self.assertEqual(kind, "text/plain")
        self.assertRegex(content, r"^It is at https://files\.example\.net/\S{20,}")
        name = content.split("https://files.example.net/")[1].split()[0]
        self.assertEqual(content_of(self.mta.folder("urls", name)), EXE)
        self.assertEqual({**found, "1.3": BEFORE["1.3"]}, BEFORE)

    def test_defang(self):
        found, delivered = self.deliver("defang", "1.3", touched=("1.3",))
        kind, name, content = found["1.3"]
        self.assertEqual((kind, name, content), ("application/octet-stream", "harmless.txt", EXE.decode()))
        self.assertNotIn(b"setup.exe", delivered.raw)
        self.assertEqual({**found, "1.3": BEFORE["1.3"]}, BEFORE)

    def test_external_filter(self):
        found, _ = self.deliver("external_filter", "1.3", touched=("1.3",))
        self.assertEqual(found["1.3"], ("application/octet-stream", "setup.exe", EXE.decode().upper()))
        self.assertEqual({**found, "1.3": BEFORE["1.3"]}, BEFORE)

    def kept(self):
        code, out, err = self.postern.ctl("trap", "list", "--json")
        self.assertEqual(code, 0, err)
        return lines_of(out)

    def test_quarantine_of_a_part(self):
        before = len(self.kept())
        found, _ = self.deliver("quarantine", "1.3", touched=("1.3",))
        self.assertEqual(found["1.3"][2].strip(), "Kept.")
        self.assertEqual(len(self.kept()), before + 1)
        files = [path for path in glob.glob(self.mta.folder("state", "**"), recursive=True) if os.path.isfile(path)]
        self.assertIn(EXE, b"".join(map(content_of, files)))

    def test_set_content(self):
        for path, leaf in (("1.3", ("application/octet-stream", "setup.exe", "new: MZ a program\n")),
                           ("1.1.1", ("text/plain", None, "new: Schöne Grüße \n.dot\n"))):
            with self.subTest(path):
                found, _ = self.deliver("set_content", path, touched=(path,))
                self.assertEqual(found, {**BEFORE, path: leaf})

    def test_set_header(self):
        found, delivered = self.deliver("set_header", "1.2", touched=("1.2",))
        self.assertEqual(found, BEFORE)
        value = delivered.get_payload(1)["Content-Description"]
        self.assertEqual(str(make_header(decode_header(value))), "grüße")
        self.assertIn(PDF64.replace("\r\n", "\n").encode(), delivered.raw.replace(b"\r\n", b"\n"))

    def test_strip_html(self):
        found, _ = self.deliver("strip_html", "1.1.2", touched=("1.1",))
        self.assertTrue(all(kind != "text/html" for kind, _, _ in found.values()), found)
        self.assertTrue(any("Schöne Grüße" in content for _, _, content in found.values()))

    def test_many_at_once(self):
        found, delivered = self.deliver("many", "1.3", touched=("1.1", "1.3"))
        self.assertEqual(delivered["X-Many"], "yes")
        self.assertIn("Two things.", found["1.1.1"][2])
        self.assertEqual(found["1.3"][2].strip(), "Gone.")
        self.assertEqual(found["1.5"], ("text/plain", "note.txt", "And this.\n"))

    def test_nothing_left(self):
        self.send("nothing_left")
        delivered = self.mta.one()
        self.assertTrue(all(not content.strip() for _, _, content in leaves(delivered).values()), delivered.raw)
        self.assertEqual(delivered["Subject"], "nothing_left")

    # The whole message.

    def test_quarantine_entire_message(self):
        found, _ = self.deliver("quarantine_entire_message")
        self.assertEqual(found, BEFORE)
        self.assertIn("looks odd", json.dumps(self.kept()))

    def test_quarantine_and_discard(self):
        before = len(self.kept())
        self.send("quarantine_and_discard")
        wait_until(lambda: len(self.kept()) == before + 1, "the message to be kept")
        self.assertEqual(self.mta.mailbox(), [])

    def test_add_part(self):
        found, _ = self.deliver("add_part")
        self.assertEqual(found, {**BEFORE, "1.5": ("text/plain", "note.txt", "Added: grüße.\n")})

    def test_add_part_first(self):
        found, _ = self.deliver("add_first")
        self.assertEqual(found["1.1"], ("text/plain", "note.txt", "Added: grüße.\n"))
        self.assertEqual([leaf for path, leaf in found.items() if path != "1.1"], list(BEFORE.values()))

    def test_add_entity(self):
        """A message, 8-bit as it is: both mail servers hand it on so to one that takes it."""
        self.send("add_entity")
        delivered = self.mta.one()
        added = delivered.get_payload()[-1]
        self.assertEqual((added.get_content_type(), added.get_filename()), ("message/rfc822", "note.eml"))
        inside = added.get_payload()[0]
        self.assertEqual((inside["Subject"], inside.get_payload(decode=True).replace(b"\r\n", b"\n").decode()), ("a note", "Added: grüße.\n--\n"))

    def test_replace_message(self):
        self.send("replace_message")
        delivered = self.mta.one()
        self.assertEqual((delivered["Subject"], delivered.get_content_type()), ("new", "text/html"))
        self.assertEqual(delivered.get_payload(decode=True).strip().decode(), "<p>grüße</p>")

    def test_boilerplate(self):
        found, _ = self.deliver("append_text_boilerplate", touched=("1.1",))
        self.assertIn("-- \nExample Ltd", found["1.1.1"][2])
        self.assertIn("Example Ltd", found["1.1.2"][2])
        found, _ = self.deliver("append_html_boilerplate", touched=("1.1",))
        self.assertIn("<p>Example &amp; Ltd</p>", found["1.1.2"][2])
        self.assertLess(found["1.1.2"][2].index("Example"), found["1.1.2"][2].index("</body>"))

    def test_notices(self):
        self.send("notify")
        found = {mail.recipients[0]: mail for mail in self.mta.delivered(3)}
        self.assertEqual(sorted(found), ["admin@example.net", "ann@example.org", "bob@example.net"])
        for address, subject, text in (("admin@example.net", "look: grüße", "A mail was kept."), ("ann@example.org", "your mail", "It was kept.")):
            notice = found[address]
            self.assertEqual(str(make_header(decode_header(notice["Subject"]))), subject)
            self.assertIn(text, notice.get_payload(decode=True).decode())
            self.assertEqual(notice.sender, "")
            self.assertRegex(notice["Auto-Submitted"], "^auto-(generated|replied)$")


if __name__ == "__main__":
    unittest.main(verbosity=2)
