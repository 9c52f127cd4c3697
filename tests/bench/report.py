"""Tables: what a result holds, as text for a person and for the documents, between `<!-- bench:NAME -->` and `<!-- /bench -->`."""

import os
import re
import statistics

from cases import CASES
from peer import TOP
from peers import PEERS

DOCUMENTS = (os.path.join(TOP, "docs", "performance.md"), os.path.join(TOP, "README.md"))
BLOCK = re.compile(r"(<!-- bench:([a-z-]+) -->\n).*?(<!-- /bench -->)", re.S)
NONE = "–"
SHORT_AGAINST = {"bare": "the bare filter", "mimedefang": "MIMEDefang", "rspamd": "rspamd", "pymilter": "pymilter"}
MAILS = {"small": "3 KB text", "html": "40 KB html", "attach": "1 MB attachment", "big": "10 MB attachment", "digest": "400 messages in a digest"}
DEPTHS = {"parts": "parts and names listed", "sizes": "and the decoded size of each", "content": "and the decoded content of each",
          "text": "parts listed, texts in UTF-8", "defects": "parts listed, everything checked"}   # of postern-reading: what is done
ROLES = ("front end", "multiplexor", "nursery", "worker")
NOT_ITS_FILTER = {("html", "rspamd")}   # docs/performance.md says why; no such ratio is shown off


def find_cell(result, case, connections):
    return next((cell for cell in result["cells"] if (cell["case"], cell["connections"]) == (case, connections)), None)


def ratios(rounds, figure, peer, base):
    """One ratio for each round in which both were measured."""
    return [found[peer][figure] / found[base][figure] for found in rounds if peer in found and base in found and found[base][figure]]


def median_of(rounds, figure, peer):
    return statistics.median(found[peer][figure] for found in rounds if peer in found)


def number(value):
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def spread(values):
    """Median and range."""
    if not values:
        return NONE
    middle = number(statistics.median(values))
    return f"{middle} ({number(min(values))}–{number(max(values))})" if len(values) > 1 else middle


def table(head, rows):
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def peers_of(cell):
    return [name for name in PEERS if any(name in found for found in cell["rounds"])]


def compare_row(cell, name):
    rounds = cell["rounds"]
    times = NONE if name == "postern" else spread(ratios(rounds, "rate", "postern", name))
    return [CASES[cell["case"]].title, str(cell["connections"]), PEERS[name].title, number(median_of(rounds, "rate", name)), spread(ratios(rounds, "rate", name, "bare")),
            number(median_of(rounds, "cpu_ms", name)), spread(ratios(rounds, "cpu_ms", name, "bare")), number(median_of(rounds, "p50", name)),
            number(median_of(rounds, "p99", name)), times, str(sum(found[name]["unserved"] for found in rounds if name in found))]


def in_order(cells):
    return sorted(cells, key=lambda cell: (list(CASES).index(cell["case"]), cell["connections"]))


def compare_table(result):
    head = ["case", "connections", "filter", "msg/s", "to bare", "CPU ms/msg", "to bare", "p50 ms", "p99 ms", "Postern is times as fast", "not served"]
    rows = [compare_row(cell, name) for cell in in_order(result["cells"]) for name in peers_of(cell)]
    return table(head, rows) + "".join(f"\n\nNot measured: {PEERS[name].title}: {why}" for name, why in result["missing"].items())


def short_table(result):
    """The cases at 10 connections, Postern's ratios alone."""
    head = ["case, 10 connections", "msg/s", "CPU ms/msg", *(f"times {title}" for title in SHORT_AGAINST.values())]
    rows = []
    for cell in in_order(result["cells"]):
        rounds = cell["rounds"]
        if cell["connections"] == 10 and "postern" in peers_of(cell):
            rows.append([CASES[cell["case"]].title, number(median_of(rounds, "rate", "postern")), number(median_of(rounds, "cpu_ms", "postern")),
                         *(NONE if (cell["case"], name) in NOT_ITS_FILTER else spread(ratios(rounds, "rate", "postern", name)) for name in SHORT_AGAINST)])
    return table(head, rows)


def megabytes(rows):
    return sum(row["kb"] for row in rows) / 1024


def by_role(rows):
    return ", ".join(f"{row['role']} {row['kb'] / 1024 / row['n']:.2f}" + (f" × {row['n']}" if row["n"] > 1 else "") for row in rows)


def further_worker_mb(rest):
    """What one more worker costs, idle; None when it was not measured."""
    more = rest.get("more")
    return more and (megabytes(more["idle"]) - megabytes(rest["idle"])) / (more["workers"] - rest["workers"])


