#!/usr/bin/env python3
"""Real programs on the host, a real Linux kernel as their NVMe/TCP host in a guest. Each @case is one test.

Exit status: 0 passed, 1 something failed, 77 nothing could be run here.
"""
from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
GUEST = str(HERE / "guest")
SCRIPTS = HERE / "scripts"
EXIT_SKIP = 77
START_SECONDS_MAX = 20


class Failed(Exception):
    """The case failed; the text says at what."""


# ---- the programs under test: flags, commands and output are known here only -----------------------
@dataclass(frozen=True)
class Subsystem:
    port: int
    nqn: str
    uri: str


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not in {seconds:g} s")
        time.sleep(0.05)


class Engine:
    """A holdfast-engine process on 127.0.0.1. It keeps its ports and its data folder when it is restarted."""

    def __init__(self, programs: Path, name: str, folder: Path) -> None:
        self.programs, self.name, self.log, self.data = programs, name, folder / f"{name}.log", folder / f"{name}.data"
        self.data.mkdir()
        self.grpc_port, self.nvmf_port = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Engine:
        command = [str(self.programs / "holdfast-engine"), "--node-name", self.name,
                   "--grpc-ip", "127.0.0.1", "--grpc-port", str(self.grpc_port),
                   "--nvmf-ip", "127.0.0.1", "--nvmf-port", str(self.nvmf_port),
                   "--metrics-port", "0", "--cores", "1", "--data-dir", str(self.data)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(self.answers, START_SECONDS_MAX, f"{self.name} answers")
        return self

    def answers(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise Failed(f"{self.name} ended: {self.log}")
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.grpc_port)) == 0

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """An orderly end; a process that died before, or that does not end, is a failure."""
        if self.process is None:
            return
        died = self.process.poll()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"{self.name} ignored SIGTERM") from None
        if died is not None or code != 0:
            raise Failed(f"{self.name} ended with {code}: {self.log}")

    def cli(self, *args: str) -> str:
        command = [str(self.programs / "holdfast"), "engine", "--bind", f"http://127.0.0.1:{self.grpc_port}", *args]
        r = subprocess.run(command, text=True, capture_output=True, timeout=60)
        with self.log.open("a") as log:
            log.write(f"--- {' '.join(args)}: {r.returncode}\n{r.stdout}{r.stderr}")
        if r.returncode != 0:
            raise Failed(f"{self.name}: {' '.join(args)}: {(r.stderr or r.stdout).strip()}")
        return r.stdout

    # These print one line: the name of what there is now, or its URI.
    def create_bdev(self, uri: str) -> str:
        return self.cli("bdev", "create", uri).strip()

    def share_bdev(self, name: str) -> Subsystem:
        return subsystem(self.cli("bdev", "share", name).strip())

    def pool_used(self) -> int:
        return int(json.loads(self.cli("-o", "json", "pool", "list"))["pools"][0]["used"])

    def create_nexus(self, uuid: str, size_mib: int, children: list[str], *options: str) -> Subsystem:
        self.cli("nexus", "create", uuid, f"{size_mib}MiB", *children, *options)
        return subsystem(self.cli("nexus", "publish", uuid).strip())


def subsystem(uri: str) -> Subsystem:
    found = re.fullmatch(r"nvmf(?:\+tcp)?://[^:/]+:(\d+)/([^?]+).*", uri)
    if not found:
        raise Failed(f"not a share URI: {uri}")
    return Subsystem(int(found[1]), found[2], uri)


