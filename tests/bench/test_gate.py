"""The logic of the benchmark's gate, tables and plot, over made-up figures. Nothing is measured."""

import copy
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare
import flat
import gate
import plot
import report
from cases import CASES, DEFAULT, chosen
from peers import PEERS

HERE = os.path.dirname(os.path.abspath(__file__))
GOALS = os.path.join(HERE, "goals.json")


def figures(rate, cpu_ms, p99, unserved=0):
    return {"rate": rate, "cpu_ms": cpu_ms, "p50": p99 / 2, "p99": p99, "unserved": unserved}


def cell(case, connections=10, rounds=3):
    """Postern twice as fast as the bare filter, more so in later rounds; forty times as fast as MIMEDefang, four times as rspamd."""
    return {"case": case, "connections": connections, "rounds": [
        {"bare": figures(1000, 1.0, 5), "postern": figures(2000 + 100 * n, 0.5, 4), "mimedefang": figures(50, 20, 90), "rspamd": figures(500, 2, 9)} for n in range(rounds)]}


def rest(workers, worker_kb):
    rows = [{"role": "front end", "n": 1, "kb": 1024}, {"role": "multiplexor", "n": 1, "kb": 1024}, {"role": "nursery", "n": 1, "kb": 2048},
            {"role": "worker", "n": workers, "kb": workers * worker_kb}]
    return {"workers": workers, "idle": rows, "loaded": rows, "idle_cpu_ms": 0.0, "wakeups": 0, "idle_secs": 5}


def good_result():
    return {"machine": {"cores": 2, "cpu": "made up", "memory_gb": 1, "system": "Linux"}, "commit": "abc", "date": "2026-01-01", "busy": [0.1, 0.2],
            "rounds": 3, "seconds": 1, "workers": 2, "missing": {}, "cells": [cell(name) for name in CASES],
            "rest": {"postern": {**rest(4, 512), "more": rest(20, 512)}}, "start_ms": {"postern": [20, 30, 25]},
            "reading": [{"mail": mail, "depth": depth, "bytes": 1000, "parts": 3, "decoded": 0, "postern": [1e6, 1.2e6, 1.1e6], "gmime": [2e6, 2e6, 2e6]}
                        for mail in report.MAILS for depth in report.DEPTHS],
            "recycle": {"base": "5000", "case": "small", "connections": 10, "rounds": [
                {"10": figures(800, 1, 5), "100": figures(980, 1, 5), "5000": figures(1000, 1, 5)}]}}


