"""Every callback, every cell of verdict × stage, and what crosses from one stage or message to the next."""

import unittest

from milterd_fixture import MilterdTest
from fake_multiplexor import STAGES, Reply, action, needs_of, reject, tempfail
from milter_client import HDR_LEADSPC, SKIP, STEPS
import postern_wire as wire

ALL = ("RELAY", "HELO", "SENDER", "RECIPIENT", "DATA", "HEADER", "HEADERS", "BODY", "MESSAGE", "ABORT", "CLOSE", "UNKNOWN")
# hook: the client's calls up to the one that the hook answers
PATH = {
    "RELAY": ["connect"], "HELO": ["connect", "helo"], "SENDER": ["connect", "helo", "mail"],
    "RECIPIENT": ["connect", "helo", "mail", "rcpt"], "DATA": ["connect", "helo", "mail", "rcpt", "data"],
    "HEADER": ["connect", "helo", "mail", "rcpt", "data", "header"],
    "HEADERS": ["connect", "helo", "mail", "rcpt", "data", "header", "eoh"],
    "BODY": ["connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body"],
    "MESSAGE": ["connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body", "eom"],
    "UNKNOWN": ["connect", "helo", "unknown"],
}
ARGUMENTS = {"header": ("Subject", " s"), "body": (b"text\r\n",), "unknown": ("NOOT aap",)}
OF_MESSAGE = {"CONTINUE": "continue", "ACCEPT": "accept", "REJECT": "reject", "TEMPFAIL": "tempfail", "DISCARD": "discard"}
EXPECTED = {
    "RELAY": {**OF_MESSAGE, "DISCARD": "tempfail"}, "HELO": {**OF_MESSAGE, "DISCARD": "tempfail"},
    "SENDER": OF_MESSAGE, "RECIPIENT": {**OF_MESSAGE, "ACCEPT": "continue", "DISCARD": "tempfail"}, "DATA": OF_MESSAGE,
    "HEADER": OF_MESSAGE, "HEADERS": OF_MESSAGE, "BODY": OF_MESSAGE, "MESSAGE": OF_MESSAGE,
    "UNKNOWN": {**OF_MESSAGE, "ACCEPT": "tempfail", "DISCARD": "tempfail"},
}


def walk(client, hook):
    """Plays the dialogue up to the stage of a hook; the answer there."""
    answer = None
    for call in PATH[hook]:
        answer = getattr(client, call)(*ARGUMENTS.get(call, ()))
    return answer


class Cells(MilterdTest):
    hooks = ALL

    def test_every_cell(self):
        for hook, row in EXPECTED.items():
            for verdict, expected in row.items():
                with self.subTest(hook=hook, verdict=verdict):
                    self.script = lambda asked, h=hook, v=verdict: Reply(v) if asked.hook == h else Reply()
                    with self.client() as client:
                        client.negotiate()
                        self.assertEqual(walk(client, hook).verdict, expected)

    def test_replies_at_every_stage(self):
        """Code, enhanced code and text, two lines, a percent sign doubled for the MTA."""
        for hook in EXPECTED:
            for make, code in ((reject, "550"), (tempfail, "451")):
                with self.subTest(hook=hook, code=code):
                    dsn = code[0] + ".7.9"
                    self.script = lambda asked, h=hook, m=make, d=dsn: m("100% no\nsecond line", dsn=d) if asked.hook == h else Reply()
                    with self.client() as client:
                        client.negotiate()
                        self.assertEqual(walk(client, hook).text,
                                         f"{code}-{dsn} 100%% no\r\n{code} {dsn} second line")

    def test_default_replies(self):
        """Code 0 leaves the words to the MTA."""
        self.script = lambda asked: Reply("REJECT") if asked.hook == "SENDER" else Reply()
        with self.client() as client:
            client.start()
            self.assertEqual(client.mail().code, "reject")

    def test_whole_message_discard_at_rcpt(self):
        flag = wire.REPLY_FLAG["WHOLE_MESSAGE"]
        self.script = lambda asked: Reply("DISCARD", flags=flag) if asked.hook == "RECIPIENT" else Reply()
        with self.client() as client:
            client.start()
            client.mail()
            self.assertEqual(client.rcpt().code, "discard")
        self.assertIn("verdict=discard", self.milterd.wait_for_lines("message uid")[0])


