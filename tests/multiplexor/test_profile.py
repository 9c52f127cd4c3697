"""posternctl profile: hot lines found, C functions and waits with the line that called them, a flame graph; bounds, ends, hostile workers."""

import json
import os
import struct
import subprocess
import sys
import unittest
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import MultiplexorTest
from harness.process import BIN, PATIENCE

FILTER = """local async = require "postern.async"
local function hot_loop(n)
    local x = 0
    for i = 1, n do x = x + i * i % 7 end -- line 4
    return x
end
local function match(text)
    return text:find(".-.-.-.-b") -- line 8
end
function filter_helo(conn)
    match("aaa")
    hot_loop(50000)
end
function filter_unknown(conn, command)
    if command == "match" then match(("a"):rep(25)) end
    if command == "sleep" then async.sleep(0.3) end -- line 16
    if command == "long" then
        local ends = os.clock() + 60
        while os.clock() < ends do hot_loop(100000) end
    end
    if command == "odd" then
        local t = { ["<a href='x'>&\\1;\\255NAME"] = function() hot_loop(200000) return 1 end }
        local x = t["<a href='x'>&\\1;\\255NAME"]()
        coroutine.wrap(function() hot_loop(200000) return 1 end)()
    end
    if command == "deep" then
        local function down(n) if n == 0 then hot_loop(200000) return 1 end return 1 + down(n - 1) end
        down(150)
    end
end
""".replace("NAME", 200 * "n")


