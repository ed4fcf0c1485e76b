#!/usr/bin/env python3
"""Measures whether a target of two cores does twice the work of one, on a machine of two CPUs.

usage: bench/cores.py [--bin DIR] [--seconds S] [--rounds N] [--write]
  --bin DIR      the programs (build/release/bin)
  --seconds S    of each measurement (3)
  --rounds N     of all three, in turn; medians are shown (3)
  --write        replace the part of docs/performance.md; else it is printed
There is no CPU left for the client, so each CPU carries its share of it: one core of the target and one of the client
share CPU 0; then two of each share both CPUs. Beside that, what the machine gives at most: two targets of one core that
know nothing of each other, each with its client on a CPU of its own.
"""
import argparse
import contextlib
import json
import pathlib
import statistics
import subprocess

from run import MIB, ROOT, Bench, machine, publish, side_of, start_target

WORK = [  # title, access, block bytes, queue depth of each core
    *[(f"4 KiB random {kind}, QD {qd} a core", f"rand{kind}", 4096, qd) for kind in ("read", "write") for qd in (32, 128)],
    ("128 KiB read, QD 8 a core", "read", 128 * 1024, 8),
    ("128 KiB write, QD 8 a core", "write", 128 * 1024, 8),
]


class Pair:
    """A target and its client, with as many cores each, on these CPUs."""

    def __init__(self, bench, cpus, cores):
        self.bench, self.cpus, self.cores = bench, cpus, cores
        self.target, self.uri = start_target(bench, "malloc:///bench?size_mb=512&blk_size=4096", cpus, cores)
        bench.run_json(cpus, *self.command("write", MIB, 4), "--once")  # a fresh page costs more than the I/O

    def command(self, access, block, qd):
        return self.bench.load_command(self.uri, access, block, qd, extra=["--cores", str(self.cores)])

    def start(self, access, block, qd):
        command = self.bench.on_core(self.cpus, *self.command(access, block, qd))
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def iops(pairs, access, block, qd):
    """Of all pairs at once."""
    loads = [pair.start(access, block, qd) for pair in pairs]
    return sum(side_of(json.loads(load.communicate()[0]), access)["iops"] for load in loads)


def measure(bench, rounds):
    rows = ["| malloc over TCP | one core: IOPS | two cores: IOPS | two / one | two targets / one |", "|---|---|---|---|---|"]
    with contextlib.ExitStack() as stack:
        def pair(cpus, cores):
            made = Pair(bench, cpus, cores)
            stack.callback(made.target.stop)
            return made
        one, other, both = pair("0", 1), pair("1", 1), pair("0,1", 2)
        for title, access, block, qd in WORK:
            seen = [[iops(pairs, access, block, qd) for pairs in ([one], [both], [one, other])] for _ in range(rounds)]
            single, double, separate = (statistics.median(column) for column in zip(*seen))
            rows.append(f"| {title} | {single / 1000:.1f} k | {double / 1000:.1f} k | **{double / single:.2f}** | "
                        f"{separate / single:.2f} |")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=ROOT / "build/release/bin", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    options.realtime = False
    bench = Bench(options)
    lines = [f"{machine()}; {options.seconds:g} s each, medians of {options.rounds}.", "",
             *measure(bench, options.rounds)]
    print("\n".join(lines))
    if options.write:
        publish("cores", lines)


if __name__ == "__main__":
    main()
