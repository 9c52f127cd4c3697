"""msg:split through real daemons, the sandbox in force: each copy once, whatever the server that takes them does."""

import os
import unittest
from email import message_from_bytes

from fixture import SystemTest, wait_until
from harness.process import Folder, SANITIZE
from harness.smtp_server import SmtpServer

FILTER = """
function filter_message(msg)
    if msg:header("X-Change") then msg:add_header("X-Changed", "yes") end
    local done = msg:split{ by = msg:header("X-By") or "recipient" }
    if done then return done end
    msg:add_header("X-Judged", (msg.is_split and "copy" or "whole") .. " " .. msg.direction)
end
"""
DSN = ("8BITMIME", "SMTPUTF8", "SIZE 10000000", "DSN")
THREE = ("<ann@example.net>", "<bob@example.com>", "<Cat@EXAMPLE.NET>")


class Split(SystemTest):
    def begin(self, filter_text=FILTER, **options):
        self.server = SmtpServer(extensions=DSN)
        self.addCleanup(self.server.close)
        state = Folder("split")
        self.addCleanup(state.remove)
        self.start(filter_text, {"worker.state_dir": state(), "worker.sandbox": "available" if SANITIZE else "required", "smtp.helo": "edge.example.net",
                                 "smtp.reinject": self.server.spec, **{key.replace("__", "."): value for key, value in options.items()}})

    def send(self, recipients=THREE, headers=(), number=0, ip="192.0.2.1", sender="<sender@example.org>", args=(), recipient_args=()):
        client = self.client()
        client.negotiate()
        client.connect(ip=ip)
        client.helo()
        client.mail(sender, *args)
        for recipient in recipients:
            client.rcpt(recipient, *recipient_args)
        client.data()
        for name, value in (*((("Message-ID", f" <m{number}@example.org>"),) if number is not None else ()), ("Subject", " x"), *headers):
            client.header(name, value)
        client.eoh()
        client.body(b"line\r\n.dot\r\n")
        answer = client.eom()
        client.close()
        return answer

    def copies(self):
        return sorted(message.recipients for message in self.server.messages)

    ONCE = [["Cat@EXAMPLE.NET"], ["ann@example.net"], ["bob@example.com"]]


