"""What recycling costs, behind tests/bench/run --recycle: Postern alone, one server for each limit, loaded in turn, round after round; ratios to the last limit."""

import argparse
import os
import shutil
import statistics
import sys
import tempfile

import compare
import corpus


class Recycling(compare.Postern):
    """Postern that recycles its workers after so many requests."""

    def __init__(self, folder, limit):
        self.name = f"recycle-{limit}"
        self.recycle_requests = limit
        super().__init__(folder)


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run --recycle")
    parser.add_argument("limits", help="recycle_requests, separated by commas; the last one is what the others are compared with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--case", default="small")
    parser.add_argument("--connections", type=int, default=10)
    options = parser.parse_args()
    limits = [int(word) for word in options.limits.split(",")]
    folder = tempfile.mkdtemp(prefix="postern-bench.", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    os.chmod(folder, 0o755)
    peers = {}
    try:
        mails = corpus.write(os.path.join(folder, "mails"))
        for limit in limits:
            peers[limit] = Recycling(folder, limit)
            compare.begin(peers[limit], mails)
        rounds = []
        for number in range(options.rounds):
            rounds.append({limit: compare.cell(peers[limit], mails[options.case], options.connections, options.seconds) for limit in limits})
            print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
        print(f"{options.case}, {options.connections} connections, ratios to recycle_requests = {limits[-1]}\n")
        print("| recycle_requests | msg/s | ratio | CPU ms/msg | p99 ms | unserved |")
        print("| --- " * 6 + "|")
        for limit in limits:
            median = {key: statistics.median(r[limit][key] for r in rounds) for key in ("rate", "cpu_ms", "msg_p99")}
            ratio = compare.spread([r[limit]["rate"] / r[limits[-1]]["rate"] for r in rounds])
            print(f"| {limit} | {median['rate']:.0f} | {ratio} | {median['cpu_ms']:.2f} | {median['msg_p99']:.2f} | {sum(r[limit]['unserved'] for r in rounds):.0f} |")
    finally:
        for peer in peers.values():
            peer.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
