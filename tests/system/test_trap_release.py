"""posternctl trap release: to the recipients or to others, each once, whatever the server does; by SMTP and by a command."""

import json
import os
import signal
import socket
import threading
import unittest

from fixture import wait_until
from harness.process import BIN, Process
from harness.smtp_server import SmtpServer
from test_trap import Trap

BODY = b"one\r\n.dot\r\n..two\r\nlone \x0a.\x0a lf\r\n.\r\nlast \xe4\xf6"
SENT = b"one\r\n.dot\r\n..two\r\nlone \r\n.\r\n lf\r\n.\r\nlast \xe4\xf6\r\n"
TO = ["bob@example.net", "eve@example.net"]


class Release(Trap):
    def setUp(self):
        super().setUp()
        self.go()

    def server(self, **how):
        server = SmtpServer(**how)
        self.addCleanup(server.close)
        return server

    def keep(self, subject="store x", **more):
        more = {"sender": "<ann@example.org>", "recipients": tuple(f"<{to}>" for to in TO), "body": BODY, **more}
        self.send(subject, **more)
        return self.rows()[-1]["id"]

    def release(self, server, name, *words):
        code, out, err = self.postern.ctl("trap", "release", name, "--json", "-o", "notify.server=" + server.spec, "-o", "trap.release_time=3s", *words)
        return code, json.loads(out) if out else {}, err

    def states(self, answer):
        return {delivery["address"]: delivery["state"] for delivery in answer["deliveries"]}


