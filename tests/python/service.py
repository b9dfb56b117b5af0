"""A real RPyC server that offers objects of many kinds, for clients in Rust.

Prints `READY <port or path>` once it listens. It exits when its standard input closes.
"""
import argparse
import logging
import os
import sys
import threading
import time

import rpyc
from rpyc.core.service import ClassicService, SlaveService
from rpyc.utils.server import ForkingServer, OneShotServer, ThreadedServer, ThreadPoolServer

SERVERS = {
    "threaded": ThreadedServer,
    "pool": ThreadPoolServer,
    "forking": ForkingServer,
    "oneshot": OneShotServer,
}
SERVICES = {"slave": SlaveService, "classic": ClassicService}


class Ledger(Exception):
    pass


class Counter:
    def __init__(self, start):
        self.exposed_value = start
        self.exposed_left = None

    def exposed_inc(self, by=1):
        self.exposed_value += by
        return self.exposed_value

    def _rpyc_setattr(self, name, value):
        if name != "value":
            raise AttributeError("cannot access %r" % name)
        self.exposed_value = value

    def _rpyc_delattr(self, name):
        raise AttributeError("cannot delete %r" % name)

    def __len__(self):
        return self.exposed_value

    def __getitem__(self, index):
        if not 0 <= index < self.exposed_value:
            raise IndexError("counter index out of range")
        return index

    def __contains__(self, item):
        return 0 <= item < self.exposed_value

    def __iter__(self):
        return iter(range(self.exposed_value))

    def __eq__(self, other):
        return self.exposed_value == other

    def __lt__(self, other):
        return self.exposed_value < other

    def __hash__(self):
        return hash(self.exposed_value)

    def __enter__(self):
        self.exposed_value += 100
        return self

    def __exit__(self, *exception):
        self.exposed_value -= 100
        self.exposed_left = True
        return False

    def __str__(self):
        return "counter at %d" % self.exposed_value

    def __repr__(self):
        return "Counter(%d)" % self.exposed_value


class EverythingService(rpyc.Service):
    tells_connections = False

    def on_connect(self, conn):
        self.conn = conn
        if self.tells_connections:
            os.write(1, b"CONNECTED\n")

    exposed_greeting = "hello"

    def exposed_get_salary(self, last, first):
        """Monthly salary."""
        return {"Mertz": 5000.5}[last] if first else 0.0

    def exposed_slowly_nested(self, depth):
        def level(depth):
            time.sleep(0.1)
            if depth:
                yield level(depth - 1)

        return level(depth)

    def exposed_text_of(self, value):
        return repr(value)

    def exposed_echo(self, value):
        return value

    def exposed_types(self, *args, **kwargs):
        return tuple(type(arg).__name__ for arg in args) + tuple(sorted(kwargs))

    def exposed_record(self):
        return ("Mertz", 5000.5, ("a", "b"))

    def exposed_counter(self, start=0):
        return Counter(start)

    def exposed_fail(self, kind, message):
        if kind == "Ledger":
            error = Ledger(message)
            error.page = 7
            raise error
        raise getattr(__import__("builtins"), kind)(message)

    def exposed_missing_file(self):
        open("/no/such/file")

    def exposed_list(self, count):
        return list(range(count))

    def exposed_dict(self, count):
        return {"key %d" % i: i for i in range(count)}

    def exposed_table(self):
        return [1, "two", {"three": [3, 3, 3]}]

    def exposed_numbers(self, count):
        for i in range(count):
            yield i

    def exposed_payload(self, count):
        return b"\xa5" * count

    def exposed_sleep(self, seconds):
        time.sleep(seconds)
        return seconds

    def exposed_apply(self, function, *args, **kwargs):
        return function(*args, **kwargs)

    def exposed_later(self, function, seconds):
        timer = threading.Timer(seconds, function, ("late",))
        timer.daemon = True
        timer.start()

    def exposed_sum(self, items):
        return sum(items)

    def exposed_buffered(self, items):
        return tuple(rpyc.buffiter(items, 10))

    def exposed_poke(self, item):
        """Uses an object of the client's in every way that RPyC knows."""
        with item as inside:
            same = inside == item
        item.value = 5
        return (
            len(item), item[3], 3 in item, tuple(item), same, str(item), repr(item),
            isinstance(hash(item), int), item.value, item.inc(2), item.inc.__doc__,
            "inc" in dir(item), hasattr(item, "nothing"), callable(item.inc),
        )

    def exposed_call_root(self, name, *args):
        return getattr(self.conn.root, name)(*args)

    def exposed_live(self):
        return len(self.conn._local_objects._dict)

    def exposed_held(self):
        return len(self.conn._proxy_cache)

    def exposed_pid(self):
        return os.getpid()

    def exposed_hang_up(self):
        self.conn._channel.stream.sock.shutdown(2)


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", choices=SERVERS, default="threaded")
    parser.add_argument("--service", choices=SERVICES)
    parser.add_argument("--bind-threads", action="store_true")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--socket-path")
    parser.add_argument("--stdio", action="store_true", help="serve on standard input and output")
    parser.add_argument("--tell-connections", action="store_true", help="print CONNECTED for each client")
    parser.add_argument("--debug", action="store_true", help="log everything")
    parser.add_argument("--keyfile")
    parser.add_argument("--certfile")
    parser.add_argument("--cafile")
    return parser.parse_args()


def main():
    options = parse()
    service = SERVICES.get(options.service, EverythingService)
    EverythingService.tells_connections = options.tell_connections
    if options.debug:
        logging.basicConfig(level=logging.DEBUG)
    config = {"bind_threads": True} if options.bind_threads else {}
    if options.stdio:
        connection = rpyc.utils.factory.connect_stdpipes(service, config=config)
        connection.serve_all()
        return
    place = {"hostname": options.host, "port": options.port}
    if options.socket_path:
        place = {"socket_path": options.socket_path}
    if options.keyfile:
        from rpyc.utils.authenticators import SSLAuthenticator

        place["authenticator"] = SSLAuthenticator(
            options.keyfile, options.certfile, options.cafile
        )
    server = SERVERS[options.server](service, protocol_config=config, **place)
    server._listen()
    ending = threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True)
    ending.start()
    sys.stdout.write("READY %s\n" % (options.socket_path or server.port))
    sys.stdout.flush()
    server.start()


if __name__ == "__main__":
    main()
