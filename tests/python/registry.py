"""RPyC's own registry, over UDP and TCP on loopback: the control for the scenarios.

Prints its addresses in the daemon's format. It exits when its standard input closes.
"""
import argparse
import sys
import threading

from rpyc.utils.registry import DEFAULT_PRUNING_TIMEOUT, TCPRegistryServer, UDPRegistryServer


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--timeout", type=float, default=DEFAULT_PRUNING_TIMEOUT)
    parser.add_argument("--listing", action="store_true")
    options = parser.parse_args()
    settings = {"pruning_timeout": options.timeout, "allow_listing": options.listing}
    udp = UDPRegistryServer("127.0.0.1", 0, **settings)
    tcp = TCPRegistryServer("127.0.0.1", 0, **settings)
    for scheme, server in [("udp", udp), ("tcp", tcp)]:
        threading.Thread(target=server.start, daemon=True).start()
        print(f"listening on {scheme}://127.0.0.1:{server.port}", flush=True)
    sys.stdin.read()


main()
