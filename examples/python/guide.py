"""The Python half of the guide "From Python to Rust", docs/guide.md: a function for each listing.

    rpyc_classic &
    python3 examples/python/guide.py 2 localhost:18812

What each listing needs is told in examples/guide.rs, which is the same in Rust.
"""

import http.client
import os
import platform
import sys

import rpyc
from rpyc.utils.server import ThreadedServer


def listing_1():
    print(platform.node())
    print("Python", platform.python_version())
    print(os.getcwd())


def listing_2(*addresses):
    for host, port in addresses:
        conn = rpyc.classic.connect(host, port)
        print(conn.modules.platform.node())
        print("Python", conn.modules.platform.python_version())
        print(conn.modules.os.getcwd())


def listing_3(address):
    conn = rpyc.classic.connect(*address)
    payroll = conn.modules.Payroll
    salary = payroll.get_salary(last="Mertz", first="David")
    print(f"{salary:.2f}")


def listing_4(address):
    conn = rpyc.classic.connect(*address)
    rpyc.classic.interact(conn)


def listing_5(address):
    conn = rpyc.classic.connect(*address)
    conn.execute("def greet(name):\n    print('Hello,', name)\n    return len(name)")
    greet = conn.namespace["greet"]

    # Printed there.
    there = greet("server")

    # Printed here.
    with rpyc.classic.redirected_stdio(conn):
        here = greet("client")
    print(there, here)


def listing_6(address, inside):
    conn = rpyc.classic.connect(*address)
    http.client.socket = conn.modules.socket
    web = http.client.HTTPConnection(*inside, timeout=10)
    web.request("GET", "/")
    print(web.getresponse().read().decode())


def listing_7(address):
    conn = rpyc.classic.connect(*address)
    conn.execute("def slowly(n):\n    import time\n    time.sleep(1)\n    return n * 2")
    slowly = rpyc.async_(conn.namespace["slowly"])

    doubled = slowly(21)
    print("done" if doubled.ready else "not yet")
    print(doubled.value)


class WeatherService(rpyc.Service):
    """The weather of one place."""

    def on_connect(self, conn):
        print("a client has come", flush=True)

    def on_disconnect(self, conn):
        print("a client has left", flush=True)

    def exposed_place(self):
        """Where it is measured."""
        return "Darmstadt"

    def exposed_temperatures(self, day):
        """What was measured on a day, in degrees."""
        return (11.5, 17.0, 13.5)

    def recalibrate(self):
        pass


def listing_8(address):
    host, port = address
    server = ThreadedServer(WeatherService, hostname=host, port=port)
    print(f"listening on {server.host}:{server.port}", flush=True)
    server.start()


def listing_9(address):
    weather = rpyc.connect(*address).root
    place = weather.place()
    temperatures = weather.temperatures(1)
    print(f"{place}: up to {max(temperatures):.1f} degrees")
    try:
        weather.recalibrate()
    except AttributeError:
        print("recalibrate is not exposed")


def endpoint(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


if __name__ == "__main__":
    listing, *addresses = sys.argv[1:]
    globals()[f"listing_{listing}"](*map(endpoint, addresses))
