"""What recycling costs, behind tests/bench/run --recycle: Postern alone, one server for each limit, loaded in turn, round after round; ratios to the last limit."""

import argparse
import sys

import report
from measure import begin, bench_folder, cell
from peers import Postern


def measure(limits, rounds, seconds, case, connections):
    """{"base": limit, "case", "connections", "rounds": [{limit: figures}]}, the limits as text."""
    running = {}
    with bench_folder() as (folder, mails):
        try:
            for limit in limits:
                running[str(limit)] = Postern(folder, label=f"-recycle{limit}", options={"multiplexor.recycle_requests": limit})
                begin(running[str(limit)], mails)
            found = []
            for number in range(rounds):
                found.append({limit: cell(peer, mails[case], connections, seconds) for limit, peer in running.items()})
                print(f"recycling: round {number + 1} of {rounds} done", file=sys.stderr, flush=True)
        finally:
            for peer in running.values():
                peer.stop()
    return {"base": str(limits[-1]), "case": case, "connections": connections, "rounds": found}


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run --recycle")
    parser.add_argument("limits", help="recycle_requests, separated by commas; the last one is what the others are compared with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--case", default="small", choices=("small", "html", "attach", "big"))
    parser.add_argument("--connections", type=int, default=10)
    chosen = parser.parse_args()
    limits = [int(word) for word in chosen.limits.split(",")]
    print(report.recycle_table({"recycle": measure(limits, chosen.rounds, chosen.seconds, chosen.case, chosen.connections)}))


if __name__ == "__main__":
    main()
