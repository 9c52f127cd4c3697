"""part:replace_with_url in the real daemons, with their sandbox: what is written, when, and what happens when it cannot be."""

import hashlib
import json
import os
import signal
import stat
import threading
import unittest

from links import BASE_URL, URL, Links, Postern, attachment, mixed, wait_until
from harness.lines import lines_of
from harness.process import BIN, Process

FILTER = """
local function attachments(msg)
    local found = {}
    for part in msg:parts() do
        if part.disposition == "attachment" then found[#found + 1] = part end
    end
    return found
end
local function link(msg, options)
    for _, part in ipairs(attachments(msg)) do
        assert(part:replace_with_url(options))
    end
end
local deeds = {
    link = function(msg) link(msg) end,
    text = function(msg) link(msg, { text = "<${name}> ${size} ${type} ${expires} ${url}", age = 0 }) end,
    fails = function(msg) link(msg) error("boom") end,
    rejects = function(msg) link(msg) return reject("no") end,
    discards = function(msg) link(msg) return discard() end,
    accepts = function(msg) link(msg) return accept() end,
    outside = function(msg)
        local ok, why = pcall(link, msg, { directory = "@FOLDER@" })
        return reject(tostring(why))
    end,
    missing = function(msg) pcall(link, msg, { directory = "@FOLDER@/state/not-there" }) end,
    root = function(msg) msg.root:replace_with_url() end,
    every = function(msg)
        for part in msg:walk() do
            if part.type == "message/rfc822" then part:replace_with_url() end
        end
    end,
    multipart = function(msg)
        local ok, why = pcall(msg.root.replace_with_url, msg.root)
        return reject(tostring(why))
    end,
    gone = function(msg)
        local part = attachments(msg)[1]
        part:drop("taken out")
        local url, why = part:replace_with_url()
        return reject(tostring(url) .. " " .. tostring(why))
    end,
    twice = function(msg)
        local part = attachments(msg)[1]
        local url = part:replace_with_url()
        msg:add_header("X-Second", tostring(part:replace_with_url() == url))
    end,
    wrong = function(msg)
        local part, said = attachments(msg)[1], {}
        for i, options in ipairs{ { directory = "files" }, { base_url = "ftp://x" }, { base_url = "https://x/?y" }, { text = "${nmae}" },
                { age = -1 }, { age = "soon" }, { text = 7 }, { txt = "x" }, { directory = "/a\\0b" } } do
            local ok, why = pcall(part.replace_with_url, part, options)
            assert(not ok)
            said[i] = why
        end
        return reject(table.concat(said, "\\n"))
    end,
}
function filter_message(msg)
    return deeds[msg:header("X-Do")](msg)
end
"""


