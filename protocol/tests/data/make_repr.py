"""Makes repr.json: for each value its brine, and what Python's repr makes of it.

Run with rpyc 6.0.2: python make_repr.py > repr.json
"""
import json
import random
import struct

from rpyc.core import brine

random.seed(6)
values = [
    None, True, False, NotImplemented, Ellipsis, 0, -1, 10**30, "", "a", "it's", 'say "hi"', "both ' and \"",
    "tab\tnewline\nreturn\rback\\slash", "\x00\x1b\x7f\x80\x9f\xa0\xad", "é ß 日本 😀", "\u200b\u2028\ufeff\ue000", "e\u0301",
    b"", b"abc", b"it's", b"'\"", bytes(range(256)), (), (1,), (1, "x", None), ((), ((),)), frozenset(), frozenset({5}),
    slice(None, None, -1), slice(1, "a", (2,)), 0.0, -0.0, 1.0, -1.5, 0.1, 1e15, 1e16, 1e17, 123456789012345680.0, 1e22, 1e-4,
    1e-5, 9.999e-5, 5e-324, 1.7976931348623157e308, float("nan"), float("inf"), float("-inf"), 1j, -1j, 0j, complex(-0.0, 1),
    13 + 18.2j, 13 - 18.2j, complex(1e16, -1e-5), complex(float("nan"), float("inf")), complex(1, float("-inf")), 1 + 0j,
]
for _ in range(200):
    value = struct.unpack("!d", random.randbytes(8))[0]
    values.append(value if value == value else 0.5)
    values.append(random.uniform(-1, 1) * 10 ** random.randrange(-8, 20))
print(json.dumps([{"hex": brine.dump(value).hex(), "repr": repr(value)} for value in values], indent=0))