# ---- one case's surroundings -------------------------------------------------------------------------------
@dataclass
class Bench:
    """What a case gets: a folder for logs and disks, engines that end with it, and guests."""
    programs: Path
    folder: Path
    engines: list[Engine] = field(default_factory=list)
    guests: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def engine(self, name: str) -> Engine:
        self.engines.append(Engine(self.programs, name, self.folder))
        return self.engines[-1].start()

    def disk(self, name: str, mib: int) -> Path:
        path = self.folder / name
        with path.open("wb") as f:
            f.truncate(mib << 20)
        return path

    @contextmanager
    def guest(self, script: str, *args: str | int, timeout: int = 240, name: str = "guest",
              shared: Path | None = None) -> Iterator[Path]:
        """Runs a script in a guest beside the body, which gets the shared folder; both must succeed. A guest of
        another name is another host."""
        log = self.folder / f"{name}.log"
        with tempfile.TemporaryDirectory(prefix="share.", dir=self.folder) as own, log.open("wb") as out:
            share = str(shared or own)
            command = [GUEST, "run", "--timeout", str(timeout), "--share", share, "--name", name,
                       "--console", str(self.folder / f"{name}.console"), str(SCRIPTS / script), *map(str, args)]
            guest = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            self.guests.append(guest)
            try:
                yield Path(share)
                code = guest.wait(timeout + 60)
            finally:
                guest.terminate()
                guest.wait()
                self.guests.remove(guest)
        if code != 0:
            tail = "\n    ".join(log.read_text(errors="replace").splitlines()[-30:])
            raise Failed(f"{script} in {name}: exit status {code}\n    {tail}")

    @contextmanager
    def frozen_guest(self) -> Iterator[None]:
        """The newest guest stands still beside the body: its connections stay, and nothing comes or is answered."""
        runner = self.guests[-1].pid
        machines = [int(pid) for pid in Path(f"/proc/{runner}/task/{runner}/children").read_text().split()]
        for pid in machines:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in machines:
                os.kill(pid, signal.SIGCONT)

    def run_guest(self, script: str, *args: str | int, timeout: int = 240) -> None:
        with self.guest(script, *args, timeout=timeout):
            pass


@dataclass(frozen=True)
class Case:
    run: Callable[[Bench], None]
    needs_programs: bool


CASES: dict[str, Case] = {}


def case(needs_programs: bool = True) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    def register(function: Callable[[Bench], None]) -> Callable[[Bench], None]:
        CASES[function.__name__] = Case(function, needs_programs)
        return function
    return register


# ---- the harness itself, against what is known to be good --------------------------------------------------
@case(needs_programs=False)
def guest_reaches_host(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        heard = bytearray()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"hello guest\n")
                heard.extend(connection.recv(100))
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        bench.run_guest("tcp_hello.sh", server.getsockname()[1], timeout=60)
        thread.join(5)
        if bytes(heard) != b"hello host\n":
            raise Failed(f"heard {bytes(heard)!r}")


@case(needs_programs=False)
def kernel_target_ext4(bench: Bench) -> None:
    bench.run_guest("selftest_nvmet.sh", "connect_fs.sh", "ext4")


@case(needs_programs=False)
def kernel_target_xfs_digests(bench: Bench) -> None:
    bench.run_guest("selftest_nvmet.sh", "connect_fs.sh", "xfs", "--hdr-digest", "--data-digest")


@case(needs_programs=False)
def kernel_target_outage(bench: Bench) -> None:
    bench.run_guest("selftest_nvmet.sh", "kill_restart.sh")


@case()
def kernel_target_conformance(bench: Bench) -> None:
    """The kernel's target deviates where it is known to, and nowhere else (docs/nvmf-conformance.md)."""
    lines = (HERE / "nvmet_deviations.txt").read_text().splitlines()
    known = {line.split("#")[0].strip() for line in lines} - {""}
    tool = bench.programs / "holdfast"
    with bench.guest("selftest_nvmet.sh", "conformance.sh", tool, timeout=600) as share:
        wait_for((share / "reported").exists, 560, "the report")
        (bench.folder / "report.json").write_bytes((share / "report.json").read_bytes())
    report = json.loads((bench.folder / "report.json").read_text())
    found = {t["id"]: t["text"] for t in report["tests"] if t["outcome"] in ("fail", "error")}
    if new := sorted(set(found) - known):
        raise Failed("not among the known deviations: " + "; ".join(f"{i}: {found[i]}" for i in new))
    if report["summary"]["pass"] < 200:
        raise Failed(f"only {report['summary']['pass']} cases passed")


@case()
def kernel_target_discovery_notices(bench: Bench) -> None:
    bench.run_guest("selftest_nvmet.sh", "discover_watch.sh", bench.programs / "holdfast")


# ---- our target --------------------------------------------------------------------------------------------
@case()
def bdev_ext4(bench: Bench) -> None:
    engine = bench.engine("one")
    shared = engine.share_bdev(engine.create_bdev("malloc:///m0?size_mb=128"))
    bench.run_guest("connect_fs.sh", "10.0.2.2", shared.port, shared.nqn)


@case()
def bdev_4k_blocks_xfs_digests(bench: Bench) -> None:
    engine = bench.engine("one")
    shared = engine.share_bdev(engine.create_bdev("malloc:///m0?size_mb=384&blk_size=4096"))
    bench.run_guest("connect_fs.sh", "10.0.2.2", shared.port, shared.nqn, "xfs", "--hdr-digest", "--data-digest")


