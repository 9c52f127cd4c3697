"""Every cell of verdict × hook, through the real filter: what is allowed arrives as the right answer, what is not gives on_error."""

import unittest

from fixture import PATIENCE, MilterClient, SystemTest

# The hook that acts and the verdict it gives stand in the client's host name: "reject.filter_helo".
FILTER = '''
local log = require "postern.log"
local make = {
    continue = function() return continue() end, accept = function() return accept() end, discard = function() return discard() end,
    reject = function() return reject("no") end,
    tempfail = function() return tempfail("later") end,
    whole = function() return discard{ whole_message = true } end,
    full = function() return reject{ text = "100% no\\nsecond line", code = 554, dsn = "5.6.1" } end,
    full4 = function() return tempfail{ text = "100% busy\\nsecond line", code = 452, dsn = "4.3.1" } end,
    uncalled = function() return reject end,
    unreturned = function() reject("no") end,
    nonsense = function() return "reject" end,
    no = function() return false end,
    two = function() return accept(), accept() end,
    raises = function() error("boom") end,
    changes = function(msg) msg:add_header("X-Early", "1") return accept() end,
}
local function act(hook, conn, msg)
    local verdict, where = conn.hostname:match("^(%w+)%.(%w+)$")
    log.info("HOOK " .. hook .. " of " .. conn.hostname)
    if where == hook then return make[verdict](msg) end
end
function filter_relay(conn) return act("relay", conn) end
function filter_helo(conn) return act("helo", conn) end
function filter_sender(msg) return act("sender", msg.conn, msg) end
function filter_recipient(msg, rcpt) return act("recipient", msg.conn, msg) end
function filter_data(msg) return act("data", msg.conn, msg) end
function filter_header(msg) return act("header", msg.conn, msg) end
function filter_headers(msg) return act("headers", msg.conn, msg) end
function filter_body(msg) return act("body", msg.conn, msg) end
function filter_message(msg) return act("message", msg.conn, msg) end
function filter_unknown(conn) return act("unknown", conn) end
'''

MESSAGE = "filter.lua:%d" % (1 + FILTER[:FILTER.index("function filter_message")].count("\n"))
DIALOGUE = (("relay", "connect"), ("helo", "helo"), ("sender", "mail"), ("recipient", "rcpt"), ("data", "data"), ("header", "header"),
            ("headers", "eoh"), ("body", "body"), ("message", "eom"))
OF_MESSAGE = ("sender", "data", "header", "headers", "body", "message")
OF_CONNECTION = ("relay", "helo")
HOOKS = (*OF_CONNECTION, *OF_MESSAGE, "recipient", "unknown")
# None: not allowed there
ALLOWED = {
    **{hook: {"continue": "continue", "accept": "accept", "reject": "reject", "tempfail": "tempfail", "discard": None} for hook in OF_CONNECTION},
    **{hook: {"continue": "continue", "accept": "accept", "reject": "reject", "tempfail": "tempfail", "discard": "discard", "whole": "discard"}
       for hook in OF_MESSAGE},
    "recipient": {"continue": "continue", "accept": "continue", "reject": "reject", "tempfail": "tempfail", "discard": None, "whole": "discard"},
    "unknown": {"continue": "continue", "accept": None, "reject": "reject", "tempfail": "tempfail", "discard": None},
}
MISTAKES = ("uncalled", "unreturned", "nonsense", "no", "two", "raises")


