"""Half the capacity for a while, with recycling, reloads and random kills: memory and descriptors of both daemons stay flat.

    POSTERN_SOAK_SECS   how long (60; tools/test --soak sets 1800)
    POSTERN_SOAK_SVG    where the plot goes (soak.svg in the build folder)
"""

import os
import random
import time
import unittest

import paths  # noqa: F401
from harness.mta import Postfix
from harness.postern import Postern
from harness.process import BUILD, PATIENCE, scaled, wait_until
import injection
from load import Load, check, filter_text

SECS = int(os.environ.get("POSTERN_SOAK_SECS") or scaled(60, 20))
SVG = os.environ.get("POSTERN_SOAK_SVG") or os.path.join(BUILD, "soak.svg")
WARM_UP = 0.25                       # share of the run after which figures must be flat
GROWTH_KB = 2048 if PATIENCE == 1 else 32768   # a sanitizer keeps what was freed for a while
MEASURE_SECS = 4.0
# None of these ends a daemon, so that one process is watched from start to end.
FAULTS = ("worker killed", "worker crashed", "all workers killed", "nursery killed", "reload", "reload of a broken filter", "recycled")
OPTIONS = {"multiplexor.min_workers": 4, "multiplexor.max_workers": 8, "multiplexor.recycle_requests": 100, "multiplexor.respawn_max": "1s",
           "multiplexor.generation_linger": "10s", "milterd.parcel_memory": 65536}


def resident_kb(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_"))


class Sample:
    """Seconds since the start; private memory in KB and descriptors of both daemons; messages so far."""

    def __init__(self, at, postern, n_messages):
        self.at = at
        self.n_messages = n_messages
        for name in ("milterd", "multiplexor"):
            pid = getattr(postern, name).pid
            setattr(self, f"{name}_kb", resident_kb(pid))
            setattr(self, f"{name}_descriptors", len(os.listdir(f"/proc/{pid}/fd")))


FIGURES = (("milterd_kb", "milterd, KB", "#1f77b4"), ("multiplexor_kb", "multiplexor, KB", "#d62728"),
           ("milterd_descriptors", "milterd, descriptors", "#2ca02c"), ("multiplexor_descriptors", "multiplexor, descriptors", "#9467bd"))


def plot(samples):
    """An SVG with a row for each figure, each with its own scale from 0."""
    width, height, left = 640, 110, 190
    rows = []
    for row, (name, title, colour) in enumerate(FIGURES):
        values = [getattr(sample, name) for sample in samples]
        top, base, end = max(values) * 1.1 or 1, (row + 1) * height - 20, max(samples[-1].at, 1)
        points = " ".join(f"{left + sample.at / end * width:.1f},{base - value / top * (height - 35):.1f}" for sample, value in zip(samples, values))
        rows.append(f'<text x="8" y="{base - 30}">{title}</text><text x="8" y="{base - 14}">{min(values)} to {max(values)}</text>'
                    f'<line x1="{left}" y1="{base}" x2="{left + width}" y2="{base}" stroke="#999"/>'
                    f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>')
    foot = (f'<text x="{left}" y="{len(FIGURES) * height + 10}">0 to {samples[-1].at:.0f} s, {samples[-1].n_messages} messages</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 20}" height="{len(FIGURES) * height + 24}" font-family="sans-serif" '
            f'font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(rows)}{foot}</svg>\n')


class Soak(unittest.TestCase):
    def test_flat(self):
        injection.let_signals_kill()
        injection.Versions.count = 0
        mta = Postfix(name="soak", settings="default_process_limit = 200\nenable_long_queue_ids = yes\n")
        postern = Postern(filter_text(0), folder=mta.folder, options=OPTIONS)
        mta.spec = postern.spec
        with mta.start(), postern:
            rate = self.capacity(mta) / 2
            load = Load(mta, rate)
            samples = self.soak(postern, load)
            load.finish()
            n_delivered = check(self, mta, load)
        with open(SVG, "w", encoding="ascii") as file:
            file.write(plot(samples))
        print(f"{SECS} s at {rate:.0f}/s: {load.next} messages, {load.counts()}, {n_delivered} delivered; plot in {SVG}")
        self.check_flat(samples)
        # A message whose worker was killed twice is deferred: kills come one at a time, so there is none, but for the rare one that met a reload's end.
        self.assertLessEqual(load.counts()["tempfail"], load.next // 1000 + 2)

    @staticmethod
    def capacity(mta):
        load = Load(mta, 100000)
        wait_until(lambda: len(load.final) > 50, "the load to begin")
        begin, before = time.monotonic(), len(load.final)
        time.sleep(MEASURE_SECS)
        rate = (len(load.final) - before) / (time.monotonic() - begin)
        load.finish()
        wait_until(lambda: not mta.queue(), "the queue to be empty", 60, pause=0.2)
        mta.empty()
        return rate

    @staticmethod
    def soak(postern, load):
        seed = random.Random(SECS)
        samples, started, next_fault = [], time.monotonic(), time.monotonic() + 1
        while time.monotonic() - started < SECS:
            samples.append(Sample(time.monotonic() - started, postern, load.next))
            if time.monotonic() >= next_fault:
                injection.draw(seed, FAULTS)[1](postern, seed)
                next_fault = time.monotonic() + seed.uniform(1, 5)
            time.sleep(max(0.25, SECS / 1000))
        return samples

    def check_flat(self, samples):
        """The median of the last quarter against that of the second."""
        def middle(name, begin, end):
            values = sorted(getattr(s, name) for s in samples if begin * SECS <= s.at < end * SECS)
            return values[len(values) // 2]
        for name, title, _ in FIGURES:
            before, after = middle(name, WARM_UP, 2 * WARM_UP), middle(name, 1 - WARM_UP, 1)
            allowed = GROWTH_KB if name.endswith("_kb") else 16
            print(f"  {title}: {before} in the second quarter, {after} in the last")
            self.assertLessEqual(after - before, allowed, f"{title} grows")


if __name__ == "__main__":
    unittest.main(verbosity=2)