class Profile(MultiplexorTest):
    def begin(self, **options):
        return self.start({"multiplexor.worker_program": os.path.join(BIN, "postern-worker"), "multiplexor.kill_grace": "300ms",
                           "multiplexor.drain_time": "500ms", **options}, filter_text=FILTER)

    def start_profile(self, mux, seconds, *words):
        process = subprocess.Popen([os.path.join(BIN, "posternctl"), "-s", mux.control_path, "profile", str(seconds), *words],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        mux.wait(lambda: "profile: workers sample" in mux.log() or process.poll() is not None, "the profile to begin")
        return process

    def result(self, process):
        out, err = process.communicate(timeout=30 * PATIENCE)
        self.assertEqual((process.returncode, err), (0, ""))
        return out

    def profile(self, mux, hook, seconds=1, words=("--json",), **fields):
        """The output of a profile during which the hook is asked for again and again."""
        process = self.start_profile(mux, seconds, *words)
        client = self.client(mux)
        while process.poll() is None:
            client.ask(hook, uid="", **fields)
        return self.result(process)

    def shares(self, text):
        """Line to its share of all time, itself and with what it called."""
        data = json.loads(text)
        us = sum(row[1] for row in data["stacks"])
        self.assertGreater(us, 0, data)
        self.assertEqual(us + data["other_us"], data["us"])
        return {line["where"]: (line["self_us"] / us, line["total_us"] / us) for line in data["lines"]}

    def test_a_hot_line_and_its_picture(self):
        mux = self.begin()
        path = mux.folder("flame.svg")
        shares = self.shares(self.profile(mux, "HELO", 2, ("--json", "--output", path)))
        self.assertGreater(shares["filter.lua:4 hot_loop"][0], 0.5)
        self.assertGreater(shares["filter.lua:12"][1], 0.5)
        self.assertLess(shares["filter.lua:12"][0], 0.5)
        self.assertAlmostEqual(shares["filter_helo"][1], 1)
        tree = ElementTree.parse(path)
        titles = [element.text for element in tree.iter("{http://www.w3.org/2000/svg}title")]
        self.assertTrue(titles[0].startswith("all: ") and titles[0].endswith("100.0 %"), titles)
        self.assertTrue(any(title.startswith("filter.lua:4 hot_loop: ") for title in titles), titles)
        widths = [float(box.get("width")) for box in tree.iter("{http://www.w3.org/2000/svg}rect")]
        self.assertLessEqual(max(widths[1:]), 1180)
        self.assertIn("profile: ", mux.log())

    def test_the_table(self):
        mux = self.begin()
        text = self.profile(mux, "HELO", 1, ())
        self.assertRegex(text, r"^\d+\.\d s: \d+ samples, [\d.]+ ms in the filter\n\nSELF +TOTAL +WHERE\n[\d.]+ ms +(?:[5-9]\d|100)\.\d %  .*  filter\.lua:4 hot_loop\n")

    def test_c_functions_belong_to_the_line_that_calls_them(self):
        shares = self.shares(self.profile(self.begin(), "UNKNOWN", argument=b"match"))
        self.assertGreater(shares["filter.lua:8 match"][0], 0.5)

    def test_waits_belong_to_the_line_that_waits(self):
        shares = self.shares(self.profile(self.begin(), "UNKNOWN", argument=b"sleep"))
        self.assertGreater(shares["filter.lua:16"][0], 0.5)

    def test_odd_names_coroutines_and_deep_stacks(self):
        mux = self.begin()
        path = mux.folder("flame.svg")
        data = json.loads(self.profile(mux, "UNKNOWN", 1, ("--json", "--output", path), argument=b"odd"))
        frames = {frame for stack, _, _ in data["stacks"] for frame in stack.split(";")}
        odd = next(frame for frame in frames if "<a href='x'>& ,\ufffdnnn" in frame)
        self.assertLessEqual(len(odd.encode()), 120)
        self.assertTrue(any(line["where"] == "filter.lua:4 hot_loop" for line in data["lines"]))
        titles = [element.text for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}title")]
        self.assertTrue(any(title.startswith(odd + ": ") for title in titles), titles)
        data = json.loads(self.profile(mux, "UNKNOWN", 1, argument=b"deep"))
        self.assertTrue(any(stack.startswith("filter_unknown;...;") and stack.endswith(";filter.lua:4 hot_loop") for stack, _, _ in data["stacks"]))
        self.assertLessEqual(max(stack.count(";") for stack, _, _ in data["stacks"]), 65)

    def test_a_hook_that_runs_long_is_seen_and_still_ends(self):
        mux = self.begin()
        client = self.client(mux)
        process = self.start_profile(mux, 1, "--json")
        client.start("UNKNOWN", uid="", argument=b"long", budget_ms=3000 * PATIENCE)
        shares = self.shares(self.result(process))
        self.assertGreater(shares["filter.lua:4 hot_loop"][0], 0.3)
        self.assertEqual(client.wait(30)["outcome"], 2)

    def test_only_one_hook(self):
        mux = self.begin()
        process = self.start_profile(mux, 1, "--json", "--hook", "filter_unknown")
        client = self.client(mux)
        while process.poll() is None:
            client.ask("HELO", uid="")
            client.ask("UNKNOWN", uid="", argument=b"match")
        data = json.loads(self.result(process))
        self.assertTrue(data["stacks"])
        self.assertEqual({stack.split(";")[0] for stack, _, _ in data["stacks"]}, {"filter_unknown"})

    def test_workers_that_come_and_go(self):
        mux = self.begin()
        client = self.client(mux)
        client.ask("HELO", uid="")
        process = self.start_profile(mux, 2, "--json")
        old = [row["pid"] for row in mux.workers()]
        os.kill(old[0], 9)
        mux.call("recycle")
        mux.wait(lambda: not {row["pid"] for row in mux.workers("idle")} & set(old) and mux.workers("idle"), "other workers")
        while process.poll() is None:
            client.ask("HELO", uid="")
        self.assertGreater(self.shares(self.result(process))["filter.lua:4 hot_loop"][0], 0.5)

    def test_one_at_a_time_and_its_end(self):
        mux = self.begin()
        first = self.start_profile(mux, 500)
        answer = mux.call("profile", seconds=1)
        self.assertEqual((answer["ok"], answer["error"]), (False, "another profile is being made"))
        first.kill()
        first.wait()
        mux.wait(lambda: "whoever asked for it is gone" in mux.log(), "the end of the profile")
        data = json.loads(self.profile(mux, "HELO"))
        self.assertGreater(data["samples"], 0)
        client = self.client(mux)
        client.ask("HELO", uid="")  # nothing is sampled any more
        with mux.control() as control:
            control.send_line(b'{"v":1,"command":"profile","args":{"seconds":1}}')
            control.send_line(b'{"v":1,"command":"ping"}')
            self.assertEqual(control.answer()["data"]["stacks"], [])
            self.assertTrue(control.answer()["data"]["pid"])

    def test_a_stop_answers_at_once(self):
        mux = self.begin()
        process = self.start_profile(mux, 500, "--json")
        self.client(mux).ask("HELO", uid="")
        mux.stop()
        self.assertLess(json.loads(self.result(process))["seconds"], 100)

    def test_what_is_refused(self):
        mux = self.begin()
        for words in (("0",), ("601",), ("x",), (), ("1", "2"), ("1", "--hook", "filter_helx")):
            done = subprocess.run([os.path.join(BIN, "posternctl"), "-s", mux.control_path, "profile", *words], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 2, words)
        self.assertIn("did you mean filter_helo?", done.stderr)
        for seconds in (0, 601, -1):
            self.assertFalse(mux.call("profile", seconds=seconds)["ok"])
        done = subprocess.run([os.path.join(BIN, "posternctl"), "-s", mux.control_path, "profile", "1", "--output", mux.folder("no", "x.svg")],
                              capture_output=True, text=True, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("No such file", done.stderr)


def sample(stack, us=1, n=1):
    return struct.pack(">I", len(stack)) + stack + struct.pack(">QI", us, n)


class Hostile(MultiplexorTest):
    """The fake worker sends the bytes of its filter's folder as samples."""

    def profile(self, mux, *asks):
        """The data of a profile during which samples (bytes, uid) were told; the outcomes of their requests."""
        client, outcomes = self.client(mux), []
        with mux.control() as control:
            control.send_line(b'{"v":1,"command":"profile","args":{"seconds":1}}')
            mux.wait(lambda: "profile: workers sample" in mux.log(), "it to begin")
            for data, uid in asks:
                mux.folder.write("samples", data)
                outcomes.append(client.ask(uid=uid)["outcome"])
            return control.answer()["data"], outcomes

    def test_bad_samples_kill_their_worker(self):
        mux = self.start({"multiplexor.respawn_min": "10ms", "multiplexor.respawn_max": "10ms"})
        bad = (sample(b"a")[:-1], b"x", sample(b""), sample(b"a\nb"), sample(b"\xff"), sample(b"x" * 4001), sample(b"a") + b"\0")
        for i, data in enumerate(bad):
            mux.folder.write("samples", data)
            self.assertEqual(self.client(mux).ask(uid="samples.1")["outcome"], 5, data)
            mux.wait_for_counter("recycles", "died", value=2 * (i + 1))
        self.assertIn("sent bad samples", mux.log())

    def test_what_is_told_late_or_too_much(self):
        mux = self.start()
        rows = [b"".join(sample(b"hook;frame %d %d" % (i, k)) for k in range(1000)) for i in range(5)]
        data, outcomes = self.profile(mux, (sample(b"late"), "samples=1.1"), (sample(b"hook", 2**64 - 1, 2**32 - 1) + sample(b"hook", 5), "samples.2"),
                                      *((row, "samples.3") for row in rows))
        self.assertEqual(set(outcomes), {0})
        self.assertEqual(len(data["stacks"]), 4000)
        self.assertEqual(data["other_us"], 1001)
        self.assertEqual(dict((row[0], row[1]) for row in data["stacks"])["hook"], 2**63 - 1)
        self.assertNotIn("late", [row[0] for row in data["stacks"]])


if __name__ == "__main__":
    unittest.main()
