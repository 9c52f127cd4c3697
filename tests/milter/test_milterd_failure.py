"""What the MTA gets when something fails: no multiplexor, one that dies, lies or is slow, a client that leaves, mail over the limits."""

import os
import signal
import threading
import time
import unittest

from milterd_fixture import MilterdTest, budgets
from fake_multiplexor import Reply, action, reject, tempfail
from harness.process import PATIENCE, wait_until
import postern_wire as wire


class Nobody(MilterdTest):
    options = {"milterd.reconnect_time": "200ms"}

    def test_on_failure(self):
        for option, expected in (("tempfail", "451 4.3.0"), ("reject", "554 5.3.0"), ("accept", None)):
            with self.subTest(option=option):
                self.mux.stop()
                self.mux.start()
                self.start(**{"milterd.on_failure": option})
                client = self.client().start()
                self.mux.stop()
                answer = client.message()
                if expected:
                    self.assertTrue(answer.text.startswith(expected), answer)
                    self.assertRegex(answer.text, r"[0-9a-z]{16}\.1$")
                else:
                    self.assertEqual((answer.verdict, answer.actions), ("accept", []))

    def test_it_comes_back_within_reconnect_time(self):
        self.start(**{"milterd.reconnect_time": "20s"})
        client = self.client().start()
        self.mux.stop()
        threading.Timer(0.3, self.mux.start).start()
        self.assertEqual(client.message().code, "continue")
        self.assertEqual(self.mux.of_hook("MESSAGE")[0]["attempt"], 1)

    def test_both_attempts_are_not_spent_on_one_that_is_ending(self):
        """A process that is killed closes its connections one after the other: none of them is tried again."""
        begun, before = threading.Barrier(3), []
        def first(asked):
            before.append(asked.connection)
            begun.wait(10 * PATIENCE)
            return Reply("CONTINUE")
        self.script = first
        clients = [self.client().start() for _ in range(3)]
        threads = [threading.Thread(target=client.message) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20 * PATIENCE)
        self.assertEqual(len(set(before)), 3)
        self.script = lambda asked: Reply(dies=True) if asked.connection in before else Reply("CONTINUE")
        self.assertEqual(self.client().start().message().code, "continue")
        self.assertEqual([asked["attempt"] for asked in self.mux.of_hook("MESSAGE")[3:]], [1, 2])

    def test_negotiate_without_a_multiplexor_asks_for_everything(self):
        self.mux.stop()
        self.milterd.stop()
        self.mux.watchers = [None]
        self.start()
        client = self.client()
        client.negotiate()
        self.assertEqual(client.steps & 0xFFFFF & ~0x400, 0)
        self.assertTrue(client.connect().text.startswith("451 4.3.0"))

    def test_outcomes_that_nobody_answered(self):
        for outcome in ("NOBODY", "DIED"):
            self.script = lambda asked, o=outcome: Reply("CONTINUE", outcome=o)
            self.assertTrue(self.client().start().message().text.startswith("451 4.3.0"))
        self.script = lambda asked: Reply("CONTINUE", outcome="RENEGOTIATE")
        self.assertTrue(self.client().start().message().text.startswith("421 4.3.2"))

    def test_failure_of_others_comes_with_its_verdict(self):
        self.script = lambda asked: reject("busy", code=554, dsn="5.3.2", outcome=wire.OUTCOME["OVERLOAD"], error="queue full")
        self.assertEqual(self.client().start().message().text, "554 5.3.2 busy")
        line = self.milterd.wait_for_lines("message uid")[0]
        self.assertIn('outcome=overload error="queue full"', line)


class NobodyAtConnect(MilterdTest):
    hooks = ("RELAY",)

    def test_the_answer_names_the_connection(self):
        self.script = lambda asked: Reply("CONTINUE", outcome="NOBODY")
        client = self.client()
        client.negotiate()
        self.assertRegex(client.connect().text, r"^451 4\.3\.0 .*: [0-9a-z]{16}$")


class Drain(MilterdTest):
    hooks = ("RECIPIENT", "MESSAGE")

    def test_a_message_that_was_turned_away_has_not_begun(self):
        self.script = lambda asked: tempfail("later", dsn="4.3.2", outcome="DRAIN")
        client = self.client().start()
        client.mail()
        for _ in range(2):
            self.assertEqual(client.rcpt().text, "451 4.3.2 later")
        self.script = lambda asked: Reply("CONTINUE")
        for _ in range(2):
            self.assertEqual(client.rcpt().code, "continue")
        new = wire.REQUEST_FLAG["NEW_MESSAGE"]
        self.assertEqual([asked["flags"] & new for asked in self.mux.of_hook("RECIPIENT")], [new, new, new, 0])


