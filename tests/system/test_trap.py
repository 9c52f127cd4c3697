"""msg:trap through real daemons: kept before the answer, once, whatever dies or fills; posternctl trap beside running workers."""

import json
import os
import signal
import stat
import threading
import time
import unittest

from fixture import PATIENCE, SystemTest, wait_until
from harness.lines import lines_of
from harness.process import BIN, Process

# The subject says what the filter does with it.
FILTER = """
function filter_message(msg)
    local mode, rest = msg.subject:match("^(%a+) ?(.*)$")
    if mode == "pass" then return end
    if mode == "part" then for part in msg:parts() do part:trap(rest) end return reject("part") end
    assert(msg:trap{ mode = mode ~= "reject" and mode or "store", reason = rest })
    msg:add_header("X-Kept", mode)
    if mode == "reject" then return reject("no") end
end
"""


class Trap(SystemTest):
    options = {}

    def setUp(self):
        self.prepare(FILTER)
        self.state = self.postern.folder("state")
        os.mkdir(self.state)
        self.trap = os.path.join(self.state, "trap")
        with open(self.postern.conf, "a", encoding="utf-8") as file:
            file.write("[trap]\n" + "".join(f"{key} = {value}\n" for key, value in {"min_free": 0, **self.options}.items()))
        with open(self.postern.conf, encoding="utf-8") as file:
            text = file.read().replace("[worker]\n", f"[worker]\nstate_dir = {self.state}\n")
        self.postern.folder.write("postern.conf", text)

    def go(self):
        self.postern.start_multiplexor()
        self.postern.start_milterd()
        self.postern.wait_ready()

    def send(self, subject, number=0, body=b"text\r\n", client=None, **more):
        client = client or self.client().start()
        return client.message(headers=(("Subject", " " + subject), ("X-Number", f" {number}")), body=body, **more)

    def ctl(self, *words):
        return self.postern.ctl("trap", *words)

    def rows(self, *words):
        code, out, err = self.ctl("list", "--json", *words)
        self.assertEqual(code, 0, err)
        return lines_of(out)

    def names(self, ending=""):
        return sorted(name for name in os.listdir(self.trap) if name.endswith(ending) and not name.startswith(".")) if os.path.isdir(self.trap) else []

    def half(self):
        """Names of what is being written, or was left half."""
        names = os.listdir(self.trap) if os.path.isdir(self.trap) else []
        return [name for name in names if name.startswith(".tmp-")]

    def assert_whole(self, n):
        """So many entries, each with its two files, and nothing else."""
        self.assertEqual(len(self.names(".json")), n)
        self.assertEqual([name[:24] for name in self.names(".json")], [name[:24] for name in self.names(".eml")])


class Modes(Trap):
    def test_modes_and_retries(self):
        self.go()
        client = self.client().start()
        answer = self.send("copy one", client=client)
        self.assertEqual((answer.code, answer.all("add_header")), ("continue", [["X-Kept", " copy"]]))
        self.assertEqual(self.send("copy one").code, "continue", "again, over another connection")
        self.assertEqual(self.send("store two").code, "discard")
        self.assertEqual(self.send("reject three").text, "550 5.7.1 no")
        self.assertTrue(self.send("defer four").text.startswith("451 4.7.1 Held for review"))
        self.assertTrue(self.send("defer four").text.startswith("451 4.7.1 Held for review"))
        rows = {row["reason"]: row for row in self.rows()}
        self.assertEqual({reason: (row["mode"], row["state"], row["verdict"]) for reason, row in rows.items()},
                         {"one": ("copy", "kept", "continue"), "two": ("store", "kept", "continue"), "three": ("store", "kept", "reject"),
                          "four": ("defer", "waiting", "continue")})
        self.assert_whole(4)
        with open(os.path.join(self.trap, rows["one"]["id"] + ".eml"), "rb") as file:
            self.assertEqual(file.read(), b"Subject: copy one\r\nX-Number: 0\r\n\r\ntext\r\n")
        self.assertEqual(stat.S_IMODE(os.stat(self.trap).st_mode), 0o700)
        line = self.milterd_lines(rows["two"]["id"])[0]
        self.assertIn("discard", line)
        four = rows["four"]["id"]
        self.assertEqual(self.ctl("refuse", four)[:2], (0, f"refused: {four}\n"))
        self.assertEqual(self.ctl("refuse", four)[0], 0, "said twice")
        self.assertEqual(self.send("defer four").text.split(" (")[0], "550 5.7.1 Refused after review")
        self.assertEqual(self.rows("--reason", "FOUR")[0]["state"], "refused")
        self.assertEqual([event["what"] for event in json.loads(self.ctl("show", four, "--json")[1])["history"]], ["refused"])

    def test_part(self):
        self.go()
        self.assertEqual(self.send("part of it", body=b"the body\r\n").text, "550 5.7.1 part")
        row, = self.rows()
        self.assertEqual((row["kind"], row["part"], row["reason"]), ("part", "1", "of it"))
        self.assertEqual(self.ctl("show", "--raw", row["id"])[1], "the body\n")

    def test_counted(self):
        self.go()
        for _ in range(2):
            self.send("copy x")
        wait_until(lambda: 'trap_total{result="again"} 1' in self.postern.ctl("metrics")[1], lambda: self.postern.ctl("metrics")[1])
        self.assertIn('trap_total{result="kept"} 1', self.postern.ctl("metrics")[1])


