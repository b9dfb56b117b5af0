"""Asks a service over TLS. The server is known by its certificate, which is in a file here; a client
that the server wants to know shows one too.

    python3 examples/python/tls_client.py localhost:18871 server.crt [client.crt client.key]
"""

import sys

import rpyc

address, server, *identity = sys.argv[1:]
certificate, key = identity or (None, None)
host, port = address.rsplit(":", 1)
# Without ca_certs, RPyC trusts any server.
conn = rpyc.ssl_connect(host, int(port), keyfile=key, certfile=certificate, ca_certs=server)
print("in the safe:", conn.root.contents())
conn.close()
