"""Modules that look into and change the content of mail: postern.html, postern.url, postern.disclaimer, and part:strip_html."""

import base64
import email
import email.policy
import os
import unittest

from common import FilterFolder, ctl, lines_of, run_filter

HEAD = "local function eq(a, b) if a ~= b then error(('got %q, wanted %q'):format(tostring(a), tostring(b)), 2) end end\n"
ALTERNATIVE = (b"From: ann@mail.example.org\r\nTo: bob@example.net\r\nSubject: 1 < 2\r\nMIME-Version: 1.0\r\n"
               b"Content-Type: multipart/alternative; boundary=b\r\n\r\n"
               b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nsee http://a.example/?utm_source=x&id=1 .\r\n"
               b"--b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
               b"<p>see <a href=3D\"http://a.example/?utm_source=3Dx&amp;id=3D1\">it</a>\r\n--b--\r\n")


class Content(unittest.TestCase):
    def run_lua(self, code, message=ALTERNATIVE, words=()):
        """Runs code within filter_message and returns (answer, the message as it would leave)."""
        with FilterFolder("content", f"{HEAD}function filter_message(msg)\n{code}\nend\n") as folder:
            os.mkdir(folder("out"))
            status, out, err = ctl("run", "--json", "--output", folder("out"), *words, folder.filter, folder.write("m.eml", message))
            answer = lines_of(out)[0]
            self.assertEqual(answer["error"], None, err)
            self.assertEqual(status, 0, err)
            with open(folder("out", "m.eml"), "rb") as file:
                new = email.message_from_bytes(file.read(), policy=email.policy.default)
        return answer, new

    def leaves(self, message):
        return [(part.get_content_type(), part.get_content().replace("\r\n", "\n") if part.get_content_maintype() == "text" else None)
                for part in message.walk() if not part.is_multipart()]


class Html(Content):
    def test_functions(self):
        self.run_lua(r"""
            local html = require "postern.html"
            eq(html.text("<p>a &lt; b<br>c<script>d</script>"), "a < b\nc")
            eq(html.text("a\xffb"), "a\u{fffd}b")
            eq(html.text(""), "")
            eq(html.escape("<a href=\"x\">'ö' & co"), "&lt;a href=&quot;x&quot;&gt;&#39;ö&#39; &amp; co")
            eq(html.text(html.escape("<&>\"'")), "<&>\"'")
            eq(table.concat(html.links("<a href='http://a'>x</a><a href=http://a></a><img src=cid:b> http://c."), " "), "http://a cid:b http://c")
            eq(#html.links(""), 0)
            assert(not pcall(html.text)) assert(not pcall(html.escape, {})) assert(not pcall(html.links, nil))""")

    def test_outside_of_hooks(self):
        with FilterFolder("content", "local html = require 'postern.html'\nassert(html.text('<b>x') == 'x')\nfunction filter_message() end\n") as folder:
            self.assertEqual(ctl("check", folder.filter)[0], 0)