class Dialogue(MilterdTest):
    hooks = ALL

    def test_every_callback_with_its_data(self):
        client = self.client().start()
        client.mail("<>", "SIZE=10", "BODY=8BITMIME")
        client.rcpt("<a@example.net>", "NOTIFY=NEVER")
        client.rcpt("<b@example.net>")
        client.data()
        client.header("Subject", " one\n\ttwo")
        client.header("X-Tight", "v")
        client.eoh()
        client.body(b"hello\r\n")
        client.eom()
        client.unknown("FOO bar")
        client.quit()
        self.milterd.wait_for_lines("message uid")
        by_hook = {asked.hook: asked for asked in self.mux.requests}
        self.assertEqual(by_hook["RELAY"].connect(), ("4", "192.0.2.1", 4321, "mail.example.org"))
        self.assertEqual(by_hook["RELAY"]["uid"], b"")
        self.assertEqual(by_hook["HELO"].helo(), "client.example.org")
        self.assertEqual(by_hook["SENDER"].sender(), ("<>", "SIZE=10 BODY=8BITMIME"))
        self.assertEqual(by_hook["RECIPIENT"]["recipient_number"], 1)
        self.assertEqual(by_hook["HEADER"]["name"], b"X-Tight")
        self.assertEqual(by_hook["HEADER"]["argument"], b"v")
        self.assertEqual(by_hook["HEADERS"].message, b"Subject: one\r\n\ttwo\r\nX-Tight:v\r\n\r\n")
        self.assertEqual(by_hook["BODY"]["chunk_bytes"], 7)
        message = by_hook["MESSAGE"]
        self.assertEqual(message.message, b"Subject: one\r\n\ttwo\r\nX-Tight:v\r\n\r\nhello\r\n")
        self.assertEqual(message["header_bytes"], 31)
        self.assertEqual(message.message[by_hook["BODY"]["chunk_offset"]:], b"hello\r\n")
        self.assertEqual(message.recipients(), ["<a@example.net>", "<b@example.net>"])
        self.assertEqual(by_hook["UNKNOWN"]["argument"], b"FOO bar")

    def test_recipient_entry_is_where_the_request_says(self):
        client = self.client().start()
        client.mail()
        for name in ("<a@x>", "<b@x>", "<c@x>"):
            client.rcpt(name)
        for asked, name in zip(self.mux.of_hook("RECIPIENT"), (b"<a@x>", b"<b@x>", b"<c@x>")):
            at = asked["recipient_offset"]
            self.assertEqual(asked.envelope[at], 4)
            self.assertEqual(asked.envelope[at + 9:at + 9 + len(name)], name)

    def test_addresses(self):
        rows = [("192.0.2.7", ("4", "192.0.2.7")), ("2001:db8::1", ("6", "2001:db8::1")),
                ("::ffff:192.0.2.9", ("4", "192.0.2.9")), (None, ("?", ""))]
        for ip, expected in rows:
            with self.subTest(ip=ip), self.client() as client:
                client.negotiate()
                client.connect("[x]", ip)
                self.assertEqual(self.mux.of_hook("RELAY")[-1].connect()[:2], expected)
        with self.client() as client:
            client.negotiate()
            client.connect("localhost", "/path", family=b"L")
            self.assertEqual(self.mux.of_hook("RELAY")[-1].connect()[0], "l")

    def test_rejected_recipient_and_the_others(self):
        self.script = lambda asked: reject("no", changes=action("add_header", name="X", value="y")) \
            if asked.hook == "RECIPIENT" and asked["recipient_number"] == 1 else Reply()
        client = self.client().start()
        answer = client.message(recipients=("<a@x>", "<b@x>", "<c@x>"))
        self.assertEqual((answer.code, answer.actions), ("continue", []))
        message = self.mux.of_hook("MESSAGE")[0]
        self.assertEqual(message.refused(), [1])
        self.assertEqual(len(message.recipients()), 3)
        self.assertIn("to=<b@x> verdict=reject", self.milterd.wait_for_lines(" recipient uid")[0])

    def test_accept_ends_the_message_and_not_the_next(self):
        self.script = lambda asked: Reply("ACCEPT") if asked.hook == "SENDER" and "first" in asked.sender()[0] else Reply()
        client = self.client().start()
        self.assertEqual(client.message(sender="<first@x>").code, "accept")
        self.assertEqual(client.message(sender="<second@x>").code, "continue")
        self.assertEqual(len(self.mux.of_hook("MESSAGE")), 1)

    def test_accept_with_pending_changes_applies_them(self):
        change = action("add_header", name="X-Early", value="1")
        self.script = lambda asked: Reply("ACCEPT", changes=change) if asked.hook == "SENDER" else Reply()
        client = self.client().start()
        answer = client.message()
        self.assertEqual(answer.code, "accept" if answer.code == "accept" else "continue")
        self.assertEqual(answer.actions, [("add_header", "X-Early", " 1")])
        self.assertEqual([asked.hook for asked in self.mux.requests][2:], ["SENDER"])
        self.assertIn("verdict=accept stage=mail", self.milterd.wait_for_lines("message uid")[0])

    def test_skip_after_accept_in_body(self):
        change = action("add_header", name="X", value="1")
        self.script = lambda asked: Reply("ACCEPT", changes=change) if asked.hook == "BODY" else Reply()
        client = self.client().start()
        client.mail(), client.rcpt(), client.data(), client.header("A", " b"), client.eoh()
        self.assertEqual(client.body(b"x" * 200000).code, "skip")
        self.assertEqual(client.eom().all("add_header"), [["X", " 1"]])

    def test_accept_of_the_connection(self):
        self.script = lambda asked: Reply("ACCEPT") if asked.hook == "RELAY" else Reply()
        client = self.client()
        client.negotiate()
        self.assertEqual(client.connect().code, "accept")
        client.helo()
        self.assertEqual(client.message().code, "continue")
        self.assertEqual([asked.hook for asked in self.mux.requests], ["RELAY"])

    def test_fifty_messages_with_aborts_between(self):
        """Nothing of one message is in the next: verdicts alternate, a state marks each."""
        def script(asked):
            if asked.hook == "SENDER":
                self.assertEqual(asked["msg_state"], b"")
                return Reply(flags=wire.REPLY_FLAG["HAS_MSG_STATE"], msg_state=asked.sender()[0].encode(),
                             changes=action("add_header", name="X-For", value=asked.sender()[0]))
            if asked.hook == "MESSAGE":
                self.assertEqual(asked["msg_state"], asked.sender()[0].encode())
                number = int(asked.sender()[0][2:-3])
                return [Reply(), reject("r%d" % number), tempfail("t"), Reply("DISCARD"), Reply("ACCEPT")][number % 5]
            return Reply()
        self.script = script
        client = self.client().start()
        expected = ["continue", "reject", "tempfail", "discard", "accept"]
        for n in range(50):
            if n % 7 == 3:
                client.mail("<gone@x>")
                client.rcpt()
                client.abort()
            answer = client.message(sender=f"<m{n}@x>", body=b"%d\r\n" % n)
            self.assertEqual(answer.verdict, expected[n % 5])
            if n % 5 in (0, 4):
                self.assertEqual(answer.actions, [("add_header", "X-For", f" <m{n}@x>")])
            self.assertTrue(self.mux.of_hook("MESSAGE")[-1].message.endswith(b"\r\n\r\n%d\r\n" % n))
        self.assertEqual(len(self.milterd.wait_for_lines("verdict=aborted", 7)), 7)
        self.assertEqual(len(self.milterd.lines("message uid")), 57)

    def test_connection_state_lives_across_messages(self):
        def script(asked):
            if asked.hook == "RELAY":
                return Reply(flags=wire.REPLY_FLAG["HAS_CONN_STATE"], conn_state=b"seen")
            return Reply()
        self.script = script
        client = self.client().start()
        client.message(), client.message()
        for asked in self.mux.of_hook("MESSAGE"):
            self.assertEqual((asked["conn_state"], asked["flags"] & 1), (b"seen", 1))
        client.quit()

    def test_quit_and_new_connection_on_the_same_socket(self):
        self.script = lambda asked: Reply(flags=1, conn_state=b"first") if asked.hook == "RELAY" and \
            asked.connect()[1] == "192.0.2.1" else Reply()
        client = self.client().start()
        client.message()
        client.quit_new_connection()
        self.assertEqual(client.connect("other", "192.0.2.2").code, "continue")
        client.helo()
        client.message()
        asked = self.mux.of_hook("MESSAGE")
        self.assertEqual(asked[1]["conn_state"], b"")
        self.assertEqual(asked[1].connect()[1], "192.0.2.2")
        self.assertNotEqual(asked[0]["conn_id"], asked[1]["conn_id"])

    def test_helo_again(self):
        client = self.client().start()
        client.helo("again.example.org")
        client.message()
        self.assertEqual([*map(len, (self.mux.of_hook("MESSAGE")[0].entries(2),))], [1])
        self.assertEqual(self.mux.of_hook("MESSAGE")[0].helo(), "again.example.org")

    def test_macros_are_taken_anew(self):
        client = self.client()
        client.negotiate()
        client.connect(macros={"j": "mx.test", "{daemon_name}": "d1", "v": "Postfix 3.7.11"})
        client.helo(macros={"{tls_version}": "TLSv1.3"})
        client.mail(macros={"{auth_authen}": "user"})
        client.rcpt(macros={"{rcpt_mailer}": "smtp"})
        client.data(macros={"i": "LATE1"})
        client.header("A", " b"), client.eoh(), client.body(b"x\r\n")
        client.eom(macros={"i": "LATE1", "{msg_id}": "<m@x>"})
        self.assertNotIn("i", self.mux.of_hook("SENDER")[0].macros())
        self.assertEqual(self.mux.of_hook("DATA")[0].macros()["i"], "LATE1")
        macros = self.mux.of_hook("MESSAGE")[0].macros()
        for name, value in {"j": "mx.test", "{daemon_name}": "d1", "v": "Postfix 3.7.11", "{tls_version}": "TLSv1.3",
                            "{auth_authen}": "user", "{rcpt_mailer}": "smtp", "i": "LATE1", "{msg_id}": "<m@x>"}.items():
            self.assertEqual(macros[name], value)
        self.assertIn(" id=LATE1 ", self.milterd.wait_for_lines("message uid")[0])

    def test_values_without_leading_space_negotiated(self):
        client = self.client().start(steps=0x1FFFFF & ~HDR_LEADSPC)
        client.message(headers=(("Subject", "x"),))
        self.assertTrue(self.mux.of_hook("MESSAGE")[0].message.startswith(b"Subject: x\r\n"))

    def test_bad_replies_are_not_passed_on(self):
        """A code of the wrong class, a line break of the wrong kind, an unknown verdict's text: a tempfail instead."""
        for fields in ({"code": 250, "dsn": "2.0.0"}, {"code": 550, "dsn": "4.7.1"}, {"code": 550, "text": "a\r\nb"},
                       {"code": 550, "text": "x" * 3000}, {"code": 550, "dsn": "5.x.1"}):
            with self.subTest(fields=fields), self.client() as client:
                self.script = lambda asked, f=fields: Reply("REJECT", **f) if asked.hook == "SENDER" else Reply()
                client.start()
                self.assertTrue(client.mail().text.startswith("451 4.3.0"))


