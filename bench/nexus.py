#!/usr/bin/env python3
"""Measures mirrors beside SPDK's, and a volume of a pool behind a nexus beside the bare file.

usage: bench/nexus.py [--spdk DIR] [--bin DIR] [--seconds S] [--rounds N] [--only PART...] [--folder DIR] [--write]
  --spdk DIR     a built SPDK tree; without it there are no mirrors
  --bin DIR      our programs (build/release/bin)
  --seconds S    of each measurement (3)
  --rounds N     of all sides, in turn; medians are shown (3)
  --only PART    mirror, file
  --folder DIR   where the files are made; 3 GiB are needed (/var/tmp)
  --write        replace the parts of docs/performance.md; else they are printed
Mirrors: replicas are memory devices that the mirror reaches over NVMe/TCP. Everything but the client is on core 0; the
client of both sides is SPDK's perf, on core 1.
"""
import argparse
import contextlib
import pathlib
import shutil
import statistics
import tempfile

from peer import PEER_PORT, Client, SpdkProcess, median, transport_id
from run import MIB, ROOT, Bench, Engine, machine, publish, side_of, sparse

NEXUS = "5e1f0b1c-0b55-4a4e-8f0d-0d6f6a1f5a12"
REPLICA_MIB = 256
PEER_NQN = "nqn.2016-06.io.spdk:"
MIRROR_WORK = [(kind, qd) for kind in ("read", "write") for qd in (1, 32, 128)]
FILE_WORK = [
    *[(f"4 KiB {name} {kind}, QD {qd}", prefix + kind, 4096, qd)
      for name, prefix in (("random", "rand"), ("sequential", "")) for kind in ("read", "write") for qd in (1, 32)],
    *[(f"128 KiB {name} {kind}, QD 8", prefix + kind, 128 * 1024, 8)
      for name, prefix in (("random", "rand"), ("sequential", "")) for kind in ("read", "write")],
]


def our_engine(bench, folder, stack, number):
    data = folder / str(number)
    data.mkdir()
    engine = Engine(bench, data, f"node-{number}", 20124 + number, 28420 + number, core=0)
    stack.callback(shutil.rmtree, data)
    stack.callback(engine.process.stop)
    engine.wait_until_up()
    return engine


def our_mirror(bench, folder, stack, replicas, processes):
    """Its URI. The nexus is in the first process, the replicas in the others, if there are any."""
    # The first one ends first: it flushes what the others have.
    engines = [our_engine(bench, folder, stack, number) for number in reversed(range(processes))][::-1]
    children = []
    for number in range(replicas):
        engine = engines[(number + 1) % processes]
        engine.must("bdev", "create", f"malloc:///r{number}?size_mb={REPLICA_MIB}&blk_size=4096")
        children.append(engine.must("bdev", "share", f"r{number}").split()[-1])
    engines[0].must("nexus", "create", NEXUS, f"{REPLICA_MIB - 16}MiB", *children)
    return engines[0].must("nexus", "publish", NEXUS).split()[-1]


def their_mirror(spdk, bench, folder, stack, replicas, processes):
    targets = []
    for number in range(processes):
        target = SpdkProcess(spdk, bench, f"{folder}/spdk{number}.sock", 1800 if processes == 1 else 700)
        stack.callback(target.stop)
        targets.append(target)
    for number in range(replicas):
        at = (number + 1) % processes
        name, nqn, port = f"r{number}", f"{PEER_NQN}r{number}", str(PEER_PORT + at)
        targets[at].call("bdev_malloc_create", "-b", name, str(REPLICA_MIB), "4096")
        targets[at].export(name, nqn, port)
        targets[0].call("bdev_nvme_attach_controller", "-b", f"c{number}", "-t", "tcp", "-f", "ipv4", "-a", "127.0.0.1", "-s",
                        port, "-n", nqn)
    children = " ".join(f"c{number}n1" for number in range(replicas))
    targets[0].call("bdev_raid_create", "-n", "mirror", "-r", "raid1", "-b", children)
    targets[0].export("mirror", PEER_NQN + "mirror", PEER_PORT)
    return f"nvmf://127.0.0.1:{PEER_PORT}/{PEER_NQN}mirror"