class Run(Trap):
    """posternctl run tells what would be kept; with --deeds it keeps it."""

    def test_run(self):
        mail = self.postern.folder.write("x.eml", "Subject: store this\n\nbody\n")

        def run(*words):
            code, out, err = self.postern.ctl("run", self.postern.filter, mail, "--json", "-o", "worker.state_dir=" + self.state, *words)
            self.assertEqual(code, 0, err)
            return json.loads(out)
        report = run()
        self.assertEqual((report["verdict"], report["log"], os.listdir(self.state)), ("discard", ["trap=store: this"], []))
        report = run("--deeds")
        row, = self.rows()
        self.assertEqual((report["verdict"], report["log"]), ("discard", ["trap=store " + row["id"]]))


class Looking(Trap):
    def test_selection_and_usage(self):
        self.assertEqual(self.ctl("list")[:2], (0, "none\n"))
        self.assertEqual(self.ctl("list", "--json")[:2], (0, ""))
        self.assertEqual(self.ctl("expire")[:2], (0, "removed: 0\n"))
        self.go()
        self.send("copy alpha", sender="<Ann@example.org>", recipients=("<bob@example.net>", "<eve@example.net>"))
        self.send("copy beta", sender="<>")
        for words, wanted in (((), 2), (("--sender", "ann@"), 1), (("--sender", "<>"), 1), (("--recipient", "BOB"), 1),
                              (("--recipient", "bob", "--recipient", "eve"), 1), (("--recipient", "bob", "--recipient", "recipient"), 0),
                              (("--reason", "alph"), 1), (("--since", "1h"), 2), (("--since", time.strftime("%Y-%m-%d")), 2),
                              (("--since", "2000-01-01 10:00"), 2), (("--since", "2037-01-01"), 0)):
            self.assertEqual(len(self.rows(*words)), wanted, words)
        out = self.ctl("list")[1]
        self.assertIn("bob@example.net and 1 more", out)
        name = self.rows("--reason", "alpha")[0]["id"]
        self.assertIn("eve@example.net", self.ctl("show", name)[1])
        for words in (["list", name], ["show"], ["refuse"], ["expire", name], ["lost"], ["show", name, "--since", "1d"], ["list", "--raw"],
                      ["list", "--since", "yesterday"], ["expire", "--age", "old"], ["expire", "--size", "big"]):
            self.assertEqual(self.ctl(*words)[0], 2, words)
        for name in ("", ".", "../../../../etc/passwd", "a" * 24, "x" * 5000):
            for word in ("show", "refuse"):
                self.assertEqual(self.ctl(word, name)[0], 1, (word, name))

    def test_hostile_text(self):
        """What a mail says shows no control character, and breaks no JSON."""
        self.go()
        subject = "copy =?utf-8?B?G1szMW0AIiwgInN0YXRlIjogIng=?= \x1b]0;x\x07 \u202e"
        answer = self.send(subject, sender="<\"a\x1b[2J\"@example.org>", recipients=("<b\u009b31m@example.net>",))
        self.assertEqual(answer.code, "continue", f"{answer}\n{self.postern.logs()}")
        row, = self.rows()
        self.assertEqual(row["state"], "kept")
        for words in (["list"], ["show", row["id"]], ["list", "--json"], ["show", row["id"], "--json"]):
            code, out, err = self.ctl(*words)
            self.assertEqual(code, 0, err)
            for char in "\x1b\x07\u009b\0":
                self.assertNotIn(char, out, words)

    @unittest.skipUnless(os.geteuid() == 0, "needs root to be another user")
    def test_permissions(self):
        """Others see nothing; a group may look when the modes say so, and change nothing."""
        self.go()
        self.send("defer x")
        row, = self.rows()
        os.chmod(self.postern.folder.path, 0o755)
        os.chmod(self.state, 0o755)

        def as_nobody(*words):
            argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", os.path.join(BIN, "posternctl"), "-c", self.postern.conf, "trap", *words]
            process = Process(argv, self.postern.folder("nobody.log"))
            return process.popen.wait(30 * PATIENCE)
        self.assertNotEqual(as_nobody("list"), 0)
        for name in os.listdir(self.trap):
            os.chown(os.path.join(self.trap, name), -1, 65534)
        os.chown(self.trap, -1, 65534)
        os.chmod(self.trap, 0o2750)
        for name in self.names():
            os.chmod(os.path.join(self.trap, name), 0o640)
        self.assertEqual(as_nobody("list"), 0)
        self.assertEqual(as_nobody("show", row["id"]), 0)
        self.assertNotEqual(as_nobody("refuse", row["id"]), 0)
        self.assertNotEqual(as_nobody("expire", "--age", "0"), 0)
        self.assertEqual(self.rows()[0]["state"], "waiting")