class Url(Content):
    def test_parse(self):
        self.run_lua(r"""
            local url = require "postern.url"
            local u = url.parse("HTTPS://ann:pw@Mail.Example:8443/a/b?c=d&e#f")
            eq(u.scheme, "https") eq(u.userinfo, "ann:pw") eq(u.host, "mail.example") eq(u.port, 8443)
            eq(u.path, "/a/b") eq(u.query, "c=d&e") eq(u.fragment, "f")
            u = url.parse("http://a@b@[2001:DB8::1]:80")
            eq(u.userinfo, "a@b") eq(u.host, "2001:db8::1") eq(u.port, 80) eq(u.path, "") eq(u.query, nil)
            u = url.parse("mailto:ann@example.org?subject=x")
            eq(u.scheme, "mailto") eq(u.host, nil) eq(u.path, "ann@example.org") eq(u.query, "subject=x")
            eq(url.parse("http://a:99999/").port, nil) eq(url.parse("http://a:x/").port, nil) eq(url.parse("http://").host, "")
            eq(url.parse("http://[").host, "")
            eq(url.parse("no scheme"), nil) eq(url.parse(""), nil) eq(url.parse(":x"), nil)""")

    def test_without_params(self):
        self.run_lua(r"""
            local url = require "postern.url"
            local function without(u) return url.without_params(u, { "utm_*", "fbclid" }) end
            eq(without("http://a/?utm_source=x"), "http://a/")
            eq(without("http://a/?a=1&UTM_medium=x&b=2&fbclid=y#z?utm_a=1"), "http://a/?a=1&b=2#z?utm_a=1")
            eq(without("http://a/?utm_a#f"), "http://a/#f")
            eq(without("http://a/?a=utm_b&fbclid2=x"), nil) eq(without("http://a/"), nil) eq(without("http://a/?"), nil)
            eq(without("http://a/#?utm_a=1"), nil)
            assert(not pcall(url.without_params, "x")) assert(not pcall(url.without_params, "http://a/?b", { {} }))""")

    def test_rewrite(self):
        answer, new = self.run_lua(r"""
            local url = require "postern.url"
            local n = 0
            eq(url.rewrite(msg, function(u) n = n + 1 eq(u, "http://a.example/?utm_source=x&id=1")
                return url.without_params(u, { "utm_*" }) end), 2)
            eq(n, 1)""")
        self.assertEqual(self.leaves(new), [("text/plain", "see http://a.example/?id=1 ."),
                                            ("text/html", "<p>see <a href=\"http://a.example/?id=1\">it</a>")])
        self.assertEqual(len(answer["actions"]), 1)

    def test_nothing_rewritten(self):
        for result in ("nil", "false", "u"):
            answer, _ = self.run_lua(f'eq(require("postern.url").rewrite(msg, function(u) return {result} end), 0)')
            self.assertEqual(answer["actions"], [])

    def test_a_function_that_waits(self):
        _, new = self.run_lua("""
            require("postern.url").rewrite(msg, function(u) require("postern.async").sleep(0.01) return "http://b/?" .. msg.subject end)
            """)
        self.assertEqual(self.leaves(new)[0], ("text/plain", "see http://b/?1%20%3C%202 ."))

    def test_composes_with_other_changes(self):
        _, new = self.run_lua("""
            msg:append_text("and http://a.example/2")
            require("postern.url").rewrite(msg, function(u) return u:gsub("a%.example", "ö.example") .. "" end)
            msg:append_text("end")""")
        self.assertEqual(self.leaves(new)[0][1], "see http://%C3%B6.example/?utm_source=x&id=1 .\nand http://%C3%B6.example/2\nend")

    def test_a_line_that_gets_too_long(self):
        message = b"Subject: x\r\n\r\n" + b"http://a/ " * 50 + b"\r\n"
        answer, new = self.run_lua("""require("postern.url").rewrite(msg, function() return "http://b/" .. ("x"):rep(100) end)""", message)
        self.assertEqual(new["Content-Transfer-Encoding"], "quoted-printable")
        self.assertEqual(new.get_content().replace("\r\n", "\n"), ("http://b/" + "x" * 100 + " ") * 50 + "\n")

    def test_signed_parts(self):
        signed = (b"MIME-Version: 1.0\r\nContent-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=b\r\n\r\n--b\r\n\r\n"
                  b"http://a/ \r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n")
        answer, _ = self.run_lua('eq(require("postern.url").rewrite(msg, function() return "http://b/" end), 0)', signed)
        self.assertEqual(answer["actions"], [])
        self.run_lua('eq(require("postern.url").rewrite(msg, function() return "http://b/" end, { force = true }), 1)', signed)

    def test_misuse(self):
        self.run_lua(r"""
            local url = require "postern.url"
            local function fails(why, ...) local ok, err = pcall(url.rewrite, ...) assert(not ok and err:find(why, 1, true), err) end
            fails("function expected", msg) fails("msg expected", nil, print) fails("did you mean 'force'", msg, print, { forced = 1 })
            fails("must return an address", msg, function() return 5 end) fails("must return an address", msg, function() return "" end)
            fails("must return an address", msg, function() return ("x"):rep(9000) end) fails("oh", msg, function() error("oh") end)
            fails("changed the part", msg, function() msg:append_text("x") return "http://b/" end)""")

    def test_too_early(self):
        _, answer, _ = run_filter("function filter_headers(msg) require('postern.url').rewrite(msg, print) end", message=ALTERNATIVE)
        self.assertIn("known from filter_message on", answer["error"])