class Copies(Split):
    def test_by_recipient(self):
        self.begin()
        self.assertEqual(self.send().code, "discard")
        self.assertEqual(self.copies(), self.ONCE)
        for message in self.server.messages:
            mail = message_from_bytes(message.data)
            self.assertEqual((message.sender, mail["Subject"], mail.get_payload()), ("sender@example.org", "x", "line\r\n.dot\r\n"))
            self.assertRegex(mail["Received"], r"(?s)^from client\.example\.org \(\S+ \[192\.0\.2\.1\]\)\s+by edge\.example\.net with SMTP id \S+;\s+\w{3}, ")
        self.assertEqual(self.server.connections, 1)

    def test_by_domain(self):
        self.begin()
        self.assertEqual(self.send(headers=[("X-By", " domain")]).code, "discard")
        self.assertEqual(self.copies(), [["bob@example.com"], ["Cat@EXAMPLE.NET", "ann@example.net"]][::-1])

    def test_envelope_with_line_ends(self):
        """No mail server sends such a one; whoever does gets no command of his own into the dialogue."""
        self.begin()
        for number, what in enumerate(({"sender": "<a\r\nRCPT TO:<x@example.org>"}, {"sender": "<a\nRSET\r@example.org>"},
                                       {"sender": "<a> RET=FULL <x@example.org>"}, {"recipients": (THREE[0], "<b\r\nRCPT TO:<x@example.org>")})):
            self.assertReply(self.send(number=number, **what), "451 4.7.1 not all recipients")
        said = "\n".join(self.server.commands)
        self.assertNotIn("x@example.org", said)
        self.assertNotIn("\nRSET", said)
        self.assertEqual(self.copies(), [["ann@example.net"]], "those whom nobody forged are served")

    def test_one_group_is_not_split(self):
        self.begin()
        for recipients, headers in (((THREE[0],), ()), ((THREE[0], THREE[2]), [("X-By", " domain")]), (("<a@b.example>", "<a@B.example>"), ())):
            answer = self.send(recipients, headers)
            self.assertEqual((answer.code, answer.all("add_header")), ("continue", [["X-Judged", " whole in"]]))
        self.assertEqual(self.server.connections, 0)

    def test_changes_so_far(self):
        self.begin()
        self.assertEqual(self.send(headers=[("X-Change", " 1")]).code, "discard")
        self.assertEqual([message_from_bytes(message.data)["X-Changed"] for message in self.server.messages], ["yes"] * 3)

    def test_dsn_arguments(self):
        self.begin()
        self.send(args=("RET=HDRS", "ENVID=QQ314", "SIZE=1000"), recipient_args=("NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;x@example.net"))
        self.assertEqual(len(self.server.messages), 3)
        for message in self.server.messages:
            self.assertIn("RET=HDRS", message.options)
            self.assertIn("ENVID=QQ314", message.options)
            self.assertEqual(message.recipient_options[message.recipients[0]], ["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;x@example.net"])
        self.server.extensions, before = (), len(self.server.messages)
        self.send(number=1, args=("RET=HDRS",), recipient_args=("NOTIFY=NEVER",))
        self.assertEqual([message.options for message in self.server.messages[before:]], [[]] * 3)

    def test_copy_that_comes_back(self):
        """It is known again, its direction is that of the mail that was split, and its fields go."""
        self.begin()
        self.send(headers=[("X-By", " domain")])
        fields = {message.recipients[0]: message_from_bytes(message.data)["X-Postern-Split"] for message in self.server.messages}
        back = [("X-Postern-Split", " " + fields["bob@example.com"])]
        answer = self.send((THREE[1],), back, ip="127.0.0.1")
        self.assertEqual((answer.code, answer.all("add_header")), ("continue", [["X-Judged", " copy in"]]))
        self.assertIn(["1", "X-Postern-Split", ""], [[str(field) for field in change] for change in answer.all("change_header")])
        for forged, how in ((back, {"ip": "192.0.2.9"}), (back, {"ip": "127.0.0.1", "sender": "<other@example.org>"}),
                            ([("X-Postern-Split", back[0][1].replace("way=in", "way=out"))], {"ip": "127.0.0.1"}),
                            ([("X-Postern-Split", " v=1; t=1; by=domain; way=in; h=" + "0" * 64)], {"ip": "127.0.0.1"})):
            answer = self.send((THREE[1],), forged, **how)
            self.assertEqual(answer.all("add_header"), [["X-Judged", f" whole {'out' if how['ip'] == '127.0.0.1' else 'in'}"]])

    def test_copy_that_is_split_again(self):
        self.begin()
        self.send(headers=[("X-By", " domain")])
        field, = {message_from_bytes(message.data)["X-Postern-Split"] for message in self.server.messages if len(message.recipients) == 2}
        self.server.messages.clear()
        self.assertEqual(self.send((THREE[0], THREE[2]), [("X-Postern-Split", " " + field)], ip="127.0.0.1").code, "discard")
        self.assertEqual(self.copies(), self.ONCE[:2])
        for message in self.server.messages:
            again = message_from_bytes(message.data).get_all("X-Postern-Split")
            self.assertEqual(len(again), 1)
            self.assertIn("by=recipient; way=in", again[0])

    def test_without_marks(self):
        self.begin(smtp__reinject_mark="no")
        self.send()
        self.assertEqual([message_from_bytes(message.data)["X-Postern-Split"] for message in self.server.messages], [None] * 3)


