"""Repeats RPyC's own test of its registry (`tests/test_registry.py`), rewritten, for ROUNDS rounds.

    registry_suite.py default|udp|tcp HOST PORT ROUNDS PRUNING_TIMEOUT

The registry must allow listing, and expire a server after PRUNING_TIMEOUT seconds. As upstream, the
tests do not wait between requests: each takes effect before the next query. Each round has separate
names and ports, because all rounds share one registry. Prints a JSON object: for each test, the
failed rounds and their errors.
"""

import json
import sys
import time

from rpyc.utils.registry import TCPRegistryClient, UDPRegistryClient

KIND, HOST, PORT, ROUNDS, PRUNING_TIMEOUT = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])


def client():
    if KIND == "default":
        return UDPRegistryClient()
    return {"udp": UDPRegistryClient, "tcp": TCPRegistryClient}[KIND](ip=HOST, port=PORT)


class Round:
    def __init__(self, test, number):
        self.foo, self.bar = f"{test}-FOO-{number}", f"{test}-BAR-{number}"
        self.first = 20_000 + 10 * number
        self.client = client()

    def port(self, offset):
        return self.first + offset

    def ports(self, name):
        return sorted(port for _, port in self.client.discover(name))

    def listed(self, **filters):
        """The names of this round that are listed. A list too long for one answer leaves some out."""
        return sorted({self.foo, self.bar} & set(self.client.list(**filters)))

    def end(self, *ports):
        for port in ports:
            self.client.unregister(port)


def test_api(number):
    it = Round("API", number)
    one, two, three = it.port(1), it.port(2), it.port(3)
    assert it.client.register((it.foo,), one) and it.client.register((it.foo,), two)
    assert it.ports(it.foo) == [one, two], "both are found"
    it.client.unregister(one)
    assert it.ports(it.foo) == [two], "what was unregistered is found no more"
    assert it.listed() == [it.foo]
    assert it.client.register((it.bar,), three)
    assert it.listed() == [it.bar, it.foo]
    it.end(two, three)
    assert it.listed() == [], "both are gone"


def test_listing(number):
    it = Round("LISTING", number)
    one, two = it.port(4), it.port(5)
    assert it.client.register((it.foo,), one)
    assert it.client.register((it.bar,), two, interface="127.0.0.2")
    host = it.client.discover(it.foo)[0][0]
    assert it.listed() == [it.bar, it.foo]
    assert it.listed(filter_host=host) == [it.foo]
    assert it.listed(filter_host="127.0.0.2") == [it.bar]
    # The other server can only deregister from its own address, so it expires at its TTL.
    it.end(one)


def test_pruning(number):
    it = Round("PRUNING", number)
    port = it.port(6)
    assert it.client.register((it.bar,), port)
    time.sleep(PRUNING_TIMEOUT / 5)
    assert it.ports(it.bar) == [port], "it is still there"
    time.sleep(PRUNING_TIMEOUT)
    assert it.client.discover(it.bar) == (), "its time is up"


def main():
    # Only a client of a registry on loopback can register from a second loopback address,
    # 127.0.0.2.
    tests = {test_api: ROUNDS, test_pruning: 1}
    if KIND != "default":
        tests[test_listing] = min(ROUNDS, 10)
    failed = {}
    for test, rounds in tests.items():
        failures = failed[test.__name__] = []
        for number in range(rounds):
            try:
                test(number)
            except Exception as error:
                failures.append(f"round {number}: {type(error).__name__}: {error}")
    json.dump(failed, sys.stdout)


main()
