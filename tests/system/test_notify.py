"""msg:notify_admin and msg:notify_sender through real daemons, the sandbox in force: once for each mail, within limits, whatever the server does."""

import os
import threading
import unittest
from email import message_from_bytes, policy

from fixture import SystemTest, wait_until
from harness.process import Folder
from harness.smtp_server import SmtpServer

FILTER = """
function filter_message(msg)
    local what, rest = msg.subject:match("^(%a+) ?(.*)$")
    if what == "fail" then msg:notify_admin{ subject = rest, text = "x" } error("no") end
    if what == "admin" or what == "both" then assert(msg:notify_admin{ subject = rest, text = "about " .. msg.uid .. "\\n.\\n" }) end
    if what == "sender" or what == "both" then
        local told, why = msg:notify_sender{ subject = "Your mail: " .. rest, text = "It was refused.\\n" }
        msg:add_header("X-Told", told and "yes" or why)
        if why then return end
    end
    if msg:header("X-Defer") then return tempfail("later") end
end
"""


class Notify(SystemTest):
    options = {}

    def begin(self, server=None, **options):
        """Daemons, and a server for their notices."""
        self.server = server or SmtpServer()
        self.addCleanup(self.server.close)
        self.prepare(FILTER, {"notify.server": self.server.spec, "notify.from": "postern@example.net", "notify.admin": "admin@example.net",
                              "worker.sandbox": "required" if not os.environ.get("POSTERN_SANITIZE") else "available", "multiplexor.min_workers": 2,
                              **{key.replace("__", "."): value for key, value in options.items()}})
        self.state = self.postern.folder("state")
        os.mkdir(self.state)
        with open(self.postern.conf, encoding="utf-8") as file:
            text = file.read().replace("[worker]\n", f"[worker]\nstate_dir = {self.state}\n")
        self.postern.folder.write("postern.conf", text)
        self.postern.start_multiplexor()
        self.postern.start_milterd()
        self.postern.wait_ready()

    def send(self, subject, number=0, sender="<ann@example.org>", headers=(), client=None):
        client = client or self.client().start()
        return client.message(sender=sender, headers=(("Subject", " " + subject), ("Message-ID", f" <m{number}@example.org>"), *headers))

    def queue(self):
        return os.listdir(os.path.join(self.state, "notify", "queue"))

    def notices(self, n):
        wait_until(lambda: len(self.server.messages) >= n, lambda: f"{n} notices: {len(self.server.messages)}\n{self.postern.logs()}")
        self.assertEqual(len(self.server.messages), n)
        return [(notice, message_from_bytes(notice.data, policy=policy.default)) for notice in self.server.messages]