class Negotiation(MilterdTest):
    hooks = ("MESSAGE",)

    def test_stages_by_what_the_hooks_need(self):
        sets = (("MESSAGE",), ("RECIPIENT",), ("RELAY",), ("HEADERS", "DATA"), ("BODY",), ("UNKNOWN", "CLOSE"), ALL)
        for generation, hooks in enumerate(sets, 2):
            with self.subTest(hooks=hooks):
                self.mux.set_filter(hooks, generation)
                self._check(hooks)

    def _check(self, hooks):
        sees, answers = needs_of(hooks)
        stage_of = {b"C": "CONNECT", b"H": "HELO", b"M": "MAIL", b"R": "RCPT", b"T": "DATA", b"L": "HEADER", b"N": "EOH",
                    b"B": "BODY", b"U": "UNKNOWN"}
        deadline_client = None
        for _ in range(200):
            with self.client() as client:
                client.negotiate()
                deadline_client = client
                steps = 0
                for command, stage in stage_of.items():
                    bit = 1 << STAGES[stage]
                    steps |= STEPS[command][0] if not sees & bit else STEPS[command][1] if not answers & bit else 0
                if client.steps == steps | SKIP | HDR_LEADSPC:
                    return
        self.fail("%x, expected %x" % (deadline_client.steps, steps))

    def test_actions_and_capabilities_are_what_is_offered(self):
        self.client().start(actions=0x11).message()
        self.assertEqual(self.mux.of_hook("MESSAGE")[0]["capabilities"], 1 | 2)

    def test_old_mta(self):
        """Version 2, nothing beyond the first protocol: the mail is filtered all the same."""
        client = self.client()
        client.negotiate(actions=0x3F, steps=0x7F, version=2)
        client.connect(), client.helo(), client.mail(), client.rcpt()
        client.steps |= 0x200  # such an MTA has no DATA
        client.header("Subject", "x"), client.eoh(), client.body(b"text\r\n")
        self.assertEqual(client.eom().code, "continue")
        self.assertEqual(self.mux.of_hook("MESSAGE")[0].message, b"Subject: x\r\n\r\ntext\r\n")

    def test_body_replies_on_request(self):
        self.start(**{"milterd.no_reply_body": "no"})
        client = self.client()
        client.negotiate()
        self.assertTrue(client.has_reply(b"B"))
        client.connect(), client.helo(), client.mail(), client.rcpt(), client.header("A", " b"), client.eoh()
        client.send(b"E", b"text in the end command\r\n")
        self.assertEqual(client.answer().code, "continue")
        self.assertTrue(self.mux.of_hook("MESSAGE")[0].message.endswith(b"text in the end command\r\n"))

    def test_configured_macros_are_asked_for(self):
        self.start(**{"milterd.macros_mail": "{mine} other"})
        client = self.client()
        client.negotiate()
        self.assertLessEqual({"i", "{mine}", "{other}"}, set(client.wanted_macros[b"M"]))
        self.assertIn("{client_addr}", client.wanted_macros[b"C"])


