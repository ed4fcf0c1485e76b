#!/usr/bin/env python3
"""Measures volumes of a pool: beside the bare file, beside themselves with snapshots, and beside SPDK's lvol.

usage: bench/pool.py [--bin DIR] [--spdk DIR] [--seconds S] [--rounds N] [--folder DIR] [--write]
  --bin DIR      the programs (build/release/bin)
  --spdk DIR     a built SPDK tree, for the first writes of a thin volume; without it that row has no peer
  --seconds S    of each measurement (3)
  --rounds N     of all sides, in turn; medians are shown (3)
  --folder DIR   where the files of the disks are made; 20 GiB are needed (/var/tmp)
  --write        replace the pool's part of docs/performance.md; else it is printed
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

from run import ROOT, Bench, publish, side_of, sparse, start_target
from peer import PEER_NQN, PEER_PORT, Spdk

GIB = 1 << 30


def figures(bench, *words):
    done = subprocess.run([bench.program("pool-figures"), *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"pool-figures {' '.join(map(str, words))} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def in_place(bench, folder, rounds):
    """A thick volume beside the bare file; and with 100 snapshots beside none. Everything was written before."""
    bare = sparse(folder / "bare.img", 4 * GIB)
    disk = sparse(folder / "pool.img", 9 * GIB)  # a snapshot of a thick volume reserves it once more
    device = f"aio://{bare}?blk_size=4096"
    volume = f"pool:///v?disks={disk}"
    span = ["--size", str(4 * GIB)]
    bench.load(device, "write", 1 << 20, 4, extra=["--once", *span])
    bench.load(f"{volume}&size=4GiB&thick", "write", 1 << 20, 4, extra=["--once", *span])
    rows = ["| 4 KiB random, thick volume | bare file: IOPS | pool: IOPS | pool / file | wanted |", "|---|---|---|---|---|"]
    for access in ("randread", "randwrite"):
        for qd in (1, 8, 32):
            iops = {device: [], volume: []}
            for _ in range(rounds):
                for uri in iops:
                    iops[uri].append(side_of(bench.load(uri, access, 4096, qd, extra=span), access)["iops"])
            file_iops, pool_iops = (statistics.median(iops[uri]) for uri in (device, volume))
            rows.append(f"| {access[4:]}, QD {qd} | {file_iops / 1000:.1f} k | {pool_iops / 1000:.1f} k | "
                        f"**{pool_iops / file_iops:.2f}** | 0.95 |")
    before = [side_of(bench.load(volume, "randread", 4096, 8, extra=span), "randread")["iops"] for _ in range(rounds)]
    bench.load(f"{volume}&snapshots=100", "randread", 4096, 8, 0.1, span)
    after = [side_of(bench.load(volume, "randread", 4096, 8, extra=span), "randread")["iops"] for _ in range(rounds)]
    none, many = statistics.median(before), statistics.median(after)
    rows.append(f"| read, QD 8, 100 snapshots beside none | {none / 1000:.1f} k | {many / 1000:.1f} k | "
                f"**{many / none:.2f}** | 1 |")
    for file in (bare, disk):
        file.unlink()
    return rows


def written(bench, path, size):
    """Its blocks are there, as those of a disk are, and durable: else a flush is the affair of the file system."""
    sparse(path, size)
    bench.load(f"aio://{path}?blk_size=4096", "write", 1 << 20, 4, extra=["--once"])
    with open(path, "r+b") as file:
        os.fsync(file.fileno())
    return path


def each_cluster_once(bench, uri):
    """4 KiB into each 4 MiB, in random order: every write is the first one of a cluster, for both."""
    return side_of(bench.load(uri, "randwrite", 4096, 32, extra=["--once", "--stride", str(4 << 20)]), "randwrite")


def our_first_writes(bench, folder):
    """Into a new volume, and again after a snapshot of it."""
    disk = written(bench, folder / "thin.img", 16 * GIB)
    found = []
    try:
        for how in ("size=7GiB", "snapshots=1"):
            target, uri = start_target(bench, f"pool:///v?disks={disk}&{how}")
            try:
                found.append(each_cluster_once(bench, uri))
            finally:
                target.stop()
    finally:
        disk.unlink()
    return found


def peer_first_writes(bench, folder, spdk):
    disk = written(bench, folder / "lvol.img", 16 * GIB)
    target = Spdk(spdk, bench, folder, str(disk))
    uri = f"nvmf://127.0.0.1:{PEER_PORT}/{PEER_NQN}"
    try:
        target.call("nvmf_subsystem_remove_ns", PEER_NQN, "1")
        target.call("bdev_lvol_create_lvstore", "B0", "lvs", "-c", str(4 << 20))
        # Half of the store: after a snapshot every cluster is there twice.
        target.call("bdev_lvol_create", "-l", "lvs", "-t", "v", str(7 * 1024))
        target.call("nvmf_subsystem_add_ns", PEER_NQN, "lvs/v")
        found = [each_cluster_once(bench, uri)]
        target.call("bdev_lvol_snapshot", "lvs/v", "s")
        return [*found, each_cluster_once(bench, uri)]
    finally:
        target.stop()
        disk.unlink()


def first_writes(bench, folder, spdk, rounds):
    """One to each 4 MiB of a volume of 7 GiB, over NVMe/TCP, QD 32; and once more after a snapshot."""
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(our_first_writes(bench, folder))
        if spdk:
            theirs.append(peer_first_writes(bench, folder, spdk))
    rows = ["| 4 KiB random first write, thin, QD 32, over NVMe/TCP | IOPS | mean us | p99 us |", "|---|---|---|---|"]

    def row(name, results):
        iops, mean, p99 = (statistics.median(values) for values in zip(*(
            (r["iops"], r["latency_ns"]["mean"] / 1000, r["latency_ns"]["p99"] / 1000) for r in results)))
        rows.append(f"| {name} | {iops:.0f} | {mean:.0f} | {p99:.0f} |")
        return iops

    for i, when in enumerate(("new", "after a snapshot")):
        our_iops = row(f"pool, {when}", [r[i] for r in ours])
        if theirs:
            peer_iops = row(f"SPDK lvol, clusters of 4 MiB, {when}", [r[i] for r in theirs])
            rows.append(f"| pool / lvol, {when} | **{our_iops / peer_iops:.1f}** (5 is wanted) | | |")
    return rows


def metadata(bench, folder):
    pause = figures(bench, "pause", folder, 10)
    small = figures(bench, "open", folder, 100, 10, 1)
    large = figures(bench, "open", folder, 1000, 10, 100)
    return ["| metadata | measured | wanted |", "|---|---|---|",
            f"| pause of a 1 TiB thin volume's writes by a snapshot, under writes at QD 8: median, longest of "
            f"{pause['snapshots']} | {pause['pause_median_ms']:.2f} ms, {pause['pause_max_ms']:.2f} ms | under 5 ms |",
            f"| p99 of the writes during the call; of all others | {pause['around_p99_ms']:.1f} ms; "
            f"{pause['others_p99_ms']:.1f} ms | |",
            f"| open a pool with 100 volumes of 10 snapshots each | {small['open_ms']:.0f} ms | under 1 s |",
            f"| 100 TiB of disks, 1,000 volumes, 10,000 snapshots: make, open, memory | {large['make_ms'] / 1000:.1f} s, "
            f"{large['open_ms']:.0f} ms, {large['memory_mib']:.0f} MiB | |"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=ROOT / "build/release/bin")
    parser.add_argument("--spdk")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default="/var/tmp")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    options.realtime = False
    bench = Bench(options)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-pool-", dir=options.folder))
    try:
        lines = [*in_place(bench, folder, options.rounds), "",
                 *first_writes(bench, folder, options.spdk, options.rounds), "", *metadata(bench, folder)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(lines))
    if options.write:
        publish("pool", lines)


if __name__ == "__main__":
    main()
