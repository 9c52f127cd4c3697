"""Reading mail, behind tests/bench/run --reading: Postern's reader beside GMime's in one process, without milter, Lua or sockets."""

import argparse
import json
import os
import subprocess

import report
from measure import bench_folder
from peer import RELEASE


def measure(rounds, seconds):
    """[{"mail", "depth", "bytes", "parts", "decoded", "postern": [ns of a message], "gmime": [...]}]; the readers must agree on parts and bytes."""
    with bench_folder() as (_, mails):
        paths = {mails[name]: name for name in report.MAILS}
        done = subprocess.run([os.path.join(RELEASE, "tests", "postern-reading"), "-r", str(rounds), "-m", str(round(seconds * 1000)), *paths],
                              stdout=subprocess.PIPE, text=True, check=True)
        found = [json.loads(line) for line in done.stdout.splitlines()]
    for row in found:
        row["mail"] = paths[row.pop("file")]
    return found


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run --reading")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--json")
    parser.add_argument("--from", dest="source")
    parser.add_argument("--update-docs", action="store_true")
    chosen = parser.parse_args()
    if chosen.source:
        with open(chosen.source, encoding="utf-8") as file:
            result = json.load(file)
    else:
        import compare  # imports this module
        result = compare.new_result(chosen.rounds, chosen.seconds)
        result["reading"] = measure(chosen.rounds, chosen.seconds)
        result["busy"].append(round(os.getloadavg()[0], 1))
    if chosen.json:
        with open(chosen.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
    blocks = {"reading": report.reading_table(result), "reading-setting": report.reading_setting(result)}
    print(f"{blocks['reading-setting']}\n\n{blocks['reading']}")
    if chosen.update_docs:
        report.update_docs(blocks)


if __name__ == "__main__":
    main()
