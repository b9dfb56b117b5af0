"""Attacks the conformance server at HOST PORT, process PID, in many ways, one after the other.

Prints a JSON object: the error of each attack, or null. An attack fails the test if the server does
not react to its client as expected, another client is affected, or memory is not released.
"""

import json
import os
import socket
import struct
import sys
import time
import traceback
import zlib

import rpyc
from rpyc.core import brine, consts

MISDEEDS = {}
HOST, PORT, PID = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
V6 = int(rpyc.version.version[0]) >= 6
REQUEST, REPLY, EXCEPTION = consts.MSG_REQUEST, consts.MSG_REPLY, consts.MSG_EXCEPTION
# A compressed chunk of zeros; the bombs consist of many.
KIB64 = bytes(1 << 16)


def misdeed(function):
    MISDEEDS[function.__name__] = function
    return function


def frame(payload, is_compressed=0):
    return struct.pack("!LB", len(payload), is_compressed) + payload + b"\n"


def memory(which="VmRSS"):
    """What the server takes, in MB; VmHWM is the most that it took at any time."""
    with open(f"/proc/{PID}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(which)) / 1024


def message(kind, seq, args, v6=V6):
    if v6:
        return brine.I1.pack(kind) + brine.dump((seq, args))
    return brine.dump((kind, seq, args))


def request(seq, handler, args):
    return frame(message(REQUEST, seq, (handler, args)))


class Raw:
    """A client that says what it likes."""

    def __init__(self):
        self.socket = socket.create_connection((HOST, PORT), timeout=15)
        self.seq = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            chunk = self.socket.recv(count - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data

    def receive(self):
        length, is_compressed = struct.unpack("!LB", self.exactly(5))
        payload = self.exactly(length)
        assert self.exactly(1) == b"\n"
        if is_compressed:
            payload = zlib.decompress(payload)
        if V6:
            return payload[0], payload[1:]
        return brine.load(payload)

    def ask(self, handler, args):
        self.send(request(self.seq, handler, args))
        self.seq += 1
        return self.receive()

    def is_closed(self, within):
        """Whether the server hangs up in that time."""
        self.socket.settimeout(within)
        try:
            while self.socket.recv(1 << 16):
                pass
            return True
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def lives(self):
        kind = self.ask(consts.HANDLE_PING, (consts.LABEL_VALUE, ("ping",)))[0]
        assert kind == REPLY, kind


def value(*members):
    return (consts.LABEL_VALUE, members)


@misdeed
def garbage_is_hung_up_on(other):
    for bytes_ in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00" + bytes(60), b"\xff" * 64,
                   frame(b"\x01\xff\xff"), frame(b"\x09"), frame(b"not zlib", 1), frame(b"\x01" * 40)):
        with Raw() as raw:
            raw.send(bytes_)
            assert raw.is_closed(3), bytes_


@misdeed
def half_a_frame_is_hung_up_on_in_time(other):
    with Raw() as raw:
        raw.send(request(0, consts.HANDLE_PING, value("ping"))[:-3])
        start = time.monotonic()
        assert raw.is_closed(9)
        assert 4 < time.monotonic() - start < 8


@misdeed
def a_frame_too_long_is_hung_up_on(other):
    with Raw() as raw:
        raw.send(struct.pack("!LB", 0xFFFFFFFF, 0) + b"x")
        assert raw.is_closed(3)


@misdeed
def a_bomb_does_not_go_off(other):
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(KIB64) for _ in range((1 << 30) // len(KIB64))) + packer.flush()
    with Raw() as raw:
        raw.send(frame(bomb, 1))
        assert raw.is_closed(10)


@misdeed
def a_frame_that_trickles_is_hung_up_on_in_time(other):
    with Raw() as raw:
        raw.lives()
        start = time.monotonic()
        # Announces a frame of 32 MiB, and sends one byte of it twice a second.
        raw.send(struct.pack("!LB", 32 << 20, 0))
        raw.socket.settimeout(0.5)
        while time.monotonic() - start < 9:
            try:
                raw.send(b"\x01")
                if not raw.socket.recv(1):
                    break
            except TimeoutError:
                pass
            except ConnectionError:
                break
        assert 4 < time.monotonic() - start < 8


@misdeed
def what_is_nested_deep_is_refused(other):
    before = memory()
    for depth in (400, 100_000, 900_000):
        # Nested values and nested boxes in place of the body, the arguments, an argument, a keyword
        # and the number.
        values, boxes = b"\x10" * depth + brine.dump(None), b"\x11\x52\x10" * depth + brine.dump((1, None))
        for deep in (values, boxes):
            for shape in ((7,), (consts.HANDLE_PING, 7), (consts.HANDLE_PING, (consts.LABEL_VALUE, 7)),
                          (consts.HANDLE_CALL, (2, ((1, 7), (1, ()), (1, ()))))):
                with Raw() as raw:
                    raw.send(frame(message(REQUEST, 0, shape if len(shape) > 1 else 7).replace(b"\x57", deep)))
                    kind, *_ = answer = raw.receive()
                    assert kind == EXCEPTION, answer
                    told = answer[-1] if V6 else brine.dump(answer)
                    assert b"ValueError" in told or b"TypeError" in told, told
                    raw.lives()
    # The number of a message may be any value, and the reply repeats it, nesting included.
    with Raw() as raw:
        raw.send(frame(message(REQUEST, 7, (consts.HANDLE_PING, value("x"))).replace(b"\x57", b"\x10" * 1000 + b"\0")))
        raw.exactly(1000)
    other()
    assert memory() < before + 64, "what is refused is not kept"


@misdeed
def frames_of_another_dialect_are_hung_up_on(other):
    ping = consts.HANDLE_PING, value("ping")
    with Raw() as raw:
        raw.lives()
        raw.send(frame(message(REQUEST, 1, ping, v6=not V6)))
        assert raw.is_closed(3)
    # The same with leading thread ids, on a connection that does not use them.
    with Raw() as raw:
        raw.lives()
        raw.send(frame(struct.pack("!QQ", 7, 0) + message(REQUEST, 1, ping)))
        assert raw.is_closed(3)
    # The server abandons pending calls, and ignores the rest of the same packet.
    with Raw() as raw:
        raw.lives()
        raw.send(request(1, *ping) + frame(message(REQUEST, 2, ping, v6=not V6)) + request(3, *ping))
        assert raw.is_closed(3)
    # The server understands a client whose first message is in the other dialect.
    with Raw() as raw:
        raw.send(frame(message(REQUEST, 1, ping, v6=not V6)))
        assert raw.exactly(5)[4] == 0


@misdeed
def nonsense_is_answered_with_exceptions(other):
    forged = ("conformance.Counter", 1, 123_456)
    with Raw() as raw:
        for handler, args in (
            (999, value()), (0, value()), (-1, value()), ("call", value()),
            (consts.HANDLE_GETATTR, (9, ())), (consts.HANDLE_GETATTR, value()),
            (consts.HANDLE_GETATTR, value(1, 2)), (consts.HANDLE_PING, value()),
            (consts.HANDLE_PING, 7), (consts.HANDLE_INSPECT, value(forged)),
            (consts.HANDLE_GETATTR, (2, ((3, forged), (1, "inc")))),
            (consts.HANDLE_CALL, (2, ((3, forged), (1, ()), (1, ())))),
            (consts.HANDLE_REPR, (2, ((3, ("x", 0, 0)),))),
            (consts.HANDLE_PICKLE, (2, ((3, forged), (1, 2)))),
        ):
            kind = raw.ask(handler, args)[0]
            assert kind == EXCEPTION, (handler, args, kind)
        raw.lives()


@misdeed
def ids_of_another_connection_are_nobodys(other):
    conn = rpyc.connect(HOST, PORT)
    counter = conn.root.counter(5)
    stolen = object.__getattribute__(counter, "____id_pack__")
    with Raw() as raw:
        assert raw.ask(consts.HANDLE_REPR, (2, ((3, stolen),)))[0] == EXCEPTION
        raw.ask(consts.HANDLE_GETROOT, value())
        assert raw.ask(consts.HANDLE_REPR, (2, ((3, stolen),)))[0] == EXCEPTION
        raw.lives()
    assert counter.value == 5
    conn.close()


@misdeed
def comparisons_call_nothing_else(other):
    conn = rpyc.connect(HOST, PORT)
    counter = conn.root.counter(5)
    for op in ("inc", "exposed_inc", "__getitem__", "__class__", "__setattr__", "__len__", "value"):
        try:
            conn.sync_request(consts.HANDLE_CMP, counter, 1, op)
        except AttributeError:
            continue
        raise AssertionError(op)
    assert counter.value == 5
    conn.close()


@misdeed
def every_operation_has_the_same_gate(other):
    conn = rpyc.connect(HOST, PORT)
    function = conn.root.add
    for name in ("__globals__", "__code__", "__closure__", "__self__x", "func_globals", "__getattribute__"):
        for handler, args in (
            (consts.HANDLE_GETATTR, (name,)), (consts.HANDLE_SETATTR, (name, 1)), (consts.HANDLE_DELATTR, (name,)),
            (consts.HANDLE_CALLATTR, (name, (), ())), (consts.HANDLE_OLDSLICING, (name, name, 0, 1, ())),
        ):
            for target in (function, conn.root, conn.root.counter()):
                try:
                    conn.sync_request(handler, target, *args)
                except (AttributeError, TypeError):
                    continue
                raise AssertionError((name, handler))
    for handler, args in ((consts.HANDLE_BUFFITER, (3,)), (consts.HANDLE_CTXEXIT, (None,)),
                          (consts.HANDLE_PICKLE, (2,)), (consts.HANDLE_CALL, ((), ()))):
        try:
            conn.sync_request(handler, conn.root, *args)
        except (AttributeError, TypeError, ValueError):
            continue
        raise AssertionError(handler)
    conn.close()


@misdeed
def pickles_of_the_clients_are_never_asked_for(other):
    conn = rpyc.connect(HOST, PORT, config={"allow_pickle": True})

    class Evil:
        def __reduce__(self):
            raise AssertionError("somebody pickles this")

        __array__ = __reduce__

    evil = Evil()
    assert conn.root.echo(evil) is evil
    conn.close()


@misdeed
def a_client_that_leaves_in_a_call_is_forgotten(other):
    for _ in range(20):
        with Raw() as raw:
            raw.ask(consts.HANDLE_GETROOT, value())
            raw.send(request(1, consts.HANDLE_PING, value("x" * 1000)) * 20)
    conns = [rpyc.connect(HOST, PORT) for _ in range(20)]
    for conn in conns:
        rpyc.async_(conn.root.sleep)(3600)
        conn._channel.stream.sock.close()
    other()


@misdeed
def values_of_one_byte_do_not_swell(other):
    # A packet may hold twenty of these: each takes a kilobyte and expands to 900,000 values.
    def echo(members):
        return message(REQUEST, 1, (consts.HANDLE_CALLATTR, (2, ((3, root), (1, "echo"), (1, members), (1, ())))))

    before = memory()
    with Raw() as raw:
        reply = raw.ask(consts.HANDLE_GETROOT, value())
        root = brine.load(reply[1])[1][1] if V6 else reply[2][1]
        raw.send(frame(zlib.compress(echo(((None,) * 900_000,))), 1) * 20)
        for _ in range(20):
            raw.receive()
            other()
    assert memory("VmHWM") < before + 400, (before, memory("VmHWM"))


@misdeed
def a_client_that_never_reads_stops_nobody_else(other):
    before = memory()
    conn = rpyc.connect(HOST, PORT)
    payload = rpyc.async_(conn.root.payload)
    conn._channel.stream.sock.settimeout(2)
    try:
        for _ in range(200):
            payload(10_000_000)
    except (OSError, EOFError):
        pass
    for _ in range(50):
        other()
    assert memory() < before + 200, "what nobody reads is not made"
    conn._channel.stream.sock.close()


@misdeed
def storms_of_del_break_nothing(other):
    conn = rpyc.connect(HOST, PORT)
    counter = conn.root.counter(1)
    for _ in range(20_000):
        conn.async_request(consts.HANDLE_DEL, counter, 1_000_000)
    # RPyC's own 3 s are short for a busy machine.
    conn.ping(timeout=30)
    assert conn.root.live() == 0
    other()
    conn.close()


@misdeed
def a_thousand_calls_at_once_are_served(other):
    conn = rpyc.connect(HOST, PORT)
    add = rpyc.async_(conn.root.add)
    results = [add(n, 1) for n in range(1000)]
    assert [result.value for result in results] == list(range(1, 1001))
    conn.close()


@misdeed
def many_clients_are_served(other):
    conns = [rpyc.connect(HOST, PORT) for _ in range(150)]
    assert all(conn.root.add(n, 1) == n + 1 for n, conn in enumerate(conns))
    other()
    for conn in conns:
        conn.close()


@misdeed
def the_largest_frames_go_through(other):
    conn = rpyc.connect(HOST, PORT, config={"sync_request_timeout": 60})
    big = os.urandom((32 << 20) - 100)
    assert conn.root.echo(big) == big
    conn.close()


def main():
    conn = rpyc.connect(HOST, PORT)

    def other():
        start = time.monotonic()
        assert conn.root.add(20, 22) == 42
        assert time.monotonic() - start < 5, "another client had to wait"

    quiet = memory()
    outcomes = {}
    for name, commit in MISDEEDS.items():
        try:
            commit(other)
            other()
            outcomes[name] = None
        except BaseException:
            outcomes[name] = traceback.format_exc()
    try:
        deadline = time.monotonic() + 20
        while memory() > quiet + 24 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert memory() <= quiet + 24, f"{quiet} MB at first, {memory()} in the end"
        outcomes["memory comes back"] = None
    except AssertionError:
        outcomes["memory comes back"] = traceback.format_exc()
    json.dump(outcomes, sys.stdout)


main()
