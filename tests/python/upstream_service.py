"""The services of RPyC's own tests, served by RPyC: the same as tests/rpc/upstream/service.rs.

Prints `READY <port>` once it listens. It exits when its standard input closes.
"""

import math
import os
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

import rpyc
from rpyc.utils.server import ThreadedServer

CONNECTS, DISCONNECTS, NOTES = [], [], []


class Invoker:
    def __init__(self, callback, interval):
        self.callback, self.interval, self.active = rpyc.async_(callback), interval, True
        threading.Thread(target=self.work, daemon=True).start()

    def exposed_stop(self):
        self.active = False

    def work(self):
        try:
            while self.active:
                self.callback(1.5)
                time.sleep(self.interval)
        except EOFError:
            pass


@dataclass
class StdTypes:
    exposed_intObj: int = 31
    exposed_strObj: str = "stdtypes string"
    exposed_floatObj: float = 3.25
    exposed_bytesObj: bytes = b"stdtypes bytes"


class Chosen:
    def __add__(self, other):
        return "foo" + str(other)

    def foo(self):
        return "foo"

    def bar(self):
        return "bar"

    def _privy(self):
        return "privy"

    def exposed_foobar(self):
        return "Fee Fie Foe Foo"

    def spam(self):
        pass


class Properties:
    value = 0

    @property
    def counter(self):
        self.value += 1
        return self.value

    @property
    def dont_touch_me(self):
        1 / 0

    def _rpyc_getattr(self, name):
        # RPyC's own search for exposed names reads each attribute twice.
        return getattr(self, name)


class Dummy:
    def __init__(self, name, released):
        self.name, self.released = name, released

    def __del__(self):
        self.released.append(self.name)

    def exposed_itself(self):
        return self


class Hashed:
    def __hash__(self):
        return 1234


class Unhashable:
    def __eq__(self, other):
        return True


def beyond(port):
    return rpyc.connect("127.0.0.1", port, config={"allow_setattr": True})


class UpstreamService(rpyc.Service):
    def on_connect(self, conn):
        self.released, self.seen = [], []
        CONNECTS.append(1)

    def on_disconnect(self, conn):
        DISCONNECTS.append(1)

    def exposed_connects(self):
        return len(CONNECTS)

    def exposed_disconnects(self):
        return len(DISCONNECTS)

    def exposed_note(self, text):
        NOTES.append(text)

    def exposed_notes(self):
        return tuple(NOTES)

    def exposed_distance(self, p1, p2):
        return math.hypot(p2[0] - p1[0], p2[1] - p1[1])

    def exposed_getlist(self):
        return [1, 2, 3]

    def exposed_foo(self, x):
        time.sleep(0.1)
        return x * 17

    exposed_Invoker = Invoker

    @contextmanager
    def exposed_context(self, y):
        self.seen.append("enter")
        try:
            yield 17 + y
        except BaseException:
            self.seen.append("exception")
            raise
        finally:
            self.seen.append("exit")

    def exposed_seen(self):
        return tuple(self.seen)

    def exposed_create_dataclass(self):
        return StdTypes()

    def exposed_remote_assert(self, val):
        assert val, "it is not so"

    def exposed_get_one(self):
        return rpyc.restricted(Chosen(), ["exposed_foobar", "__add__", "_privy", "foo", "bar"])

    def exposed_properties(self):
        return Properties()

    def exposed_dummy(self, name):
        return Dummy(name, self.released)

    def exposed_deleted_objects(self):
        return tuple(self.released)

    def exposed_hashed(self):
        return Hashed()

    def exposed_unhashable(self):
        return Unhashable()

    def exposed_sum_rows(self, rows):
        return sum(number for row in rows for number in row)

    def exposed_fee(self, arg):
        return arg

    def exposed_fee_str(self, arg):
        return str(arg)

    def exposed_foe_update(self, arg, more):
        arg.msg = arg.msg + " foe" + more
        return arg

    def exposed_fee_beyond(self, port, arg):
        with beyond(port) as conn:
            return conn.root.fee(arg)

    def exposed_fee_str_beyond(self, port, arg):
        with beyond(port) as conn:
            return conn.root.fee_str(arg)

    def exposed_fie_update(self, port, arg):
        arg.msg = arg.msg + " fie"
        with beyond(port) as conn:
            return conn.root.foe_update(arg, " foo bar")

    def exposed_chained(self, port):
        return rpyc.connect("127.0.0.1", port).root


def main():
    config = {"include_local_traceback": False, "bind_threads": "--bind-threads" in sys.argv}
    # Scenarios let the server modify objects of clients.
    config["allow_setattr"] = True
    server = ThreadedServer(UpstreamService, hostname="127.0.0.1", protocol_config=config)
    server._listen()
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    print(f"READY {server.port}", flush=True)
    server.start()


main()
