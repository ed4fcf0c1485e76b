#!/usr/bin/env python3
"""Measures the data path and the engine, against what they are compared with, in one run.

usage: bench/run.py [--bin DIR] [--seconds S] [--realtime] [--only PART...] [--write]
  --bin DIR      the programs (build/release/bin)
  --seconds S    of each measurement (5)
  --realtime     for a machine that does other work too (root): memory and TCP at real-time priority. Files at the
                 highest nice level only: the kernel's own workers, which end writes to files, must be able to run
  --only PART    memory, file, engine
  --write        replace the measured part of docs/performance.md; else it is printed
The target has core 0 and the client core 1. Every figure stands beside its floor: plain TCP, or fio on the same file.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIB = 1 << 20
HERTZ = os.sysconf("SC_CLK_TCK")
WORK = [  # title, bench access, fio access, block bytes, queue depth
    *[(f"4 KiB random {kind}, QD {qd}", f"rand{kind}", 4096, qd) for kind in ("read", "write") for qd in (1, 8, 32, 128)],
    ("128 KiB read, QD 8", "read", 128 * 1024, 8),
    ("128 KiB write, QD 8", "write", 128 * 1024, 8),
]


class Bench:
    def __init__(self, options):
        self.bin = pathlib.Path(options.bin).resolve()
        self.seconds = options.seconds
        self.realtime = options.realtime
        self.priority = []

    def program(self, name):
        path = self.bin / name
        if not path.exists():
            sys.exit(f"{path} is missing: cmake --preset release && cmake --build --preset release")
        return str(path)

    def on_core(self, core, *command):
        return [*self.priority, "taskset", "-c", str(core), *command]

    def run_json(self, core, *command):
        done = subprocess.run(self.on_core(core, *command), capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{done.stderr}{done.stdout}")
        return json.loads(done.stdout)

    def load_command(self, uri, access, block, qd, seconds=None, extra=()):
        return [self.program("holdfast"), "bench", uri, "--rw", access, "--bs", str(block), "--qd", str(qd), "--time",
                str(seconds or self.seconds), "--warmup", "0.5", "-o", "json", *extra]

    def load(self, *work, **how):
        return self.run_json(1, *self.load_command(*work, **how))

    def pingpong(self, request, answer, qd, batch):
        command = [*self.priority, self.program("tcp-pingpong"), "--request", str(request), "--answer", str(answer),
                   "--qd", str(qd), "--time", str(min(self.seconds, 3))]
        if batch:
            command.append("--batch")
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def fio(self, path, access, block, qd):
        done = self.run_json(1, "fio", "--name=x", f"--filename={path}", f"--rw={access}", f"--bs={block}",
                             f"--iodepth={qd}", "--direct=1", "--ioengine=io_uring", "--time_based", "--norandommap",
                             f"--runtime={self.seconds}", "--output-format=json", "--randrepeat=0")
        return side_of(done["jobs"][0], access)


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / HERTZ


def resident_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024


class Process:
    """A server with its CPU time and memory."""

    def __init__(self, command, **how):
        self.child = subprocess.Popen(command, **how)

    def cpu_seconds(self):
        return cpu_seconds(self.child.pid)

    def busy_seconds(self):
        """Of our target: the time of turns that found something to do."""
        self.child.send_signal(signal.SIGUSR1)
        return int(self.child.stdout.readline()) * 1e-9

    def resident_mib(self):
        return resident_mib(self.child.pid)

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait(timeout=30)


def sparse(path, size):
    path.touch()
    os.truncate(path, size)
    return path


def start_target(bench, uri, cpus=0, cores=1):
    command = bench.on_core(cpus, bench.program("bench-target"), "0", str(cores), "50", uri)
    target = Process(command, stdout=subprocess.PIPE, text=True)
    return target, target.child.stdout.readline().strip()


def side_of(result, access):
    """Of what `holdfast bench` or fio tells."""
    return result["write" if "write" in access else "read"]


def us(nanoseconds):
    return f"{nanoseconds / 1000:.1f}"


def measure_row(bench, target, uri, access, block, qd):
    before, begun = target.cpu_seconds(), time.monotonic()
    result = bench.load(uri, access, block, qd)
    used, took = target.cpu_seconds() - before, time.monotonic() - begun
    side = side_of(result, access)
    # The warm-up is in the CPU time too, and does the same work.
    cpu_us = used / took * result["seconds"] * 1e6 / max(1, side["operations"])
    return side, cpu_us


def memory_part(bench):
    rows = ["| malloc over TCP | IOPS | mean us | p50 | p99 | p99.9 | target CPU us per I/O | plain TCP: IOPS, mean us | "
            "plain TCP, batched: IOPS | IOPS / batched TCP |", "|---|---|---|---|---|---|---|---|---|---|"]
    target, uri = start_target(bench, "malloc:///bench?size_mb=512&blk_size=4096")
    try:
        bench.load(uri, "write", MIB, 4, extra=["--once"])  # a fresh page costs more than the I/O
        for title, access, block, qd in WORK:
            side, cpu = measure_row(bench, target, uri, access, block, qd)
            sizes = (72 + block, 24) if "write" in access else (72, 24 + block)
            plain, batched = bench.pingpong(*sizes, qd, False), bench.pingpong(*sizes, qd, True)
            latency = side["latency_ns"]
            rows.append(f"| {title} | {side['iops'] / 1000:.1f} k | {us(latency['mean'])} | {us(latency['p50'])} | "
                        f"{us(latency['p99'])} | {us(latency['p99.9'])} | {cpu:.2f} | {plain['iops'] / 1000:.1f} k, "
                        f"{plain['mean_us']:.1f} | {batched['iops'] / 1000:.1f} k | {side['iops'] / batched['iops']:.2f} |")
    finally:
        target.stop()
    return rows


def file_part(bench, folder):
    path = sparse(folder / "disk.img", 1 << 30)
    bench_uri = f"aio://{path}?blk_size=4096"
    bench.load(bench_uri, "write", MIB, 4, extra=["--once"])
    rows = ["| file over TCP | IOPS | mean us | p50 | p99 | p99.9 | target CPU us per I/O | fio on the file: IOPS, mean us "
            "| IOPS / fio |", "|---|---|---|---|---|---|---|---|---|"]
    for title, access, block, qd in WORK:
        fio = bench.fio(path, access, block, qd)
        target, uri = start_target(bench, bench_uri)
        try:
            side, cpu = measure_row(bench, target, uri, access, block, qd)
        finally:
            target.stop()
        latency = side["latency_ns"]
        rows.append(f"| {title} | {side['iops'] / 1000:.1f} k | {us(latency['mean'])} | {us(latency['p50'])} | "
                    f"{us(latency['p99'])} | {us(latency['p99.9'])} | {cpu:.2f} | {fio['iops'] / 1000:.1f} k, "
                    f"{fio['lat_ns']['mean'] / 1000:.1f} | {side['iops'] / max(1, fio['iops']):.2f} |")
    return rows


class Engine:
    """With one I/O core, on the CPU `core` if one is given."""

    def __init__(self, bench, folder, node="bench", grpc_port=20124, nvmf_port=28420, core=None):
        self.bench = bench
        self.grpc = f"http://127.0.0.1:{grpc_port}"
        flags = ["--node-name", node, "--grpc-ip", "127.0.0.1", "--grpc-port", str(grpc_port), "--nvmf-ip", "127.0.0.1",
                 "--nvmf-port", str(nvmf_port), "--metrics-port", "0", "--cores", "1", "--data-dir", str(folder / "data"),
                 "--log-level", "warn"]
        command = [bench.program("holdfast-engine"), *flags]
        self.process = Process(command if core is None else bench.on_core(core, *command))

    def call(self, *words):
        command = [self.bench.program("holdfast"), "engine", "--bind", self.grpc, *words]
        return subprocess.run(command, capture_output=True, text=True)

    def must(self, *words):
        done = self.call(*words)
        if done.returncode != 0:
            sys.exit(f"holdfast engine {' '.join(words)} failed:\n{done.stderr}{done.stdout}")
        return done.stdout.strip()

    def wait_until_up(self):
        while self.call("bdev", "list").returncode != 0:
            time.sleep(0.01)


def time_to_first_io(bench, folder):
    """From the start of the process to the end of a read over NVMe/TCP, with the two gRPC calls between."""
    begun = time.monotonic()
    engine = Engine(bench, folder)
    try:
        engine.wait_until_up()
        engine.must("bdev", "create", "malloc:///first?size_mb=64")
        uri = engine.must("bdev", "share", "first").split()[-1]
        bench.load(uri, "read", 4096, 1, 0.01, ["--size", "4096", "--once"])
        return (time.monotonic() - begun) * 1000
    finally:
        engine.process.stop()


def idle_and_memory(bench, folder):
    engine = Engine(bench, folder)
    try:
        engine.wait_until_up()
        for i in range(10):
            disk = sparse(folder / f"idle{i}.img", 64 * MIB)
            engine.must("bdev", "create", f"aio://{disk}?blk_size=4096")
            uri = engine.must("bdev", "share", str(disk)).split()[-1]
            bench.load(uri, "write", 65536, 8, extra=["--once"])
        before = engine.process.cpu_seconds()
        time.sleep(30)
        return (engine.process.cpu_seconds() - before) / 30 * 100, engine.process.resident_mib()
    finally:
        engine.process.stop()


def rebuild(bench, folder, megabytes=4096):
    """MiB/s of a full rebuild, and of dd between the same two files before it."""
    disks = [folder / "child0.img", folder / "child1.img"]
    for disk in disks:
        sparse(disk, megabytes * MIB)
        bench.load(f"aio://{disk}?blk_size=4096", "write", MIB, 4, extra=["--once"])
    begun = time.monotonic()
    subprocess.run(["dd", f"if={disks[0]}", f"of={disks[1]}", "bs=1M", "iflag=direct", "oflag=direct", "conv=notrunc",
                    "status=none"], check=True)
    copy = megabytes / (time.monotonic() - begun)
    engine = Engine(bench, folder)
    uuid = "5e1f0b1c-0b55-4a4e-8f0d-0d6f6a1f5a10"
    try:
        engine.wait_until_up()
        children = [f"aio://{disk}?blk_size=4096" for disk in disks]
        engine.must("nexus", "create", uuid, f"{megabytes - 16}MiB", children[0])
        begun = time.monotonic()
        engine.must("nexus", "add", uuid, children[1])
        engine.must("rebuild", "watch", uuid, "--interval", "0.1")
        speed = (megabytes - 16) / (time.monotonic() - begun)
        engine.must("nexus", "destroy", uuid)
    finally:
        engine.process.stop()
    return speed, copy


def engine_part(bench, folder):
    start = min(time_to_first_io(bench, folder) for _ in range(3))
    cpu, memory = idle_and_memory(bench, folder)
    speed, copy = rebuild(bench, folder)
    return ["| engine | measured | wanted |", "|---|---|---|",
            f"| CPU when idle, 30 s, ten exported devices | {cpu:.2f} % of a core | under 1 % |",
            f"| resident memory, ten exported devices that were written | {memory:.0f} MiB | under 200 MiB |",
            f"| start to the end of the first I/O, gRPC calls and three command line processes included "
            f"| {start:.0f} ms | under 300 ms |",
            f"| full rebuild, file to file | {speed:.0f} MiB/s, dd {copy:.0f} MiB/s: {speed / copy:.2f} | 0.80 |"]


def machine():
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    release = os.uname().release
    return f"{os.cpu_count()} CPUs ({model[1] if model else 'unknown'}), Linux {release}"


def publish(part, lines):
    """Replaces the part of docs/performance.md that is between its two marks."""
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    page = ROOT / "docs" / "performance.md"
    before, rest = page.read_text().split(begin)
    page.write_text(f"{before}{begin}\n" + "\n".join(lines) + f"\n{end}" + rest.split(end)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=ROOT / "build/release/bin")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("--only", nargs="+", choices=["memory", "file", "engine"], default=["memory", "file", "engine"])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    bench = Bench(options)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-bench-", dir="/var/tmp"))
    lines = [f"{machine()}; {options.seconds:g} s each{', real-time priority' if options.realtime else ''}.", ""]
    try:
        if "memory" in options.only:
            bench.priority = ["chrt", "-f", "50"] if bench.realtime else []
            lines += [*memory_part(bench), ""]
        bench.priority = ["nice", "-n", "-20"] if bench.realtime else []
        if "file" in options.only:
            lines += [*file_part(bench, folder), ""]
        bench.priority = []
        if "engine" in options.only:
            lines += [*engine_part(bench, folder), ""]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(lines))
    if options.write:
        publish("measured", lines)


if __name__ == "__main__":
    main()
