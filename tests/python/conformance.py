"""Runs every scenario of the conformance service against the server at HOST PORT, as a real client.

    conformance.py HOST PORT plain|bind_threads|serving

Prints a JSON object: the exception of each scenario, or null.
"""

import json
import sys
import threading
import time
import traceback

import rpyc

SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


def raises(kind, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except kind as raised:
        return raised
    raise AssertionError(f"no {kind.__name__}")


def eventually(probe, within=10):
    deadline = time.monotonic() + within
    while not probe():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


@scenario
def adds(conn):
    root = conn.root
    assert root.add(1, 2) == 3
    assert root.add(1) == 1
    assert root.add(a=1, b=2) == 3
    assert root.add(1, b=0.5) == 1.5
    for big in (2**63 - 1, 2**63, -(2**63), 2**200, -(10**1000)):
        assert root.add(big, 1) == big + 1
        assert root.add(big, -1) == big - 1
    assert root.add(0.1, 0.2) == 0.1 + 0.2


@scenario
def values_come_back(conn):
    echo = conn.root.echo
    for value in (
        None, True, False, 0, -1, 2**100, 1.5, float("inf"), 1j, "", "é\0\U0001f600", b"", b"\0\xff",
        (), (1,), (1, ("a", (b"b",))), frozenset({1, 2}), slice(1, None, 2), ..., NotImplemented,
        tuple(range(300)), "x" * 100_000,
    ):
        back = echo(value)
        assert back == value and type(back) is type(value), value
    nan = echo(float("nan"))
    assert nan != nan


@scenario
def objects_come_back_as_the_same(conn):
    mine = {"a": [1]}
    assert conn.root.echo(mine) is mine
    assert conn.root.echo((1, mine))[1] is mine
    counter = conn.root.counter(3)
    assert conn.root.echo(counter) is counter
    assert conn.root.echo((counter, mine))[0] is counter


@scenario
def exceptions_are_builtins(conn):
    for kind in (
        ValueError, KeyError, IndexError, TypeError, ZeroDivisionError, FileNotFoundError,
        PermissionError, RuntimeError, NotImplementedError, AttributeError, OverflowError,
        MemoryError, TimeoutError, OSError, AssertionError,
    ):
        raised = raises(kind, conn.root.fail, kind.__name__, "the message")
        assert type(raised).__name__ == kind.__name__ and raised.args == ("the message",), raised
    raises(StopIteration, conn.root.stop)
    raises(ValueError, conn.root.fail, "eval", "1")
    assert conn.root.add(1, 1) == 2


@scenario
def wrong_arguments_are_told(conn):
    root = conn.root
    def told(function, *args, **kwargs):
        # Python's own server includes the `exposed_` prefix in the method's name.
        return str(raises(TypeError, function, *args, **kwargs)).splitlines()[0].replace("exposed_", "")
    assert told(root.add) == "Conformance.add() missing 1 required positional argument: 'a'"
    assert told(root.fail) == "Conformance.fail() missing 2 required positional arguments: 'kind' and 'message'"
    assert told(root.add, 1, 2, 3) == "Conformance.add() takes from 2 to 3 positional arguments but 4 were given"
    assert told(root.echo, 1, 2) == "Conformance.echo() takes 2 positional arguments but 3 were given"
    assert told(root.stop, 1) == "Conformance.stop() takes 1 positional argument but 2 were given"
    assert told(root.add, 1, c=2) == "Conformance.add() got an unexpected keyword argument 'c'"
    assert told(root.add, 1, a=2) == "Conformance.add() got multiple values for argument 'a'"


@scenario
def counters_count(conn):
    counter = conn.root.counter()
    assert counter.value == 0
    assert counter.inc() == 1 and counter.inc(4) == 5 and counter.inc(by=-2) == 3
    assert counter.value == 3 and len(counter) == 3
    counter.value = 7
    assert counter.value == 7 and counter.inc() == 8
    assert [counter[i] for i in (0, 3, 7)] == [0, 3, 7]
    raises(IndexError, lambda: counter[8])
    raises(IndexError, lambda: counter[-1])
    assert list(counter) == list(range(8)) and 5 in counter and 8 not in counter
    assert sum(counter) == 28
    assert str(conn.root.counter(2)) == "counter at 2" and repr(conn.root.counter(2)) == "Counter(2)"
    assert conn.root.counter(start=5).value == 5


@scenario
def counters_compare(conn):
    one, same, other = conn.root.counter(1), conn.root.counter(1), conn.root.counter(2)
    assert one == same and not one != same and one != other and not one == other
    assert hash(one) == hash(same)
    assert one != 1 and one != "one" and one != None  # noqa: E711
    raises(TypeError, lambda: one < other)
    assert len({one, same, other}) == 2


@scenario
def with_blocks_enter_and_leave(conn):
    counter = conn.root.counter(1)
    with counter as entered:
        assert entered is counter and counter.value == 101
    assert counter.value == 1


@scenario
def with_blocks_swallow_nothing(conn):
    counter = conn.root.counter(1)
    # RPyC's own server returns a different exception from the raised one (#564), but never drops
    # it.
    raises((ZeroDivisionError, TypeError), lambda: blow_up(counter))


def blow_up(counter):
    with counter:
        1 / 0


@scenario
def generators_yield(conn):
    assert list(conn.root.numbers(5)) == [0, 1, 2, 3, 4]
    assert list(conn.root.numbers(0)) == []
    assert list(rpyc.buffiter(conn.root.numbers(2500))) == list(range(2500))
    numbers = conn.root.numbers(3)
    assert iter(numbers) is not None and next(numbers) == 0
    assert list(numbers) == [1, 2] and list(numbers) == []
    raises(StopIteration, lambda: next(numbers))


@scenario
def functions_are_called_back(conn):
    apply = conn.root.apply
    assert apply(lambda: 7) == 7
    assert apply(lambda a, b, *, c: (a, b, c), 1, "2", c=None) == (1, "2", None)
    assert apply(conn.root.add, 1, 2) == 3
    assert apply(apply, apply, lambda: "deep") == "deep"
    raises(ZeroDivisionError, apply, lambda: 1 / 0)
    # A client handles nested calls of any depth.
    def down(n):
        return n if n == 0 else apply(down, n - 1)
    assert down(20) == 0


@scenario
def functions_are_called_later(conn):
    heard = threading.Event()
    def hear(word):
        assert word == "late"
        heard.set()
    conn.root.later(hear, 0.1)
    assert not heard.is_set()
    deadline = time.monotonic() + 10
    while not heard.is_set() and time.monotonic() < deadline:
        if SERVED_IN_BACKGROUND:
            time.sleep(0.01)
        else:
            conn.serve(0.1)
    assert heard.is_set()


@scenario
def tables_are_lists_and_dicts(conn):
    table = conn.root.table()
    assert table[0] == 1 and table[1] == "two" and len(table) == 3
    assert table[-1]["three"] == 3 and "three" in table[2] and len(table[2]) == 1
    assert str(table) == repr(table) == "[1, 'two', {'three': 3}]"
    assert repr(table[2]) == "{'three': 3}"
    assert list(table)[:2] == [1, "two"] and list(table[2]) == ["three"]
    assert "two" in table and "three" not in table
    assert list(table[:2]) == [1, "two"] and list(table[1::-1]) == ["two", 1]
    raises(IndexError, lambda: table[3])
    raises(KeyError, lambda: table[2]["four"])
    raises(TypeError, lambda: hash(table))
    table[0] = 5
    assert table[0] == 5
    del table[0]
    assert list(table)[0] == "two"
    table[1]["four"] = 4
    assert list(table[1]) == ["three", "four"]
    assert isinstance(table, list) and isinstance(table[1], dict)
    assert conn.root.table()[0] == 1


@scenario
def payloads_arrive(conn):
    for size in (0, 1, 2999, 3000, 3001, 100_000, 5_000_000):
        assert conn.root.payload(size) == b"\xa5" * size
    big = bytes(range(256)) * (40_000)
    assert conn.root.echo(big) == big


@scenario
def the_client_is_known(conn):
    assert conn.root.whoami() in ("127.0.0.1", "::1")


@scenario
def what_is_not_exposed_is_not_there(conn):
    root = conn.root
    for name in (
        "hidden", "_private", "__init__", "__dict__", "__globals__", "__reduce_ex__", "__getattribute__",
        "__subclasses__", "on_connect", "on_disconnect", "_rpyc_getattr", "exposed_hidden",
    ):
        raises(AttributeError, conn.sync_request, rpyc.core.consts.HANDLE_GETATTR, root, name)
        raises(AttributeError, conn.sync_request, rpyc.core.consts.HANDLE_CALLATTR, root, name, (), ())
        raises(AttributeError, conn.sync_request, rpyc.core.consts.HANDLE_DELATTR, root, name)
        raises(AttributeError, conn.sync_request, rpyc.core.consts.HANDLE_CMP, root, 1, name)
    raises(AttributeError, lambda: root.nothing)
    assert not hasattr(root, "nothing")
    raises(AttributeError, lambda: conn.root.counter().nothing)


@scenario
def services_describe_themselves(conn):
    root = conn.root
    assert root.get_service_name() == "CONFORMANCE"
    assert tuple(root.get_service_aliases()) == ("CONFORMANCE", "CONF")
    names = {name.removeprefix("exposed_") for name in dir(root)}
    assert {"add", "echo", "fail", "counter", "get_service_name"} <= names
    assert root.add.__doc__ == "The sum of two numbers of any size."
    assert root.__doc__ == "Something of everything."
    assert "value" in {name.removeprefix("exposed_") for name in dir(root.counter())}


@scenario
def counters_are_let_go(conn):
    root = conn.root
    eventually(lambda: root.live() == 0)
    counters = [root.counter(i) for i in range(50)]
    assert root.live() == 50
    del counters[10:]
    eventually(lambda: root.live() == 10)
    again = [root.echo(counter) for counter in counters]
    del counters
    assert root.live() == 10
    del again
    eventually(lambda: root.live() == 0)


@scenario
def calls_are_pipelined(conn):
    add = rpyc.async_(conn.root.add)
    results = [add(i, i) for i in range(1000)]
    assert [result.value for result in results] == [2 * i for i in range(1000)]


@scenario
def calls_overtake_those_that_wait(conn):
    slow = rpyc.async_(conn.root.sleep)(0.5)
    start = time.monotonic()
    assert conn.root.add(1, 1) == 2
    quick = time.monotonic() - start
    assert OF_PYTHON or quick < 0.4, quick
    slow.wait()
    assert slow.value is None
    result = rpyc.timed(conn.root.sleep, 0.1)(5)
    raises(TimeoutError, lambda: result.value)


@scenario
def pings_are_answered(conn):
    conn.ping()
    conn.ping("x" * 10_000)


@scenario
def many_threads_share_a_connection(conn):
    failures = []
    def work(base):
        try:
            for i in range(30):
                assert conn.root.add(base, i) == base + i
                # RPyC's own servers that bind threads lose callbacks of concurrent clients of any
                # kind.
                if not (BOUND and OF_PYTHON):
                    assert conn.root.apply(lambda x: x, base) == base
        except Exception:
            failures.append(traceback.format_exc())
    threads = [threading.Thread(target=work, args=(n * 1000,)) for n in range(4)]
    [thread.start() for thread in threads]
    [thread.join(30) for thread in threads]
    assert not failures, failures[0]


@scenario
def restricted_objects_are_restricted(conn):
    class Mine:
        open, closed = 1, 2
    mine = rpyc.restricted(Mine(), ["open"])
    assert conn.root.echo(mine) is mine


@scenario
def tables_are_obtained(conn):
    table = rpyc.classic.obtain(conn.root.table())
    assert table == [1, "two", {"three": 3}] and type(table) is list and type(table[2]) is dict


def main():
    global SERVED_IN_BACKGROUND, OF_PYTHON, BOUND
    host, port, mode, language = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    SERVED_IN_BACKGROUND, OF_PYTHON = mode == "serving", language == "python"
    BOUND = mode == "bind_threads"
    config = {"sync_request_timeout": 20, "allow_public_attrs": True}
    if BOUND:
        config["bind_threads"] = True
    outcomes = {}
    for name, play in SCENARIOS.items():
        conn = rpyc.connect(host, port, config=config)
        background = rpyc.BgServingThread(conn) if SERVED_IN_BACKGROUND else None
        try:
            play(conn)
            outcomes[name] = None
        except BaseException:
            outcomes[name] = traceback.format_exc()
        finally:
            if background:
                background.stop()
            conn.close()
    json.dump(outcomes, sys.stdout)


main()