class Gate(unittest.TestCase):
    def setUp(self):
        self.goals = gate.read_goals(GOALS)
        self.result = good_result()

    def missed(self):
        return [verdict.name for verdict in gate.judge(self.result, self.goals) if not verdict.is_met]

    def value(self, **goal):
        return gate.judge(self.result, [{"name": "it", "min": 0, **goal}])[0].value

    def test_good_figures_meet_every_goal(self):
        self.assertEqual(self.missed(), [])
        self.assertGreater(len(self.goals), 25)

    def test_values(self):
        self.assertEqual(self.value(measure="ratio", figure="rate", case="small", against="bare"), 2.1)
        self.assertEqual(self.value(measure="ratio", figure="cpu_ms", case="small", against="bare"), 0.5)
        self.assertEqual(self.value(measure="memory"), 6)
        self.assertEqual(self.value(measure="further_worker"), 0.5)
        self.assertEqual(self.value(measure="start"), 25)
        self.assertAlmostEqual(self.value(measure="recycle", limit=10), 0.2)
        self.assertEqual(self.value(measure="unserved"), 0)
        self.assertAlmostEqual(self.value(measure="reading_ms", mail="attach", depth="content"), 1.1)
        self.assertAlmostEqual(self.value(measure="reading_ratio", mail="html", depth="parts"), 0.55)
        self.assertEqual(self.value(measure="decoded", mail="big", depth="parts"), 0)

    def test_bounds_are_met_when_reached_and_missed_beyond(self):
        for value, goal, wanted in ((0.7, {"min": 0.7}, True), (0.69, {"min": 0.7}, False), (1.5, {"max": 1.5}, True), (1.51, {"max": 1.5}, False),
                                    (None, {"min": 0}, False), (0, {"max": 0}, True)):
            self.assertEqual(gate.is_met(value, goal), wanted, (value, goal))

    def test_each_kind_of_goal_can_be_missed(self):
        spoils = {
            "ratio": lambda result: [row["postern"].update(rate=1) for found in result["cells"] for row in found["rounds"]],
            "unserved": lambda result: result["cells"][0]["rounds"][1]["postern"].update(unserved=1),
            "memory": lambda result: result["rest"]["postern"]["idle"][0].update(kb=9000),
            "further_worker": lambda result: result["rest"]["postern"].update(more=rest(20, 2048)),
            "start": lambda result: result["start_ms"].update(postern=[61, 62, 10]),
            "idle": lambda result: result["rest"]["postern"].update(idle_cpu_ms=3.0),
            "recycle": lambda result: result["recycle"]["rounds"][0]["100"].update(rate=950),
            "reading_ms": lambda result: [row.update(postern=[2e6], gmime=[3e6]) for row in result["reading"]],
            "reading_ratio": lambda result: [row.update(gmime=[4e5]) for row in result["reading"]],
            "decoded": lambda result: [row.update(decoded=1) for row in result["reading"]],
        }
        self.assertEqual(set(spoils), set(gate.MEASURES))
        for measure, spoil in spoils.items():
            self.result = good_result()
            spoil(self.result)
            kinds = {goal["measure"] for goal in self.goals if goal["name"] in self.missed()}
            self.assertEqual(kinds, {measure})

    def test_what_was_not_measured_is_missed(self):
        for row in self.result["cells"][0]["rounds"]:
            del row["rspamd"]
        self.assertEqual(self.missed(), ["3 KB: throughput against rspamd"])
        self.result.update(cells=[], rest={}, start_ms={}, recycle=None, reading=[])
        self.assertEqual(len(self.missed()), len(self.goals))
        self.assertIn("not measured", gate.verdict_table(gate.judge(self.result, self.goals)))

    def test_a_goal_that_cannot_be_judged_is_refused(self):
        for goal in ({"measure": "beauty", "min": 1}, {"measure": "start"}, {"measure": "start", "min": 1, "max": 2}):
            with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
                json.dump({"goals": [{"name": "it", **goal}]}, file)
                file.flush()
                with self.assertRaises(SystemExit):
                    gate.read_goals(file.name)

    def test_the_exit_code_tells(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "result.json")
            for spoilt, code in ((False, 0), (True, 1)):
                self.result["start_ms"]["postern"] = [100] if spoilt else [20]
                with open(path, "w", encoding="utf-8") as file:
                    json.dump(self.result, file)
                done = subprocess.run([sys.executable, os.path.join(HERE, "gate.py"), GOALS, "--from", path], capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, code, done.stdout + done.stderr)
                self.assertIn(f"{len(self.goals) - spoilt} of {len(self.goals)} goals met", done.stdout)