def mirror_rows(options, bench, folder, replicas, processes, wanted):
    client = Client(options.spdk, bench, options.seconds)
    seen = {work: ([], []) for work in MIRROR_WORK}
    for _ in range(options.rounds):
        for side in (0, 1):
            with contextlib.ExitStack() as stack:
                if side == 0:
                    uri = our_mirror(bench, folder, stack, replicas, processes)
                else:
                    uri = their_mirror(options.spdk, bench, folder, stack, replicas, processes)
                bench.load(uri, "write", MIB // 8, 4, extra=["--once"])  # a fresh page costs more than the I/O
                for kind, qd in MIRROR_WORK:
                    seen[kind, qd][side].append(client.load(transport_id(uri), [f"rand{kind}"], 4096, qd))
    rows = []
    for (kind, qd), sides in seen.items():
        us, peer = (median(runs) for runs in sides)
        rows.append(f"| 4 KiB random {kind}, QD {qd} | {us['iops']:.0f} | {peer['iops']:.0f} | "
                    f"**{us['iops'] / peer['iops']:.2f}** | {wanted.get((kind, qd), '')} | {us['p99']:.0f} | {peer['p99']:.0f} |")
    return rows


def mirror_part(options, bench, folder):
    head = ["| {} | IOPS | peer | ratio | wanted | p99 us | peer |", "|---|---|---|---|---|---|---|"]
    three = {("write", qd): "1.3" for qd in (1, 32, 128)}
    shared = {("write", 1): "100", ("write", 32): "20"}
    return [head[0].format("three replicas, one process"), head[1],
            *mirror_rows(options, bench, folder, 3, 1, three), "",
            head[0].format("two replicas, three processes on one core"), head[1],
            *mirror_rows(options, bench, folder, 2, 3, shared)]


def file_part(options, bench, folder):
    """One engine on core 0: a nexus over one thick replica, and beside it the bare file, both exported."""
    size = 1 << 30
    disk, bare = sparse(folder / "pool.img", size + size // 4), sparse(folder / "bare.img", size)
    seen = {title: ([], []) for title, *_ in FILE_WORK}
    with contextlib.ExitStack() as stack:
        engine = our_engine(bench, folder, stack, 0)
        engine.must("pool", "create", "pool", str(disk))
        engine.must("replica", "create", "r", "", "pool", "-s", str(size))
        engine.must("nexus", "create", NEXUS, str(size - 16 * MIB), "bdev:///r")
        volume = engine.must("nexus", "publish", NEXUS).split()[-1]
        engine.must("bdev", "create", f"aio://{bare}?blk_size=4096")
        file = engine.must("bdev", "share", str(bare)).split()[-1]
        for uri in (file, volume):
            bench.load(uri, "write", MIB, 4, extra=["--once"])
        for _ in range(options.rounds):
            for title, access, block, qd in FILE_WORK:
                for side, uri in enumerate((volume, file)):
                    seen[title][side].append(side_of(bench.load(uri, access, block, qd), access)["iops"])
    rows = ["| over NVMe/TCP | bare file: IOPS | nexus and pool: IOPS | ratio |", "|---|---|---|---|"]
    for title, sides in seen.items():
        with_both, alone = (statistics.median(side) for side in sides)
        rows.append(f"| {title} | {alone / 1000:.1f} k | {with_both / 1000:.1f} k | **{with_both / alone:.2f}** |")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spdk")
    parser.add_argument("--bin", default=ROOT / "build/release/bin")
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=["mirror", "file"], default=["mirror", "file"])
    parser.add_argument("--folder", default="/var/tmp")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    options.realtime = False
    bench = Bench(options)
    parts = {"mirror": mirror_part, "file": file_part}
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=options.folder) as folder:
        for part in options.only:
            if part == "mirror" and not options.spdk:
                continue
            lines = [f"{machine()}; {options.seconds} s each, medians of {options.rounds}.", "",
                     *parts[part](options, bench, pathlib.Path(folder))]
            print("\n".join(lines))
            if options.write:
                publish(f"nexus {part}", lines)


if __name__ == "__main__":
    main()