class AskingAgain(MilterdTest):
    def test_death_under_a_request(self):
        """The connection dies: once more with attempt 2; twice: on_failure."""
        self.script = lambda asked: Reply(dies=asked["attempt"] == 1)
        self.assertEqual(self.client().start().message().code, "continue")
        self.assertEqual([asked["attempt"] for asked in self.mux.requests], [1, 2])
        self.assertIn("attempt=2", self.milterd.wait_for_lines("message uid")[0])
        self.script = lambda asked: Reply(dies=True)
        self.assertTrue(self.client().start().message().text.startswith("451 4.3.0"))
        self.assertEqual(len(self.mux.requests), 4)

    def test_idle_connections_that_went_stale_cost_no_attempt(self):
        client = self.client().start()
        client.message()
        self.mux.stop()
        self.mux.start()
        self.assertEqual(client.message().code, "continue")
        self.assertEqual([asked["attempt"] for asked in self.mux.requests], [1, 1])

    def test_garbage(self):
        """Each kind of bad record: the connection is dropped, the question asked again, and then answered by on_failure."""
        good, _ = wire.encode("REPLY", {}, 1)
        rows = [Reply(raw=b""), Reply(raw=b"x"), Reply(raw=b"\0" * 20), Reply(raw=good[:-1]), Reply(raw=good + b"x"),
                Reply(raw=b"\0\x09" + good[2:]), Reply(ident=99), Reply(verdict=77), Reply(outcome=99), Reply(attempt=9),
                Reply(raw=wire.encode("NEEDS", {}, 1)[0]), Reply(raw=wire.encode("REQUEST", {}, 1)[0]),
                Reply(where=b"a\0b"), Reply(text=b"x" * 9000)]
        client = self.client().start()
        for row in rows:
            with self.subTest(row=row.fields, raw=row.raw):
                before = len(self.mux.requests)
                self.script = lambda asked, r=row: r
                self.assertTrue(client.message().text.startswith("451 4.3.0"))
                self.assertEqual(len(self.mux.requests) - before, 2)
        self.script = None
        self.assertEqual(client.message().code, "continue")

    def test_bad_annex(self):
        """An annex that the other end could still change is not read."""
        def script(asked):
            record, annex = wire.encode("REPLY", {"changes": action("add_header", name="X", value="1")}, 1, spill=True)
            return Reply(raw=(record, annex))
        self.script = script
        real = wire.send_raw

        def send_raw(sock, record, fds=()):
            if not isinstance(record, tuple):
                return real(sock, record, fds)
            fd = wire.memory_file(record[1], seals=0)
            real(sock, record[0], [fd])
            os.close(fd)
            return None
        wire.send_raw = send_raw
        self.addCleanup(setattr, wire, "send_raw", real)
        answer = self.client().start().message()
        self.assertEqual((answer.verdict, answer.actions), ("tempfail", []))

    def test_abort_is_not_repeated(self):
        self.mux.set_filter(("ABORT", "MESSAGE"), 2)
        self.start()
        self.script = lambda asked: Reply(dies=True)
        client = self.client().start()
        client.mail()
        client.abort()
        self.milterd.wait_for_lines("verdict=aborted")
        self.assertEqual(len(self.mux.of_hook("ABORT")), 1)


