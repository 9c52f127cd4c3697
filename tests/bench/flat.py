"""Whether the cost stays flat, behind tests/bench/run --flat: more workers, connections, recipients, header fields; JSON, a table and a plot."""

import argparse
import json
import os
import resource
import statistics
import sys

import compare
import corpus
import plot
import report
from measure import begin, bench_folder, cell
from peer import TOP
from peers import Bare, Postern

SVG = os.path.join(TOP, "docs", "performance-flat.svg")
DESCRIPTORS = 8192
MOST = 4000          # connections, requests in the queue: above all that is asked here
CONNECTIONS = 10
SWEEPS = {           # what grows: its values
    "workers": (4, 8, 16, 32, 64, 128, 200),
    "connections": (10, 20, 50, 100, 200, 500, 1000, 2000),
    "recipients": (1, 10, 100, 1000, 10000),
    "header fields": (1, 10, 100, 1000, 10000),
}
LINES = {"postern": ("Postern", "#c0392b"), "bare": ("bare filter", "#2c6fbb")}
FIGURES = ("cpu_ms", "rate", "p50", "p99", "unserved")


def allow_descriptors():
    """The load program and both filters inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def server(folder, workers):
    return Postern(folder, workers=workers, label=f"-{workers}", options={
        "milterd.max_connections": MOST, "multiplexor.max_clients": MOST, "multiplexor.queue_size": MOST, "multiplexor.queue_time": "120s",
        "multiplexor.recycle_requests": 5000})


def plan(running, mails, fields):
    """[(sweep, value, peer, message, connections, recipients)]: every cell of a round."""
    both = [running["postern", 2], running["bare", 2]]
    cells = [("workers", n, running["postern", n], mails["small"], CONNECTIONS, 1) for n in SWEEPS["workers"]]
    cells += [("connections", n, peer, mails["small"], n, 1) for n in SWEEPS["connections"] for peer in both]
    cells += [("recipients", n, peer, mails["small"], CONNECTIONS, n) for n in SWEEPS["recipients"] for peer in both]
    return cells + [("header fields", n, peer, fields[n], CONNECTIONS, 1) for n in SWEEPS["header fields"] for peer in both]


def medians(rounds):
    return {figure: statistics.median(found[figure] for found in rounds) for figure in FIGURES}


def measure(rounds, seconds):
    """A result with "flat": {sweep: [{"n", peer: figures}]}."""
    result = compare.new_result(rounds, seconds)
    allow_descriptors()
    running, found = {}, {}
    with bench_folder() as (folder, mails):
        try:
            fields = {n: corpus.write_fields(os.path.join(folder, "mails"), n) for n in SWEEPS["header fields"]}
            for workers in (2, *SWEEPS["workers"]):
                running["postern", workers] = server(folder, workers)
            running["bare", 2] = Bare(folder)
            for peer in running.values():
                begin(peer, mails)
            for number in range(rounds):
                for sweep, n, peer, mail, connections, recipients in plan(running, mails, fields):
                    found.setdefault((sweep, n, peer.name), []).append(cell(peer, mail, connections, seconds, recipients))
                compare.tell(f"round {number + 1} of {rounds} done")
        finally:
            for peer in running.values():
                peer.stop()
    result["busy"].append(round(os.getloadavg()[0], 1))
    result["flat"] = {sweep: [{"n": n, **{name: medians(found[sweep, n, name]) for name in LINES if (sweep, n, name) in found}} for n in values]
                      for sweep, values in SWEEPS.items()}
    return result


def panels(flat):
    out = []
    for sweep, rows in flat.items():
        series = [plot.Series(title, colour, [(row["n"], row[name]["cpu_ms"] * 1000) for row in rows if name in row and row[name]["cpu_ms"] > 0])
                  for name, (title, colour) in LINES.items()]
        out.append(plot.Panel(f"{sweep[0].upper()}{sweep[1:]}", f"number of {sweep}", "CPU, µs per message", [one for one in series if one.points]))
    return out


def flat_table(flat):
    head = ["what grows", "number", "Postern: CPU ms/msg", "for each", "msg/s", "p50 ms", "not served", "bare filter: CPU ms/msg", "Postern to bare"]
    rows = []
    for sweep, values in flat.items():
        for row in values:
            ours, bare = row["postern"], row.get("bare")
            each = f"{ours['cpu_ms'] / row['n'] * 1000:,.1f} µs" if sweep in ("recipients", "header fields") else report.NONE
            rows.append([sweep, f"{row['n']:,}", report.number(ours["cpu_ms"]), each, report.number(ours["rate"]), report.number(ours["p50"]),
                         f"{ours['unserved']:g}", report.number(bare["cpu_ms"]) if bare else report.NONE,
                         report.number(ours["cpu_ms"] / bare["cpu_ms"]) if bare and bare["cpu_ms"] else report.NONE])
    return report.table(head, rows)


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run --flat")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--json")
    parser.add_argument("--svg", default=SVG)
    parser.add_argument("--from", dest="source")
    parser.add_argument("--update-docs", action="store_true")
    chosen = parser.parse_args()
    if chosen.source:
        with open(chosen.source, encoding="utf-8") as file:
            result = json.load(file)
    else:
        result = measure(chosen.rounds, chosen.seconds)
    if chosen.json:
        with open(chosen.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
    with open(chosen.svg, "w", encoding="utf-8") as file:
        file.write(plot.svg(panels(result["flat"])))
    text = flat_table(result["flat"])
    print(f"{report.setting(result)}\n\n{text}\n\nplot in {os.path.relpath(chosen.svg)}", file=sys.stdout)
    if chosen.update_docs:
        report.update_docs({"flat": text, "flat-setting": report.setting(result)})


if __name__ == "__main__":
    main()
