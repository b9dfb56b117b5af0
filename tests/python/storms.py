"""Runs storms of COUNT objects against the conformance server at HOST PORT, with process id PID.

Prints a JSON object: the measurements of each storm, or its error as a text. Memory is the
server's, in MB, and must return to its level after the storm. Meanwhile another client makes calls
and measures its waits.
"""

import json
import multiprocessing
import socket
import struct
import sys
import threading
import time
import traceback
import zlib

import rpyc
from rpyc.core import brine, consts

HOST, PORT, PID, COUNT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
V6 = int(rpyc.version.version[0]) >= 6
STORMS = {}
# The memory that may remain after a storm, in MB: pages that the allocator keeps. The longest
# allowed wait of another client, in seconds: the machine is shared.
KEPT, WAIT = 12, 1.0


def storm(function):
    STORMS[function.__name__] = function
    return function


def memory():
    with open(f"/proc/{PID}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024


def message(seq, handler, args):
    body = (handler, args)
    if V6:
        payload = brine.I1.pack(consts.MSG_REQUEST) + brine.dump((seq, body))
    else:
        payload = brine.dump((consts.MSG_REQUEST, seq, body))
    return struct.pack("!LB", len(payload), 0) + payload + b"\n"


def value(*members):
    return consts.LABEL_VALUE, members


class Raw:
    """A client that sends all it has without waiting, and reads the answers meanwhile."""

    def __init__(self):
        self.socket = socket.create_connection((HOST, PORT))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb", 1 << 20)
        self.requests_of_server = 0
        [(_, (_, root))] = self.ask([(consts.HANDLE_GETROOT, value())])
        self.root = consts.LABEL_LOCAL_REF, root

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()

    def receive(self):
        """The next answer: its kind and its body. Requests of the server's (DEL) are counted."""
        while True:
            length, is_compressed = struct.unpack("!LB", self.stream.read(5))
            payload = self.stream.read(length + 1)[:-1]
            if is_compressed:
                payload = zlib.decompress(payload)
            kind, seq, body = (payload[0], *brine.load(payload[1:])) if V6 else brine.load(payload)
            if kind != consts.MSG_REQUEST:
                return kind, body
            self.requests_of_server += 1

    def ask(self, requests, within=2000):
        """The answers to requests, of which so many may be under way at a time."""
        answers, room = [], threading.Semaphore(within)
        requests = list(requests)

        def send():
            batch = bytearray()
            for seq, (handler, args) in enumerate(requests):
                if not room.acquire(blocking=False):
                    self.socket.sendall(batch)
                    batch.clear()
                    room.acquire()
                batch += message(seq, handler, args)
                if len(batch) > 1 << 16:
                    self.socket.sendall(batch)
                    batch.clear()
            self.socket.sendall(batch)

        sending = threading.Thread(target=send)
        sending.start()
        for _ in requests:
            answers.append(self.receive())
            room.release()
        sending.join()
        return answers

    def call(self, name, arguments, within=2000):
        """The results of calls of a method of the service, one for each box of arguments."""
        requests = (
            (consts.HANDLE_CALLATTR, (consts.LABEL_TUPLE, (self.root, (1, name), args, (1, ())))) for args in arguments
        )
        return self.ask(requests, within)

    def counters(self, count):
        """The id packs of new counters, and how many were refused."""
        answers = self.call("counter", [value()] * count)
        packs = [body[1] for kind, body in answers if kind == consts.MSG_REPLY]
        return packs, len(answers) - len(packs)

    def live(self):
        [(kind, (_, live))] = self.call("live", [value()])
        assert kind == consts.MSG_REPLY
        return live


def drops(packs, count=1):
    return [(consts.HANDLE_DEL, (consts.LABEL_TUPLE, ((consts.LABEL_LOCAL_REF, pack), (1, count)))) for pack in packs]


def kinds(answers):
    return {kind for kind, _ in answers}


@storm
def objects_let_go_one_by_one(measure):
    with Raw() as raw:
        packs, refused = raw.counters(COUNT)
        assert refused == 0 and raw.live() == COUNT
        measure("held")
        assert kinds(raw.ask(drops(packs))) == {consts.MSG_REPLY}
        assert raw.live() == 0
        # Memory must come back while the client is still connected.
        measure("let_go", is_over=True)


@storm
def objects_left_behind(measure):
    with Raw() as raw:
        _, refused = raw.counters(COUNT)
        assert refused == 0 and raw.live() == COUNT
        measure("held")


@storm
def objects_past_the_limit(measure):
    limit = 1 << 20
    if COUNT < 1_000_000:
        # Another test covers the limit itself with smaller numbers.
        return
    with Raw() as raw:
        # The root counts towards the limit.
        packs, refused = raw.counters(limit + 10)
        assert (len(packs), refused) == (limit - 1, 11), (len(packs), refused)
        assert raw.live() == limit - 1
        measure("held")
        assert kinds(raw.ask(drops(packs[:11]))) == {consts.MSG_REPLY}
        packs, refused = raw.counters(12)
        assert (len(packs), refused) == (11, 1)


@storm
def objects_of_the_client(measure):
    def reference(number):
        return consts.LABEL_REMOTE_REF, ("builtins.function", 1, number)

    def args(objects):
        return consts.LABEL_TUPLE, (objects,)

    with Raw() as raw:
        # First each in a separate call, then as many in one call as a message may hold.
        answers = raw.call("echo", (args(reference(number)) for number in range(COUNT)))
        assert kinds(answers) == {consts.MSG_REPLY}
        measure("one_by_one")
        many = 100_000
        tuples = [(consts.LABEL_TUPLE, tuple(map(reference, range(at, min(at + many, COUNT)))))
                  for at in range(0, COUNT, many)]
        assert kinds(raw.call("echo", map(args, tuples), within=2)) == {consts.MSG_REPLY}
        raw.live()
        assert raw.requests_of_server == 2 * COUNT, f"{raw.requests_of_server} were let go"
        measure("together", is_over=True)


@storm
def forged_and_nonsensical_goodbyes(measure):
    with Raw() as raw:
        [mine], _ = raw.counters(1)
        name, class_, number = mine
        forged = [(name, class_, number + 1 + at) for at in range(COUNT)]
        assert kinds(raw.ask(drops(forged))) == {consts.MSG_EXCEPTION}
        assert kinds(raw.ask(drops([mine] * COUNT, 0))) == {consts.MSG_REPLY}
        for count in (-1, -(1 << 70)):
            assert kinds(raw.ask(drops([mine] * (COUNT // 2), count))) == {consts.MSG_EXCEPTION}
        assert raw.live() == 1, "a count below one takes nothing away"
        measure("survived", is_over=True)
        answers = raw.ask(drops([mine] * COUNT, 1 << 200))
        assert answers[0][0] == consts.MSG_REPLY and kinds(answers[1:]) <= {consts.MSG_EXCEPTION}
        assert raw.live() == 0


def watch(orders, waits):
    """Another client: calls, and tells on demand how long it had to wait since it was last asked."""
    conn = rpyc.connect(HOST, PORT)
    add, times = conn.root.add, []
    while True:
        start = time.perf_counter()
        assert add(20, 22) == 42
        times.append(time.perf_counter() - start)
        if orders.poll(0.002):
            orders.recv()
            times.sort()
            waits.send((times[len(times) // 2], times[len(times) * 99 // 100], times[-1]))
            times.clear()


def settled(quiet):
    """What memory comes back to; the server must see that a client has left, and the allocator give back."""
    deadline = time.monotonic() + 20
    while memory() > quiet + KEPT and time.monotonic() < deadline:
        time.sleep(0.05)
    return memory()


def main():
    orders, told = multiprocessing.Pipe()
    waits, tell = multiprocessing.Pipe()
    watcher = multiprocessing.Process(target=watch, args=(told, tell), daemon=True)
    watcher.start()

    def waited():
        orders.send(None)
        return [round(seconds * 1000, 2) for seconds in waits.recv()]

    time.sleep(0.5)
    quiet = memory()
    outcomes = {"quiet": {"after": round(quiet, 1), "waited_ms": waited()}}
    for name, play in STORMS.items():
        start, measured = time.monotonic(), {}

        def measure(what, is_over=False):
            measured[what] = round(settled(quiet) if is_over else memory(), 1)
            assert not is_over or measured[what] <= quiet + KEPT, f"{quiet} MB when quiet, {measured}"

        try:
            play(measure)
            measured["seconds"] = round(time.monotonic() - start, 1)
            measure("after", is_over=True)
            measured["waited_ms"] = waited()
            assert measured["waited_ms"][-1] < WAIT * 1000, f"another client had to wait: {measured}"
            outcomes[name] = measured
        except BaseException:
            outcomes[name] = traceback.format_exc()
    json.dump(outcomes, sys.stdout)


main()
