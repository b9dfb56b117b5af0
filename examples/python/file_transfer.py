"""Copies a file or a whole folder to or from a classic server.

    rpyc_classic &
    python3 examples/python/file_transfer.py localhost:18812 upload HERE THERE
    python3 examples/python/file_transfer.py localhost:18812 download THERE HERE
"""

import sys

import rpyc

address, direction, source, target = sys.argv[1:]
host, port = address.rsplit(":", 1)
conn = rpyc.classic.connect(host, int(port))
copy = {"upload": rpyc.classic.upload, "download": rpyc.classic.download}[direction]
copy(conn, source, target)
print(f"{source} is copied")
conn.close()
