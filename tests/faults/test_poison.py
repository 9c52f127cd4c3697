"""Messages that kill two workers are kept, within bounds, whatever the disk does; posternctl lists them, shows them and runs them again."""

import json
import os
import signal
import stat
import threading
import time
import unittest

import paths  # noqa: F401
from harness.lines import lines_of, split_lines
from harness.process import BIN, BUILD, SANITIZE, Process, wait_until
from stack import Stack

MODULE = os.path.join(BUILD, "tests", "faults")


def cpu_time(pid):
    """Seconds that a process has used; 0 when it has gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Poison(Stack):
    deeds = f"""
    segv = function() package.cpath = "{MODULE}/?.so" require("deadly").segv() end,
    abort = function() package.cpath = "{MODULE}/?.so" require("deadly").abort() end,
    loop = function() while true do end end,
    exit = function() package.cpath = "{MODULE}/?.so" require("deadly").exit(7) end,
    """
    options = {"worker__read_paths": MODULE, "multiplexor__min_workers": 2, "multiplexor__respawn_min": "10ms"}

    def setUp(self):
        super().setUp()
        self.poison = self.postern.folder("spool", "poison")

    def kept(self):
        """Names in the folder, leftovers included."""
        return sorted(os.listdir(self.poison)) if os.path.isdir(self.poison) else []

    def ids(self, n):
        """Ids of the kept ones, the oldest first, once there are n."""
        def found():
            rows = self.rows()
            return [row["id"] for row in rows] if len(rows) == n else None
        return wait_until(found, lambda: f"{n} kept messages: {self.kept()}\n{self.postern.logs()}")

    def rows(self):
        return lines_of(self.ctl("list", "--json", check=True)[1])

    def ctl(self, *words, **more):
        return self.postern.ctl("poison", *words, **more)

    def kill_with(self, deed="abort", **more):
        answer = self.send(deed, **more)
        self.assert_tempfail(answer)
        self.assertTrue(answer.text.startswith("451 4.3.0"), answer)

    def wait_for_log(self, text):
        return wait_until(lambda: self.postern.log_lines(text), lambda: f"{text}\n{self.postern.logs()}")


class Kept(Poison):
    def test_kept_shown_and_run_again(self):
        client = self.client()
        client.negotiate()
        client.connect("mail.example.org", "192.0.2.77", 4444)
        client.helo("helo.example.org")
        client.mail("<ann@example.org>", "SIZE=100", macros={"i": "QUEUE1"})
        for rcpt in ("<bob@example.net>", "<eve@example.net>"):
            client.rcpt(rcpt)
        client.data()
        for name, value in (("X-Do", " abort"), ("Subject", " caf\xe9 \x1b[31m")):
            client.header(name, value)
        client.eoh()
        client.body(b"one\r\n\0two\nthree\r\n")
        self.assert_tempfail(client.eom())
        name = self.ids(1)[0]
        row = self.rows()[0]
        self.assertEqual((row["sender"], row["hook"], row["queue_id"], row["fault"]),
                         ("<ann@example.org>", "filter_message", "QUEUE1", "signal 6 (SIGABRT), signal 6 (SIGABRT)"))
        with open(os.path.join(self.poison, name, "message.eml"), "rb") as file:
            message = file.read()
        self.assertTrue(message.startswith(b"X-Do: abort\r\nSubject: caf"), message)
        self.assertTrue(message.endswith(b"\r\n\r\none\r\n\0two\nthree\r\n"), message)
        facts = json.loads(self.ctl("show", name, "--json", check=True)[1])
        self.assertEqual((facts["client"]["ip"], facts["helo"], facts["sender_arguments"]), ("192.0.2.77", "helo.example.org", "SIZE=100"))
        self.assertEqual([rcpt["address"] for rcpt in facts["recipients"]], ["<bob@example.net>", "<eve@example.net>"])
        self.assertEqual(facts["macros"]["mail"], {"i": "QUEUE1"})
        self.assertEqual(len({death["pid"] for death in facts["deaths"]}), 2)
        for death in facts["deaths"]:
            self.assertRegex(death["last"], r"^msg\.header" + ("" if SANITIZE else r", filter\.lua:\d+$"))
        shown = self.ctl("show", name, check=True)[1]
        self.assertIn("X-Do: abort", shown)
        self.assertNotIn("\x1b", shown + self.ctl("list", check=True)[1])
        self.postern.milterd.stop()
        self.postern.multiplexor.stop()
        code, out, err = self.ctl("run", name, "--json")
        self.assertEqual(code, 1, out + err)
        self.assertRegex(json.loads(out)["error"], r"^filter_message: the process died by signal 6 ")
        self.check_replay(name)
        self.is_stopped = True

    def check_replay(self, name):
        """Another filter sees envelope and message as they were."""
        path = self.postern.folder.write("other.lua", """
            function filter_message(msg)
                msg:log("from", msg.sender) msg:log("ip", msg.conn.ip) msg:log("helo", msg.conn.helo)
                msg:log("to", #msg.recipients) msg:log("id", msg.id) msg:log("subject", msg:header("X-Do"))
            end""")
        code, out, err = self.ctl("run", name, "--filter", path, "--json")
        self.assertEqual(code, 0, out + err)
        self.assertEqual(json.loads(out)["log"], ["from=ann@example.org", "ip=192.0.2.77", "helo=helo.example.org", "to=2", "id=QUEUE1",
                                                  "subject=abort"])

    def looping(self, but=None):
        """A busy worker that has computed for a while, which only the filter's loop does."""
        return wait_until(lambda: next((pid for pid in self.busy() if pid != but and cpu_time(pid) > 0.3), None), "a worker in the loop")

    def test_what_a_killed_worker_was_at(self):
        """No handler runs for SIGKILL: the line is the one that the count hook saw."""
        thread = self.in_background("loop")
        first = self.looping()
        os.kill(first, signal.SIGKILL)
        os.kill(self.looping(first), signal.SIGKILL)
        thread.join()
        self.assert_tempfail(thread.answer)
        facts = json.loads(self.ctl("show", self.ids(1)[0], "--json", check=True)[1])
        self.assertEqual([death["how"] for death in facts["deaths"]], ["signal 9 (SIGKILL)"] * 2)
        self.assertRegex(facts["deaths"][0]["last"], r"^msg\.header(, filter\.lua:\d+)?$")
        self.assertIn("while running filter_message uid=", self.postern.multiplexor.output())
        self.assertIn(", at msg.header", self.postern.multiplexor.output())

    def test_private_and_deleted(self):
        for deed in ("segv", "exit"):
            self.kill_with(deed)
        first, second = self.ids(2)
        self.assertEqual([row["fault"] for row in self.rows()], ["signal 11 (SIGSEGV), signal 11 (SIGSEGV)", "exit status 7, exit status 7"])
        for path, mode in ((self.poison, 0o700), (os.path.join(self.poison, first), 0o700),
                           *((os.path.join(self.poison, first, name), 0o600) for name in ("facts.json", "envelope", "message.eml"))):
            self.assertEqual(stat.S_IMODE(os.lstat(path).st_mode), mode, path)
        self.assertEqual(len(os.listdir(os.path.join(self.poison, first))), 3)
        self.assertEqual(self.ctl("delete", first)[0], 0)
        self.assertEqual(self.ids(1), [second])
        self.assertEqual(self.ctl("delete", first)[0], 1)
        self.assertEqual(self.ctl("delete", "--all")[0], 0)
        self.assertEqual(self.kept(), [])
        self.assertEqual(self.ctl("list")[1], "none\n")

    def test_usage(self):
        self.kill_with()
        name = self.ids(1)[0]
        for words in (["list", name], ["show"], ["run"], ["delete"], ["delete", name, "--all"], ["show", name, "--all"], ["lost", name],
                      ["show", name, "--filter", "x"]):
            self.assertEqual(self.ctl(*words)[0], 2, words)
        for name in ("", ".", "..", "../poison", "a/b", "x" * 300, "gone"):
            for word in ("show", "run", "delete"):
                self.assertEqual(self.ctl(word, name)[0], 1, (word, name))
        self.assertEqual(len(self.kept()), 1)


class EarlyHooks(Poison):
    """A hook that has no message, or not all of it: played again up to that hook."""

    deeds = Poison.deeds + """}
    local function die(is_it) if is_it then deeds.abort() end end
    function filter_helo(conn) die(conn.helo == "die") end
    function filter_recipient(msg, rcpt) die(rcpt.address:find("die", 1, true)) end
    local _ = {"""

    def test_helo_and_recipient(self):
        client = self.client()
        client.negotiate()
        client.connect()
        self.assert_tempfail(client.helo("die"))
        client = self.client().start()
        client.mail("<ann@example.org>")
        client.rcpt("<bob@example.net>")
        self.assert_tempfail(client.rcpt("<die@example.net>"))
        first, second = self.ids(2)
        self.assertEqual([row["hook"] for row in self.rows()], ["filter_helo", "filter_recipient"])
        for name, hook in ((first, "filter_helo"), (second, "filter_recipient")):
            code, out, err = self.ctl("run", name, "--json")
            self.assertEqual(code, 1, out + err)
            self.assertIn(f"{hook}: the process died by signal 6", json.loads(out)["error"])
        path = self.postern.folder.write("tame.lua", "function filter_message() return reject('not asked') end")
        for name in (first, second):
            code, out, err = self.ctl("run", name, "--filter", path, "--json")
            self.assertEqual((code, json.loads(out)["verdict"]), (0, "continue"), out + err)


class Bounds(Poison):
    options = {**Poison.options, "milterd__poison_files": 5, "milterd__poison_bytes": "100K"}

    def test_fifty(self):
        """The newest five stay; then the newest that fit into the bytes; one that never fits changes nothing."""
        clients = [self.client().start() for _ in range(5)]

        def run(client, numbers):
            for number in numbers:
                answers.append(self.send("exit", number, client))
        answers = []
        threads = [threading.Thread(target=run, args=(client, range(10)), daemon=True) for client in clients]
        for thread in threads:
            thread.start()
        most = 0
        while any(thread.is_alive() for thread in threads):
            most = max(most, len([name for name in self.kept() if not name.startswith(".")]))
            time.sleep(0.01)
        for thread in threads:
            thread.join()
        self.assertEqual([answer.verdict for answer in answers], ["tempfail"] * 50)
        self.assertLessEqual(most, 5)
        wait_until(lambda: len(self.postern.log_lines("kept as ")) + len(self.postern.log_lines("is not kept: ")) == 50, "all to be written")
        kept_last = [line.rsplit("/", 1)[1] for line in self.postern.log_lines("kept as ")][-5:]
        self.assertEqual(self.kept(), sorted(kept_last))
        self.kill_with("exit", body=b"x" * 70 * 1024)
        self.wait_until_bytes(100 << 10)
        before = self.kept()
        self.kill_with("exit", body=b"x" * 120 * 1024)
        self.wait_for_log("it is over milterd.poison_bytes")
        self.assertEqual(self.kept(), before)
        self.kill_with("exit", body=b"x" * 70 * 1024)
        self.assertEqual(len(wait_until(lambda: before != self.kept() and not [n for n in self.kept() if n[0] == "."] and self.kept(), "the next")), 1)

    def wait_until_bytes(self, most):
        def found():
            rows = self.rows()
            big = [row for row in rows if row["bytes"] > 70 << 10]
            return big and sum(row["bytes"] for row in rows) <= most and len(rows) <= 5
        wait_until(found, lambda: f"the large one within the bounds: {self.rows()}")


class Off(Poison):
    options = {**Poison.options, "milterd__poison_files": 0}

    def test_off(self):
        self.kill_with()
        self.assertEqual(self.ctl("list")[:2], (0, "none\n"))
        self.assertEqual(self.ctl("delete", "--all")[:2], (0, "deleted: 0\n"))
        self.assertEqual(self.ctl("show", "x")[0], 1)
        self.assert_serves()
        self.stop()
        self.assertFalse(os.path.exists(self.poison))


class Disk(Poison):
    @unittest.skipUnless(os.geteuid() == 0, "needs root to mount")
    def test_full_disk(self):
        """64 KiB: what does not fit is answered as ever, and nothing of it stays."""
        spool = self.postern.folder("spool")
        self.postern.milterd.stop()
        script = 'mount -t tmpfs -o size=64k,mode=0700 tmpfs "$1" && exec "$2/postern-milterd" -c "$3"'
        self.postern.milterd = Process(["unshare", "--mount", "bash", "-c", script, "bash", spool, BIN, self.postern.conf],
                                       self.postern.folder("milterd.log"))
        self.assert_serves(10)
        inside = f"/proc/{self.postern.milterd.pid}/root{spool}/poison"
        self.kill_with("exit", body=b"x" * 200000)
        self.wait_for_log("cannot be kept: No space left on device")
        self.assertEqual(os.listdir(inside), [])
        self.kill_with("exit")
        wait_until(lambda: os.listdir(inside) and os.listdir(inside)[0][0] != ".", "a small one")

    def test_folder_is_not_ours(self):
        """A link, a file, or a folder open to others in its place: nothing is written there, mail is answered."""
        elsewhere = self.postern.folder("elsewhere")
        os.mkdir(elsewhere, 0o700)
        for n, make in enumerate((lambda: os.symlink(elsewhere, self.poison), lambda: open(self.poison, "x", encoding="utf-8").close(),
                                  lambda: (os.mkdir(self.poison), os.chmod(self.poison, 0o770)))):
            make()
            self.kill_with("exit")
            wait_until(lambda n=n: len(self.postern.log_lines("is not a folder of ours alone")) == n + 1, self.postern.logs)
            self.assertNotEqual(self.ctl("list")[0], 0)
            self.assertEqual(os.listdir(elsewhere), [])
            if n == 2:
                self.assertEqual(os.listdir(self.poison), [])
                os.rmdir(self.poison)
            else:
                os.unlink(self.poison)

    def test_leftovers(self):
        """What a process left half done goes at the next start; what is young, or locked, or nobody's, stays."""
        os.mkdir(self.poison, 0o700)
        for name, age in ((".new-old-1", 3600), (".old-old", 3600), (".new-young-2", 0), ("other", 3600)):
            path = os.path.join(self.poison, name)
            os.mkdir(path, 0o700)
            with open(os.path.join(path, "message.eml"), "w", encoding="utf-8") as file:
                file.write("half")
            os.utime(path, (time.time() - age,) * 2)
        self.postern.milterd.stop()
        self.postern.start_milterd()
        self.postern.wait_ready()
        wait_until(lambda: self.kept() == [".new-young-2", "other"], lambda: f"the leftovers to go: {self.kept()}")

    def test_two_front_ends(self):
        """They share a spool: each message is kept once, and the bounds hold for both together."""
        other = self.postern.folder("other.sock")
        second = Process([os.path.join(BIN, "postern-milterd"), "-c", self.postern.conf, "-o", f"milterd.socket=unix:{other}", "-o",
                          "milterd.poison_files=4"], self.postern.folder("second.log"))
        self.addCleanup(second.kill)
        second.wait_for_line("listening on ")
        here = [self.client().start() for _ in range(2)]
        self.postern.spec = "unix:" + other
        there = [self.client().start() for _ in range(2)]
        threads = [threading.Thread(target=lambda c=client: [self.send("exit", n, c) for n in range(3)], daemon=True) for client in here + there]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.kill_with("exit", client=there[0])
        wait_until(lambda: len([line for line in split_lines(second.output()) if "kept as" in line]) == 7, "the last one")
        self.assertLessEqual(len(self.rows()), 4)
        self.assertTrue(all(row["fault"] == "exit status 7, exit status 7" and "error" not in row for row in self.rows()))
        self.assertEqual([name for name in self.kept() if name.startswith(".")], [])
        self.assertEqual(second.stop(), 0)


class Hostile(Poison):
    def test_what_others_put_there(self):
        """Garbage, huge files, links and pipes: said, and never followed."""
        self.kill_with()
        name = self.ids(1)[0]
        secret = self.postern.folder.write("secret.json", '{"sender": "secret"}')
        facts = os.path.join(self.poison, name, "facts.json")

        def link():
            os.unlink(facts)
            os.symlink(secret, facts)

        def pipe():
            os.unlink(facts)
            os.mkfifo(facts)

        def put(data):
            def run():
                if os.path.lexists(facts):
                    os.unlink(facts)
                with open(facts, "wb") as file:
                    file.write(data)
            return run

        for make in (put(b"{"), put(b"[" * 100000), put(b"\xff" * 100), put(b"[]"), put(b'"x"'), put(b"{}" + b" " * (2 << 20)), link, pipe,
                     lambda: os.unlink(facts)):
            make()
            code, out, err = self.ctl("list", "--json")
            self.assertEqual(code, 0, err)
            self.assertIn("its facts", json.loads(out)["error"])
            self.assertNotIn("secret", out)
            self.assertEqual(self.ctl("show", name)[0], 1)
            self.assertEqual(self.ctl("run", name)[0], 1, "it has its envelope and message still")
        put(json.dumps({"sender": 5, "deaths": {"how": 1}, "recipients": "x", "client": [], "hook": "filter_\x1b", "answer": None, "time_ms": "x",
                        "n_recipients": 9e99}).encode())()
        for words in (["list"], ["show", name], ["list", "--json"], ["show", name, "--json"]):
            code, out, err = self.ctl(*words)
            self.assertEqual((code, "\x1b" in out + err), (0, False), (words, err))
        for file, code in (("envelope", 2), ("message.eml", 2)):
            path = os.path.join(self.poison, name, file)
            with open(path, "rb") as whole:
                saved = whole.read()
            os.unlink(path)
            os.symlink(secret, path)
            self.assertEqual(self.ctl("run", name)[0], code)
            os.unlink(path)
            if file == "envelope":
                with open(path, "wb") as broken:
                    broken.write(saved[:-1] + b"\xff\xff")
                self.assertEqual(self.ctl("run", name)[0], code)
            with open(path, "wb") as whole:
                whole.write(saved)
        self.assertEqual(self.ctl("delete", name)[0], 0)
        self.assertEqual(self.kept(), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