def rest_table(result):
    head = ["filter, 4 workers", "MB idle", "each process", "MB after a load", "each process", "start ms", "CPU ms in 5 s idle", "wakeups in 5 s"]
    rows = []
    for name, rest in result["rest"].items():
        rows.append([PEERS[name].title, f"{megabytes(rest['idle']):.1f}", by_role(rest["idle"]), f"{megabytes(rest['loaded']):.1f}", by_role(rest["loaded"]),
                     spread(result["start_ms"][name]), f"{rest['idle_cpu_ms']:.1f}", str(rest["wakeups"])])
    more = [further_worker_mb(rest) for rest in result["rest"].values()]
    return table(head, rows) + "".join(f"\n\nEach further worker of Postern, idle: {mb:.2f} MB." for mb in more if mb)


def roles_table(result):
    """Where Postern's processor time goes."""
    rows = []
    for cell in in_order(result["cells"]):
        found = [row["postern"]["by_role"] for row in cell["rounds"] if "by_role" in row.get("postern", {})]
        if found and cell["connections"] == 10:
            rows.append([CASES[cell["case"]].title, *(number(statistics.median(row.get(role, 0) for row in found)) for role in ROLES)])
    return table(["CPU ms/msg, 10 connections", *ROLES], rows)


def recycle_row(rounds, limit, base):
    cpu = median_of(rounds, "cpu_ms", limit)
    each = NONE if limit == base else f"{(cpu - median_of(rounds, 'cpu_ms', base)) * int(limit):.2f}"
    return [limit, number(median_of(rounds, "rate", limit)), spread(ratios(rounds, "rate", limit, base)), number(cpu), each,
            number(median_of(rounds, "p99", limit)), str(sum(row[limit]["unserved"] for row in rounds))]


def recycle_table(result):
    """What recycling costs; CPU of one recycle from the difference to the last limit."""
    rounds, base = result["recycle"]["rounds"], result["recycle"]["base"]
    head = ["recycle_requests", "msg/s", f"to {base}", "CPU ms/msg", "CPU ms for a recycle", "p99 ms", "not served"]
    return table(head, [recycle_row(rounds, limit, base) for limit in rounds[0]])


def reading_row(row):
    ours, gmime = row["postern"], row["gmime"]
    times = [a / b for a, b in zip(ours, gmime)]
    return [MAILS[row["mail"]], DEPTHS[row["depth"]], number(statistics.median(ours) / 1000), number(statistics.median(ours) / row["bytes"]),
            f"{row['decoded']:,}", number(statistics.median(gmime) / 1000) if gmime else NONE, spread(times)]


def reading_table(result):
    """Postern's reader beside GMime's, both in one process."""
    head = ["message", "what is read", "Postern, µs", "ns a byte", "bytes decoded", "GMime, µs", "Postern to GMime"]
    return table(head, [reading_row(row) for row in sorted(result["reading"], key=lambda row: list(MAILS).index(row["mail"]))])


def setting(result):
    machine, rounds = result["machine"], [len(cell["rounds"]) for cell in result["cells"]]
    counted = f"{min(rounds)} to {max(rounds)}" if rounds and min(rounds) != max(rounds) else str(max(rounds, default=result["rounds"]))
    return (f"Measured on {result['date']} at commit {result['commit']}: {machine['cores']} cores ({machine['cpu']}), {machine['memory_gb']} GB, {machine['system']}; "
            f"{counted} rounds, {result['seconds']:g} s for each load, {result['workers']} workers. Load average of the machine before and after: "
            f"{', '.join(str(load) for load in result['busy'])}.")


def reading_setting(result):
    machine, rounds = result["machine"], max(len(row["postern"]) for row in result["reading"])
    return (f"Measured on {result['date']} at commit {result['commit']}: {machine['cpu']}, {machine['system']}; {rounds} rounds. Load average of the machine before and "
            f"after: {', '.join(str(load) for load in result['busy'])}.")


def compare_blocks(result):
    """{name of a block: its text} for what the result holds."""
    blocks = {"setting": setting(result)}
    if result["cells"]:
        blocks["compare"] = compare_table(result)
        blocks["short"] = short_table(result)
        blocks["roles"] = roles_table(result)
    if result["rest"]:
        blocks["rest"] = rest_table(result)
    if result["recycle"]:
        blocks["recycle"] = recycle_table(result)
    if result.get("reading"):
        blocks["reading"] = reading_table(result)
        blocks["reading-setting"] = reading_setting(result)
    return blocks


def everything(result):
    blocks = compare_blocks(result)
    return "\n\n".join(blocks[name] for name in ("setting", "compare", "roles", "rest", "recycle", "reading") if name in blocks)


def fill(text, blocks):
    """The text with the content of the blocks it names replaced; blocks that are not given stay."""
    return BLOCK.sub(lambda found: f"{found[1]}{blocks[found[2]]}\n{found[3]}" if found[2] in blocks else found[0], text)


def update_docs(blocks, documents=DOCUMENTS):
    for path in documents:
        with open(path, encoding="utf-8") as file:
            before = file.read()
        after = fill(before, blocks)
        if after != before:
            with open(path, "w", encoding="utf-8") as file:
                file.write(after)
