#!/usr/bin/env python3
"""Storms of a million objects against the conformance server in Rust, by clients in Python and in Rust.

    python3 benches/storm.py [--objects 1000000] [--rpyc 6.0.2]

Each line of the table is one storm: how long it took, the server's memory at the most and when it was over, and how long
another client had to wait for `add(20, 22)` meanwhile. Installs that version of rpyc under target/benches once.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = ROOT / "target" / "release"
STORMS = ROOT / "tests" / "python" / "storms.py"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--objects", type=int, default=1_000_000)
parser.add_argument("--rpyc", default="6.0.2")
options = parser.parse_args()
VENV = ROOT / "target" / "benches" / f"rpyc-{options.rpyc}"
PYTHON = VENV / "bin" / "python"


def build():
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([PYTHON, "-m", "pip", "-q", "install", f"rpyc=={options.rpyc}"], check=True)
    cargo = ["cargo", "build", "-q", "--release"]
    subprocess.run([*cargo, "-p", "rpyc-benches", "--bins"], cwd=ROOT, check=True)
    subprocess.run([*cargo, "-p", "rpyc-tests", "--example", "conformance_server"], cwd=ROOT, check=True)


def memory(server):
    status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def run(server, *command):
    """The JSON that a program prints, and the peak memory of the server meanwhile."""
    program, most, over = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE), [0], threading.Event()

    def sample():
        while not over.wait(0.02):
            most[0] = max(most[0], memory(server))

    sampling = threading.Thread(target=sample)
    sampling.start()
    output = program.communicate()[0]
    over.set()
    sampling.join()
    if program.returncode:
        sys.exit(f"{command[0]} has failed")
    return json.loads(output), most[0]


def main():
    build()
    server = subprocess.Popen([BIN / "examples" / "conformance_server", "--port", "0"], stdout=subprocess.PIPE, text=True)
    port = re.search(r"(\d+)\s*$", server.stdout.readline())[1]
    try:
        storms, _ = run(server, PYTHON, STORMS, "127.0.0.1", port, server.pid, options.objects)
        print(f"| rpyc {options.rpyc} | time | memory | after | another client waits (median, 99 %, longest) |")
        print("|---|---|---|---|---|")
        failed = False
        for name, storm in storms.items():
            if isinstance(storm, str):
                failed = True
                print(f"{name}: {storm}", file=sys.stderr)
                continue
            most = max((storm[key] for key in ("held", "one_by_one", "together", "survived") if key in storm), default=0)
            waits = " / ".join(f"{milliseconds:.1f}" for milliseconds in storm["waited_ms"])
            print(f"| {name.replace('_', ' ')} | {storm.get('seconds', 0)} s | {most} MB | {storm['after']} MB | {waits} ms |")
        before = memory(server)
        rust, most = run(server, BIN / "rpc-bench", "storm", f"127.0.0.1:{port}", "--objects", options.objects)
        threading.Event().wait(3)
        print(f"\nA Rust client, with the server at {before:.0f} MB before, {most:.0f} MB at most, {memory(server):.0f} MB after:")
        print(json.dumps(rust))
        sys.exit(failed)
    finally:
        server.kill()


main()