@case()
def bdev_nvme_cli(bench: Bench) -> None:
    """Log pages, features and commands, as people ask for them."""
    engine = bench.engine("one")
    shared = engine.share_bdev(engine.create_bdev("malloc:///m0?size_mb=64"))
    bench.run_guest("nvme_cli.sh", "10.0.2.2", shared.port, shared.nqn)


DISK_UUID = "5a3f6d1e-52c4-4a3c-8f0e-7d1b8a0c9e42"


@case()
def attach_by_kernel(bench: Bench) -> None:
    """`holdfast attach` in the guest, with the guest's nvme-tcp."""
    engine = bench.engine("one")
    shared = engine.share_bdev(engine.create_bdev("malloc:///m0?size_mb=64"))
    bench.run_guest("attach.sh", bench.programs / "holdfast", "10.0.2.2", shared.port, shared.nqn)


@case()
def engine_killed_and_restarted(bench: Bench) -> None:
    """A file survives the process; the kernel reconnects and repeats what was not acknowledged."""
    engine = bench.engine("one")
    # Without a uuid the restarted engine would make one up, and the kernel refuse the stranger.
    uri = f"uring://{bench.disk('disk', 128)}?blk_size=512&uuid={DISK_UUID}"
    shared = engine.share_bdev(engine.create_bdev(uri))
    with bench.guest("kill_restart.sh", "10.0.2.2", shared.port, shared.nqn) as share:
        wait_for((share / "now").exists, 90, "I/O in the guest")
        for pause in (0.5, 3.0):
            time.sleep(pause)
            engine.kill()
            time.sleep(pause)
            engine.start()
            if engine.share_bdev(engine.create_bdev(uri)) != shared:
                raise Failed("the share changed its identity")
        (share / "done").touch()


@case()
def thin_volume_trim_and_snapshot(bench: Bench) -> None:
    """Room comes back to the pools of both replicas, and a snapshot under load is a file system that is clean."""
    first, second = bench.engine("one"), bench.engine("two")
    first.cli("pool", "create", "p1", str(bench.disk("a", 160)), str(bench.disk("b", 160)))
    second.cli("pool", "create", "p2", str(bench.disk("c", 320)))
    local = first.cli("replica", "create", "r1", REPLICAS[0], "p1", "-s", "160MiB", "--thin").strip()
    remote = second.cli("replica", "create", "r2", REPLICAS[1], "p2", "-s", "160MiB", "--thin", "-p", "nvmf").strip()
    volume = first.create_nexus(NEXUS_UUID, 128, [local, remote])
    with bench.guest("pool_trim.sh", "10.0.2.2", volume.port, volume.nqn, timeout=400) as share:
        wait_for((share / "filled").exists, 200, "a full file system")
        filled = [first.pool_used(), second.pool_used()]
        (share / "look").touch()
        wait_for((share / "trimmed").exists, 100, "fstrim")
        for engine, before in zip((first, second), filled, strict=True):
            wait_for(lambda e=engine, b=before: e.pool_used() < b - (40 << 20), 20, f"room back in {engine.name}")
        wait_for((share / "writing").exists, 100, "I/O in the guest")
        first.cli("snapshot", "create_for_nexus", NEXUS_UUID, "volume", "txn", "s1", ",".join(REPLICAS[:2]),
                  ",".join(SNAPSHOTS))
        first.cli("snapshot", "create_clone", SNAPSHOTS[0], "c1", REPLICAS[2])
        clone = first.create_nexus(CLONE_UUID, 128, ["bdev:///c1"], "--name", "clone")
        (share / "clone.new").write_text(f"{clone.port} {clone.nqn}\n")
        (share / "clone.new").rename(share / "clone")


@case()
def logs_and_features(bench: Bench) -> None:
    """nvme-cli over everything that a controller tells, and what it must refuse."""
    engine = bench.engine("one")
    shared = engine.share_bdev(engine.create_bdev("malloc:///m0?size_mb=16"))
    bench.run_guest("logs_features.sh", "10.0.2.2", shared.port, shared.nqn)


@case()
def raw_all_sizes_and_digests(bench: Bench) -> None:
    engine = bench.engine("one")
    shared = engine.share_bdev(engine.create_bdev("malloc:///m0?size_mb=48&blk_size=512"))
    bench.run_guest("sizes.sh", "10.0.2.2", shared.port, shared.nqn)


