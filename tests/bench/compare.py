"""The comparison behind tests/bench/run --compare: every peer over every case in turn, round after round; then their rest, then recycling."""

import argparse
import contextlib
import datetime
import json
import os
import subprocess
import sys

import cases
import reading
import recycle
import report
from measure import at_rest, begin, bench_folder, cell, start_ms
from peer import TOP, CannotStart
from peers import PEERS

PARTS = ("load", "rest", "recycle", "reading")
WORKERS = 2
REST_WORKERS = 4       # as the goal for memory counts them
MORE_WORKERS = 20      # to find out what a further one costs
LIMITS = (10, 100, 5000)
READING_SECONDS = 0.05  # of each reader in a round


def tell(text):
    print(text, file=sys.stderr, flush=True)


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), os.uname().machine)
    return {"cores": len(os.sched_getaffinity(0)), "cpu": model, "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "system": "Linux " + ".".join(os.uname().release.split(".")[:2])}


def git(*words):
    return subprocess.run(["git", "-C", TOP, *words], capture_output=True, text=True, check=False).stdout.strip()


def commit():
    """The commit that is measured; the documents, which the benchmark itself writes, don't count as changes to it."""
    changes = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":!/docs", ":!/*.md")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("-dirty" if changes else "")


def new_result(rounds, seconds):
    return {"machine": machine(), "commit": commit(), "date": datetime.date.today().isoformat(), "busy": [round(os.getloadavg()[0], 1)],
            "rounds": rounds, "seconds": seconds, "workers": WORKERS, "missing": {}, "cells": [], "rest": {}, "start_ms": {}, "recycle": None, "reading": []}


@contextlib.contextmanager
def fleet(folder, mails, wanted, missing):
    """Starts every (peer, kind) of `wanted`; yields {(name, kind): peer}. One that does not serve goes into `missing`, with the reason."""
    running = {}
    try:
        for name, kind in wanted:
            if name in missing:
                continue
            peer = running[name, kind] = PEERS[name](folder, kind, WORKERS)
            try:
                begin(peer, mails)
            except CannotStart as why:
                if peer.is_ours:
                    raise
                missing[name] = str(why)
                running.pop((name, kind)).stop()
        yield running
    finally:
        for peer in running.values():
            peer.stop()


def serving(names, kind):
    """[(peer's name, kind of instance)] of those that can do this kind of work."""
    return [(name, PEERS[name].kinds[kind]) for name in names if kind in PEERS[name].kinds]


def in_turn(names, number):
    """Every second round goes the other way round, so that nobody always comes after the same."""
    return names[::-1] if number % 2 else names


def measure_load(result, names, plan):
    wanted = dict.fromkeys(pair for name, _ in plan for pair in serving(names, cases.CASES[name].kind))
    with bench_folder() as (folder, mails), fleet(folder, mails, wanted, result["missing"]) as running:
        cells = [{"case": name, "connections": n, "rounds": []} for name, n in plan]
        for number in range(result["rounds"]):
            for found in cells:
                case = cases.CASES[found["case"]]
                found["rounds"].append({name: cell(running[name, kind], mails[case.mail], found["connections"], result["seconds"] * case.seconds)
                                        for name, kind in in_turn(serving(names, case.kind), number) if (name, kind) in running})
            tell(f"round {number + 1} of {result['rounds']} done")
        result["cells"] += cells


def measure_rest(result, names):
    with bench_folder() as (folder, mails):
        for name in names:
            if name in result["missing"]:
                continue
            peer = PEERS[name]
            try:
                result["start_ms"][name] = start_ms(lambda label, peer=peer: peer(folder, "parts", WORKERS, label), mails["small"])
                result["rest"][name] = at_rest(peer(folder, "parts", REST_WORKERS, "-rest"), mails)
                if peer.is_ours:
                    result["rest"][name]["more"] = at_rest(peer(folder, "parts", MORE_WORKERS, "-more"), mails)
            except CannotStart as why:
                result["missing"][name] = str(why)
            tell(f"{name} at rest done")


def measure(names, plan, parts, rounds, seconds):
    result = new_result(rounds, seconds)
    result["missing"] = {name: why for name in names for why in [PEERS[name].missing()] if why}
    if "load" in parts:
        measure_load(result, names, plan)
    if "rest" in parts:
        measure_rest(result, names)
    if "recycle" in parts:
        result["recycle"] = recycle.measure(LIMITS, rounds, seconds, "small", 10)
    if "reading" in parts:
        result["reading"] = reading.measure(rounds, READING_SECONDS)
    result["busy"].append(round(os.getloadavg()[0], 1))
    return result


def add(result, older):
    """The older figures with the new ones beside them: rounds of the same cell are joined, what is measured once is replaced."""
    if older["workers"] != result["workers"] or older["machine"] != result["machine"]:
        raise SystemExit("the older figures are of another machine or number of workers")
    joined = {**result, "cells": older["cells"], "recycle": result["recycle"] or older["recycle"],
              "reading": result["reading"] or older.get("reading", []), "busy": older["busy"] + result["busy"]}
    if older["commit"] != result["commit"]:
        joined["commit"] = older["commit"].split(" to ")[0] + " to " + result["commit"]
    for key in ("missing", "rest", "start_ms"):
        joined[key] = {**older[key], **result[key]}
    for new in result["cells"]:
        same = [old for old in joined["cells"] if (old["case"], old["connections"]) == (new["case"], new["connections"])]
        if same:
            same[0]["rounds"] += new["rounds"]
        else:
            joined["cells"].append(new)
    return joined


def save(result, path, adding):
    if adding and os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            result = add(result, json.load(file))
    with open(path, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
    return result


def words(text):
    return [word for word in text.split(",") if word]


def options(argv):
    parser = argparse.ArgumentParser(prog="tests/bench/run --compare")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--cases", type=words, default=[])
    parser.add_argument("--connections", type=lambda text: [int(word) for word in words(text)], default=[])
    parser.add_argument("--peers", type=words, default=list(PEERS))
    parser.add_argument("--parts", type=words, default=list(PARTS))
    parser.add_argument("--json")
    parser.add_argument("--add", action="store_true")
    parser.add_argument("--from", dest="source")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--update-docs", action="store_true")
    chosen = parser.parse_args(argv)
    unknown = [name for name in chosen.peers if name not in PEERS] + [name for name in chosen.parts if name not in PARTS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    return chosen


def main():
    chosen = options(sys.argv[1:])
    if chosen.source:
        with open(chosen.source, encoding="utf-8") as file:
            result = json.load(file)
    else:
        plan = cases.chosen(chosen.cases, chosen.connections, cases.QUICK if chosen.quick else cases.DEFAULT)
        result = measure(chosen.peers, plan, chosen.parts, chosen.rounds or (2 if chosen.quick else 5), chosen.seconds or (1 if chosen.quick else 1.5))
        if chosen.json:
            result = save(result, chosen.json, chosen.add)
    print(report.compare_table(result) if chosen.markdown else report.everything(result))
    if chosen.update_docs:
        report.update_docs(report.compare_blocks(result))


if __name__ == "__main__":
    main()
