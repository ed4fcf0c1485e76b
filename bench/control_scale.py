#!/usr/bin/env python3
"""Measures the control plane: how its costs grow with the number of volumes, and how long one volume takes.

usage: bench/control_scale.py [--bin DIR] [--only PART...] [--rounds N] [--write]
  --bin DIR      the programs (build/release/bin)
  --only PART    pass, agent, volume
  --rounds N     volumes that are created, published and deleted (50)
  --write        replace the measured part of docs/performance.md; else it is printed
pass: one look of the reconcilers over everything, CPU time, with cold caches. agent: one over its embedded store, with
engines that stand still, and the program holdfast-agent over the same store. volume: `holdfast up` with three engines on
this machine.
"""
import argparse
import http.client
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

from run import ROOT, cpu_seconds, publish, resident_mib

SIZES = ((1_000, 10), (3_000, 30), (10_000, 100))
PASS_SIZES = SIZES + ((30_000, 300),)
IDLE_SECONDS = 90  # three looks over everything fall into it


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run_json(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}{done.stdout}")
    return json.loads(done.stdout)


class Rest:
    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def call(self, method, path, body=None):
        """Status, what was sent, and the time it took in ms."""
        begun = time.monotonic()
        headers = {"Content-Type": "application/json"} if body is not None else {}
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.connection.getresponse()
        text = answer.read()
        return answer.status, text, (time.monotonic() - begun) * 1e3

    def hang_up(self):
        """Before a while in which nothing is asked: the agent does not wait for long."""
        self.connection.close()

    def must(self, method, path, body=None):
        status, text, took = self.call(method, path, body)
        if status >= 300:
            sys.exit(f"{method} {path}: {status} {text.decode()}")
        return text, took

    def wait_until_ready(self, seconds=60):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if self.call("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            self.hang_up()
            time.sleep(0.05)
        sys.exit("the agent is not ready")


def load():
    return f"{os.getloadavg()[0]:.1f}"


def head(title, sizes=SIZES):
    columns = [title] + [f"{volumes:,} volumes, {nodes} nodes" for volumes, nodes in sizes]
    columns += [f"{sizes[-1][0] // sizes[0][0]} times the volumes", "wanted"]
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def row(title, found, key, unit, wanted):
    values = [one[key] for one in found]
    grown = f"{values[-1] / values[0]:.1f} times" if values[0] else ""
    return f"| {title} | {' | '.join(f'{v:.1f} {unit}' for v in values)} | {grown} | {wanted} |"


def pass_part(figures):
    found = [run_json(figures, "pass", str(v), str(n)) for v, n in PASS_SIZES]
    return head("one pass, CPU time", PASS_SIZES) + [
        row("one volume has changed", found, "narrow_pass_us", "us", ""),
        row("everything, nothing to do", found, "pass_ms", "ms", "1,000: under 100 ms"),
        row("a node is lost: each of its replicas finds a new place", found, "lost_node_pass_ms", "ms", ""),
        row("the states of all volumes, as a list shows them", found, "states_ms", "ms", "")]


def still_agent(figures, file, volumes, nodes):
    """An agent over the store, with engines that stand still."""
    port = free_port()
    child = subprocess.Popen([figures, "serve", file, str(volumes), str(nodes), str(port)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    told = json.loads(child.stdout.readline())
    ready_cpu_ms = cpu_seconds(child.pid) * 1e3
    rest = Rest(port)
    took, size, used = [], 0, cpu_seconds(child.pid)
    for _ in range(7):
        text, ms = rest.must("GET", "/v0/volumes?max_entries=0")
        took.append(ms)
        size = len(text)
    list_cpu_ms = (cpu_seconds(child.pid) - used) / 7 * 1e3
    volume = json.loads(text)["entries"][0]["spec"]["uuid"]
    rest.hang_up()
    one = statistics.median(rest.must("GET", f"/v0/volumes/{volume}")[1] for _ in range(21))
    used = cpu_seconds(child.pid)
    time.sleep(IDLE_SECONDS)
    idle = (cpu_seconds(child.pid) - used) / IDLE_SECONDS
    child.stdin.close()
    child.wait(timeout=60)
    return {"ready_ms": told["ready_ms"], "ready_cpu_ms": ready_cpu_ms, "list_ms": statistics.median(took),
            "list_cpu_ms": list_cpu_ms, "list_mib": size / 2**20, "one_ms": one, "idle_percent": idle * 100}


def real_agent(program, file):
    port = free_port()
    command = [program, "--store", f"embedded:{file}", "--http", f"127.0.0.1:{port}", "--grpc-server-addr",
               f"127.0.0.1:{free_port()}", "--log-level", "error"]
    child = subprocess.Popen(command)
    try:
        rest = Rest(port)
        rest.wait_until_ready()
        rest.hang_up()
        time.sleep(2)
        before = resident_mib(child.pid)
        rest.must("GET", "/v0/volumes?max_entries=0")
        return before, resident_mib(child.pid)
    finally:
        child.terminate()
        child.wait(timeout=60)


def agent_part(options, folder):
    figures, program = str(options.bin / "control-figures"), str(options.bin / "holdfast-agent")
    found = []
    for volumes, nodes in SIZES:
        file = str(folder / f"store-{volumes}.db")
        run_json(figures, "seed", file, str(volumes), str(nodes))
        one = still_agent(figures, file, volumes, nodes)
        one["rss"], one["rss_after"] = real_agent(program, file)
        found.append(one)
    return head("an agent over its embedded store") + [
        row("start to ready: all records read, all engines heard, elected", found, "ready_ms", "ms",
            "1,000: under 2 s"),
        row("its CPU time, the making of the engines' reports included", found, "ready_cpu_ms", "ms", ""),
        row("`GET /v0/volumes` of all", found, "list_ms", "ms", "1,000: under 100 ms"),
        row("its CPU time", found, "list_cpu_ms", "ms", ""),
        row("its answer", found, "list_mib", "MiB", ""),
        row("`GET` of one volume", found, "one_ms", "ms", ""),
        row("resident memory of `holdfast-agent`", found, "rss", "MiB", "10,000: under 150 MiB"),
        row("the same after a list of all", found, "rss_after", "MiB", ""),
        row(f"CPU of one core when idle, over {IDLE_SECONDS} s", found, "idle_percent", "%", "under 1 %")]


def volume_part(options, folder):
    """Create, publish, unpublish, delete over REST, one volume after the other."""
    offset = 15_000
    up = [str(options.bin / "holdfast"), "up", "--nodes", "3", "--state-dir", str(folder / "up"), "--port-offset",
          str(offset), "--detach", "--quiet"]
    done = subprocess.run(up, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"holdfast up failed:\n{done.stderr}{done.stdout}")
    took = {}
    try:
        rest = Rest(8081 + offset)
        rest.wait_until_ready()
        for _ in range(options.rounds):
            path = f"/v0/volumes/{uuid.uuid4()}"
            steps = (("create", "PUT", path, {"policy": {"self_heal": True}, "replicas": 3, "size": 64 << 20, "thin": True}),
                     ("publish", "PUT", path + "/target", {"publish_context": {}, "protocol": "nvmf"}),
                     ("unpublish", "DELETE", path + "/target", None), ("delete", "DELETE", path, None))
            for name, method, where, body in steps:
                took.setdefault(name, []).append(rest.must(method, where, body)[1])
    finally:
        subprocess.run([str(options.bin / "holdfast"), "down", "--state-dir", str(folder / "up")], capture_output=True)
    rows = ["| one volume with three replicas, ms | p50 | p90 | slowest | wanted |", "|---|---|---|---|---|"]
    for name, all_ms in took.items():
        all_ms.sort()
        rows.append(f"| {name} | {statistics.median(all_ms):.1f} | {all_ms[len(all_ms) * 9 // 10]:.1f} | {all_ms[-1]:.1f} | "
                    f"p50 under 100 |")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin")
    parser.add_argument("--only", nargs="*", default=["pass", "agent", "volume"])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    options.bin = options.bin.resolve()
    parts = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if "pass" in options.only:
            parts.append(pass_part(str(options.bin / "control-figures")))
        if "agent" in options.only:
            parts.append(agent_part(options, folder))
        if "volume" in options.only:
            parts.append(volume_part(options, folder))
    lines = [f"{os.cpu_count()} CPUs, load average {load()} at the end.", ""]
    for part in parts:
        lines += [*part, ""]
    if options.write:
        publish("control", lines)
    else:
        print("\n".join(lines))


main()
