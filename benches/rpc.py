#!/usr/bin/env python3
"""Compares RPC calls, all in one run on one machine: Rust and Python on either end, Pyro5, and a bare TCP echo.

    python3 benches/rpc.py [--rounds 5] [--millis 1000]

The pairs take turns in every round, so that other work of the machine affects all of them; medians over the rounds
are printed. Installs rpyc 6.0.2 and Pyro5 under target/benches once.
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / "target" / "benches" / "venv"
BIN = ROOT / "target" / "release"
PYTHON = VENV / "bin" / "python"
COLUMNS = ["round_trip_us", "calls_per_s_1", "calls_per_s_64", "server_us_per_call", "mebibyte_ms"]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--millis", type=int, default=1000, help="time of each measurement")
options = parser.parse_args()


def build():
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([PYTHON, "-m", "pip", "-q", "install", "rpyc==6.0.2", "Pyro5==5.17"], check=True)
    cargo = ["cargo", "build", "-q", "--release"]
    subprocess.run([*cargo, "-p", "rpyc-benches", "--bins"], cwd=ROOT, check=True)
    subprocess.run([*cargo, "-p", "rpyc-tests", "--example", "conformance_server"], cwd=ROOT, check=True)


def start(*command):
    """Starts a server; returns it and its port."""
    server = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    # Each prints its address in its first line; the port stands last.
    port = re.search(r"(\d+)\s*$", server.stdout.readline())
    return (server, port[1]) if port else sys.exit(f"{command[0]} does not tell its port")


def measure(*command):
    return json.loads(subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE).stdout)


def main():
    build()
    here = ROOT / "benches"
    servers = {
        "rust": start(BIN / "examples" / "conformance_server", "--port", "0"),
        "rust, nothing compressed": start(
            BIN / "examples" / "conformance_server", "--port", "0", "--compress-above", "never"
        ),
        "python": start(PYTHON, ROOT / "tests" / "python" / "conformance_server.py", "--port", "0"),
        "pyro": start(PYTHON, here / "pyro_server.py"),
        "echo": start(BIN / "rpc-bench", "serve-echo", "127.0.0.1:0"),
    }

    def rust(what, server):
        process, port = servers[server]
        address = f"127.0.0.1:{port}"
        return measure(
            BIN / "rpc-bench", what, address, "--millis", options.millis, "--server", process.pid
        )

    def python(what, server):
        process, port = servers[server]
        client = here / "rpc_client.py"
        return measure(PYTHON, client, what, "127.0.0.1", port, options.millis, process.pid)

    pairs = {
        "bare TCP echo": lambda: rust("echo", "echo"),
        "Rust to Rust": lambda: rust("rpc", "rust"),
        "Rust to Rust, nothing compressed": lambda: rust("rpc", "rust, nothing compressed"),
        "Rust to Python": lambda: rust("rpc", "python"),
        "Python to Rust": lambda: python("rpyc", "rust"),
        "Python to Rust, nothing compressed": lambda: python("rpyc", "rust, nothing compressed"),
        "Python to Python": lambda: python("rpyc", "python"),
        "Pyro5": lambda: python("pyro", "pyro"),
    }
    try:
        runs = {pair: [] for pair in pairs}
        for round_ in range(options.rounds):
            for pair, run in pairs.items():
                print(f"round {round_ + 1}: {pair}", file=sys.stderr)
                runs[pair].append(run())
    finally:
        for server, _ in servers.values():
            server.kill()
    print(f"| | round trip | calls/s, 1 connection | calls/s, 64 connections | server's CPU a call | 1 MiB |")
    print("|---|---|---|---|---|---|")
    for pair, results in runs.items():
        trip, one, many, busy, large = (
            statistics.median(run[column] for run in results) for column in COLUMNS
        )
        print(f"| {pair} | {trip:.0f} µs | {one:,.0f} | {many:,.0f} | {busy:.0f} µs | {large:.1f} ms |")


main()
