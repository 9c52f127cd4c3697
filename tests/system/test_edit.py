"""Changes of parts through the daemons: what the mail server is told, and each answer when the result is not what was asked for."""

import unittest

from fixture import SystemTest

HEADERS = (("Subject", " parts"), ("MIME-Version", " 1.0"), ("Content-Type", " multipart/mixed; boundary=b"))
BODY = b"--b\r\n\r\none\r\n--b\r\nX-Odd:  kept \r\n\r\ntwo\r\n--b\r\n\r\nthree\r\n--b\r\n\r\nfour\r\n--b--\r\n"
# The reader looks at three parts and the container: what is taken out uncovers a part that nobody has looked at.
LIMIT = {"worker.max_parts": 4, "multiplexor.min_workers": 1, "multiplexor.max_workers": 1}
DROP = "for part in msg:parts() do part:drop() break end"
ADD = "msg:add_part{ body = 'more' }"


def a_filter(code):
    return f"function filter_message(msg)\n    msg:add_header('X-Seen', 'yes')\n    {code}\nend\n"


class Edit(SystemTest):
    def answer(self, code, options=None):
        self.start(a_filter(code), options)
        return self.client().start().message(headers=HEADERS, body=BODY)

    def refused(self, code, option, value):
        """The answer, and the count, the log line of the message and that of the worker that go with it."""
        answer = self.answer(code, {**LIMIT, f"worker.{option}": value})
        self.assertEqual(self.postern.status()["counters"]["rewrite_failures"], 1)
        self.assertEqual(len(self.worker_lines("the changes of the message's parts are dropped", least=1)), 1)
        self.assertEqual(len(self.milterd_lines("rewrite_failed=")), 1)
        self.assertEqual(answer.all("replace_body"), [])
        return answer

    def test_a_part_goes(self):
        answer = self.answer(DROP)
        self.assertEqual(answer.code, "continue")
        self.assertEqual(b"".join(chunk for chunk, in answer.all("replace_body")), BODY.replace(b"--b\r\n\r\none\r\n", b""))
        self.assertEqual(answer.all("change_header"), [])
        self.assertEqual(self.postern.status()["counters"]["rewrite_failures"], 0)

    def test_the_last_but_one_goes(self):
        answer = self.answer("for part in msg:parts() do if part.path ~= '1.2' then part:drop() end end")
        self.assertEqual(b"".join(chunk for chunk, in answer.all("replace_body")), b"two")
        self.assertEqual(answer.all("change_header"), [[1, "Content-Type", ""]])

    def test_nothing_changes_nothing(self):
        answer = self.answer("for part in msg:parts() do part:set_content(part:content()) end")
        self.assertEqual(answer.code, "continue")
        self.assertEqual(answer.all("replace_body") + answer.all("change_header"), [])

    def test_a_refused_mail_is_not_changed(self):
        answer = self.answer(DROP + " do return reject('no') end")
        self.assertReply(answer, "550 5.7.1 no")

    def test_what_was_to_go_is_deferred(self):
        answer = self.refused(DROP, "on_rewrite_failure", "tempfail")
        self.assertReply(answer, "451 4.3.0 ")
        self.assertEqual(answer.all("add_header"), [])

    def test_what_was_to_go_is_refused(self):
        self.assertReply(self.refused(DROP, "on_rewrite_failure", "reject"), "554 5.3.0 ")

    def test_what_was_to_go_goes_through(self):
        answer = self.refused(DROP, "on_rewrite_failure", "accept")
        self.assertEqual(answer.code, "continue")
        self.assertEqual(answer.all("add_header"), [["X-Seen", " yes"]])

    def test_what_was_added_is_lost(self):
        answer = self.refused(ADD, "on_append_failure", "accept")
        self.assertEqual(answer.code, "continue")
        self.assertEqual(answer.all("add_header"), [["X-Seen", " yes"]])

    def test_what_was_added_defers(self):
        self.assertReply(self.refused(ADD, "on_append_failure", "tempfail"), "451 4.3.0 ")

    def test_both_count_as_what_was_to_go(self):
        self.assertReply(self.refused(ADD + " " + DROP, "on_rewrite_failure", "reject"), "554 5.3.0 ")


if __name__ == "__main__":
    unittest.main()
