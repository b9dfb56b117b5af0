"""Crowds the conformance server at HOST PORT, process PID, from one address.

Prints a JSON object: the error of each crowd, or null. A crowd fails the test if it locks out a
client of RPyC, or if the server takes more memory than its limits allow.
"""

import json
import os
import resource
import socket
import struct
import sys
import time
import traceback

import rpyc
from rpyc.core import brine, consts
from rpyc.core.stream import SocketStream

CROWDS = {}
HOST, PORT, PID = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
V6 = int(rpyc.version.version[0]) >= 6
# More than a server lets in by default.
MANY = 1100
OTHER_HOST = "127.0.0.2"


def crowd(function):
    CROWDS[function.__name__] = function
    return function


def memory(which="VmRSS"):
    with open(f"/proc/{PID}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(which)) / 1024


def request(handler):
    args = (handler, (consts.LABEL_VALUE, ("ping",) if handler == consts.HANDLE_PING else ()))
    payload = brine.I1.pack(consts.MSG_REQUEST) + brine.dump((0, args)) if V6 else brine.dump(
        (consts.MSG_REQUEST, 0, args))
    return struct.pack("!LB", len(payload), 0) + payload + b"\n"


def raw(source=HOST):
    raw = socket.socket()
    raw.bind((source, 0))
    raw.connect((HOST, PORT))
    raw.settimeout(10)
    return raw


def client(source):
    return rpyc.connect_stream(SocketStream(raw(source)), config={"sync_request_timeout": 30})


def works(source):
    """Whether a client that comes from `source` is served."""
    conn = client(source)
    assert conn.root.add(20, 22) == 42
    conn.close()


def close(sockets):
    for one in sockets:
        one.close()


def is_open(one):
    one.settimeout(0.01)
    try:
        return one.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


@crowd
def silent_sockets(busy):
    silent = [raw() for _ in range(MANY)]
    works(HOST)
    works(OTHER_HOST)
    assert busy.root.add(1, 2) == 3
    close(silent)


@crowd
def sockets_with_half_a_request(busy):
    half = [raw() for _ in range(MANY)]
    for one in half:
        try:
            one.sendall(request(consts.HANDLE_GETROOT)[:-3])
        except ConnectionError:
            pass
    works(HOST)
    works(OTHER_HOST)
    close(half)


@crowd
def sockets_that_did_one_request(busy):
    idle = []
    for _ in range(MANY):
        one = raw()
        try:
            one.sendall(request(consts.HANDLE_PING))
            if one.recv(1):
                idle.append(one)
        except ConnectionError:
            pass
    assert 256 <= len(idle) < 1000, len(idle)
    works(OTHER_HOST)
    assert busy.root.add(1, 2) == 3
    # Each has done something, so it may idle.
    assert is_open(idle[0])
    close(idle)


def half_frames(count, greeting):
    """Each announces 60 MiB, and sends half of it, or as much as the server takes."""
    half, chunk = [], bytes(1 << 20)
    for _ in range(count):
        one = raw()
        half.append(one)
        try:
            one.sendall(greeting)
            if greeting:
                one.recv(1)
            one.sendall(struct.pack("!LB", 60 << 20, 0))
            for _ in range(30):
                one.sendall(chunk)
        except (ConnectionError, TimeoutError):
            pass
    return half


@crowd
def half_frames_before_the_first_request(busy):
    before = memory()
    half = half_frames(20, b"")
    assert memory("VmHWM") < before + 64, (before, memory("VmHWM"))
    assert busy.root.add(1, 2) == 3
    close(half)


@crowd
def half_frames_after_a_request(busy):
    before = memory()
    half = half_frames(30, request(consts.HANDLE_GETROOT))
    assert memory("VmHWM") < before + 330, (before, memory("VmHWM"))
    # A large frame that goes on displaces those that do not.
    conn = client(HOST)
    big = bytes(30 << 20)
    assert conn.root.echo(big) == big
    assert busy.root.add(1, 2) == 3
    conn.close()
    close(half)


@crowd
def answers_that_nobody_reads(busy):
    # Incompressible, so that it comes back as long as it is.
    data = os.urandom(60 << 20)
    args = (consts.HANDLE_PING, (consts.LABEL_VALUE, (data,)))
    payload = brine.I1.pack(consts.MSG_REQUEST) + brine.dump((0, args)) if V6 else brine.dump(
        (consts.MSG_REQUEST, 0, args))
    before, greedy = memory(), []
    for _ in range(20):
        one = raw()
        greedy.append(one)
        try:
            one.sendall(struct.pack("!LB", len(payload), 0))
            one.sendall(payload + b"\n")
        except (ConnectionError, TimeoutError):
            pass
    assert memory("VmHWM") < before + 800, (before, memory("VmHWM"))
    assert busy.root.add(1, 2) == 3
    close(greedy)


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    busy = rpyc.connect(HOST, PORT)
    assert busy.root.add(1, 2) == 3
    outcomes = {}
    for name, come in CROWDS.items():
        try:
            come(busy)
            outcomes[name] = None
        except BaseException:
            outcomes[name] = traceback.format_exc()
        # Until the server knows that they are gone.
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                works(HOST)
                break
            except (OSError, EOFError):
                pass
    json.dump(outcomes, sys.stdout)


main()
