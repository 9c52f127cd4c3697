"""A ready filter that reads a file: what changes in it is in force without a reload, and a file that is gone changes nothing."""

import os
import unittest

from fixture import SystemTest
from harness.process import SOURCE, Folder


class WordList(SystemTest):
    def setUp(self):
        self.lists = Folder("wordlist")
        self.addCleanup(self.lists.remove)
        with open(os.path.join(SOURCE, "scripts", "filters", "refuse-by-word-list.lua"), encoding="utf-8") as file:
            self.start(file.read(), {"filter.word_list": self.lists.write("words", "first word\n"), "filter.word_list_refresh": 0,
                                     "worker.read_paths": self.lists.path})

    def code_for(self, subject):
        with self.client() as client:
            client.start()
            return client.message(headers=(("Subject", " " + subject),)).code

    def test_a_changed_list(self):
        self.assertEqual([self.code_for(s) for s in ("a first word", "a second word")], ["reply", "continue"])
        self.lists.write("words", "second word\n")
        self.assertEqual([self.code_for(s) for s in ("a first word", "a second word")], ["continue", "reply"])
        self.worker_lines("words was read again", least=1)
        os.unlink(self.lists("words"))
        self.assertEqual([self.code_for(s) for s in ("a first word", "a second word")], ["continue", "reply"])
        self.worker_lines("what was read last stays in force: ", least=1)


if __name__ == "__main__":
    unittest.main()
