"""Debian's chrooted Postfix: the socket lies below its queue folder and belongs to the mail server's group, as docs/postfix.md has it."""

import grp
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness.mail import message
from harness.mta import Postfix
from harness.postern import Postern


class Chroot(unittest.TestCase):
    def test_mail_is_filtered(self):
        mta = Postfix(name="postfix.chroot", chroot=True)
        mta.spec = "unix:postern/milter.sock"
        os.makedirs(mta.folder("queue/postern"))
        os.chmod(mta.folder("queue/postern"), 0o755)
        # uucp stands for Debian's postfix user in these tests.
        options = {"milterd.socket_mode": "0660", "milterd.socket_group": grp.getgrnam("uucp").gr_name}
        postern = Postern('function filter_message(msg) msg:add_header("X-Seen", "yes") end', folder=mta.folder, options=options,
                          socket_spec="unix:" + mta.folder("queue/postern/milter.sock"))
        with mta.start(), postern:
            smtp = mta.smtp()
            smtp.hello()
            self.assertEqual(smtp.transaction("a@example.org", ["b@example.net"], message())[:2], ("end", 250), mta.log())
            self.assertEqual(mta.one()["X-Seen"], "yes")
            smtp.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
