"""A real RPyC server that announces itself to a registry.

Prints one line per event: `READY <port or path>` once it listens, `REGISTERED yes|no` after each
attempt to register, `CLOSED` after a clean shutdown. It shuts down, and so deregisters, when its
standard input closes.
"""
import argparse
import os
import sys

import rpyc
from rpyc.utils.registry import TCPRegistryClient, UDPRegistryClient
from rpyc.utils.server import ThreadedServer


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", action="append", required=True, help="a name; again for an alias")
    parser.add_argument("--bind", help="the address to listen on; RPyC's default when absent")
    parser.add_argument("--ipv6", action="store_true", help="serve IPv6")
    parser.add_argument("--socket-path", help="serve on a unix socket")
    parser.add_argument("--registrar", choices=["default", "udp", "tcp"], default="default")
    parser.add_argument("--registry-host")
    parser.add_argument("--registry-port", type=int)
    parser.add_argument("--registry-ipv6", action="store_true")
    parser.add_argument("--renew", type=float, help="seconds between registrations; RPyC's default when absent")
    return parser.parse_args()


def registrar(options):
    if options.registrar == "udp":
        return UDPRegistryClient(options.registry_host, options.registry_port, ipv6=options.registry_ipv6)
    if options.registrar == "tcp":
        return TCPRegistryClient(options.registry_host, options.registry_port)
    return None


def service(names):
    class AnnouncedService(rpyc.Service):
        ALIASES = names

        def exposed_pid(self):
            return os.getpid()

        def exposed_echo(self, value):
            return value

    return AnnouncedService


def say(*words):
    # A single write, because the registering thread prints as well.
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def observe_registrations(server):
    register = server.registrar.register

    def observed(*args, **kwargs):
        acknowledged = register(*args, **kwargs)
        say("REGISTERED", "yes" if acknowledged else "no")
        return acknowledged

    server.registrar.register = observed


def main():
    options = parse()
    place = {"hostname": options.bind, "ipv6": options.ipv6}
    if options.socket_path:
        place = {"socket_path": options.socket_path}
    server = ThreadedServer(service(options.name), registrar=registrar(options), auto_register=True, **place)
    if options.renew is not None:
        server.registrar.REREGISTER_INTERVAL = options.renew
    observe_registrations(server)
    server._start_in_thread()
    say("READY", server.port)
    sys.stdin.read()
    server.close()
    say("CLOSED")


main()
