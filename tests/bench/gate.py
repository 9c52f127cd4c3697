"""The gate behind tests/bench/run --gate: figures against goals. A goal is a value with a least (min) or a most (max); one that was not measured is missed."""

import argparse
import json
import statistics
import sys
from collections import namedtuple

import report

OURS = "postern"
CONNECTIONS = 10       # of every ratio

Verdict = namedtuple("Verdict", "name value bound is_met")   # value: None when it was not measured; bound: as text


def ratio(result, goal):
    """Median over the rounds of Postern's figure against another's in the same round."""
    cell = report.find_cell(result, goal["case"], CONNECTIONS)
    values = report.ratios(cell["rounds"], goal["figure"], OURS, goal["against"]) if cell else []
    return statistics.median(values) if values else None


def unserved(result, _goal):
    found = [row[OURS]["unserved"] for cell in result["cells"] for row in cell["rounds"] if OURS in row]
    return sum(found) if found else None


def memory(result, _goal):
    rest = result["rest"].get(OURS)
    return rest and report.megabytes(rest["idle"])


def further_worker(result, _goal):
    rest = result["rest"].get(OURS)
    return rest and report.further_worker_mb(rest)


def start(result, _goal):
    times = result["start_ms"].get(OURS)
    return statistics.median(times) if times else None


def idle(result, _goal):
    rest = result["rest"].get(OURS)
    return rest and rest["idle_cpu_ms"] * 5 / rest["idle_secs"]


def recycling(result, goal):
    """Share of the throughput that is lost."""
    found = result["recycle"]
    values = report.ratios(found["rounds"], "rate", str(goal["limit"]), found["base"]) if found and str(goal["limit"]) in found["rounds"][0] else []
    return 1 - statistics.median(values) if values else None


def find_reading(result, goal):
    return next((row for row in result.get("reading", []) if (row["mail"], row["depth"]) == (goal["mail"], goal["depth"])), None)


def reading_ms(result, goal):
    """Median over the rounds of the time that a message took."""
    row = find_reading(result, goal)
    return row and statistics.median(row["postern"]) / 1e6


def reading_ratio(result, goal):
    """The same against GMime in the same round."""
    row = find_reading(result, goal)
    return row and statistics.median(ours / gmime for ours, gmime in zip(row["postern"], row["gmime"]))


def decoded(result, goal):
    row = find_reading(result, goal)
    return row and row["decoded"]


MEASURES = {"ratio": ratio, "unserved": unserved, "memory": memory, "further_worker": further_worker, "start": start, "idle": idle, "recycle": recycling,
            "reading_ms": reading_ms, "reading_ratio": reading_ratio, "decoded": decoded}


def is_met(value, goal):
    return value is not None and goal.get("min", value) <= value <= goal.get("max", value)


def judge(result, goals):
    verdicts = []
    for goal in goals:
        value = MEASURES[goal["measure"]](result, goal)
        bound = f"at least {goal['min']:g}" if "min" in goal else f"at most {goal['max']:g}"
        verdicts.append(Verdict(goal["name"], value, bound, is_met(value, goal)))
    return verdicts


def verdict_table(verdicts):
    return report.table(["goal", "bound", "measured", ""],
                        [[v.name, v.bound, "not measured" if v.value is None else f"{v.value:,.3g}", "met" if v.is_met else "**missed**"] for v in verdicts])


def read_goals(path):
    """The goals of a file; one that says nothing or something unknown is an error."""
    with open(path, encoding="utf-8") as file:
        goals = json.load(file)["goals"]
    for goal in goals:
        if goal["measure"] not in MEASURES or ("min" in goal) == ("max" in goal):
            raise SystemExit(f"{path}: this goal cannot be judged: {goal}")
    return goals


def measured(goals, rounds, seconds):
    """Measures what the goals ask and nothing else."""
    import compare  # needs the build; judging does not
    asked = [goal for goal in goals if goal["measure"] == "ratio"]
    plan = [(case, CONNECTIONS) for case in dict.fromkeys(goal["case"] for goal in asked)]
    names = list(dict.fromkeys([OURS, *(goal["against"] for goal in asked)]))
    measures = {goal["measure"] for goal in goals}
    asked_of = {"load": {"ratio", "unserved"}, "recycle": {"recycle"}, "reading": {"reading_ms", "reading_ratio", "decoded"}}
    parts = [part for part, needed in asked_of.items() if measures & needed]
    result = compare.measure(names, plan, parts, rounds, seconds)
    if measures & {"memory", "further_worker", "start", "idle"}:
        compare.measure_rest(result, [OURS])
    return result


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run --gate")
    parser.add_argument("goals")
    parser.add_argument("--from", dest="source")
    parser.add_argument("--json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--update-docs", action="store_true")
    chosen = parser.parse_args()
    goals = read_goals(chosen.goals)
    if chosen.source:
        with open(chosen.source, encoding="utf-8") as file:
            result = json.load(file)
    else:
        result = measured(goals, chosen.rounds, chosen.seconds)
        if chosen.json:
            with open(chosen.json, "w", encoding="utf-8") as file:
                json.dump(result, file, indent=1)
    verdicts = judge(result, goals)
    missed = sum(not verdict.is_met for verdict in verdicts)
    print(f"{report.setting(result)}\n\n{verdict_table(verdicts)}")
    for name, why in result["missing"].items():
        print(f"\nnot measured: {name}: {why}")
    print(f"\n{len(verdicts) - missed} of {len(verdicts)} goals met")
    if chosen.update_docs:
        report.update_docs({"goals": verdict_table(verdicts)})
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