class Failures(Split):
    def test_retry_sends_what_is_missing(self):
        self.begin()
        self.server.refuse = {"bob@example.com": "450 4.2.0 later"}
        self.assertEqual(self.send().verdict, "tempfail")
        self.assertEqual(self.copies(), self.ONCE[:2])
        self.assertEqual(self.send(THREE[::-1]).verdict, "tempfail")
        self.assertEqual(self.copies(), self.ONCE[:2])
        self.server.refuse = {}
        self.assertEqual(self.send((THREE[1], THREE[0], THREE[2])).code, "discard")
        self.assertEqual(self.copies(), self.ONCE)
        self.assertEqual(self.send().code, "discard") # the answer was lost, the mail server tries again
        self.assertEqual(self.copies(), self.ONCE)

    def test_other_transaction_of_the_same_mail(self):
        """A mail server that sends each recipient's by itself after a failure."""
        self.begin()
        self.server.refuse = {"bob@example.com": "450 4.2.0 later"}
        self.send(headers=[("X-By", " domain")])
        self.server.refuse = {}
        self.assertEqual(self.send((THREE[0], "<dan@example.net>", THREE[1]), [("X-By", " domain")]).code, "discard")
        self.assertEqual(self.copies(), sorted([["Cat@EXAMPLE.NET", "ann@example.net"], ["dan@example.net"], ["bob@example.com"]]))

    def test_every_stage(self):
        self.begin()
        for number, (refuse, close_at) in enumerate([({"greeting": "421 busy"}, None), ({"mail": "451 later"}, None), ({"rcpt": "450 later"}, None),
                                                     ({"data": "451 later"}, None), ({"end": "451 later"}, None), ({}, "greeting"), ({}, "mail"),
                                                     ({}, "rcpt"), ({}, "data"), ({"rcpt": "550 5.1.1 never"}, None)]):
            self.server.refuse, self.server.close_at = refuse, close_at
            answer = self.send(number=number)
            self.assertEqual((answer.verdict, answer.text[:3]), ("tempfail", "451"), (refuse, close_at))
            self.assertEqual(self.server.messages, [], (refuse, close_at))
            self.server.refuse, self.server.close_at = {}, None
            self.assertEqual(self.send(number=number).code, "discard", (refuse, close_at))
            self.assertEqual(self.copies(), self.ONCE, (refuse, close_at))
            self.server.messages.clear()

    def test_no_server(self):
        self.begin()
        self.server.close()
        self.assertEqual(self.send().verdict, "tempfail")

    def test_silence(self):
        self.begin(smtp__timeout="300ms")
        self.server.hang_at = "data"
        self.assertEqual(self.send().verdict, "tempfail")
        self.server.hang_at = None
        self.assertEqual(self.send().code, "discard")
        self.assertEqual(self.copies(), self.ONCE)

    def test_lost_after_the_dot(self):
        """The one case in which a copy may come twice: it was taken, and nobody said so."""
        self.begin()
        self.server.close_at = "end"
        self.assertEqual(self.send().verdict, "tempfail")
        self.assertEqual(len(self.server.messages), 1)
        self.server.close_at = None
        self.assertEqual(self.send().code, "discard")
        self.assertEqual(self.copies(), sorted([*self.ONCE, self.server.messages[0].recipients]))

    def test_two_tries_at_the_same_time(self):
        self.begin()
        self.server.hang_at = "end"
        first = self.client()
        first.negotiate()
        first.connect()
        first.helo()
        first.mail("<sender@example.org>")
        for recipient in THREE:
            first.rcpt(recipient)
        first.data()
        first.header("Message-ID", " <m0@example.org>")
        first.header("Subject", " x")
        first.eoh()
        first.body(b"line\r\n.dot\r\n")
        first.send(b"E")
        wait_until(lambda: self.server.messages, lambda: "the first copy\n" + self.postern.logs())
        self.assertEqual(self.send(THREE[:2]).verdict, "tempfail")
        self.assertEqual(len([message for message in self.server.messages if message.recipients == self.server.messages[0].recipients]), 1)

    def test_mails_that_are_alike(self):
        """Without a Message-ID two mails may have the same bytes: none is lost."""
        self.begin()
        for n in (1, 2):
            self.assertEqual(self.send(number=None).code, "discard")
            self.assertEqual(len(self.server.messages), 3 * n)

    def test_worker_that_dies(self):
        self.begin()
        self.server.hang_at = "mail"
        client = self.client()
        client.start()
        client.mail("<sender@example.org>")
        for recipient in THREE:
            client.rcpt(recipient)
        client.data()
        client.header("Message-ID", " <m0@example.org>")
        client.eoh()
        client.body(b"x\r\n")
        client.send(b"E")
        wait_until(lambda: self.server.connections == 1, lambda: "a connection\n" + self.postern.logs())
        busy = wait_until(lambda: [worker["pid"] for worker in self.postern.workers() if worker["state"] == "busy"], "a worker at work")
        self.server.hang_at = None
        os.kill(busy[0], 9)
        answer = client.answer()
        self.assertEqual(answer.code, "discard", self.postern.logs())
        self.assertEqual(self.copies(), self.ONCE)


if __name__ == "__main__":
    unittest.main()
