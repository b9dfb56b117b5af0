"""Finds PAYROLL by its name and asks it for a salary; the server may be in Rust or in Python.

    python3 examples/python/payroll_client.py Mertz David

RPYC_REGISTRY=HOST:PORT names the registry; without it, RPyC broadcasts.
"""

import os
import sys

import rpyc
from rpyc.utils.registry import UDPRegistryClient

last, first = sys.argv[1:] or ("Mertz", "David")
named = os.environ.get("RPYC_REGISTRY")
registrar = None
if named:
    host, port = named.rsplit(":", 1)
    registrar = UDPRegistryClient(host, int(port))

conn = rpyc.connect_by_service("PAYROLL", registrar=registrar)
print(f"{first} {last} earns {conn.root.get_salary(last, first):g} a month")
conn.close()