class Smtp(Release):
    def test_to_all_once(self):
        name, server = self.keep(), self.server()
        for _ in range(3):
            code, answer, err = self.release(server, name)
            self.assertEqual((code, answer["state"], self.states(answer)), (0, "released", dict.fromkeys(TO, "sent")), err)
        message, = server.messages
        self.assertEqual((message.sender, message.recipients, message.options), ("ann@example.org", TO, ["BODY=8BITMIME"]))
        head, _, body = message.data.partition(b"\r\n\r\n")
        self.assertEqual(body, SENT)
        self.assertRegex(head, rb"\AX-Postern-Released: " + name.encode() + rb"; t=\d+; h=[0-9a-f]{64}\r\nSubject: store x\r\n")
        self.assertEqual(self.send("store x", sender="<ann@example.org>", recipients=tuple(f"<{to}>" for to in TO), body=BODY).code, "discard")
        self.assertEqual(self.ctl("refuse", name)[0], 1)
        self.assertIn("released by", self.ctl("show", name)[1])

    def test_what_was_released_is_not_kept_again(self):
        """Through this filter once more: it goes on, without the mark."""
        name, server = self.keep(), self.server()
        self.release(server, name)
        head, _, body = server.messages[0].data.partition(b"\r\n\r\n")
        fields = [tuple(line.split(":", 1)) for line in head.decode().split("\r\n")]
        with open(self.postern.filter, encoding="utf-8") as file:
            text = file.read()
        self.postern.save_filter(text.replace("assert(msg:trap{", "local kept = (msg:trap{").replace("msg:add_header", "if not kept then return end msg:add_header"))
        self.assertTrue(self.postern.reload()["ok"])
        answer = self.client().start().message(headers=fields, body=body, recipients=("<bob@example.net>",))
        self.assertEqual((answer.code, answer.all("change_header")), ("continue", [[1, "X-Postern-Released", ""]]))
        answer = self.client().start().message(headers=fields, body=body + b"more\r\n", recipients=("<bob@example.net>",))
        self.assertEqual(answer.code, "discard", "another body")
        self.assertEqual(len(self.rows()), 2)

    def test_to_others(self):
        name, server = self.keep(), self.server()
        code, answer, err = self.release(server, name, "--to", "boss@example.org", "--to", "<BOSS@EXAMPLE.ORG>", "--to", "boss@EXAMPLE.ORG")
        self.assertEqual((code, answer["state"]), (0, "kept"), err)
        self.assertEqual(server.messages[0].recipients, ["boss@example.org", "BOSS@EXAMPLE.ORG"])
        self.assertEqual(self.release(server, name)[1]["state"], "released")
        self.assertEqual(server.messages[1].recipients, TO)
        self.assertEqual(self.release(server, name, "--to", "boss@example.org")[0], 0)
        self.assertEqual(len(server.messages), 2, "boss has it")
        for address in ("", "two words@example.org", "a@b\r\nRCPT TO:<c@d>", "<a@b"):
            self.assertEqual(self.release(server, name, "--to", address)[0], 1, address)
        self.assertEqual(len(server.messages), 2)

    def test_null_sender_and_utf8(self):
        name, server = self.keep("store n", sender="<>", recipients=("<b\u00f6b@example.net>", "<bob@example.net>")), self.server()
        self.assertEqual(self.release(server, name)[0], 0)
        self.assertEqual((server.messages[0].sender, server.messages[0].options), ("", ["BODY=8BITMIME", "SMTPUTF8"]))
        name, old = self.keep("store o", sender="<>", recipients=("<b\u00f6b@example.net>", "<bob@example.net>"), body=b"x\r\n"), self.server(extensions=None)
        code, answer, _ = self.release(old, name)
        self.assertEqual((code, self.states(answer)), (1, {"b\u00f6b@example.net": "failed", "bob@example.net": "sent"}))
        self.assertEqual((old.messages[0].options, old.messages[0].recipients), ([], ["bob@example.net"]))
        self.assertTrue(any(line.startswith("HELO ") for line in old.commands))

    def test_one_recipient_is_refused_for_now(self):
        """The others get it; the next release is for this one alone."""
        name, server = self.keep(), self.server(refuse={TO[1]: "450 4.2.0 later"})
        code, answer, _ = self.release(server, name)
        self.assertEqual((code, answer["state"], self.states(answer)), (1, "released", {TO[0]: "sent", TO[1]: "failed"}))
        server.refuse.clear()
        code, answer, _ = self.release(server, name)
        self.assertEqual((code, self.states(answer)), (0, dict.fromkeys(TO, "sent")))
        self.assertEqual([message.recipients for message in server.messages], [[TO[0]], [TO[1]]])

    def test_refusals(self):
        for n, stage in enumerate(("greeting", "mail", "rcpt", "data", "end")):
            name, server = self.keep(f"store {n}"), self.server(refuse={stage: "554 5.7.1 never \x1b[31m"})
            code, answer, err = self.release(server, name)
            self.assertEqual((code, answer["state"], set(self.states(answer).values()), server.messages), (1, "kept", {"failed"}, []), stage)
            self.assertIn("554", err, stage)
            self.assertNotIn("\x1b", err + json.dumps(answer, ensure_ascii=False))
            server.refuse.clear()
            self.assertEqual(self.release(server, name)[0], 0)
            self.assertEqual(len(server.messages), 1)

    def test_no_server(self):
        name = self.keep()
        with socket.create_server(("127.0.0.1", 0)) as free:
            spec = f"inet:{free.getsockname()[1]}@127.0.0.1"
        code, out, err = self.postern.ctl("trap", "release", name, "-o", "notify.server=" + spec)
        self.assertEqual(code, 3, err)
        self.assertIn(f"{name}: kept", out)
        server = self.server(path=self.postern.folder("smtp.sock"))
        self.assertEqual(self.release(server, name)[0], 0)
        self.assertEqual(len(server.messages), 1)

    def test_closed_and_hanging(self):
        """Before the end: nothing was sent, and it is sent again. At the end nobody knows: it takes --force."""
        for n, how in enumerate(({"close_at": "greeting"}, {"close_at": "data"}, {"hang_at": "mail"})):
            name, server = self.keep(f"store {n}"), self.server(**how)
            self.assertEqual(self.release(server, name)[0], 1)
            server.close_at = server.hang_at = None
            self.assertEqual(self.release(server, name)[0], 0)
            self.assertEqual(len(server.messages), 1)
        name, server = self.keep("store end"), self.server(close_at="end")
        code, answer, err = self.release(server, name)
        self.assertEqual((code, set(self.states(answer).values())), (1, {"sending"}))
        self.assertIn("may have been taken", err)
        server.close_at = None
        code, answer, err = self.release(server, name)
        self.assertEqual(code, 1)
        self.assertIn("--force", err)
        self.assertEqual(len(server.messages), 1)
        self.assertEqual(self.release(server, name, "--force")[0], 0)
        self.assertEqual(len(server.messages), 2)

    def test_killed_in_the_middle(self):
        name, server = self.keep(), self.server(hang_at="end")
        process = Process([os.path.join(BIN, "posternctl"), "-c", self.postern.conf, "-o", "notify.server=" + server.spec, "trap", "release", name],
                          self.postern.folder("release.log"))
        wait_until(lambda: server.messages, "the message to arrive")
        self.assertEqual(self.release(server, name)[0], 1, "one at a time")
        self.assertEqual(self.ctl("refuse", name)[0], 1)
        process.kill(signal.SIGKILL)
        process.popen.wait()
        server.hang_at = None
        code, _, err = self.release(server, name)
        self.assertEqual((code, len(server.messages)), (1, 1))
        self.assertIn("interrupted", err)

    def test_many_at_once(self):
        name, server = self.keep(), self.server()
        codes = []
        threads = [threading.Thread(target=lambda: codes.append(self.release(server, name)[0]), daemon=True) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertLessEqual(set(codes), {0, 1})
        self.assertEqual(len(server.messages), 1)

    def test_garbage_of_a_server(self):
        for n, text in enumerate((b"\0" * 100000, b"250", b"999 x\r\n", b"220-x\r\n" * 1000, b"x" * 5000 + b"\r\n", b"220 \xff\xfe\r\n250-\r\n250 \r\n\r\n")):
            name = self.keep(f"store g{n}")
            listener = socket.create_server(("127.0.0.1", 0))
            self.addCleanup(listener.close)

            def serve(listener=listener, text=text):
                conn, _ = listener.accept()
                with conn:
                    try:
                        conn.sendall(text)
                        conn.shutdown(socket.SHUT_WR)
                        while conn.recv(65536):
                            pass
                    except OSError:
                        pass
            threading.Thread(target=serve, daemon=True).start()
            code, out, err = self.postern.ctl("trap", "release", name, "-o", f"notify.server=inet:{listener.getsockname()[1]}@127.0.0.1", "-o", "trap.release_time=3s")
            self.assertEqual(code, 1, (n, out, err))
            self.assertIn(f"{name}: kept", out)


class Deferred(Release):
    def test_the_next_try_goes_on(self):
        name, server = self.keep("defer x"), self.server()
        again = {"sender": "<ann@example.org>", "recipients": tuple(f"<{to}>" for to in TO), "body": BODY}
        for _ in range(2):
            code, answer, err = self.release(server, name)
            self.assertEqual((code, answer["state"], answer["deliveries"], server.connections), (0, "released", [], 0), err)
        answer = self.send("defer x", **again)
        self.assertEqual((answer.code, answer.all("add_header")), ("continue", [["X-Kept", " defer"]]))
        self.assertEqual(self.send("defer x", **again).code, "continue", "and so does one after it")

    def test_sent_at_once(self):
        """Its recipients have it: the next try is taken, and thrown away."""
        name, server = self.keep("defer y"), self.server()
        again = {"sender": "<ann@example.org>", "recipients": tuple(f"<{to}>" for to in TO), "body": BODY}
        self.assertEqual(self.release(server, name, "--to", "boss@example.org")[1]["state"], "waiting")
        self.assertEqual(self.send("defer y", **again).verdict, "tempfail")
        self.assertEqual(self.release(server, name, "--now")[1]["state"], "released")
        self.assertEqual(self.send("defer y", **again).code, "discard")
        self.assertEqual([message.recipients for message in server.messages], [["boss@example.org"], TO])

    def test_refused(self):
        name, server = self.keep("defer z"), self.server()
        self.assertEqual(self.ctl("refuse", name)[0], 0)
        self.assertEqual(self.release(server, name)[0], 1)
        self.assertEqual(self.release(server, name, "--force")[1]["state"], "released")
        self.assertEqual(self.ctl("refuse", name)[0], 1)


class Command(Release):
    def run_command(self, name, command, *words):
        return self.postern.ctl("trap", "release", name, "-o", "trap.release_command=" + command, "-o", "trap.release_time=3s", *words)

    def test_command(self):
        name = self.keep(sender="<-oX@example.org>", recipients=("<bob@example.net>", "<$(touch x);eve@example.net>"))
        into = self.postern.folder("got")
        script = self.postern.folder.write("deliver", f"#!/bin/sh\nfor word; do printf '%s\\n' \"$word\"; done >> {into}.args\ncat > {into}\nexit 0\n", 0o755)
        for _ in range(2):
            code, out, err = self.run_command(name, f"{script} -f {{sender}} -- {{recipients}}")
            self.assertEqual(code, 0, out + err)
        with open(into + ".args", encoding="utf-8") as file:
            self.assertEqual(file.read().splitlines(), ["-f", "-oX@example.org", "--", "bob@example.net", "$(touch x);eve@example.net"])
        with open(into, "rb") as file:
            data = file.read()
        self.assertTrue(data.startswith(b"X-Postern-Released: "))
        self.assertTrue(data.endswith(b"\r\n\r\n" + BODY))

    def test_it_fails(self):
        name = self.keep()
        for command, wanted in (("/bin/false", 1), ("/nonexistent/x", 3), ("/bin/sleep 60", 1)):
            code, out, err = self.run_command(name, command, "--force")
            self.assertEqual(code, wanted, (command, out, err))
            self.assertIn(f"{name}: kept", out)
        self.assertEqual(self.run_command(name, "/bin/cat", "--force")[0], 0)


class Parts(Release):
    def test_a_part_is_not_released(self):
        name = self.keep("part x")
        code, _, err = self.release(self.server(), name)
        self.assertEqual(code, 1)
        self.assertIn("it is a part", err)


# What is imported for its setUp is no test here.
del Trap

if __name__ == "__main__":
    unittest.main(verbosity=2)
