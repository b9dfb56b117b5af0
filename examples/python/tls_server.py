"""Serves a safe over TLS; with an authority for clients, only clients with its certificates.

    openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=safe -keyout server.key -out server.crt
    python3 examples/python/tls_server.py localhost:18871 server.crt server.key [clients.crt]
"""

import sys

import rpyc
from rpyc.utils.authenticators import SSLAuthenticator
from rpyc.utils.server import ThreadedServer


class SafeService(rpyc.Service):
    def exposed_contents(self):
        """The content of the safe."""
        return "twelve gold coins"


address, certificate, key, *authority = sys.argv[1:]
host, port = address.rsplit(":", 1)
tls = SSLAuthenticator(key, certificate, *authority)
server = ThreadedServer(SafeService, hostname=host, port=int(port), authenticator=tls)
print(f"listening on {server.host}:{server.port}", flush=True)
server.start()
