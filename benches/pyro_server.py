"""Serves add and payload with Pyro5, for comparison. See rpc.py."""

import Pyro5.api


@Pyro5.api.expose
class Conformance:
    def add(self, a, b=0):
        return a + b

    def payload(self, n):
        return b"\xa5" * n


Pyro5.api.config.THREADPOOL_SIZE = 100
daemon = Pyro5.api.Daemon(host="127.0.0.1")
daemon.register(Conformance, "conformance")
print("READY", daemon.locationStr.rsplit(":", 1)[1], flush=True)
daemon.requestLoop()
