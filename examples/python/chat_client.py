"""Sends typed lines to a chat room, and prints the messages of all its members.

    python3 examples/python/chat_client.py localhost:18870 Ada
"""

import sys

import rpyc


def hear(name, text):
    print(f"{name}: {text}", flush=True)


address, name = sys.argv[1:] or ("localhost:18870", "Ada")
host, port = address.rsplit(":", 1)
conn = rpyc.connect(host, int(port))
listening = rpyc.BgServingThread(conn)
conn.root.join(name, hear)
for line in sys.stdin:
    conn.root.say(line.rstrip("\n"))
listening.stop()
conn.close()
