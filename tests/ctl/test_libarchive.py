"""libarchive is loaded when an archive is met; without it no archive is taken for a clean one."""

import email.message
import glob
import os
import re
import subprocess
import unittest

from common import CTL, FilterFolder, lines_of, sample
from harness import archives
from harness.process import PATIENCE

FILTER = """
function filter_message(msg)
    for part in msg:parts() do
        local entries, err = part:entries()
        msg:log("entries", entries and #entries or err)
        local found, what = part:has_extension({ "exe" }, { archives = true })
        if found then return reject(what or "found") end
    end
end
"""
LIBRARIES = glob.glob("/usr/lib/*/libarchive.so.13*")


def attachment(name, data):
    mail = email.message.EmailMessage()
    mail["Subject"] = "an archive"
    mail.set_content("hello\n")
    mail.add_attachment(data, "application", "octet-stream", filename=name)
    return mail.as_bytes()


def play(message, hidden=()):
    """What posternctl run answers, and its stderr; with these files empty for it."""
    with FilterFolder("ctl-libarchive", FILTER) as folder:
        path = folder.write("message.eml", message)
        script = "".join(f"mount --bind {folder.write('empty', '')} {file}\n" for file in {os.path.realpath(file) for file in hidden})
        argv = ["unshare", "--mount", "sh", "-ec", script + 'exec "$@"', "sh", CTL, "run", "--json", folder.filter, path]
        done = subprocess.run(argv, capture_output=True, timeout=60 * PATIENCE, check=False, text=True)
        return lines_of(done.stdout)[0], done.stderr


class Libarchive(unittest.TestCase):
    def test_programs_are_not_linked_with_it(self):
        for program in ("posternctl", "postern-worker"):
            needed = subprocess.run(["ldd", os.path.join(os.path.dirname(CTL), program)], capture_output=True, text=True, check=True).stdout
            for library in ("libarchive", "libicu", "libcurl", "libssl", "libcrypto"):
                self.assertNotIn(library, needed)

    def test_there(self):
        answer, _ = play(attachment("a.tar", archives.tar_of(("doc.txt", b"hello"))))
        self.assertEqual(answer["verdict"], "continue", answer)

    def test_missing(self):
        self.assertTrue(LIBRARIES, "libarchive is nowhere to be hidden")
        answer, err = play(attachment("a.tar", archives.tar_of(("doc.txt", b"hello"))), LIBRARIES)
        self.assertEqual((answer["verdict"], answer["reply"]["text"]), ("reject", "unreadable"), (answer, err))
        self.assertRegex(err + str(answer["log"]), r"no archive can be listed, since libarchive\.so\.13 cannot be loaded .*libarchive13")

    def test_mail_without_archives_does_not_need_it(self):
        with open(sample("clean"), "rb") as file:
            answer, err = play(file.read(), LIBRARIES)
        self.assertEqual(answer["verdict"], "continue", err)
        self.assertFalse(re.search("libarchive", err), err)


if __name__ == "__main__":
    unittest.main()