class StripHtml(Content):
    STRIP = "for part in msg:parts() do if part.type == 'text/html' then eq(part:strip_html(), true) else eq(part:strip_html(), false) end end"
    PAGE = b"Content-Type: text/html; charset=iso-8859-1\r\n\r\n<style>x</style><p>Gr\xfc&szlig;e<p>end"
    PDF = b"Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQK"

    def multipart(self, kind, *children):
        boundary = b"=_" + kind
        return (b"Content-Type: multipart/" + kind + b"; boundary=\"" + boundary + b"\"\r\n\r\n"
                + b"".join(b"--" + boundary + b"\r\n" + child + b"\r\n" for child in children) + b"--" + boundary + b"--\r\n")

    def strip(self, entity):
        return self.leaves(self.run_lua(self.STRIP, b"Subject: x\r\nMIME-Version: 1.0\r\n" + entity)[1])

    def test_alone(self):
        self.assertEqual([(kind, text.rstrip("\n")) for kind, text in self.strip(self.PAGE)], [("text/plain", "Grüße\nend")])

    def test_beside_an_attachment(self):
        found = self.strip(self.multipart(b"mixed", self.PAGE, self.PDF))
        self.assertEqual([kind for kind, _ in found], ["text/plain", "application/pdf"])
        self.assertEqual(found[0][1].rstrip("\n"), "Grüße\nend")

    def test_beside_plain_text(self):
        plain = b"Content-Type: text/plain\r\n\r\nplain"
        related = self.multipart(b"related", self.PAGE, b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=")
        for page in (self.PAGE, related):
            self.assertEqual(self.strip(self.multipart(b"alternative", plain, page)), [("text/plain", "plain")])
        found = self.strip(self.multipart(b"alternative", plain, self.multipart(b"mixed", self.PAGE, self.PDF)))
        self.assertEqual([kind for kind, _ in found], ["text/plain", "application/pdf"])

    def test_after_other_changes(self):
        for code, wanted in (("part:set_content('<p>CHANGED</p>')", "CHANGED"), ("msg:append_text('A & B')", "Grüße\nend\nA & B"),
                             ("part:replace{ type = 'text/html', body = '<b>n</b>ew' }", "new"),
                             ("part:replace{ type = 'text/html', charset = 'koi8-r', body = '\\xc1' }", "а"),
                             ("part:set_content('x'); part:strip_html()", "x")):
            _, new = self.run_lua(f"local part = msg.root {code} part:strip_html()", b"Subject: x\r\nMIME-Version: 1.0\r\n" + self.PAGE)
            self.assertEqual([(kind, text.rstrip("\n")) for kind, text in self.leaves(new)], [("text/plain", wanted)], code)

    def test_text_over_the_limit_of_texts(self):
        page = b"Subject: x\r\nContent-Type: text/html\r\n\r\n<p>Hello<img src='data:," + b"x\r\n" * 2000 + b"'> " + b"words\r\n" * 500 + b"LAST"
        _, new = self.run_lua("eq(msg.root:strip_html(), true)", page, ("-o", "worker.max_text=1K"))
        self.assertEqual(new.get_content().split(), ["Hello"] + ["words"] * 500 + ["LAST"])

    def test_content_that_was_cut(self):
        page = (b"Subject: x\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                + base64.encodebytes(b"<p>word</p>\r\n" * 10000).replace(b"\n", b"\r\n"))
        for code in ("", "msg:append_text('x')"):
            answer, _ = self.run_lua(code + """
                local ok, err = pcall(msg.root.strip_html, msg.root)
                eq(ok, false) assert(err:find("over worker.max_decoded", 1, true), err)""", page, ("-o", "worker.max_decoded=64K"))
            self.assertEqual("replace_body" in str(answer["actions"]), code != "")

    def test_text_that_is_html_now(self):
        _, new = self.run_lua("msg.root:replace{ type = 'text/html', body = '<i>x</i>' } eq(msg.root:strip_html(), true)", b"Subject: x\r\n\r\ny\r\n")
        self.assertEqual([(kind, text.rstrip("\n")) for kind, text in self.leaves(new)], [("text/plain", "x")])

    def test_beside_what_is_text_no_more(self):
        message = b"Subject: x\r\nMIME-Version: 1.0\r\n" + self.multipart(b"alternative", b"Content-Type: text/plain\r\n\r\nplain", self.PAGE)
        for code in ("part:defang()", "part:drop()", "part:replace{ type = 'image/png', body = 'x' }"):
            _, new = self.run_lua(f"for part in msg:parts() do if part.type == 'text/plain' then {code} else part:strip_html() end end", message)
            self.assertIn(("text/plain", "Grüße\nend"), [(kind, (text or "").rstrip("\n")) for kind, text in self.leaves(new)], code)


class Disclaimer(Content):
    def test_variables(self):
        self.run_lua(r"""
            local disclaimer = require "postern.disclaimer"
            local function fill(template, ...) return disclaimer.fill(template, msg, ...) end
            eq(fill("${sender}, ${sender_local}@${sender_domain}"), "ann@mail.example.org, ann@mail.example.org")
            eq(fill("${from} to ${to}: ${subject}"), "ann@mail.example.org to bob@example.net: 1 < 2")
            eq(fill("<p>${subject}</p>", "html"), "<p>1 &lt; 2</p>")
            eq(fill("$$ $${sender} $ {subject}", "text"), "$ ${sender} $ {subject}")
            eq(fill("${uid}"), msg.uid) assert(fill("${year}-${date} ${time}"):find("^%d%d%d%d%-%d%d%d%d%-%d%d%-%d%d %d%d:%d%d$"))
            eq(fill("${x}${y}", "html", { x = "<", y = function(m) return m.sender_local .. "\n" end }), "&lt;ann ")
            local ok, err = pcall(fill, "${sneder}") assert(not ok and err:find("'sneder' that is not known", 1, true), err)
            ok, err = pcall(fill, "${sender} $ ${subject") assert(not ok and err:find("not closed", 1, true), err)
            ok, err = pcall(fill, "x", "pdf") assert(not ok and err:find("the target is", 1, true), err)""")

    def test_by_domain(self):
        code = """
            local below = require("postern.disclaimer").new{ outgoing = false, text = "for all",
                domains = { ["EXAMPLE.org"] = { text = "of example.org" }, ["other.example"] = { html = "<p>other</p>" } } }
            eq(below(msg), true)"""
        for sender, wanted in (("a@example.org", "of example.org"), ("a@b.c.example.org", "of example.org"), ("a@org", "for all"),
                               ("a@notexample.org", "for all"), ("a@other.example", "other")):
            _, new = self.run_lua(code, words=("--sender", sender))
            for _, text in self.leaves(new):
                self.assertEqual(text.count(wanted), 1, sender)

    def test_no_text_for_a_domain(self):
        self.run_lua("""
            local below = require("postern.disclaimer").new{ outgoing = false, domains = { ["example.com"] = { text = "x" } } }
            local ok, why = below(msg) eq(ok, false) eq(why, "no disclaimer for the domain")""")

    def test_outgoing_alone(self):
        code = """
            local disclaimer = require "postern.disclaimer"
            local ok, why = disclaimer.new{ text = "a note" }(msg)
            eq(ok, disclaimer.is_outgoing(msg)) eq(why, not ok and "incoming" or nil)"""
        self.assertEqual(self.run_lua(code)[0]["actions"], [])
        self.assertEqual(len(self.run_lua(code, words=("--ip", "local"))[0]["actions"]), 1)

    def test_misuse(self):
        self.run_lua(r"""
            local new = require("postern.disclaimer").new
            local function fails(why, options)
                local ok, err = pcall(new, options) assert(not ok and err:find(why, 1, true), err)
            end
            fails("a table expected", nil) fails("text or html is missing", {}) fails("no option 'txt'", { txt = "x" })
            fails("text is a string", { text = 5 }) fails("'nope' that is not known", { text = "${nope}" })
            fails("'nope' that is not known", { text = "x", html = "${nope}" })
            fails("no option 'once'", { domains = { a = { once = true } } }) fails("is a table", { domains = { a = "x" } })
            fails("'nope' that is not known", { domains = { a = { text = "${nope}" } } })""")


    def passed(self, options, message, times=3):
        """What the disclaimer answers when a mail passes again and again, each time from somebody else."""
        answers, code = [], f"""
            local below = require("postern.disclaimer").new{{ outgoing = false, {options} }}
            local ok, why = below(msg) msg:log("why", tostring(ok) .. " " .. tostring(why))"""
        for i in range(times):
            answer, new = self.run_lua(code, message, ("--sender", f"user{i}@example.net"))
            answers.append(answer["log"][-1].partition("=")[2])
            message = new.as_bytes()
        return answers

    def test_once_in_a_thread(self):
        once = ["true nil"] + ["false already there"] * 2
        head = b"Subject: x\r\nMIME-Version: 1.0\r\n"
        page = head + b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>Hi</p>\r\n"
        plain = head + b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\nHi\r\n"
        forms = "text = '-- \\nExample Ltd', html = '<p><b>Example Limited</b> of Examplia</p>'"
        varied = ("text = '-- \\nSent by ${sender} at ${uid}, it is confidential.', "
                  "html = '<p title=\"${uid}\">By <i>${sender}</i>: <b>strictly</b> confidential'")
        euro = "text = 'Worth a thousand € to ${sender}, ${greeting}', variables = { greeting = 'a\\nb', sender = function(m) return m.uid end }"
        for options in (forms, varied, varied.partition(", html")[0], varied.partition(", ")[2].partition(", ")[2], euro,
                        "html = '<p>1 &lt; ${sender}: a text of some length'"):
            for message in (page, plain, ALTERNATIVE):
                self.assertEqual(self.passed(options, message), once, options)

    def test_little_that_is_the_same_in_all_mail(self):
        page = b"Subject: x\r\n\r\nSent by mistake\r\n"
        self.assertEqual(self.passed("text = 'Sent by ${sender}'", page, 2), ["true nil"] * 2)
        self.assertEqual(self.passed("text = '${name}', variables = { name = 'Ex' }", page, 2), ["true nil", "false already there"])

    def test_errors_name_the_line_of_the_filter(self):
        for call, why in (("d.fill(nil, msg)", "the template is a string"), ("d.fill('x')", "a msg expected, not nil"),
                          ("d.fill('x', {})", "a msg expected, not table"), ("d.fill('x', msg, 'text', 5)", "variables is a table"),
                          ("d.is_outgoing(nil)", "a msg expected, not nil"), ("d.is_outgoing('x')", "a msg expected, not string"),
                          ("d.new{ text = 'x' }(nil)", "a msg expected, not nil"), ("d.fill('${nope}', msg)", "'nope' that is not known"),
                          ("d.new(nil)", "a table expected"), ("d.new{ text = '${nope}' }", "'nope' that is not known")):
            _, answer, _ = run_filter(f"local d = require 'postern.disclaimer'\nfunction filter_message(msg)\n  local _ = {call}\nend")
            self.assertRegex(answer["error"], r"filter\.lua:3: .*")
            self.assertIn(why, answer["error"])
            self.assertNotIn("disclaimer.lua", answer["error"].partition("\n")[0])

    def test_below_html_that_is_text_now(self):
        page = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<p>words"
        _, new = self.run_lua("""
            msg.root:strip_html()
            eq(require("postern.disclaimer").new{ text = "T", html = "<p><b>H</b></p>", outgoing = false }(msg), true)""", page)
        self.assertEqual(self.leaves(new), [("text/plain", "words\nT\n")])


if __name__ == "__main__":
    unittest.main()
