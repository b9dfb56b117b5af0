"""An RPyC server that answers each ping with an exception whose text is hostile to logs.

Prints `READY <port>` once it listens. It ends when its standard input closes.
"""
import sys
import threading

from rpyc.core.protocol import Connection
from rpyc.core.service import VoidService
from rpyc.utils.server import ThreadedServer


def raise_text(self, *args):
    raise ValueError("hostile\n2020-01-01T00:00:00.000000Z ERROR forged\x1b[2J\u009b2J")


Connection._handle_ping = raise_text
server = ThreadedServer(VoidService, hostname="127.0.0.1", port=0)
print("READY", server.port, flush=True)
threading.Thread(target=server.start, daemon=True).start()
sys.stdin.read()