class Sent(Notify):
    def test_both(self):
        self.begin()
        answer = self.send("both Gr\u00fc\u00dfe \x1b[31m")
        self.assertEqual((answer.code, answer.all("add_header")), ("continue", [["X-Told", " yes"]]))
        notices = {notice.recipients[0]: (notice, mail) for notice, mail in self.notices(2)}
        (first, admin), (second, sender) = notices["admin@example.net"], notices["ann@example.org"]
        self.assertEqual([(notice.sender, len(notice.recipients)) for notice in (first, second)], [("", 1)] * 2)
        self.assertEqual((admin["From"], admin["To"], admin["Auto-Submitted"]), ("postern@example.net", "admin@example.net", "auto-generated"))
        self.assertEqual(admin["Subject"], "Gr\u00fc\u00dfe  [31m")
        self.assertRegex(admin.get_content(), r"^about \S+\r?\n\.\r?\n")
        self.assertEqual((sender["In-Reply-To"], sender["References"], sender["To"]), ("<m0@example.org>", "<m0@example.org>", "ann@example.org"))
        self.assertIn("It was refused.", sender.get_content())
        for notice in (admin, sender):
            self.assertEqual([name for name in ("Date", "Message-ID", "MIME-Version") if not notice[name]], [])
            self.assertEqual(notice.defects, [])
        self.assertNotEqual(admin["Message-ID"], sender["Message-ID"])
        self.assertEqual(self.queue(), [])

    def test_once_for_a_mail(self):
        """Tries after a tempfail, over other connections, to other recipients: one notice."""
        self.begin()
        for _ in range(3):
            self.assertEqual(self.send("both x", headers=(("X-Defer", " yes"),)).verdict, "tempfail")
        self.notices(2)
        self.send("both x", number=1)
        self.notices(4)

    def test_a_hook_that_fails_tells_nothing(self):
        self.begin()
        self.assertEqual(self.send("fail x").verdict, "tempfail")
        self.send("admin x", number=1)
        self.notices(1)

    def test_who_is_told_nothing(self):
        self.begin()
        for number, (sender, headers, why) in enumerate((("<>", (), "null sender"), ("<ann@example.org>", (("List-Id", " <x.y>"),), "list"),
                                                         ("<ann@example.org>", (("Auto-Submitted", " auto-replied"),), "automatic"))):
            answer = self.send("sender x", number, sender, headers)
            self.assertEqual(answer.all("add_header"), [["X-Told", " " + why]])
        self.send("admin last", 9)
        self.notices(1)

    def test_limits(self):
        self.begin(notify__sender_limit=2, notify__limit=4)
        for number in range(4):
            self.send("sender x", number, sender="<Ann@Example.org>" if number % 2 else "<ann@example.org>")
        self.notices(2)
        for number in range(4, 8):
            self.send("sender x", number, sender=f"<bob{number}@example.org>")
        self.notices(4)
        self.worker_lines("over notify.sender_limit", least=2)
        self.worker_lines("over notify.limit", least=2)
        for number in range(8, 13):
            self.send("admin x", number)
        self.notices(8)
        self.worker_lines("over notify.limit", least=3)
        wait_until(lambda: 'notices_total{result="limited"} 5' in self.postern.ctl("metrics")[1], lambda: self.postern.ctl("metrics")[1])

    def test_many_at_once(self):
        """No worker waits for another's notice: the one that sends takes them all along."""
        self.begin(multiplexor__max_workers=20, multiplexor__min_workers=20, notify__limit=1000)
        clients = [self.client().start() for _ in range(20)]

        def run(number, client):
            for i in range(5):
                self.send("admin x", 100 * number + i, client=client)
        threads = [threading.Thread(target=run, args=(n, client), daemon=True) for n, client in enumerate(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.send("admin last", 9999)
        wait_until(lambda: len(self.server.messages) == 101, lambda: f"{len(self.server.messages)} notices, {len(self.queue())} wait")
        self.assertEqual(len({message_from_bytes(notice.data)["Message-ID"] for notice in self.server.messages}), 101)


class Faults(Notify):
    def test_a_server_that_hangs(self):
        """The mail is answered after notify.timeout; the notice waits, and goes with the next one when the server is well."""
        self.begin(server=SmtpServer(hang_at="mail"), notify__timeout="300ms")
        self.assertEqual(self.send("admin x").code, "continue")
        self.assertEqual(len(self.queue()), 1)
        self.worker_lines("it stays in the queue", least=1)
        self.server.hang_at = None
        self.send("admin y", 1)
        self.assertEqual(len(self.queue()), 2, "it is left alone for a while")
        os.utime(os.path.join(self.state, "notify", "retry"), (1, 1))
        self.send("admin z", 2)
        self.notices(3)
        self.assertEqual(self.queue(), [])

    def test_refused_or_gone(self):
        """For good: given up. No server: it waits. Lost at the end: given up, since it may be there."""
        self.begin(server=SmtpServer(refuse={"rcpt": "550 5.1.1 no \x1b[31m"}))
        self.assertEqual(self.send("admin x").code, "continue")
        line = self.worker_lines("it is given up", least=1)[0]
        self.assertIn("RCPT: 550 5.1.1 no", line)
        self.assertNotIn("\x1b", line)
        self.server.refuse.clear()
        self.server.close_at = "end"
        self.assertEqual(self.send("admin y", 1).code, "continue")
        self.worker_lines("it is given up", least=2)
        self.assertEqual(self.queue(), [])
        self.server.close()
        self.assertEqual(self.send("admin z", 2).code, "continue")
        self.worker_lines("it stays in the queue", least=1)
        self.assertEqual(len(self.queue()), 1)
        wait_until(lambda: 'notices_total{result="failed"} 3' in self.postern.ctl("metrics")[1], lambda: self.postern.ctl("metrics")[1])

    def test_no_folder(self):
        """Mail passes when notices cannot be kept track of."""
        self.begin()
        with open(os.path.join(self.state, "notify"), "x", encoding="utf-8"):
            pass
        self.assertEqual(self.send("both x").code, "continue")
        self.worker_lines("no notice is sent", least=1)
        self.assertEqual(self.server.connections, 0)

    def test_unix_socket(self):
        folder = Folder("notify")
        self.addCleanup(folder.remove)
        server = SmtpServer(path=folder("smtp.sock"))
        self.begin(server=server)
        self.send("admin x")
        self.notices(1)

    def test_shadow_and_off(self):
        """Without notify.from nothing is connected to; what a shadow asks for is not done."""
        self.begin(notify__limit=1000)
        copy = self.postern.folder.write("shadow/filter.lua", FILTER)
        self.assertEqual(self.postern.ctl("shadow", copy)[0], 0, self.postern.logs())
        self.send("admin x")
        self.notices(1)
        wait_until(lambda: '"compared":0' not in self.postern.ctl("shadow", "--json")[1].replace(" ", ""), "the shadow to have run")
        self.assertEqual(len(self.server.messages), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
