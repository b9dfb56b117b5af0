"""A chat room: the server calls its clients, in Rust and Python, back with every message.

    python3 examples/python/chat_server.py localhost:18870
"""

import sys

import rpyc
from rpyc.utils.server import ThreadedServer

members = {}


def tell(name, text):
    for hear in list(members.values()):
        try:
            hear(name, text)
        except EOFError:
            pass  # has left


class ChatService(rpyc.Service):
    """A chat room."""

    name = None

    def exposed_join(self, name, hear):
        """Joins under a name; the room will call `hear(name, text)` with each message."""
        if self.name or name in members:
            raise ValueError(f"{name} is here already")
        self.name = name
        members[name] = rpyc.async_(hear)
        tell(name, "has come")

    def exposed_say(self, text):
        """Sends a message to all members."""
        if not self.name:
            raise ValueError("join first")
        tell(self.name, text)

    def on_disconnect(self, conn):
        if members.pop(self.name, None):
            tell(self.name, "has left")


host, port = (sys.argv[1:] or ["localhost:18870"])[0].rsplit(":", 1)
server = ThreadedServer(ChatService, hostname=host, port=int(port))
print(f"listening on {server.host}:{server.port}", flush=True)
server.start()