class Tables(unittest.TestCase):
    def test_the_table_has_ratios_of_each_round(self):
        rows = [line for line in report.compare_table(good_result()).splitlines() if line.startswith("| 3 KB text | 10 | Postern |")]
        self.assertEqual(rows, ["| 3 KB text | 10 | Postern | 2,100 | 2.10 (2.00–2.20) | 0.500 | 0.500 (0.500–0.500) | 2.00 | 4.00 | – | 0 |"])

    def test_a_peer_that_is_missing_is_named_with_the_reason(self):
        result = good_result()
        result["missing"]["pymilter"] = "there is no network"
        self.assertIn(f"Not measured: {PEERS['pymilter'].title}: there is no network", report.compare_table(result))
        self.assertIn("there is no network", report.everything(result))

    def test_the_short_table(self):
        lines = report.short_table(good_result()).splitlines()
        self.assertEqual(lines[2], "| 3 KB text | 2,100 | 0.500 | 2.10 (2.00–2.20) | 42.0 (40.0–44.0) | 4.20 (4.00–4.40) | – |")
        self.assertEqual([line.split(" | ")[5] for line in lines if line.startswith("| 40 KB html")], ["–"])

    def test_what_a_recycle_costs(self):
        result = good_result()
        result["recycle"]["rounds"][0]["10"]["cpu_ms"] = 1.1
        rows = report.recycle_table(result).splitlines()[2:]
        self.assertEqual(rows[0], "| 10 | 800 | 0.800 | 1.10 | 1.00 | 5.00 | 0 |")
        self.assertEqual(rows[2], "| 5000 | 1,000 | 1.00 | 1.00 | – | 5.00 | 0 |")

    def test_the_time_of_each_process(self):
        result = good_result()
        result["cells"] = [cell("small"), cell("html")]
        for n, row in enumerate(result["cells"][0]["rounds"]):
            row["postern"]["by_role"] = {"front end": 0.1 * (n + 1), "multiplexor": 0.05, "nursery": 0, "worker": 1.5}
        self.assertEqual(report.roles_table(result).splitlines()[2:], ["| 3 KB text | 0.200 | 0.050 | 0.000 | 1.50 |"])

    def test_blocks_are_replaced_and_all_else_stays(self):
        text = "a\n<!-- bench:short -->\nold\nlines\n<!-- /bench -->\nb\n<!-- bench:goals -->\nkept\n<!-- /bench -->\nc\n"
        after = report.fill(text, {"short": "new", "other": "nowhere"})
        self.assertEqual(after, "a\n<!-- bench:short -->\nnew\n<!-- /bench -->\nb\n<!-- bench:goals -->\nkept\n<!-- /bench -->\nc\n")
        self.assertEqual(report.fill(after, {"short": "new"}), after)

    def test_the_documents_have_the_blocks(self):
        found = {}
        for path in report.DOCUMENTS:
            with open(path, encoding="utf-8") as file:
                found[os.path.basename(path)] = {match[2] for match in report.BLOCK.finditer(file.read())}
        blocks = {*report.compare_blocks(good_result()), "goals", "flat", "flat-setting"}
        self.assertEqual(found, {"performance.md": blocks - {"short"}, "README.md": {"short", "setting"}})

    def test_figures_of_two_runs_are_joined(self):
        older, newer = good_result(), good_result()
        newer["cells"] = [cell("small", rounds=2), cell("small", 50)]
        newer.update(recycle=None, rest={}, commit="def")
        joined = compare.add(newer, copy.deepcopy(older))
        self.assertEqual(len(report.find_cell(joined, "small", 10)["rounds"]), 5)
        self.assertEqual(len(joined["cells"]), len(older["cells"]) + 1)
        self.assertEqual((joined["recycle"], joined["rest"], joined["commit"]), (older["recycle"], older["rest"], "abc to def"))
        newer["machine"] = {"cores": 64}
        with self.assertRaises(SystemExit):
            compare.add(newer, older)

    def test_the_choice_of_cases(self):
        self.assertEqual(chosen([], []), list(DEFAULT))
        self.assertEqual(chosen(["html"], [1, 50]), [("html", 1), ("html", 50)])
        self.assertEqual(chosen(["html"], []), [("html", 10)])
        with self.assertRaises(SystemExit):
            chosen(["nothing"], [])


class Plots(unittest.TestCase):
    def test_the_plot_is_xml_with_every_point_inside(self):
        rows = {sweep: [{"n": n, "postern": figures(10, 0.3 * n, 1), "bare": figures(10, 0.2, 1)} for n in values] for sweep, values in flat.SWEEPS.items()}
        root = xml.parse(io.StringIO(plot.svg(flat.panels(rows)))).getroot()
        circles = [element for element in root.iter() if element.tag.endswith("circle")]
        self.assertEqual(len(circles), 2 * sum(len(values) for values in flat.SWEEPS.values()))
        for circle in circles:
            self.assertTrue(plot.LEFT <= float(circle.get("cx")) <= plot.WIDTH - plot.RIGHT, circle.attrib)
            self.assertTrue(plot.TOP <= float(circle.get("cy")) <= plot.HEIGHT - plot.BOTTOM, circle.attrib)
        words = "".join(root.itertext())
        for sweep in flat.SWEEPS:
            self.assertIn(f"number of {sweep}", words)

    def test_decades_enclose(self):
        self.assertEqual(plot.decades(3, 250), [1, 10, 100, 1000])
        self.assertEqual(plot.decades(10, 10), [10, 100])
        self.assertEqual(plot.ticks([1, 10]), [1, 2, 5, 10])
        self.assertEqual(plot.ticks([1, 10, 100, 1000]), [1, 10, 100, 1000])
        self.assertEqual(plot.label(0.01), "0.01")
        self.assertEqual(plot.label(10000.0), "10,000")


if __name__ == "__main__":
    unittest.main(verbosity=2)
