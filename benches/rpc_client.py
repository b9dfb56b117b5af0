"""Measures calls of an RPyC or Pyro5 server from Python; prints one JSON object. See rpc.py."""

import json
import pathlib
import statistics
import sys
import threading
import time

what, host, port, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) / 1000
# The process that serves.
server = sys.argv[5]


def connect():
    """Returns add(a, b) and payload(n), as a program would call them."""
    if what == "rpyc":
        import rpyc

        root = rpyc.connect(host, port).root
        return lambda: root.add(1, 2), lambda: root.payload(1 << 20)
    import Pyro5.api

    proxy = Pyro5.api.Proxy(f"PYRO:conformance@{host}:{port}")
    proxy._pyroBind()
    return lambda: proxy.add(1, 2), lambda: proxy.payload(1 << 20)


def median(call):
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds or len(times) < 5:
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return statistics.median(times)


def processor_time():
    """The server's processor time in microseconds, in user mode and in the kernel."""
    threads = pathlib.Path(f"/proc/{server}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1000


def rate(n):
    """Calls a second, and the server's processor time for each."""
    counts, ready, done = [0] * n, threading.Barrier(n + 1), threading.Barrier(n + 1)

    def work(i):
        small, _ = connect()
        ready.wait()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            small()
            counts[i] += 1
        done.wait()
        done.wait()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    before = processor_time()
    ready.wait()
    start = time.perf_counter()
    # The connections are kept for a while: the server's threads, and their processor times, end with them.
    done.wait()
    took = time.perf_counter() - start
    spent = processor_time() - before
    done.wait()
    for thread in threads:
        thread.join()
    return sum(counts) / took, spent / sum(counts)


small, large = connect()
assert small() == 3
round_trip, mebibyte = median(small), median(large)
one, server_us = rate(1)
many, _ = rate(64)
print(json.dumps({
    "round_trip_us": round_trip * 1e6,
    "mebibyte_ms": mebibyte * 1e3,
    "calls_per_s_1": one,
    "calls_per_s_64": many,
    "server_us_per_call": server_us,
}))