class Faults(Trap):
    options = {"max_bytes": "4G"}

    def kill_while_writing(self, number):
        """Kills every worker while a large mail is written; whether one was at it."""
        seen = []

        def kill():
            end = time.monotonic() + 30 * PATIENCE
            while not seen and time.monotonic() < end:
                if self.half():
                    for worker in self.postern.workers():
                        if worker.get("pid"):
                            os.kill(worker["pid"], signal.SIGKILL)
                    seen.append(True)
        thread = threading.Thread(target=kill, daemon=True)
        thread.start()
        answer = self.send("copy killed", number, body=b"x" * 77 + b"\r\n" * 1 + b"y" * (24 << 20))
        seen.append(None)
        thread.join()
        return answer, seen[0]

    def test_killed_while_writing(self):
        """The second attempt makes one whole entry of it; or nobody answers well, and the next try does."""
        self.go()
        n_killed = 0
        for number in range(6):
            answer, was_killed = self.kill_while_writing(number)
            n_killed += 1 if was_killed else 0
            self.assertIn(answer.verdict, ("continue", "tempfail"), answer)
            if answer.verdict == "tempfail":
                wait_until(lambda: self.postern.workers(), "new workers")
                self.assertEqual(self.send("copy killed", number, body=b"x" * 77 + b"\r\n" + b"y" * (24 << 20)).verdict, "continue")
            self.assert_whole(number + 1)
            if n_killed >= 2:
                break
        self.assertGreater(n_killed, 0, "nobody was killed in time")
        left = self.half()
        for name in left:
            os.utime(os.path.join(self.trap, name), (time.time() - 7200,) * 2)
        self.assertEqual(self.ctl("expire")[0], 0)
        self.assertEqual(self.half(), [])
        self.assert_whole(number + 1)

    @unittest.skipUnless(os.geteuid() == 0, "needs root to mount")
    def test_full_disk(self):
        """What does not fit is not accepted, and nothing of it stays; what fits is kept; with room again, all is."""
        script = 'mount -t tmpfs -o size=256k,mode=0700 tmpfs "$1" && exec "$2/postern-multiplexor" -c "$3"'
        self.postern.multiplexor = Process(["unshare", "--mount", "bash", "-c", script, "bash", self.state, BIN, self.postern.conf],
                                           self.postern.folder("multiplexor.log"))
        self.postern.start_milterd()
        self.postern.wait_ready()
        self.trap = f"/proc/{self.postern.multiplexor.pid}/root{self.trap}"
        for mode in ("copy", "store", "defer"):
            answer = self.send(mode + " big", body=b"x" * 400000)
            self.assertTrue(answer.text.startswith("451 4.3.0"), answer)
            self.assertEqual((self.names(), self.half()), ([], []))
        self.worker_lines("No space left on device, or less than trap.min_free", least=3)
        self.assertEqual(self.send("copy small").code, "continue")
        self.assertEqual(self.send("pass", body=b"x" * 400000).code, "continue")
        self.assert_whole(1)

    def test_folder_is_not_there_or_not_ours(self):
        """No folder, a file, a folder that others may write: no acceptance, no crash; mended, it goes on."""
        with open(self.trap, "x", encoding="utf-8"):
            pass
        self.go()
        self.assertTrue(self.send("copy x").text.startswith("451 4.3.0"))
        os.unlink(self.trap)
        os.mkdir(self.trap)
        os.chmod(self.trap, 0o777)
        self.assertTrue(self.send("copy x").text.startswith("451 4.3.0"))
        self.worker_lines("others than its owner may write", least=1)
        self.assertEqual(os.listdir(self.trap), [])
        os.chmod(self.trap, 0o700)
        self.assertEqual(self.send("copy x").code, "continue")

    def test_file_limit(self):
        """RLIMIT_FSIZE of the workers, as a quota."""
        with open(self.postern.conf, encoding="utf-8") as file:
            text = file.read().replace("[worker]\n", "[worker]\nmax_file_size = 64K\n")
        self.postern.folder.write("postern.conf", text)
        self.go()
        self.assertTrue(self.send("store big", body=b"x" * 100000).text.startswith("451 4.3.0"))
        self.assertEqual((self.names(), self.half()), ([], []))
        self.assertEqual(self.send("store small").code, "discard")


