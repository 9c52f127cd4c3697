"""The control socket: every command, what each refuses, garbage, slow and rude peers."""

import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import MultiplexorTest
from fakes.record_client import outcome

ASK_AS_GROUP = """
import json, os, socket, sys
os.setgroups([int(sys.argv[2])]); os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
s.settimeout(30)
s.connect(sys.argv[1])
f = s.makefile("rb")
for command in ("status", "recycle"):
    s.sendall(json.dumps({"v": 1, "command": command}).encode() + b"\\n")
    print(json.loads(f.readline())["ok"])
"""


class Commands(MultiplexorTest):
    def test_status_has_everything(self):
        mux = self.start()
        self.client(mux).ask(uid="ok.1")
        mux.wait_for_idle(2)
        status = mux.status()
        for key in ("version", "pid", "uptime_s", "generation", "filter", "hooks", "filter_error", "loaded_at", "generations", "workers",
                    "queue", "requests", "verdicts", "messages", "outcomes", "retries", "recycles", "clients", "sandbox", "multiplexor_sandbox", "front_sandboxes", "latency_ms", "rates"):
            self.assertIn(key, status)
        self.assertEqual(status["pid"], mux.process.pid)
        self.assertEqual(status["hooks"], ["filter_relay", "filter_recipient", "filter_message", "filter_close", "filter_unknown"])
        self.assertEqual(status["generations"], [{"generation": 1, "workers": 2, "state": "current"}])
        self.assertEqual(set(status["workers"]), {"total", "idle", "busy", "starting", "ending", "min", "max", "target"})
        self.assertEqual(set(status["queue"]), {"length", "max", "oldest_ms"})
        self.assertEqual(set(status["recycles"]), {"requests", "age", "idle", "memory", "heap", "asked", "reload", "died", "deadline"})
        self.assertEqual(set(status["verdicts"]), {"continue", "accept", "reject", "tempfail", "discard"})
        self.assertEqual(set(status["rates"]), {"10s", "1m", "10m"})
        for part in ("queue", "hook"):
            self.assertEqual(set(status["latency_ms"][part]), {"p50", "p99"})
            for span in ("10s", "1m", "10m"):
                self.assertEqual(set(status["latency_ms"][span][part]), {"p50", "p99"})
                self.assertGreater(status["latency_ms"][span]["hook"]["p99"], 0)
        self.assertEqual((status["filter"], status["filter_error"], status["clients"]), (mux.filter, None, 1))
        self.assertGreater(status["latency_ms"]["hook"]["p99"], 0)

    def test_workers(self):
        mux = self.start()
        client = self.client(mux)
        client.start(uid="sleep=500.7")
        mux.wait(lambda: mux.workers("busy"), "a busy worker")
        (row,) = mux.workers("busy")
        self.assertEqual((row["hook"], row["uid"], row["generation"], row["requests"]), ("filter_message", "sleep=500.7", 1, 0))
        client.wait()

    def test_worker_names_the_mail_servers_id(self):
        mux = self.start()
        client = self.client(mux)
        client.start(uid="sleep=500.8", queue_id=b"4XyZ12abc")
        mux.wait(lambda: mux.workers("busy"), "a busy worker")
        self.assertEqual(mux.workers("busy")[0]["queue_id"], "4XyZ12abc")
        client.wait()
        mux.wait_for_idle(2)
        self.assertEqual({row["queue_id"] for row in mux.workers()}, {None})

    def test_histogram(self):
        mux = self.start()
        client = self.client(mux)
        for i in range(5):
            client.ask(uid=f"ok.{i}")
        client.ask(uid="sleep=50.9")
        data = mux.call("histogram")["data"]
        self.assertEqual(list(data["hooks"]), ["filter_message"])
        for histogram in (data["queue"], data["hooks"]["filter_message"]):
            self.assertEqual(histogram["n"], 6)
            self.assertEqual(sum(n for _, n in histogram["buckets"]), 6)
            self.assertEqual(sorted(histogram["buckets"]), histogram["buckets"])
            self.assertLessEqual(histogram["p50"], histogram["p90"])
            self.assertLessEqual(histogram["p90"], histogram["p99"])
        hook = data["hooks"]["filter_message"]
        self.assertGreaterEqual(hook["sum_ms"], 50)
        self.assertGreaterEqual(hook["p99"], 50)
        self.assertLess(hook["p50"], 50)

    def test_config(self):
        mux = self.start({"multiplexor.queue_time": "12s"})
        data = mux.call("config")["data"]
        self.assertEqual((data["path"], data["options"]["multiplexor.queue_time"]), (mux.conf, "12s"))

    def test_ping_and_help(self):
        mux = self.start()
        self.assertEqual(mux.call("ping"), {"v": 1, "ok": True, "data": {"pid": mux.process.pid}})
        words = [row["command"] for row in mux.call("help")["data"]["commands"]]
        self.assertEqual(words, ["ping", "status", "workers", "histogram", "metrics", "config", "reload", "promote", "rollback", "shadow", "shadow_start", "shadow_stop",
                                 "recycle", "scale", "drain", "resume", "profile", "help"])

    def test_several_on_one_connection_in_order(self):
        mux = self.start()
        with mux.control() as control:
            lines = [{"v": 1, "command": name} for name in ("ping", "reload", "status", "nonsense", "ping")]
            control.sock.sendall(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
            answers = [control.answer() for _ in lines]
        self.assertEqual([answer["ok"] for answer in answers], [True, True, True, False, True])
        self.assertEqual(answers[1]["data"], {"generation": 2})
        self.assertEqual(answers[2]["data"]["generation"], 2)

    def test_client_that_closes_its_side_still_gets_its_answers(self):
        mux = self.start()
        with mux.control() as control:
            control.sock.sendall(b'{"v":1,"command":"ping"}\n{"v":1,"command":"reload"}\n')
            control.sock.shutdown(1)
            self.assertEqual([control.answer()["ok"], control.answer()["ok"], control.answer()], [True, True, None])

    def test_client_that_leaves_during_a_reload(self):
        mux = self.start()
        with mux.control() as control:
            control.send_line(b'{"v":1,"command":"reload"}')
        mux.wait_for_generation(2)
        self.assertTrue(mux.call("reload")["ok"])


class Refusals(MultiplexorTest):
    def test_answers_that_leave_the_connection_open(self):
        mux = self.start()
        with mux.control() as control:
            for line in ({}, {"v": 1}, {"v": 2, "command": "ping"}, {"v": "1", "command": "ping"}, {"v": 1, "command": 7}, {"v": 1, "command": "nope"},
                         {"v": 1, "command": "ping", "args": []}, {"v": 1, "command": "ping", "args": {"x": 1}},
                         {"v": 1, "command": "scale", "args": {"min": 1}}, {"v": 1, "command": "scale", "args": {"min": "1", "max": 2}},
                         {"v": 1, "command": "scale", "args": {"min": -5, "max": 2}}, {"v": 1, "command": "recycle", "args": {"pid": 2**62}},
                         {"v": 1, "command": "recycle", "args": {"pid": None}}):
                control.send_line(json.dumps(line).encode())
                answer = control.answer()
                self.assertEqual((answer["v"], answer["ok"]), (1, False), line)
                self.assertTrue(answer["error"])
            self.assertTrue(control.call("ping")["ok"])

    def test_garbage_is_answered_and_closed(self):
        mux = self.start()
        lines = [b"", b"status", b"[1]", b"null", b"{", b'{"v":1,"v":1}', b"\0\0\0", b"\xff\xfe", b"[" * 60000, b'{"a":' * 10000, os.urandom(5000).replace(b"\n", b"")]
        for line in lines:
            with mux.control() as control:
                control.send_line(line)
                answer = control.answer()
                self.assertFalse(answer["ok"], line[:40])
                self.assertIsNone(control.answer())
        self.assertTrue(mux.call("ping")["ok"])

    def test_long_lines(self):
        mux = self.start()
        for tail in (b"\n", b""):
            with mux.control() as control:
                try:
                    control.sock.sendall(b"x" * 200000 + tail)
                except OSError:
                    pass
                try:
                    self.assertFalse(control.answer()["ok"])
                except ConnectionError:
                    pass  # closed over what we still had to say
        padding = b" " * (65536 - len(b'{"v":1,"command":"ping"}'))
        with mux.control() as control:
            control.send_line(b'{"v":1,"command":"ping"}' + padding)
            self.assertTrue(control.answer()["ok"])

    def test_peer_that_does_not_read(self):
        mux = self.start({"log.level": "info"})
        with mux.control() as control:
            control.sock.setblocking(False)
            def hung_up():
                try:
                    for _ in range(1000):
                        control.sock.send(b'{"v":1,"command":"config"}\n')
                except BlockingIOError:
                    return False
                except OSError:
                    return True
                return False
            mux.wait(hung_up, "us to be cut off", 30)
        self.assertTrue(mux.call("ping")["ok"])

    def test_too_many_connections(self):
        mux = self.start()
        held = [mux.control() for _ in range(64)]
        for control in held:
            self.addCleanup(control.close)
            self.assertTrue(control.call("ping")["ok"])
        with mux.control() as one_more:
            try:
                self.assertIsNone(one_more.call("ping"))
            except ConnectionError:
                pass
        self.assertEqual(outcome(self.client(mux).ask(uid="ok.1")), "OK")

    def test_control_group_may_look(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to become another user")
        mux = self.start({"multiplexor.control_group": "daemon"})
        self.assertEqual(os.stat(mux.control_path).st_mode & 0o777, 0o660)
        gid = os.stat(mux.control_path).st_gid
        done = subprocess.run(["/usr/bin/python3", "-c", ASK_AS_GROUP, mux.control_path, str(gid)], capture_output=True, text=True,
                              timeout=60, check=False, stdin=subprocess.DEVNULL)
        if "PermissionError" in done.stderr:
            self.skipTest("another user cannot reach the folder")
        self.assertEqual(done.stdout.split(), ["True", "False"], done.stderr)


if __name__ == "__main__":
    unittest.main()
