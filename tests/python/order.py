"""Runs RPyC's own registry clients in tight loops: requests of a host must take effect in order.

Prints one JSON object: the number of rounds, and how often each expectation failed.
"""
import argparse
import collections
import json
import logging
import multiprocessing

from rpyc.utils.registry import TCPRegistryClient, UDPRegistryClient


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", required=True, help="the way of what comes first, as udp:HOST:PORT")
    parser.add_argument("--then", required=True, help="the way of what comes then")
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--load", type=int, default=0, help="processes that ask and register as well")
    return parser.parse_args()


def client(way):
    transport, host, port = way.split(":")
    kind = {"udp": UDPRegistryClient, "tcp": TCPRegistryClient}[transport]
    # The rounds report missing acknowledgements, so RPyC's log is off.
    logger = logging.getLogger("quiet")
    logger.disabled = True
    return kind(host, int(port), timeout=20, logger=logger)


def ports_of(registrar, name):
    found = registrar.discover(name)
    # No client waits for the acknowledgement of UNREGISTER, so it may reach a later socket that the
    # system has given the same port.
    while found == "OK":
        found = registrar.discover(name)
    return {port for _, port in found}


class Rounds:
    def __init__(self, first, then):
        self.first, self.then = first, then
        # Whether unacknowledged requests are ordered too.
        self.is_one_way = type(first) is type(then)
        self.failures = collections.Counter()

    def expect(self, what, holds):
        if not holds:
            self.failures[what] += 1

    def another_name(self, port):
        """A server ends, and the next one on its port begins."""
        acknowledged = self.first.register(("OLD",), port)
        self.first.unregister(port)
        acknowledged = self.then.register(("NEW",), port) and acknowledged
        self.expect("acknowledged", acknowledged)
        # This query uses the transport of the UNREGISTER, so the registry has handled that before.
        self.expect("the new name of the port is known", port in ports_of(self.first, "NEW"))
        self.expect("the new name is found", port in ports_of(self.then, "NEW"))
        if self.is_one_way:
            self.expect("the old name is gone", port not in ports_of(self.then, "OLD"))
        self.then.unregister(port)
        self.expect("the end of the new name is seen", port not in ports_of(self.then, "NEW"))
        self.first.unregister(port)

    def another_port(self, port):
        """A server ends, and begins on another port."""
        acknowledged = self.first.register(("SAME",), port)
        self.first.unregister(port)
        acknowledged = self.then.register(("SAME",), port + 1) and acknowledged
        self.expect("acknowledged", acknowledged)
        found = ports_of(self.then, "SAME")
        self.expect("the new port is found", port + 1 in found)
        if self.is_one_way:
            self.expect("the old port is gone", port not in found)
        self.then.unregister(port + 1)
        self.expect("the end of the new port is seen", port + 1 not in ports_of(self.then, "SAME"))

    def after_acknowledgement(self, port):
        """What was acknowledged comes before what is sent then, whichever way it takes."""
        acknowledged = self.first.register(("SHORT",), port)
        self.expect("acknowledged", acknowledged)
        self.expect("what was acknowledged is found", port in ports_of(self.then, "SHORT"))
        self.then.unregister(port)
        self.expect("the end is seen", port not in ports_of(self.then, "SHORT"))


def load(options, number):
    """Asks and registers until it is ended."""
    registrars = [client(way) for way in {options.first, options.then}]
    port = 50_000 + number
    while True:
        for registrar in registrars:
            registrar.register((f"LOAD{number}",), port)
            registrar.discover(f"LOAD{number}")
            registrar.unregister(port)


def main():
    options = parse()
    first = client(options.first)
    then = first if options.first == options.then else client(options.then)
    others = [
        multiprocessing.Process(target=load, args=(options, number), daemon=True)
        for number in range(options.load)
    ]
    for other in others:
        other.start()
    rounds = Rounds(first, then)
    for number in range(options.rounds):
        port = 1000 + 2 * number
        rounds.another_name(port)
        rounds.another_port(port)
        rounds.after_acknowledgement(port)
    for other in others:
        other.kill()
        other.join()
    print(json.dumps({"rounds": options.rounds, "failures": rounds.failures}))


main()