class Verdicts(SystemTest):
    def walk(self, hook, verdict):
        """Plays the dialogue up to the hook that acts; the client and the answer there."""
        client = MilterClient(self.postern.spec, 30 * PATIENCE)
        self.addCleanup(client.close)
        client.negotiate()
        arguments = {"connect": (f"{verdict}.{hook}", "192.0.2.9"), "header": ("Subject", " x"), "body": (b"x\r\n",)}
        if hook == "unknown":
            client.connect(*arguments["connect"])
            return client, client.unknown("XYZZY")
        for stage, call in DIALOGUE:
            answer = getattr(client, call)(*arguments.get(call, ()))
            if stage == hook:
                return client, answer
            self.assertEqual(answer.code, "continue", f"{stage} before {hook}: {answer}\n{self.postern.logs()}")
        raise AssertionError(hook)

    def failure(self, hook, answer):
        """What on_error makes of a hook's mistake."""
        if answer == "accept":
            return "accept" if hook in (*OF_CONNECTION, *OF_MESSAGE) else "continue"
        return {"tempfail": "451 4.3.0 ", "reject": "554 5.3.0 "}[answer]

    def check(self, hook, verdict, expected):
        with self.subTest(hook=hook, verdict=verdict):
            answer = self.walk(hook, verdict)[1]
            if expected[0].isdigit():
                self.assertReply(answer, expected)
            elif expected in ("reject", "tempfail"):
                self.assertEqual(answer.text, {"reject": "550 5.7.1 no", "tempfail": "451 4.7.1 later"}[expected])
            else:
                self.assertEqual((answer.code, answer.text), (expected, None))

    def test_every_cell(self):
        for on_error in ("tempfail", "reject", "accept"):
            with self.subTest(on_error=on_error):
                postern = self.start(FILTER, {"worker.on_error": on_error})
                for hook in HOOKS:
                    for verdict, expected in ALLOWED[hook].items():
                        if on_error == "tempfail" or expected is None:
                            self.check(hook, verdict, expected or self.failure(hook, on_error))
                    for mistake in MISTAKES if on_error == "tempfail" else ("raises",):
                        self.check(hook, mistake, self.failure(hook, on_error))
                self.assertEqual(postern.status()["outcomes"]["died"], 0)

    def test_mistakes_are_named_with_their_line(self):
        self.start(FILTER)
        for mistake, text in (("uncalled", f"{MESSAGE}: filter_message returned the function reject; call it"),
                              ("unreturned", "filter.lua:11: the verdict reject"), ("nonsense", f"{MESSAGE}: filter_message returned a string"),
                              ("no", f"{MESSAGE}: filter_message returned a boolean"), ("two", f"{MESSAGE}: filter_message returned 2 values"),
                              ("raises", "filter.lua:15: boom")):
            with self.subTest(mistake=mistake):
                self.walk("message", mistake)
                self.worker_lines(text, 1)
        self.walk("recipient", "discard")
        self.worker_lines("discard is not allowed in filter_recipient; use msg:delete_recipient(rcpt)", 1)

    def test_code_dsn_lines_and_percent(self):
        """A percent sign is doubled on the milter's wire, since the MTA takes one away."""
        self.start(FILTER)
        for hook in HOOKS:
            self.check(hook, "full", "554-5.6.1 100%% no\r\n554 5.6.1 second line")
            self.check(hook, "full4", "452-4.3.1 100%% busy\r\n452 4.3.1 second line")

    def test_accept_ends_the_hooks_of_that_message(self):
        self.start(FILTER)
        for hook in OF_MESSAGE[:-1]:
            with self.subTest(hook=hook):
                client, answer = self.walk(hook, "accept")
                self.assertEqual(answer.code, "accept")
                hooks = self.worker_lines(f"of accept.{hook}")
                self.assertIn(f"HOOK {hook} ", hooks[-1])
                # the next message on the same connection is judged again
                client.mail("<next@example.org>")
                self.worker_lines(f"HOOK sender of accept.{hook}", 2)

    def test_accept_keeps_what_was_asked_for(self):
        """Changes that are pending are applied at the end of the message, without further hooks."""
        self.start(FILTER)
        for hook in OF_MESSAGE:
            with self.subTest(hook=hook):
                client, answer = self.walk(hook, "changes")
                later = [call for stage, call in DIALOGUE if [s for s, _ in DIALOGUE].index(stage) > [s for s, _ in DIALOGUE].index(hook)]
                for call in later:
                    self.assertIn(answer.code, ("continue", "skip"))
                    answer = getattr(client, call)(*{"header": ("Subject", " x"), "body": (b"x\r\n",)}.get(call, ()))
                self.assertIn(answer.code, ("continue", "accept"))
                self.assertEqual(answer.actions, [("add_header", "X-Early", " 1")])
                self.assertIn(f"HOOK {hook} ", self.worker_lines(f"of changes.{hook}")[-1])

    def test_accept_of_the_connection(self):
        self.start(FILTER)
        for hook in OF_CONNECTION:
            with self.subTest(hook=hook):
                client, answer = self.walk(hook, "accept")
                self.assertEqual(answer.code, "accept")
                self.assertIn(client.message().code, ("continue", "accept"))
                self.assertIn(f"HOOK {hook} ", self.worker_lines(f"of accept.{hook}")[-1])

    def test_second_message_after_each_verdict(self):
        self.start('''
            local verdicts = { continue = continue, accept = accept, reject = reject, tempfail = tempfail, discard = discard }
            function filter_sender(msg) if msg.sender_domain == "mail" then return verdicts[msg.sender_local]() end end
            function filter_message(msg) if msg.sender_domain == "end" then return verdicts[msg.sender_local]() end end
        ''')
        client = self.client().start()
        for where in ("mail", "end"):
            for verdict in ("continue", "accept", "reject", "tempfail", "discard"):
                with self.subTest(where=where, verdict=verdict):
                    self.assertEqual(client.message(sender=f"<{verdict}@{where}>").verdict, verdict)
                    self.assertEqual(client.message(sender="<plain@x>").code, "continue")

    def test_other_recipients_go_on(self):
        self.start('''
            local verdicts = { reject = function() return reject("no") end, tempfail = function() return tempfail("later") end, accept = accept }
            function filter_recipient(msg, rcpt) local v = verdicts[rcpt.localpart] return v and v() end
            function filter_message(msg)
                local names = {}
                for _, rcpt in ipairs(msg.recipients) do names[#names + 1] = tostring(rcpt) end
                msg:add_header("X-To", table.concat(names, ","))
            end
        ''')
        client = self.client().start()
        client.mail()
        answers = [client.rcpt(f"<{name}@x>") for name in ("a", "reject", "b", "tempfail", "accept", "c")]
        self.assertEqual([answer.text or answer.code for answer in answers],
                         ["continue", "550 5.7.1 no", "continue", "451 4.7.1 later", "continue", "continue"])
        client.data(), client.header("Subject", " x"), client.eoh(), client.body(b"x\r\n")
        self.assertEqual(client.eom().all("add_header"), [["X-To", " a@x,b@x,accept@x,c@x"]])


if __name__ == "__main__":
    unittest.main()
