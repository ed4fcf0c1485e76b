#!/usr/bin/env python3
"""Compares our target with SPDK's, both under SPDK's own client, alternating in one run.

usage: bench/peer.py --spdk DIR [--bin DIR] [--seconds S] [--rounds N] [--only TEXT] [--file PATH] [--realtime] [--write]
  --spdk DIR     a built SPDK tree: build/bin/nvmf_tgt, build/bin/spdk_nvme_perf and scripts/rpc.py are used
  --bin DIR      our programs (build/release/bin)
  --seconds S    of each measurement (3)
  --rounds N     of both targets, in turn; medians are shown (3)
  --only TEXT    rows whose title contains it
  --file PATH    over this file (it must exist, 1 GiB or more) instead of over memory
  --realtime     for a machine that does other work too (root)
  --write        replace the table of its kind in docs/performance.md; else it is printed
The target has core 0 and the client core 1. CPU: the time of our process, polling included. Busy: the time in which a
reactor found something to do, as each counts it; the peer polls all of the rest.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

from run import MIB, ROOT, Bench, Process, publish, start_target

WORK = [  # title, perf's access, block bytes, queue depth
    *[(f"4 KiB random {kind}, QD {qd}", access, 4096, qd)
      for kind, access in (("read", ["randread"]), ("write", ["randwrite"]), ("70/30", ["randrw", "-M", "70"]))
      for qd in (1, 8, 32, 128)],
    ("128 KiB read, QD 8", ["read"], 128 * 1024, 8),
    ("128 KiB write, QD 8", ["write"], 128 * 1024, 8),
]
PEER_PORT, PEER_NQN = 24420, "nqn.2016-06.io.spdk:bench"


class SpdkProcess:
    """SPDK's target on core 0, with nothing in it but the transport."""

    def __init__(self, tree, bench, socket, megabytes):
        self.tree = pathlib.Path(tree)
        self.socket = socket
        command = bench.on_core(0, str(self.tree / "build/bin/nvmf_tgt"), "-m", "0x1", "--disable-cpumask-locks", "--no-huge",
                                "-s", str(megabytes), "-r", self.socket)
        self.process = Process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not os.path.exists(self.socket):
            time.sleep(0.05)
        self.call("nvmf_create_transport", "-t", "TCP", "-u", "131072", "-c", "8192", "-q", "128")

    def export(self, device, nqn, port):
        self.call("nvmf_create_subsystem", nqn, "-a", "-s", "S1")
        # An NGUID of its own: the process may be its own client, and takes no two devices with one identity.
        self.call("nvmf_subsystem_add_ns", nqn, device, "--nguid", uuid.uuid4().hex)
        self.call("nvmf_subsystem_add_listener", nqn, "-t", "tcp", "-a", "127.0.0.1", "-s", str(port))

    def call(self, *words):
        done = subprocess.run(["/usr/bin/python3", str(self.tree / "scripts/rpc.py"), "-t", "120", "-s", self.socket,
                               *words], capture_output=True, text=True, check=True)
        return done.stdout

    def stop(self):
        self.process.stop()


class Spdk(SpdkProcess):
    """With one namespace."""

    def __init__(self, tree, bench, folder, file):
        super().__init__(tree, bench, f"{folder}/spdk.sock", 1200)
        if file:
            self.call("bdev_aio_create", file, "B0", "4096")
        else:
            self.call("bdev_malloc_create", "-b", "B0", "512", "4096")
        self.export("B0", PEER_NQN, PEER_PORT)

    def busy_seconds(self):
        state = json.loads(self.call("framework_get_reactors"))
        return sum(reactor["busy"] for reactor in state["reactors"]) / state["tick_rate"]

    cpu_seconds = busy_seconds  # its process takes all of its core