@case()
def two_hosts_reserve(bench: Bench) -> None:
    """Conflict, preempt, release, exclusive access and clear between two kernels."""
    engine = bench.engine("one")
    shared = engine.share_bdev(engine.create_bdev("malloc:///m0?size_mb=16"))
    at = ("10.0.2.2", shared.port, shared.nqn)
    with bench.guest("reservations.sh", *at, "a", name="a") as share:
        with bench.guest("reservations.sh", *at, "b", name="b", shared=share):
            pass


@case()
def many_connections(bench: Bench) -> None:
    """Eight subsystems with five connections each, and hosts that come and go."""
    engine = bench.engine("one")
    shared = [engine.share_bdev(engine.create_bdev(f"malloc:///m{i}?size_mb=8")) for i in range(8)]
    bench.run_guest("many.sh", "10.0.2.2", shared[0].port, *(s.nqn for s in shared))


@case()
def host_vanishes(bench: Bench) -> None:
    """A host that stops without a word is forgotten when its keep alive timer ends, and nothing is lost when it
    comes back."""
    engine = bench.engine("one")
    shared = engine.share_bdev(engine.create_bdev("malloc:///m0?size_mb=128"))
    with bench.guest("kill_restart.sh", "10.0.2.2", shared.port, shared.nqn) as share:
        wait_for((share / "now").exists, 90, "I/O in the guest")
        with bench.frozen_guest():
            wait_for(lambda: "keep alive timer expired" in engine.log.read_text(), 40, "the host is forgotten")
        (share / "done").touch()


# ---- our nexus ---------------------------------------------------------------------------------------------
NEXUS_UUID = "0c0a9e1c-7a7e-4c1c-9a6b-5f3f0c6d2a01"
CLONE_UUID = "0c0a9e1c-7a7e-4c1c-9a6b-5f3f0c6d2a02"
REPLICAS = [f"0c0a9e1c-7a7e-4c1c-9a6b-5f3f0c6d2b0{i}" for i in range(3)]
SNAPSHOTS = [f"0c0a9e1c-7a7e-4c1c-9a6b-5f3f0c6d2c0{i}" for i in range(2)]


def three_way_nexus(bench: Bench) -> tuple[Engine, Subsystem]:
    """A nexus with one child of its own node and one on each of two others; returns the last of those."""
    home = bench.engine("home")
    children = [f"bdev:///{home.create_bdev('malloc:///m0?size_mb=128')}"]
    for name in ("near", "far"):
        engine = bench.engine(name)
        children.append(engine.share_bdev(engine.create_bdev(f"malloc:///{name}?size_mb=128")).uri)
    return engine, home.create_nexus(NEXUS_UUID, 96, children)


@case()
def nexus_ext4(bench: Bench) -> None:
    _, published = three_way_nexus(bench)
    bench.run_guest("connect_fs.sh", "10.0.2.2", published.port, published.nqn)


@case()
def nexus_child_killed(bench: Bench) -> None:
    """The host must not notice that a replica's process dies."""
    far, published = three_way_nexus(bench)
    with bench.guest("kill_restart.sh", "10.0.2.2", published.port, published.nqn) as share:
        wait_for((share / "now").exists, 90, "I/O in the guest")
        far.kill()
        time.sleep(5)
        far.start()
        (share / "done").touch()


@case()
def nexus_resized_under_a_filesystem(bench: Bench) -> None:
    engine = bench.engine("one")
    child = engine.create_bdev("malloc:///m0?size_mb=128")
    published = engine.create_nexus(NEXUS_UUID, 48, [f"bdev:///{child}"])
    with bench.guest("resize.sh", "10.0.2.2", published.port, published.nqn, 96 << 20) as share:
        wait_for((share / "now").exists, 90, "the filesystem in the guest")
        engine.cli("nexus", "resize", NEXUS_UUID, "96MiB")


