"""Serves CONFORMANCE, the service of tests/conformance_server, with RPyC itself.

    python3 tests/python/conformance_server.py --port 18861 [--registry HOST:PORT]
"""

import argparse
import builtins
import threading
import time
import weakref

import rpyc
from rpyc.utils.registry import UDPRegistryClient
from rpyc.utils.server import ThreadedServer


class Counter:
    """A number that counts."""

    def __init__(self, start):
        self.exposed_value = start

    def exposed_inc(self, by=1):
        """Adds to the value and gives the new one."""
        self.exposed_value += by
        return self.exposed_value

    def __len__(self):
        return self.exposed_value

    def __getitem__(self, index):
        if not 0 <= index < self.exposed_value:
            raise IndexError("counter index out of range")
        return index

    def __iter__(self):
        return iter(range(self.exposed_value))

    def __eq__(self, other):
        if not isinstance(other, Counter):
            return NotImplemented
        return self.exposed_value == other.exposed_value

    def __hash__(self):
        return hash(self.exposed_value)

    def __str__(self):
        return f"counter at {self.exposed_value}"

    def __repr__(self):
        return f"Counter({self.exposed_value})"

    def __enter__(self):
        self.exposed_value += 100
        return self

    def __exit__(self, *exception):
        self.exposed_value -= 100
        return False


class Conformance(rpyc.Service):
    """Something of everything."""

    ALIASES = ["CONFORMANCE", "CONF"]

    def on_connect(self, conn):
        # Keyed by identity: counters with equal values are distinct objects.
        self._counters = {}
        self._peer = conn._channel.stream.sock.getpeername()[0]

    def exposed_add(self, a, b=0):
        """The sum of two numbers of any size."""
        return a + b

    def exposed_echo(self, value):
        """What it is given; an object comes back as the same object."""
        return value

    def exposed_fail(self, kind, message):
        """Raises one of Python's own exceptions."""
        raised = getattr(builtins, kind, None)
        if not isinstance(raised, type) or not issubclass(raised, BaseException):
            raise ValueError(f"no exception of Python's: {kind}")
        raise raised(message)

    def exposed_stop(self):
        """Raises StopIteration."""
        raise StopIteration("stop")

    def exposed_live(self):
        """How many counters are held for this connection."""
        return len(self._counters)

    def exposed_counter(self, start=0):
        """A counter."""
        counter = Counter(start)
        key = id(counter)
        self._counters[key] = weakref.ref(counter, lambda _: self._counters.pop(key, None))
        return counter

    def exposed_numbers(self, n):
        """Yields the numbers below n."""
        return (number for number in range(n))

    def exposed_apply(self, f, *args, **kwargs):
        """The result of the client's function."""
        return f(*args, **kwargs)

    def exposed_later(self, f, seconds):
        """Calls the client's function with "late" after some seconds, without waiting for that."""
        timer = threading.Timer(seconds, f, ["late"])
        timer.daemon = True
        timer.start()

    def exposed_table(self):
        """A list with a dict in it, by reference."""
        return [1, "two", {"three": 3}]

    def exposed_payload(self, n):
        """So many bytes."""
        return b"\xa5" * n

    def exposed_sleep(self, seconds):
        """Waits."""
        time.sleep(seconds)

    def exposed_whoami(self):
        """The address of the client."""
        return self._peer.removeprefix("::ffff:")

    def hidden(self):
        """Not for clients."""

    def _private(self):
        """Not for clients."""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--registry", metavar="HOST:PORT")
    # RPyC's servers cannot distinguish clients that bind threads from others, so they serve one
    # kind.
    parser.add_argument("--bind-threads", action="store_true")
    options = parser.parse_args()
    registrar = None
    if options.registry:
        host, _, port = options.registry.rpartition(":")
        registrar = UDPRegistryClient(ip=host.strip("[]"), port=int(port))
    server = ThreadedServer(
        Conformance,
        port=options.port,
        registrar=registrar,
        protocol_config={
            "allow_setattr": True,
            "allow_pickle": True,
            "bind_threads": options.bind_threads,
        },
    )
    server._listen()
    print(f"listening on {server.host}:{server.port}", flush=True)
    server.start()


if __name__ == "__main__":
    main()