class Client:
    """SPDK's perf on core 1."""

    def __init__(self, tree, bench, seconds):
        self.program = str(pathlib.Path(tree) / "build/bin/spdk_nvme_perf")
        self.bench = bench
        self.seconds = seconds

    def load(self, where, access, block, qd):
        command = self.bench.on_core(1, self.program, "--no-huge", "-s", "400", "-c", "0x2", "-L", "-q", str(qd), "-o",
                                     str(block), "-w", *access, "-t", str(self.seconds), "-r", where)
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        total = re.search(r"^Total\s*:\s+([\d.]+)\s+[\d.]+\s+([\d.]+)", text, re.M)
        if not total:
            sys.exit(f"{' '.join(command)} printed no total:\n{text}")
        p99 = float(re.search(r"99\.00000% :\s+([\d.]+)us", text)[1])
        return {"iops": float(total[1]), "mean": float(total[2]), "p99": p99}

    def run(self, where, access, block, qd, target):
        """With what the target took for each."""
        before = target.cpu_seconds(), target.busy_seconds()
        seen = self.load(where, access, block, qd)
        used = target.cpu_seconds() - before[0], target.busy_seconds() - before[1]
        each = 1e6 / (seen["iops"] * self.seconds)
        return {**seen, "cpu": used[0] * each, "busy": used[1] * each}


def median(runs):
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def transport_id(uri):
    """As SPDK names it."""
    address, port, nqn = re.fullmatch(r"nvmf://([\d.]+):(\d+)/([^?]+).*", uri).groups()
    return f"trtype:TCP adrfam:IPv4 traddr:{address} trsvcid:{port} subnqn:{nqn}"


def measure(options, bench, folder):
    client = Client(options.spdk, bench, options.seconds)
    device = f"aio://{options.file}?blk_size=4096" if options.file else "malloc:///bench?size_mb=512&blk_size=4096"
    rows = ["| | IOPS | peer | ratio | mean us | peer | p99 us | peer | CPU us per I/O | busy | "
            "peer busy | CPU / busy | busy / busy |", "|---|---|---|---|---|---|---|---|---|---|---|---|---|"]
    work = [row for row in WORK if options.only in row[0]]
    results = {title: ([], []) for title, *_ in work}
    for _ in range(options.rounds):  # one target at a time: the peer's never sleeps
        for side in (0, 1):
            if side == 0:
                target, uri = start_target(bench, device)
            else:
                target = Spdk(options.spdk, bench, folder, options.file)
                uri = f"nvmf://127.0.0.1:{PEER_PORT}/{PEER_NQN}"
            try:
                if not options.file:  # a fresh page costs more than the I/O
                    bench.load(uri, "write", MIB // 8, 4, extra=["--once"])
                for title, access, block, qd in work:
                    results[title][side].append(client.run(transport_id(uri), access, block, qd, target))
            finally:
                target.stop()
    for title, (ours, theirs) in results.items():
        us, peer = median(ours), median(theirs)
        rows.append(f"| {title} | {us['iops'] / 1000:.1f} k | {peer['iops'] / 1000:.1f} k | "
                    f"**{us['iops'] / peer['iops']:.2f}** | {us['mean']:.1f} | {peer['mean']:.1f} | {us['p99']:.1f} | "
                    f"{peer['p99']:.1f} | {us['cpu']:.2f} | {us['busy']:.2f} | {peer['busy']:.2f} | "
                    f"**{us['cpu'] / peer['busy']:.2f}** | {us['busy'] / peer['busy']:.2f} |")
    return rows


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0], description=__doc__.split("\n")[0])
    parser.add_argument("--spdk", required=True)
    parser.add_argument("--bin", default=str(ROOT / "build/release/bin"))
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--file")
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    bench = Bench(options)
    if options.realtime:
        bench.priority = ["chrt", "--fifo", "10"]
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options, bench, folder)
    if options.write:
        publish(f"peer {'file' if options.file else 'memory'}", rows)
    else:
        print("\n".join(rows))


if __name__ == "__main__":
    main()