@case()
def nexus_two_paths(bench: Bench) -> None:
    """ANA states change, and a path dies, under verified I/O: the host goes on over the other one."""
    store = bench.engine("store")
    child = store.share_bdev(store.create_bdev("malloc:///m0?size_mb=64")).uri
    paths: list[tuple[Engine, Subsystem]] = []
    for number, name in enumerate(("near", "far"), start=1):
        engine = bench.engine(name)
        paths.append((engine, engine.create_nexus(
            NEXUS_UUID, 48, [child], "--min-cntlid", str(number * 100), "--max-cntlid", str(number * 100 + 99),
            "--resv-key", str(number), "--resv-type", "WriteExclusiveAllRegs")))
    (near, shared), (far, also) = paths
    if shared.nqn != also.nqn:
        raise Failed(f"two names: {shared.nqn}, {also.nqn}")
    with bench.guest("paths.sh", "10.0.2.2", shared.nqn, shared.port, also.port) as share:
        def want(step: str, first: str, second: str) -> None:
            (share / "want.new").write_text(f"{step} {first} {second}\n")
            (share / "want.new").rename(share / "want")
            if step != "end":
                wait_for((share / f"seen.{step}").exists, 90, f"{first}, {second} in the guest")

        for step, (first, second) in enumerate((("optimized", "inaccessible"), ("non-optimized", "optimized"),
                                                ("inaccessible", "optimized"), ("optimized", "non-optimized")), 1):
            for engine, state in ((near, first), (far, second)):
                engine.cli("nexus", "ana_state", NEXUS_UUID, state.replace("-", "_"))
            want(str(step), first, second)
        near.kill()
        want("5", "gone", "non-optimized")
        want("end", "", "")
    bench.engines.remove(near)


# ---- main --------------------------------------------------------------------------------------------------
def run_case(name: str, bench: Bench) -> str | None:
    """Returns why the case failed."""
    failure: str | None = None
    try:
        CASES[name].run(bench)
    except (Failed, subprocess.SubprocessError, OSError) as reason:
        failure = str(reason)
    for engine in reversed(bench.engines):  # those that serve others go last
        try:
            engine.kill() if failure else engine.stop()
        except Failed as reason:
            failure = str(reason)
    for disk in bench.folder.glob("disk*"):
        disk.unlink()
    return failure


class Suite:
    """Runs cases, each in a folder of its own, and counts how they end."""

    def __init__(self, build_dir: Path) -> None:
        self.programs, self.logs = build_dir / "bin", build_dir / "guest-logs"
        self.have_programs = all((self.programs / p).exists() for p in ("holdfast-engine", "holdfast"))
        self.ended: dict[str, str] = {}   # case: ok, FAIL, skip
        self.benches: dict[str, Bench] = {}   # of the cases that run

    def run(self, name: str) -> None:
        if CASES[name].needs_programs and not self.have_programs:
            self.ended[name] = "skip"
            print(f"skip {name}: no programs in {self.programs}", flush=True)
            return
        folder = self.logs / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        start = time.monotonic()
        self.benches[name] = Bench(self.programs, folder)
        failure = run_case(name, self.benches[name])
        del self.benches[name]
        self.ended[name] = "FAIL" if failure else "ok"
        why = f": {failure}\n    logs: {folder}" if failure else ""
        print(f"{self.ended[name]:4} {name} ({time.monotonic() - start:.1f} s){why}", flush=True)

    def run_all(self, names: Iterable[str], jobs: int) -> None:
        """Guests share the processors; one that is too slow beside another gets them all to itself."""
        with ThreadPoolExecutor(jobs) as pool:
            for _ in pool.map(self.run, names):
                pass
        if jobs > 1:
            for name in [n for n in self.ended if self.ended[n] == "FAIL"]:
                print(f"once more, alone: {name}", flush=True)
                self.run(name)

    def abandon(self) -> NoReturn:
        """Ends at once, with all that runs: a thread that waits for a guest would hold up an orderly end."""
        for bench in list(self.benches.values()):
            for guest in bench.guests:
                guest.kill()   # its machine dies with it
            for engine in bench.engines:
                engine.kill()
        os._exit(143)

    def report(self) -> int:
        """Prints the counts and returns the exit status."""
        passed, failed, skipped = (list(self.ended.values()).count(end) for end in ("ok", "FAIL", "skip"))
        print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
        return 1 if failed else 0 if passed else EXIT_SKIP


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build-dir", type=Path, default=Path("build"),
                        help="the programs are in its bin/, logs go to its guest-logs/")
    parser.add_argument("--jobs", type=int, default=2, help="so many cases at once (2)")
    parser.add_argument("--list", action="store_true", help="name the cases")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="all if none is named")
    o = parser.parse_args()
    if o.list:
        print("\n".join(CASES))
        return 0
    if unknown := set(o.cases) - set(CASES):
        parser.error(f"no such case: {' '.join(sorted(unknown))}")
    suite = Suite(o.build_dir.resolve())
    signal.signal(signal.SIGTERM, lambda *_: suite.abandon())
    for step in ("check", "setup"):
        if (code := subprocess.run([GUEST, step]).returncode) != 0:
            return EXIT_SKIP if code == EXIT_SKIP else 1
    suite.run_all(o.cases or CASES, o.jobs)
    return suite.report()


if __name__ == "__main__":
    sys.exit(main())
