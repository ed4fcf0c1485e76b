#!/usr/bin/env python3
"""Measures what a replica has to copy after the engine of its nexus was killed, beside a full copy.

usage: bench/resync.py [--bin DIR] [--gib N] [--touched PERCENT] [--folder DIR] [--write]
  --bin DIR          the programs (build/release/bin)
  --gib N            size of the volume (8); four times that is needed
  --touched PERCENT  of the volume, written just before the kill (1)
  --folder DIR       where the files of the pools are made (/var/tmp)
  --write            replace its part of docs/performance.md; else it is printed
Two engines with a pool each; the nexus is beside the first replica. Everything was written once before.
"""
import argparse
import json
import pathlib
import shutil
import signal
import sys
import tempfile
import time

from run import MIB, ROOT, Bench, Engine, publish, sparse

NEXUS = "5e1f0b1c-0b55-4a4e-8f0d-0d6f6a1f5a11"
SETTLED = 25  # seconds until regions that are written no more count as equal


class Node:
    def __init__(self, bench, folder, number):
        self.bench, self.folder, self.number = bench, folder / str(number), number
        self.folder.mkdir()
        self.engine = None
        self.start()

    def start(self):
        self.engine = Engine(self.bench, self.folder, f"node-{self.number}", 20124 + self.number, 28420 + self.number)
        self.engine.wait_until_up()

    def kill(self):
        self.engine.process.child.send_signal(signal.SIGKILL)
        self.engine.process.child.wait()

    def make_pool(self, size):
        disk = sparse(self.folder / "disk.img", size)
        self.engine.must("pool", "create", f"pool-{self.number}", str(disk))

    def make_replica(self, name, size, protocol="nvmf"):
        made = self.engine.must("replica", "create", name, "", f"pool-{self.number}", "-s", str(size), "--thin",
                                "-p", protocol, "-q")
        return made.split()[-1]


def finished_rebuild(engine, seen):
    """The newest rebuild beyond those seen before."""
    engine.must("rebuild", "watch", NEXUS, "--interval", "0.05")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        records = json.loads(engine.must("rebuild", "history", NEXUS, "-o", "json"))["records"]
        if len(records) > seen:
            return records
        time.sleep(0.05)
    sys.exit("no rebuild has ended")


def copied(record):
    return int(record["blocks_transferred"]) * int(record["block_size"])


def measure(bench, folder, size, percent):
    nodes = [Node(bench, folder, n) for n in (1, 2)]
    try:
        for node in nodes:
            node.make_pool(2 * size + size // 4)
        children = ["bdev:///r1", nodes[1].make_replica("r2", size)]
        nodes[0].make_replica("r1", size, "none")
        first = nodes[0].engine
        first.must("nexus", "create", NEXUS, str(size - 16 * MIB), *children)
        uri = first.must("nexus", "publish", NEXUS).split()[-1]
        bench.load(uri, "write", MIB, 4, extra=["--once"])
        time.sleep(SETTLED)
        touched = int(size * percent / 100) // MIB * MIB
        bench.load(uri, "write", MIB, 4, extra=["--once", "--size", str(touched)])
        nodes[0].kill()
        nodes[0].start()
        first = nodes[0].engine
        begun = time.monotonic()
        first.must("nexus", "create", NEXUS, str(size - 16 * MIB), *children)
        records = finished_rebuild(first, 0)
        partial = (time.monotonic() - begun, copied(records[-1]))
        first.must("nexus", "remove", NEXUS, children[1])
        another = nodes[1].make_replica("r3", size)
        begun = time.monotonic()
        first.must("nexus", "add", NEXUS, another)
        records = finished_rebuild(first, len(records))
        return touched, partial, (time.monotonic() - begun, copied(records[-1]))
    finally:
        for node in nodes:
            node.engine.process.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=ROOT / "build/release/bin")
    parser.add_argument("--gib", type=int, default=8)
    parser.add_argument("--touched", type=float, default=1)
    parser.add_argument("--folder", default="/var/tmp")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    options.realtime, options.seconds = False, 600
    bench = Bench(options)
    size = options.gib * 1024 * MIB
    folder = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-resync-", dir=options.folder))
    try:
        touched, partial, full = measure(bench, folder, size, options.touched)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines = [f"| volume of {options.gib} GiB, all of it written | MiB copied | seconds | of the full copy |",
             "|---|---|---|---|",
             f"| full copy to a new replica | {full[1] // MIB} | {full[0]:.2f} | |",
             f"| after a kill of the nexus, {touched // MIB} MiB touched before | {partial[1] // MIB} | {partial[0]:.2f} | "
             f"{partial[1] / full[1] * 100:.1f} % of the bytes, {partial[0] / full[0] * 100:.1f} % of the time |"]
    print("\n".join(lines))
    if options.write:
        publish("resync", lines)


if __name__ == "__main__":
    main()
