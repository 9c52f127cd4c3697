"""log.level of a running system: posternctl reload puts it in force, in the front end too."""

import unittest

from fixture import SystemTest
from harness.process import wait_until

FILTER = "function filter_message(msg) end\n"
DEBUG = "debug: generation "


class LogLevel(SystemTest):
    def set_level(self, level):
        with open(self.postern.conf, encoding="utf-8") as file:
            lines = [line for line in file if not line.startswith("level = ")]
        self.postern.folder.write("postern.conf", "".join(lines).replace("[log]\n", f"[log]\nlevel = {level}\n"))

    def reload(self):
        self.assertTrue(self.postern.reload()["ok"])

    def test_a_reload_sets_it(self):
        self.start(FILTER)
        self.assertEqual(self.postern.log_lines(DEBUG), [])
        self.set_level("debug")

        def says_debug():
            self.reload()
            return self.postern.log_lines(DEBUG)
        wait_until(says_debug, "a debug line of the front end", 30)
        self.set_level("info")

        def is_quiet():
            n = len(self.postern.log_lines(DEBUG))
            self.reload()
            self.client().start().message()
            return len(self.postern.log_lines(DEBUG)) == n
        wait_until(is_quiet, "no more debug lines", 30)


if __name__ == "__main__":
    unittest.main()
