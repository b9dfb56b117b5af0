"""Runs small snippets against the conformance server at HOST PORT and prints their outcomes.

    differential.py HOST PORT SNIPPETS

SNIPPETS is a folder of texts with snippets of Python, separated by empty lines. This script adds
tables of unusual arguments. Prints a JSON object: for each snippet the value of its last
expression, or the exception that it raised.
"""

import ast
import builtins
import collections.abc
import gc
import io
import json
import pathlib
import re
import signal
import sys
import threading
import time
import types

import rpyc
from rpyc.core import consts
from rpyc.core.netref import BaseNetref

# The timeout of a snippet, in seconds. A server that does not reply fails the snippet, not the run.
PATIENCE = 20

METHODS = (
    "add echo fail stop live counter numbers apply later table payload whoami get_service_name get_service_aliases"
).split()

# Arguments that methods do not expect: too many, too few, unknown and duplicate ones.
ARGUMENTS = (
    "", "1", "1, 2", "1, 2, 3", "1, 2, 3, 4", "nothing=1", "1, nothing=1", "1, 2, nothing=1", "*(), **{'': 1}",
    "**{'not a name': 1}",
)

SUMS = (
    "self=1", "1, self=1", "1, a=1", "1, 2, b=2", "a=1", "b=1", "b=1, c=2", "a=1, b=2, c=3", "a=1, c=3, d=4",
    "1, 2, 3, b=1", "True, 1", "True, True", "1, 1.5", "True, 0.5", "2**64, 1", "-2**63, -1", "10**400, 0.5",
    "0.5, 10**400", "inf, -inf", "inf, 1", "nan, 1", "-0.0, 0.0", "-0.0", "10**308 * 1.0, 10**308 * 1.0",
    "2**1023 + 2**970, 0.5", "1, 'a'", "None, None", "1, None", "..., ...", "NotImplemented, 1", "1.5, 'a'",
    "frozenset(), frozenset()", "slice(1), 2", "2, [1]", "{}, {}", "lambda: 1, 2", "root.counter(1), 2", "root, root",
)

VALUES = (
    "None", "-1", "0", "1", "2**62", "2**63 - 1", "2**63", "2**64", "-2**63", "-2**63 - 1", "1.5", "1.0", "nan", "inf",
    "'a'", "b'a'", "True", "(1,)", "[1]", "{}", "1j", "...",
)

USES = (
    "root.counter({}).value", "len(root.counter({}))", "repr(root.counter({}))", "bool(root.counter({}))",
    "next(root.numbers({}), 'end')", "root.counter(3).inc({})", "root.counter(3)[{}]", "{} in root.counter(3)",
    "root.counter(3) == {}", "root.counter(1) < {}", "c = root.counter(1)\nc.value = {}\nc.value", "root.table()[{}]",
    "{} in root.table()", "root.table() == {}", "root.table() + {}", "root.table()[2][{}]", "{} in root.table()[2]",
    "root.apply({})", "root.echo({})", "t = root.table()\nt[0] = {}\nlist(t)[:2]", "t = root.table()\nt[{}] = 1\nt",
    "d = root.table()[2]\nd[{}] = 1\nd", "t = root.table()\ndel t[{}]\nt",
)

MESSAGES = (
    "''", "7", "None", "1.5", "b'bytes'", "(1, 2)", "()", "'line\\nline'", "'é\\U0001f600'", "[1]", "10**30", "True",
    "('a', ('b',))", "lambda: 1",
)

KINDS = (
    "'eval'", "'int'", "'print'", "'nothing'", "''", "'Exception '", "'valueerror'", "1", "None", "b'ValueError'",
    "'__import__'", "'ValueError.x'", "('ValueError',)", "[]", "'type'", "'__name__'", "1.5", "True", "root",
)


def snippets(folder):
    for text in sorted(pathlib.Path(folder).glob("*.txt")):
        yield from filter(None, (block.strip("\n") for block in text.read_text().split("\n\n")))
    yield from (f"root.{method}({arguments})" for method in METHODS for arguments in ARGUMENTS)
    yield from (f"root.add({arguments})" for arguments in SUMS)
    yield from (use.format(value) for value in VALUES for use in USES)
    for name, kind in sorted(vars(builtins).items()):
        if isinstance(kind, type) and issubclass(kind, BaseException) and not name.startswith("_"):
            yield f"root.fail({name!r}, 'the message')"
    for kind in ("ValueError", "KeyError", "OSError", "SystemExit", "StopIteration", "ImportError", "SyntaxError"):
        yield from (f"root.fail({kind!r}, {message})" for message in MESSAGES)
    yield from (f"root.fail({kind}, 'm')" for kind in KINDS)


def visible(thing):
    """What `dir` tells, the marks of Python's services taken off."""
    names = dir(thing)
    return sorted({name.removeprefix("exposed_") for name in names if not name.startswith("_")})


def eventually(probe):
    deadline = time.monotonic() + 10
    while not probe() and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    return probe()


def serve_until(conn, probe):
    deadline = time.monotonic() + 10
    while not probe() and time.monotonic() < deadline:
        conn.serve(0.05)


def tell(value):
    if isinstance(value, BaseNetref):
        kind = object.__getattribute__(value, "____id_pack__")[0].rpartition(".")[2]
        return f"netref {kind} {plain(str(value))}"
    if isinstance(value, tuple) and any(isinstance(member, BaseNetref) for member in value):
        return "(" + ", ".join(map(tell, value)) + ")"
    return plain(f"{type(value).__name__} {value!r}")


def plain(text):
    """The text without what differs from run to run, and from module to module."""
    for mark in ("exposed_", "__main__.", "conformance_server.", "conformance."):
        text = text.replace(mark, "")
    return re.sub(r"( object)? at 0x[0-9a-f]+>", r"\1>", text)[:400]


def told(raised):
    arguments = tuple(plain(argument) if isinstance(argument, str) else tell(argument) for argument in raised.args)
    return f"raised {type(raised).__name__} {arguments}"


def play(conn, text, address):
    scope = {
        "conn": conn, "rpyc": rpyc, "consts": consts, "inf": float("inf"), "nan": float("nan"), "ADDRESS": address,
        "threading": threading, "types": types, "collections": collections, "io": io,
        "visible": visible, "eventually": eventually, "serve_until": serve_until,
    }
    try:
        scope["root"], scope["echo"] = conn.root, conn.root.echo
        tree = ast.parse(text)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "snippet", "exec"), scope)
        if last is None:
            return "nothing"
        return tell(eval(compile(ast.Expression(last.value), "snippet", "eval"), scope))
    except BaseException as raised:
        return told(raised)
    finally:
        signal.alarm(0)


def ring(*_):
    raise TimeoutError("the snippet takes too long")


def main():
    address = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGALRM, ring)
    # The output of callbacks is not part of the outcome.
    output, sys.stdout = sys.stdout, io.StringIO()
    outcomes = {}
    for text in snippets(sys.argv[3]):
        conn = rpyc.connect(*address, config={"sync_request_timeout": 10, "allow_public_attrs": True})
        signal.alarm(PATIENCE)
        outcomes[text] = play(conn, text, address)
        conn.close()
    json.dump(outcomes, output)


main()