class Reserved(MilterdTest):
    options = {"multiplexor.reserved_networks": "loopback 192.0.2.0/28"}

    def test_requests_of_reserved_networks_say_so(self):
        bit = wire.REQUEST_FLAG["RESERVED"]
        for connect, expected in (({"ip": "192.0.2.1"}, bit), ({"ip": "192.0.2.16"}, 0), ({"ip": "127.0.0.9"}, bit), ({"ip": None}, bit)):
            client = self.client()
            client.negotiate()
            client.connect(**connect)
            client.helo()
            client.message()
            self.assertEqual(self.mux.of_hook("MESSAGE")[-1]["flags"] & bit, expected, connect)


class Keys(MilterdTest):
    hooks = ALL

    def test_what_limits_tell_requests_apart_by(self):
        """The client's address with every hook; the domain of the recipient that is judged, later of the first; lower case, and cut."""
        client = self.client()
        client.negotiate()
        client.connect(ip="192.0.2.9")
        client.helo()
        client.message(recipients=("<a@B.Example>", '<"x@y"@c.example>', "<postmaster>", f"<a@{'x' * 300}>"))
        self.assertEqual({bytes(request["client"]) for request in self.mux.requests}, {b"192.0.2.9"})
        domains = {hook: [bytes(request["domain"]) for request in self.mux.of_hook(hook)] for hook in ("HELO", "SENDER", "RECIPIENT", "MESSAGE")}
        self.assertEqual(domains, {"HELO": [b""], "SENDER": [b""], "RECIPIENT": [b"b.example", b"c.example", b"", b"x" * 255], "MESSAGE": [b"b.example"]})
        client.message(recipients=("<a@d.example>",))
        self.assertEqual(bytes(self.mux.of_hook("SENDER")[-1]["domain"]), b"", "nothing of the message before")
        self.assertEqual(bytes(self.mux.of_hook("MESSAGE")[-1]["domain"]), b"d.example")


if __name__ == "__main__":
    unittest.main()
