"""A remote Python interpreter, used from here.

    rpyc_classic &
    python3 examples/python/classic.py localhost:18812
"""

import sys

import rpyc

host, port = (sys.argv[1:] or ["localhost:18812"])[0].rsplit(":", 1)
conn = rpyc.classic.connect(host, int(port))

# Any module of the server, with all its content.
lines = conn.modules.textwrap.wrap("the quick brown fox", width=10)
print(" / ".join(lines))

# Expressions, and names that stay defined.
conn.execute("from fractions import Fraction\nthird = Fraction(1, 3)")
print(conn.eval("str(third + Fraction(1, 2))"))
third = conn.namespace["third"]
print(third, "of class", "fractions.Fraction")

# Values arrive there as real lists and dicts, and return by value.
stock = {"apples": [3, 1, 2], "pears": [5, 4]}
there = rpyc.classic.deliver(conn, stock)
there["apples"].sort()
for fruit, numbers in rpyc.classic.obtain(there).items():
    print(f"{fruit}: {numbers}")

# An exception raised there is raised here.
try:
    conn.eval("1 / 0")
except ZeroDivisionError as error:
    print(f"ZeroDivisionError: {error.args[0]}")
conn.close()