class Time(MilterdTest):
    def test_deadline(self):
        self.start(**budgets(300))
        self.script = lambda asked: None
        began = time.monotonic()
        self.assertTrue(self.client().start().message().text.startswith("451 4.3.0"))
        self.assertLess(time.monotonic() - began, 2 * PATIENCE)
        self.assertIn("outcome=late", self.milterd.wait_for_lines("message uid")[0])
        self.assertLessEqual(self.mux.requests[0]["budget_ms"], 300)

    def test_stage_time_is_for_the_stages(self):
        self.mux.set_filter(("SENDER", "MESSAGE"), 2)
        self.start(**budgets(240000, 300))
        self.script = lambda asked: None if asked.hook == "SENDER" else Reply(wait=0.6)
        client = self.client().start()
        self.assertTrue(client.mail().text.startswith("451 4.3.0"))
        self.script = lambda asked: Reply(wait=0.6 if asked.hook == "MESSAGE" else 0)
        self.assertEqual(client.message().code, "continue")

    def test_stopped_multiplexor_that_takes_no_connection_further(self):
        """It accepts, but never says HELLO."""
        self.start(**budgets(500))
        client = self.client().start()
        original = wire.hello
        self.mux.stop()
        wire.hello = lambda *args, **kwargs: time.sleep(3)
        self.addCleanup(setattr, wire, "hello", original)
        self.mux.start()
        began = time.monotonic()
        self.assertTrue(client.message().text.startswith("451 4.3.0"))
        self.assertLess(time.monotonic() - began, 2.5 * PATIENCE)

    def test_progress_while_waiting(self):
        self.start(**{"milterd.progress_interval": "100ms"})
        self.script = lambda asked: Reply(wait=0.65)
        answer = self.client().start().message()
        self.assertEqual(answer.code, "continue")
        self.assertGreaterEqual(answer.progress, 3)

    def test_delay_with_the_worker_free(self):
        self.mux.set_filter(("RECIPIENT", "MESSAGE"), 2)
        self.start(**{"milterd.progress_interval": "100ms"})
        self.script = lambda asked: reject("wait", delay_ms=500)
        client = self.client().start()
        client.mail()
        began = time.monotonic()
        self.assertEqual(client.rcpt().text, "550 5.7.1 wait")
        self.assertGreaterEqual(time.monotonic() - began, 0.45)
        self.script = lambda asked: reject("wait", delay_ms=500) if asked.hook == "MESSAGE" else Reply()
        answer = client.message()
        self.assertEqual(answer.text, "550 5.7.1 wait")
        self.assertGreaterEqual(answer.progress, 2)

    def test_delay_is_cut_by_the_budget(self):
        self.start(**budgets(400))
        self.script = lambda asked: reject("wait", delay_ms=60000)
        began = time.monotonic()
        self.assertEqual(self.client().start().message().text, "550 5.7.1 wait")
        self.assertLess(time.monotonic() - began, 3 * PATIENCE)

    def test_idle_connection_is_closed(self):
        self.start(**{"milterd.idle_time": "1s"})
        client = self.client().start()
        client.mail()
        self.assertTrue(client.is_closed_within(10 * PATIENCE))
        self.milterd.wait_for_lines("verdict=aborted")

    def test_half_a_command(self):
        self.start(**{"milterd.idle_time": "1s"})
        client = self.client().start()
        client.sock.sendall(b"\0\0\0\x10M<a")
        self.assertTrue(client.is_closed_within(10 * PATIENCE))


class ClientGone(MilterdTest):
    hooks = ("MESSAGE", "ABORT", "CLOSE")

    def test_a_client_that_leaves_cancels_its_request(self):
        closed = threading.Event()

        def script(asked):
            if asked.hook != "MESSAGE":
                return Reply()
            self.addCleanup(closed.set)
            closed.wait(20)
            return None
        self.script = script
        client = self.client().start()
        client.mail(), client.rcpt(), client.data(), client.header("A", " b"), client.eoh(), client.body(b"x")
        client.send(b"E")
        wait_until(lambda: self.mux.of_hook("MESSAGE"), "the request")
        before = self.milterd.n_threads()
        began = time.monotonic()
        client.close()
        self.milterd.wait_for_lines("verdict=aborted")
        self.assertLess(time.monotonic() - began, 2 * PATIENCE)
        wait_until(lambda: self.mux.of_hook("CLOSE"), "filter_close")
        wait_until(lambda: self.milterd.n_threads() < before, "the thread to end")

    def test_leaving_at_every_stage_leaves_nothing(self):
        self.client().start().message()
        threads = self.milterd.n_threads()
        steps = ["negotiate", "connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body", "eom"]
        arguments = {"header": ("A", " b"), "body": (b"x",)}

        def play(n, ending):
            client = self.milterd.client()
            for name in steps[:n]:
                getattr(client, name)(*arguments.get(name, ()))
            ending(client)
            client.close()
        for _ in range(3):
            for n in range(len(steps) + 1):
                for ending in (lambda c: None, lambda c: c.abort(), lambda c: c.send(b"Q"), lambda c: c.send(b"K")):
                    play(n, ending)
        wait_until(lambda: self.milterd.n_threads() <= threads, "the threads to end")
        before = self.milterd.n_descriptors()
        play(len(steps), lambda c: None)
        wait_until(lambda: self.milterd.n_descriptors() <= before, "descriptors to go")
        self.assertLess(before, 60)


