"""Serves PAYROLL and announces it, for clients in Python and in Rust.

    python3 examples/python/payroll_server.py

RPYC_REGISTRY=HOST:PORT names the registry; without it, RPyC broadcasts.
"""

import os
import signal
import sys

import rpyc
from rpyc.utils.registry import UDPRegistryClient
from rpyc.utils.server import ThreadedServer


class PayrollService(rpyc.Service):
    def exposed_get_salary(self, last, first):
        return {"Mertz": 4200.0}[last]


def registrar():
    named = os.environ.get("RPYC_REGISTRY")
    if not named:
        return UDPRegistryClient()
    host, port = named.rsplit(":", 1)
    return UDPRegistryClient(host, int(port))


server = ThreadedServer(PayrollService, registrar=registrar(), auto_register=True)
# Unregisters when terminated.
signal.signal(signal.SIGTERM, lambda *_: (server.close(), sys.exit()))
server.start()