@unittest.skipUnless(os.geteuid() == 0, "needs root to give a folder away")
class AsRoot(Trap):
    def test_folder_of_another_user(self):
        """Workers that run as root may not give files away, and keep mail all the same; posternctl gives them away."""
        os.mkdir(self.trap, 0o700)
        os.chown(self.trap, 65534, 65534)
        self.go()
        self.assertEqual(self.send("defer x").verdict, "tempfail")
        self.assert_whole(1)
        row, = self.rows()
        self.assertEqual(self.ctl("refuse", row["id"])[0], 0)
        self.assertEqual(os.stat(os.path.join(self.trap, row["id"] + ".json")).st_uid, 65534)
        self.assertEqual(self.send("defer x").verdict, "reject")


class Elsewhere(Trap):
    """A folder of its own, which the sandbox has to let the workers reach."""

    def setUp(self):
        super().setUp()
        self.trap = self.postern.folder("kept")
        os.mkdir(self.trap, 0o700)
        with open(self.postern.conf, "a", encoding="utf-8") as file:
            file.write(f"directory = {self.trap}\n")

    def test_elsewhere(self):
        self.go()
        self.assertEqual(self.send("copy x").code, "continue")
        self.assert_whole(1)
        self.assertEqual(len(self.rows()), 1)


class Many(Trap):
    def setUp(self):
        super().setUp()
        with open(self.postern.conf, encoding="utf-8") as file:
            text = file.read().replace("max_workers = 4", "max_workers = 50").replace("min_workers = 2", "min_workers = 50")
        self.postern.folder.write("postern.conf", text)

    def test_fifty_workers_and_expiry(self):
        """50 connections keep mail, the same one and different ones, while expire and list run without pause: nothing half, nothing lost."""
        self.go()
        wait_until(lambda: len([w for w in self.postern.workers() if w.get("state") in ("idle", "busy")]) >= 50, "50 workers", 60)
        clients = [self.client(120).start() for _ in range(50)]
        answers, expired, is_over = [], [], threading.Event()

        def run(number, client):
            for i in range(4):
                answers.append(self.send("store same", client=client))
                answers.append(self.send(f"store own {number}", i, client=client))

        def expire():
            while not is_over.is_set():
                code, out, err = self.ctl("expire", "--age", "0", "--json")
                expired.append((code, json.loads(out)["removed"] if code == 0 else err))
                code, out, err = self.ctl("list", "--json")
                expired.append((code, 0))
        threads = [threading.Thread(target=run, args=(n, client), daemon=True) for n, client in enumerate(clients)]
        janitor = threading.Thread(target=expire, daemon=True)
        for thread in [*threads, janitor]:
            thread.start()
        for thread in threads:
            thread.join()
        is_over.set()
        janitor.join()
        self.assertEqual([answer.code for answer in answers], ["discard"] * 400)
        self.assertEqual([entry for entry in expired if entry[0] != 0], [])
        left = self.rows()
        self.assertGreaterEqual(sum(removed for _, removed in expired) + len(left), 201)
        self.assert_whole(len(left))
        self.assertEqual(self.half(), [])
        self.assertEqual(self.ctl("expire", "--age", "0", "--dry-run", "--json")[0], 0)
        self.assert_whole(len(left))
        code, out, _ = self.ctl("expire", "--age", "0", "--json")
        self.assertEqual((code, json.loads(out)["left"], self.names()), (0, 0, []))

    def test_the_same_mail_fifty_times_at_once(self):
        self.go()
        clients = [self.client(120).start() for _ in range(50)]
        answers = []
        threads = [threading.Thread(target=lambda c=client: answers.append(self.send("defer same", client=c)), daemon=True) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({answer.verdict for answer in answers}, {"tempfail"})
        self.assert_whole(1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
