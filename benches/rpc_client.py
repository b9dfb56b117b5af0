"""Measures calls of an RPyC or Pyro5 server from Python; prints one JSON object. See rpc.py."""

import json
import statistics
import sys
import threading
import time

what, host, port, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) / 1000


def connect():
    """Gives add(a, b), payload(n), as a program would call them."""
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


def rate(n):
    counts, ready = [0] * n, threading.Barrier(n + 1)

    def work(i):
        small, _ = connect()
        ready.wait()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            small()
            counts[i] += 1

    threads = [threading.Thread(target=work, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    ready.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


small, large = connect()
assert small() == 3
print(json.dumps({
    "round_trip_us": median(small) * 1e6,
    "mebibyte_ms": median(large) * 1e3,
    "calls_per_s_1": rate(1),
    "calls_per_s_64": rate(64),
}))
