"""Passes functions of this program to a remote Python, which calls them at any time.

    rpyc_classic &
    python3 examples/python/callbacks.py localhost:18812
"""

import queue
import sys

import rpyc

host, port = (sys.argv[1:] or ["localhost:18812"])[0].rsplit(":", 1)
conn = rpyc.classic.connect(host, int(port))

# Called during a call, and calls back: the match is an object of the peer.
shout = lambda found: found.group().upper()
print(conn.modules.re.sub("[a-z]{5,}", shout, "many hands make light work"))

# Called later, from another thread of the peer, so a thread here has to serve requests.
told = queue.Queue()
listening = rpyc.BgServingThread(conn)
conn.modules.threading.Timer(0.1, told.put, ["a tenth later"]).start()
print(told.get())
listening.stop()
conn.close()
