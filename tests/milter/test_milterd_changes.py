"""Every change to a message, in the order and form that an MTA must get it; what does not validate is not applied."""

import unittest

from milterd_fixture import MilterdTest
from fake_multiplexor import Reply, action
from milter_client import HDR_LEADSPC
import postern_wire as wire

HEADERS = (("Received", " r1"), ("Subject", " s"), ("Received", " r2"), ("X-Old", " o"))


class Changes(MilterdTest):
    def changed(self, *changes, client=None, recipients=("<a@x>", "<b@x>"), **start):
        self.script = lambda asked: Reply(changes=b"".join(changes))
        client = client or self.client().start(**start)
        return client.message(headers=HEADERS, recipients=recipients)

    def test_headers(self):
        answer = self.changed(
            action("add_header", name="X-Add", value="1"), action("insert_header", index=0, name="X-Top", value="t"),
            action("set_header", name="Subject", index=1, value="new"), action("delete_header", name="X-Old", index=1))
        self.assertEqual(answer.code, "continue")
        self.assertEqual(answer.all("add_header"), [["X-Add", " 1"]])
        self.assertEqual(answer.all("insert_header"), [[0, "X-Top", " t"]])
        self.assertIn([1, "Subject", " new"], answer.all("change_header"))
        self.assertIn([1, "X-Old", ""], answer.all("change_header"))
        self.assertLess(max(n for n, a in enumerate(answer.actions) if a[0] == "change_header"),
                        min(n for n, a in enumerate(answer.actions) if a[0] in ("insert_header", "add_header")))

    def test_delete_all_goes_from_the_last_to_the_first(self):
        answer = self.changed(action("delete_header", name="received", index=0))
        self.assertEqual([fields[0] for fields in answer.all("change_header")], [2, 1])

    def test_space_is_the_mtas_when_not_negotiated(self):
        answer = self.changed(action("add_header", name="X", value="v"), steps=0x1FFFFF & ~HDR_LEADSPC)
        self.assertEqual(answer.actions, [("add_header", "X", "v")])

    def test_envelope(self):
        answer = self.changed(
            action("add_recipient", address="c@x"), action("add_recipient", address="d@x", args="NOTIFY=NEVER"),
            action("delete_recipient", address="a@x"), action("set_sender", address="", args="ENVID=1"))
        self.assertEqual(answer.all("add_recipient"), [["<c@x>"]])
        self.assertEqual(answer.all("add_recipient_args"), [["<d@x>", "NOTIFY=NEVER"]])
        self.assertEqual(answer.all("delete_recipient"), [["<a@x>"]])
        self.assertEqual(answer.all("change_sender"), [["<>", "ENVID=1"]])

    def test_body_and_hold(self):
        body = b"new\r\n.\r\n" * 30000
        answer = self.changed(action("replace_body", body=body), action("hold", value="look at it"))
        self.assertEqual(b"".join(fields[0] for fields in answer.all("replace_body")), body)
        self.assertEqual(answer.all("hold"), [["look at it"]])

    def test_empty_body(self):
        self.assertEqual(self.changed(action("replace_body", body=b"")).all("replace_body"), [[b""]])

    def test_large_body_comes_in_an_annex(self):
        body = b"0123456789abcde\n" * (3 << 16)
        answer = self.changed(action("replace_body", body=body))
        self.assertEqual(b"".join(fields[0] for fields in answer.all("replace_body")), body)

    def test_last_recipient_gone_is_a_discard(self):
        answer = self.changed(action("delete_recipient", address="a@x"), action("delete_recipient", address="b@x"))
        self.assertEqual((answer.code, answer.actions), ("discard", []))
        self.assertIn("verdict=discard", self.milterd.wait_for_lines("message uid")[0])

    def test_nothing_is_applied_to_what_does_not_go_on(self):
        for verdict in ("REJECT", "TEMPFAIL", "DISCARD"):
            with self.subTest(verdict=verdict):
                self.script = lambda asked, v=verdict: Reply(v, changes=action("add_header", name="X", value="1"))
                self.assertEqual(self.client().start().message().actions, [])

    def test_no_changes_flag_drops_those_of_earlier_hooks(self):
        self.mux.set_filter(("SENDER", "MESSAGE"), 2)
        self.start()
        change = action("add_header", name="X", value="1")
        self.script = lambda asked: Reply(changes=change) if asked.hook == "SENDER" else \
            Reply("ACCEPT", outcome="ERROR", flags=wire.REPLY_FLAG["NO_CHANGES"], changes=change)
        answer = self.client().start().message()
        self.assertEqual((answer.code, answer.actions), ("accept", []))

    def test_changes_of_several_hooks_in_order(self):
        self.mux.set_filter(("SENDER", "RECIPIENT", "HEADERS", "MESSAGE"), 2)
        self.start()
        self.script = lambda asked: Reply(changes=action("add_header", name="X-" + asked.hook, value="1"))
        answer = self.client().start().message()
        self.assertEqual([name for name, _ in answer.all("add_header")],
                         ["X-SENDER", "X-RECIPIENT", "X-HEADERS", "X-MESSAGE"])
        self.assertEqual(self.mux.of_hook("MESSAGE")[0]["changes"],
                         b"".join(action("add_header", name="X-" + h, value="1") for h in ("SENDER", "RECIPIENT", "HEADERS")))

    def test_scanned_by(self):
        self.start(**{"milterd.scanned_by": "Postern at mx"})
        self.assertEqual(self.changed().actions, [("add_header", "Scanned-By", " Postern at mx")])
        self.script = lambda asked: Reply("REJECT")
        self.assertEqual(self.client().start().message().actions, [])

    def test_bad_changes_are_a_tempfail(self):
        rows = [action("add_header", name="X:Y", value="v"), action("add_header", name="X Y", value="v"),
                action("add_header", name="", value="v"), action("add_header", name="X", value="a\r\nInjected: yes"),
                action("add_header", name="X", value="a\nInjected: yes"), action("add_header", name="X", value=b"a\0b"),
                action("insert_header", index=0, name="X", value="a\rb"), action("add_recipient", address="a@b>, <c@d"),
                action("add_recipient", address="a@b\r\nRCPT TO:<c@d>"), action("set_sender", address="x y"),
                action("hold", value="a\nb"), b"\xff", b"\1\0\0", action("add_header", name="X", value="v") + b"\0"]
        client = self.client().start()
        for row in rows:
            with self.subTest(row=row):
                answer = self.changed(action("add_header", name="X-Good", value="1"), row, client=client)
                self.assertEqual((answer.verdict, answer.actions), ("tempfail", []))
                self.assertIn("451 4.3.0", answer.text)
        self.assertEqual(len(self.milterd.wait_for_lines("outcome=bad_changes", len(rows))), len(rows))

    def test_what_the_mta_cannot_do_is_a_tempfail(self):
        answer = self.changed(action("hold", value="x"), actions=0x1)
        self.assertEqual(answer.verdict, "tempfail")

    def test_log_fields(self):
        pair = b"".join(len(t).to_bytes(4, "big") + t for t in (b"score", b'4.2 "x"', b"bad key", b"v"))
        self.script = lambda asked: Reply(log_fields=pair, where="filter.lua:7")
        self.client().start().message()
        line = self.milterd.wait_for_lines("message uid")[0]
        self.assertIn('x-score="4.2 \\"x\\""', line)
        self.assertIn("where=filter.lua:7", line)
        self.assertNotIn("bad key", line)


if __name__ == "__main__":
    unittest.main()