class Limits(MilterdTest):
    def test_oversize(self):
        for option, expected in (("reject", "552 5.3.4"), ("tempfail", "4"), ("accept", None)):
            with self.subTest(option=option):
                self.start(**{"milterd.max_message": "64K", "milterd.on_oversize": option})
                client = self.client().start()
                answer = client.message(body=b"x" * 100000)
                if expected:
                    self.assertTrue(answer.text.startswith(expected), answer)
                else:
                    self.assertEqual((answer.code, answer.actions), ("accept", []))
                self.assertEqual(self.mux.of_hook("MESSAGE"), [])
                self.assertEqual(client.message().code, "continue")
                self.mux.requests.clear()

    def test_oversize_is_told_as_soon_as_there_is_an_answer(self):
        self.mux.set_filter(("BODY", "MESSAGE"), 2)
        self.start(**{"milterd.max_message": "64K"})
        client = self.client().start()
        client.mail(), client.rcpt(), client.header("A", " b"), client.eoh()
        self.assertTrue(client.body(b"x" * 200000).text.startswith("552 5.3.4"))

    def test_header_limit(self):
        self.start(**{"milterd.max_header_bytes": "4K"})
        answer = self.client().start().message(headers=[("X-%d" % n, " " + "v" * 100) for n in range(60)])
        self.assertTrue(answer.text.startswith("552 5.3.4"), answer)

    def test_one_large_header(self):
        answer = self.client().start().message(headers=[("X", " " + "v" * 1000000)])
        self.assertEqual(answer.code, "continue")
        self.assertEqual(self.mux.of_hook("MESSAGE")[0]["header_bytes"], 1000005)

    def test_a_large_message_goes_over_the_disk(self):
        self.start(**{"milterd.parcel_memory": "64K"})
        body = os.urandom(3 << 20).replace(b"\0", b"x")
        client = self.client().start()
        self.assertEqual(client.message(body=body).code, "continue")
        self.assertTrue(self.mux.of_hook("MESSAGE")[0].message.endswith(body))
        self.assertEqual(client.message(body=b"small\r\n").code, "continue")
        self.assertEqual(self.mux.of_hook("MESSAGE")[1].message, b"Subject: test\r\n\r\nsmall\r\n")

    def test_a_spool_that_cannot_be_written(self):
        self.start(**{"milterd.parcel_memory": "64K", "milterd.spool": "/nonexistent"})
        client = self.client().start()
        self.assertTrue(client.message(body=b"x" * 1000000).text.startswith("451 4.3.0"))
        self.assertEqual(client.message().code, "continue")

    def test_too_many_recipients(self):
        self.start(**{"milterd.max_recipients": "3"})
        answer = self.client().start().message(recipients=["<r%d@x>" % n for n in range(4)])
        self.assertTrue(answer.text.startswith("452 4.5.3"), answer)
        self.mux.set_filter(("RECIPIENT", "MESSAGE"), 2)
        self.start(**{"milterd.max_recipients": "3"})
        client = self.client().start()
        client.mail()
        answers = [client.rcpt("<r%d@x>" % n) for n in range(5)]
        self.assertEqual([a.verdict for a in answers], ["continue"] * 3 + ["tempfail"] * 2)
        self.assertTrue(answers[3].text.startswith("452 4.5.3"))
        client.data(), client.header("A", " b"), client.eoh(), client.body(b"x")
        self.assertEqual(client.eom().code, "continue")
        self.assertEqual(len(self.mux.of_hook("MESSAGE")[0].recipients()), 3)

    def test_ten_thousand_recipients(self):
        self.mux.set_filter(("RECIPIENT", "MESSAGE"), 2)
        self.start()
        recipients = ["<r%d@example.net>" % n for n in range(10000)]
        self.assertEqual(self.client().start().message(recipients=recipients).code, "continue")
        self.assertEqual(self.mux.of_hook("MESSAGE")[0].recipients(), recipients)

    def test_long_addresses(self):
        self.assertEqual(self.client().start().message(sender="<%s@x>" % ("a" * 1000)).code, "continue")
        answer = self.client().start().message(sender="<%s@x>" % ("a" * 20000))
        self.assertTrue(answer.text.startswith("553 5.1.7"), answer)
        self.assertEqual(self.client().start().message(sender="<jos\u00e9@ex\u00e4mple.org>").code, "continue")

    def test_annex_carries_large_state_and_changes(self):
        self.mux.set_filter(("SENDER", "MESSAGE"), 2)
        self.start()
        state, change = os.urandom(32768), action("replace_body", body=b"y" * 300000)
        flags = wire.REPLY_FLAG["HAS_CONN_STATE"] | wire.REPLY_FLAG["HAS_MSG_STATE"]
        self.script = lambda asked: Reply(flags=flags, conn_state=state, msg_state=state, changes=change) \
            if asked.hook == "SENDER" else Reply()
        answer = self.client().start().message()
        asked = self.mux.of_hook("MESSAGE")[0]
        self.assertEqual((asked["conn_state"], asked["msg_state"], asked["changes"]), (state, state, change))
        self.assertEqual(sum(len(fields[0]) for fields in answer.all("replace_body")), 300000)

    def test_multiplexor_stopped_and_continued(self):
        """SIGHUP does nothing but a line, while a request runs."""
        self.script = lambda asked: Reply(wait=0.3)
        client = self.client().start()
        for _ in range(20):
            os.kill(self.milterd.process.pid, signal.SIGHUP)
        self.assertEqual(client.message().code, "continue")
        self.milterd.wait_for_lines("SIGHUP has no meaning here")


if __name__ == "__main__":
    unittest.main()
