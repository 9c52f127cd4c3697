"""postern.store, ratelimit, reputation and greylist in filters' own tests, with options that allow some."""

import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from harness.process import BIN, PATIENCE  # noqa: E402

OPTIONS = {"greylist.allow_networks": "203.0.113.0/24 2001:db8:77::/48", "greylist.allow_names": "friends.example",
           "greylist.allow_senders": "@lists.example bounces@", "greylist.allow_recipients": "postmaster@ abuse@ @open.example",
           "worker.trusted_relays": "192.0.2.25"}


class Modules(unittest.TestCase):
    def passes(self, name, options=(), filter_name="filter.lua"):
        words = [word for option in options for word in ("-o", option)]
        done = subprocess.run([os.path.join(BIN, "posternctl"), "test", *words, "--filter", os.path.join(HERE, filter_name), os.path.join(HERE, name)],
                              capture_output=True, text=True, timeout=100 * PATIENCE, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_modules(self):
        self.passes("modules_test.lua")

    def test_greylist(self):
        self.passes("greylist_test.lua", [f"{name}={value}" for name, value in OPTIONS.items()])

    def test_greylist_with_spf(self):
        self.passes("spf_allow_test.lua", ["greylist.spf_allow=yes"], "spf_filter.lua")
        self.passes("spf_key_test.lua", ["greylist.spf_key=yes"], "spf_filter.lua")


if __name__ == "__main__":
    unittest.main()