class Stored(Links):
    filter = FILTER

    def test_the_file_its_entry_and_the_text(self):
        body = self.body_of(self.send("link", mixed(attachment(b"%PDF content"))))
        (path,) = URL.findall(body)
        self.assertEqual(self.stored(), [path.decode()])
        self.assertIn(b"plan.pdf", body)
        self.assertIn(b"12 bytes", body)
        self.assertNotIn(b"JVBERi", body)
        self.assertIn(b"see below", body)
        file = self.folder("files", path.decode())
        with open(file, "rb") as content:
            self.assertEqual(content.read(), b"%PDF content")
        self.assertEqual(stat.S_IMODE(os.stat(file).st_mode), 0o644)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(file)).st_mode), 0o755)
        self.assertEqual(stat.S_IMODE(os.stat(self.folder("state", "urls")).st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(os.stat(self.folder("state", "urls", "key")).st_mode), 0o600)
        (entry,) = lines_of(self.urls("list", "--json"))
        self.assertEqual((entry["size"], entry["type"], entry["has_file"], entry["url"]), (12, "application/pdf", True, f"{BASE_URL}/{path.decode()}"))
        self.assertEqual(entry["sha256"], hashlib.sha256(b"%PDF content").hexdigest())
        self.assertEqual(entry["expires"] - entry["stored"], 30 * 86400)
        (use,) = entry["uses"]
        self.assertEqual((use["filename"], use["message_id"], use["sender"]), ("plan.pdf", "<1@example.org>", "sender@example.org"))

    def test_the_same_content_makes_one_file(self):
        bodies = [self.body_of(self.send("link", mixed(attachment(b"same")), message_id=name)) for name in ("<1@x>", "<1@x>", "<2@x>")]
        self.assertEqual(len({URL.findall(body)[0] for body in bodies}), 1)
        self.assertEqual(len(self.stored()), 1)
        (entry,) = lines_of(self.urls("list", "--json"))
        self.assertEqual([use["message_id"] for use in entry["uses"]], ["<1@x>", "<2@x>"])

    def test_many_at_once_make_one_file(self):
        answers = []

        def one(number):
            answers.append(self.send("link", mixed(attachment(b"c" * 100000)), message_id=f"<{number}@x>", timeout=60))
        threads = [threading.Thread(target=one, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([answer.verdict for answer in answers], ["continue"] * 8, self.postern.logs())
        self.assertEqual(len(self.stored()), 1)
        (entry,) = lines_of(self.urls("list", "--json"))
        self.assertEqual(sorted(use["message_id"] for use in entry["uses"]), [f"<{n}@x>" for n in range(8)])

    def test_only_mail_that_goes_on_leaves_a_file(self):
        for deed, verdict in (("fails", "tempfail"), ("rejects", "reject"), ("discards", "discard")):
            answer = self.send(deed, mixed(attachment(b"x")))
            self.assertEqual((answer.verdict, answer.actions), (verdict, []), deed)
            self.assertEqual(self.stored(), [], deed)
        self.assertIn(b"files.example.org", self.body_of(self.send("accepts", mixed(attachment(b"x")))))
        self.assertEqual(len(self.stored()), 1)

    def test_names_out_of_mails_reach_the_index_alone(self):
        names = ["../../../../etc/cron.d/x", "x; rm -rf ~", "index.php", "a\tb", ".htaccess", "evil\u202efdp.exe", "<script>alert(1)</script>", "${url}", "n" * 300]
        body = self.body_of(self.send("link", mixed(*(attachment(name.encode(), name) for name in names))))
        found = URL.findall(body)
        self.assertEqual(len(set(found)), len(names))
        self.assertEqual(self.stored(), sorted(path.decode() for path in found))
        text = body.decode("utf-8", "replace")
        self.assertNotIn("\u202e", text)
        self.assertNotIn("n" * 201, text)
        listed = {use["filename"] for row in lines_of(self.urls("list", "--json")) for use in row["uses"]}
        self.assertIn("../../../../etc/cron.d/x", listed)
        self.assertEqual(len(listed), len(names))

    def test_mail_that_is_html_alone_gets_html(self):
        html = b"Content-Type: text/html\r\n\r\n<p>see below</p>\r\n"
        body = self.body_of(self.send("link", mixed(attachment(b"x", "a<b>.pdf"), text=html)))
        self.assertIn(b"a&lt;b&gt;.pdf", body)
        self.assertRegex(body, rb'<a href=(3D)?"https://files')
        body = self.body_of(self.send("text", mixed(attachment(b"y", "a<b>.pdf"), text=html)))
        self.assertIn(b"<a<b>.pdf> 1 bytes application/pdf never https://files", body.replace(b"=\r\n", b""))

    def test_a_part_can_be_asked_for_twice(self):
        answer = self.send("twice", mixed(attachment(b"x")))
        self.body_of(answer)
        self.assertEqual(len(self.stored()), 1)

    def test_a_mail_that_is_the_attachment(self):
        answer = self.send("root", b"%PDF-1.4\r\n", content_type='application/pdf; name="plan.pdf"')
        self.assertEqual(len(URL.findall(self.body_of(answer))), 1)
        with open(self.folder("files", self.stored()[0]), "rb") as file:
            self.assertEqual(file.read(), b"%PDF-1.4\r\n")

    def test_a_message_within_is_stored_as_it_is(self):
        inner = b"Subject: inner\r\n\r\nhello\r\n"
        body = self.body_of(self.send("every", mixed(b"Content-Type: message/rfc822\r\n\r\n" + inner)))
        self.assertNotIn(b"Subject: inner", body)
        with open(self.folder("files", URL.findall(body)[0].decode()), "rb") as file:
            self.assertEqual(file.read(), inner)

    def test_what_has_no_content_or_is_gone(self):
        self.assertIn("a multipart has no content of its own", self.send("multipart", mixed(attachment(b"x"))).text)
        self.assertIn("nil gone", self.send("gone", mixed(attachment(b"x"))).text)
        self.assertEqual(self.stored(), [])

    def test_wrong_options_are_errors(self):
        answer = self.send("wrong", mixed(attachment(b"x")))
        for text in ("directory is an absolute path", "base_url is an http", "unknown variable ${nmae}", "age is seconds", "text is a text", "unknown key"):
            self.assertIn(text, answer.text)
        self.assertEqual(self.stored(), [])

    def test_a_folder_that_is_not_granted(self):
        answer = self.send("outside", mixed(attachment(b"x")))
        self.assertRegex(answer.text, r"neither urls\.directory nor in worker\.state_dir; worker\.write_paths may allow it")

    def test_no_pcall_catches_a_folder_that_is_gone(self):
        answer = self.send("missing", mixed(attachment(b"x")))
        self.assertEqual((answer.verdict, answer.actions), ("tempfail", []))
        self.assertTrue(answer.text.startswith("451 4.3.0 "), answer.text)
        self.assertIn("not-there: No such file", self.postern.logs())

    def test_a_key_that_others_can_read_is_refused(self):
        self.body_of(self.send("link", mixed(attachment(b"x"))))
        os.chmod(self.folder("state", "urls", "key"), 0o644)
        self.assertEqual(self.send("link", mixed(attachment(b"x"))).verdict, "tempfail")
        self.assertIn("no plain file of 32 bytes that others cannot read", self.postern.logs())

    def test_a_rehearsal_writes_nothing(self):
        mail = self.folder.write("mail.eml", b"X-Do: link\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + mixed(attachment(b"x")))
        for _ in range(2):
            code, out, err = self.postern.ctl("run", "--json", self.postern.filter, mail)
            self.assertEqual(code, 0, err)
            body = next(action["body"] for action in json.loads(out)["actions"] if action["action"] == "replace_body")
            self.assertRegex(body, BASE_URL)
        self.assertEqual(self.stored(), [])
        self.assertFalse(os.path.exists(self.folder("state", "urls")))

    def test_a_killed_worker_leaves_no_half_file(self):
        content = os.urandom(1 << 20) * 24
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.send("link", mixed(attachment(content)), timeout=100)))
        thread.start()
        wait_until(lambda: any("/.new-" in name for name in self.stored()) or not thread.is_alive(), "a file that is being written", 60, pause=0.0005)
        for worker in self.postern.workers():
            if worker.get("state") == "busy":
                os.kill(worker["pid"], signal.SIGKILL)
        thread.join()
        (path,) = URL.findall(self.body_of(answers[0]))
        with open(self.folder("files", path.decode()), "rb") as file:
            self.assertEqual(file.read(), content)
        self.assertEqual([name for name in self.stored() if "/.new-" not in name], [path.decode()])


class Cut(Links):
    """Not all of the content was decoded."""

    filter = FILTER
    options = {"worker.max_decoded": "64K"}

    def test_a_part_that_is_not_whole_is_not_stored(self):
        answer = self.send("link", mixed(attachment(b"x" * 70000)))
        self.assertEqual((answer.verdict, answer.actions, self.stored()), ("tempfail", [], []))
        self.assertIn("over worker.max_decoded", self.postern.logs())


class Lenient(Links):
    """Errors of the filter let mail through; a store that fails does not."""

    filter = FILTER
    options = {"worker.on_error": "accept"}

    def test_a_store_that_fails_defers(self):
        answer = self.send("missing", mixed(attachment(b"x")))
        self.assertEqual((answer.verdict, answer.actions), ("tempfail", []))


class Small(Postern):
    """The served folder is a disk of 256 KiB."""

    def start_multiplexor(self):
        script = 'mount -t tmpfs -o size=256k,mode=0755 tmpfs "$1" && exec "$2" -c "$3"'
        self.multiplexor = Process(["unshare", "--mount", "bash", "-c", script, "small", self.folder("files"),
                                    os.path.join(BIN, "postern-multiplexor"), self.conf], self.folder("multiplexor.log"))


@unittest.skipIf(os.geteuid() != 0, "mounting needs root")
class FullDisk(Links):
    filter = FILTER
    options = {"urls.min_free": 0}
    postern_class = Small

    def inside(self):
        base = f"/proc/{self.postern.multiplexor.pid}/root" + self.folder("files")
        return sorted(os.path.join(folder, name)[len(base) + 1:] for folder, _, names in os.walk(base) for name in names)

    def test_a_full_disk_defers_and_leaves_nothing(self):
        answer = self.send("link", mixed(attachment(os.urandom(400000))))
        self.assertEqual((answer.verdict, answer.actions), ("tempfail", []), self.postern.logs())
        self.assertIn("No space left on device, or less than urls.min_free", self.postern.logs())
        self.assertEqual(self.inside(), [])
        (path,) = URL.findall(self.body_of(self.send("link", mixed(attachment(b"small")))))
        self.assertEqual(self.inside(), [path.decode()])


@unittest.skipIf(os.geteuid() != 0, "mounting needs root")
class AlmostFullDisk(FullDisk):
    options = {"urls.min_free": "128K"}

    def test_a_full_disk_defers_and_leaves_nothing(self):
        """What there is would take it, and not leave enough free."""
        answer = self.send("link", mixed(attachment(os.urandom(150000))))
        self.assertEqual((answer.verdict, answer.actions, self.inside()), ("tempfail", [], []), self.postern.logs())
        self.body_of(self.send("link", mixed(attachment(b"small"))))
        self.assertEqual(len(self.inside()), 1)


if __name__ == "__main__":
    unittest.main()
