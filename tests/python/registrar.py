"""A real RPyC client of a registry.

Reads one JSON request per line from standard input and answers each with one JSON line:
`{"value": ...}` or `{"error": <exception class>, "message": ...}`. It exits when its standard
input closes.
"""
import argparse
import json
import sys

import rpyc
from rpyc.utils.factory import list_services, unix_connect
from rpyc.utils.registry import TCPRegistryClient, UDPRegistryClient


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registrar", choices=["default", "udp", "tcp"], default="default")
    parser.add_argument("--registry-host")
    parser.add_argument("--registry-port", type=int)
    parser.add_argument("--registry-ipv6", action="store_true")
    parser.add_argument("--timeout", type=float, default=2, help="seconds to wait for the registry")
    return parser.parse_args()


class Requests:
    """What can be asked; every method is one of RPyC's own calls.

    `self.given` is the registrar handed to RPyC: None when RPyC is to choose its own.
    """

    def __init__(self, options):
        where = (options.registry_host, options.registry_port)
        if options.registrar == "udp":
            self.given = UDPRegistryClient(*where, timeout=options.timeout, ipv6=options.registry_ipv6)
        elif options.registrar == "tcp":
            self.given = TCPRegistryClient(*where, timeout=options.timeout)
        else:
            self.given = None
        self.registrar = self.given or UDPRegistryClient()

    def query(self, name):
        return self.registrar.discover(name)

    def discover(self, name, host=None):
        return rpyc.discover(name, host=host, registrar=self.given)

    def list(self, filter_host=None):
        return list_services(registrar=self.given, filter_host=filter_host)

    def register(self, names, port, interface=""):
        return self.registrar.register(tuple(names), port, interface=interface)

    def unregister(self, port):
        return self.registrar.unregister(port)

    def call(self, name, method, *args):
        return called(rpyc.connect_by_service(name, registrar=self.given), method, args)

    def call_at(self, host, port, ipv6, method, *args):
        return called(rpyc.connect(host, port, ipv6=ipv6), method, args)

    def call_unix(self, path, method, *args):
        return called(unix_connect(path), method, args)


def called(connection, method, args):
    try:
        return getattr(connection.root, method)(*args)
    finally:
        try:
            connection.close()
        except AttributeError:
            # RPyC closes a connection twice if the peer's end arrives while it closes.
            pass


def main():
    requests = Requests(parse())
    for line in sys.stdin:
        verb, *args = json.loads(line)
        try:
            answer = {"value": getattr(requests, verb)(*args)}
        except Exception as error:
            answer = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(answer), flush=True)


main()
