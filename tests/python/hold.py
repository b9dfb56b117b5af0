"""Takes what a server at HOST PORT gives: COUNT connections from each SOURCE, one request on each.

Prints `HELD`, and for each source how many of them were answered. Keeps these open until standard
input closes.
"""

import resource
import socket
import sys

import rpyc
from rpyc.core import brine, consts

GET_ROOT = (consts.HANDLE_GETROOT, (consts.LABEL_VALUE, ()))
V6 = int(rpyc.version.version[0]) >= 6


def request():
    if V6:
        payload = brine.I1.pack(consts.MSG_REQUEST) + brine.dump((0, GET_ROOT))
    else:
        payload = brine.dump((consts.MSG_REQUEST, 0, GET_ROOT))
    return len(payload).to_bytes(4, "big") + b"\0" + payload + b"\n"


def hold(host, port, count, source):
    held = []
    for _ in range(count):
        one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        one.bind((source, 0))
        one.settimeout(20)
        try:
            one.connect((host, port))
            one.sendall(request())
            if one.recv(1):
                held.append(one)
        except ConnectionError:
            pass
    return held


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    host, port, count, *sources = sys.argv[1:]
    held = [hold(host, int(port), int(count), source) for source in sources]
    print("HELD", *map(len, held), flush=True)
    sys.stdin.read()


main()
