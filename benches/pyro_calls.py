"""Registers instances with Pyro5's name server, and records the bytes with which its own client looks names up.

    python3 benches/pyro_calls.py HOST:PORT NAMES

What it prints is for `registry-bench pyro`. A name has one address there: Pyro5 knows no several servers of a name.
"""

import json
import sys

import Pyro5.api
import Pyro5.core
import Pyro5.protocol
import Pyro5.socketutil

HEAD = Pyro5.protocol._header_size
host, port = sys.argv[1].split(":")
names = [f"BENCH-{number}" for number in range(int(sys.argv[2]))]
sent, received = [], []
send, receive_data = Pyro5.socketutil.SocketConnection.send, Pyro5.socketutil.SocketConnection.recv


def recording_send(self, data):
    sent.append(bytes(data))
    return send(self, data)


Pyro5.socketutil.SocketConnection.send = recording_send
receive = Pyro5.protocol.recv_stub


def recording_receive(*args, **kwargs):
    message = receive(*args, **kwargs)
    received.append(bytes(message.data))
    return message


Pyro5.protocol.recv_stub = recording_receive
server = Pyro5.core.locate_ns(host, int(port))
for name in names:
    server.register(name, f"PYRO:{name}@127.64.0.1:18861")
server._pyroRelease()
sent.clear()
received.clear()
calls = []
for name in names:
    server.lookup(name)
    calls.append({"request": sent[-1].hex(), "payload": received[-1].hex()})
# The first that it sends after a release opens the connection again.
print(json.dumps({"connect": sent[0].hex(), "calls": calls}))
