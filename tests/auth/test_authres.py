"""postern.authres: the field, and fields that claim to be ours."""

import unittest

from common import Folder, logged, play


class Authres(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = Folder("authres")
        self.addCleanup(self.folder.remove)

    def play(self, code, header=b"", options=()):
        return play(self.folder, f'local authres = require "postern.authres"\nfunction filter_message(msg)\n{code}\nend', header + b"Subject: x\r\n\r\nx\r\n", options=options)

    def value(self, options, *words):
        result = self.play(f"authres.add(msg, {options})", options=words)
        self.assertIsNone(result["error"])
        action = result["actions"][-1]
        self.assertEqual((action["action"], action["index"], action["name"]), ("insert_header", 0, "Authentication-Results"))
        return action["value"].replace("\n", "")

    def test_results(self):
        self.assertEqual(self.value('{ id = "MX.example.org" }'), "mx.example.org; none")
        self.assertEqual(self.value("{}", "--macro", "j=mail.example.org"), "mail.example.org; none")
        self.assertEqual(self.value('{ id = "mx", spf = { result = "fail", identity = "helo", helo = "x.example", reason = "-all" } }'), "mx; spf=fail (-all) smtp.helo=x.example")
        self.assertEqual(self.value('{ id = "mx", dkim = { signatures = { { result = "pass", domain = "a.example", selector = "s", identity = "@a.example", '
                                    'algorithm = "rsa-sha256", b = "ab/c+d==" }, { result = "permerror", reason = "x (y)" } } } }'),
                         'mx; dkim=pass header.d=a.example header.i=@a.example header.s=s header.a=rsa-sha256 header.b="ab/c+d=="; dkim=permerror (x \\(y\\))')
        self.assertEqual(self.value('{ id = "mx", arc = { result = "pass", instance = 2 }, other = { { method = "x-test", result = "pass", properties = { { "policy.a", "b c" } } } } }'),
                         'mx; arc=pass (i=2); x-test=pass policy.a="b c"')
        self.assertEqual(self.value('{ id = "mx", auth = true }', "--macro", "auth_type=PLAIN", "--macro", "auth_authen=ann"), "mx; auth=pass (PLAIN) smtp.auth=ann")
        self.assertEqual(self.value('{ id = "mx", auth = true }'), "mx; none")

    def test_what_strangers_write_stays_in_its_place(self):
        value = self.value('{ id = "mx", spf = { result = "pass", identity = "mailfrom", sender = "a; dkim=pass header.d=bank.example\\r\\nX: y\\"@b", reason = "x) ; dmarc=pass (" } }')
        self.assertEqual(value, 'mx; spf=pass (x\\) ; dmarc=pass \\() smtp.mailfrom="a; dkim=pass header.d=bank.example??X: y\\"@b"')
        self.assertLess(len(self.value('{ id = "mx", spf = { result = "pass", sender = ("\\200"):rep(90000) } }')), 300)

    def test_the_beginning_of_a_name_is_not_told_for_the_name(self):
        domain = ".".join(["a" * 60] * 3 + ["bank.example", "evil.test"])
        shown = self.value(f'{{ id = "mx", dkim = {{ signatures = {{ {{ result = "pass", domain = "{domain}", identity = ("x"):rep(300) .. "@{domain}" }} }} }} }}')
        self.assertEqual(shown, f"mx; dkim=pass header.d={domain}")
        self.assertEqual(self.value('{ id = "mx", spf = { result = "pass", reason = ("("):rep(900) } }'), "mx; spf=pass (" + "\\(" * 200 + ")")

    def test_fields_with_our_name_go(self):
        ours = (b"mx.example.org; spf=pass", b" MX.Example.ORG ; none", b"(x)mx.example.org 1; none", b'"mx.example.org"; none', b"mx.example.org", b"\r\n mx.example.org; x",
                b"(a(b\\))c) mx.example.org; none", b"mx.example.org.; none", b"mx.example.org/1; none", b'"mx.exam\\ple.org" ; none', b"mx.example.org(x); none")
        others = (b"mx.example.net; spf=pass", b"amx.example.org; none", b"(mx.example.org) other; none", b"other; x=mx.example.org", b"", b";", b"(" * 60000, b'"' + b"\\" * 60001)
        for value in ours + others:
            with self.subTest(value[:40]):
                header = b"Authentication-Results: other.example; none\r\nAuthentication-Results: " + value + b"\r\n"
                result = self.play('msg:log("n", authres.remove(msg, { id = "mx.example.org" }))', header)
                self.assertEqual(logged(result)["n"], ["1" if value in ours else "0"])
                self.assertEqual([(one["action"], one["index"]) for one in result["actions"]], [("delete_header", 2)] if value in ours else [])

    def test_wrong_use(self):
        for call, part in (("authres.add(msg, { id = 'a b' })", "id is the name"), ("authres.add(msg, { spf = 1 })", "spf is a table"), ("authres.add(7)", "a msg expected"),
                           ("authres.remove(msg, { x = 1 })", "no option 'x'")):
            result = self.play(call)
            self.assertRegex(result["error"] or "", "^filter_message: filter.lua:")
            self.assertIn(part, result["error"])


if __name__ == "__main__":
    unittest.main()
