"""Which 32-bit products and sums of a kernel may exceed 32 bits, read from Triton's own code.

Each integer is followed as the interval that it may lie in, from the sizes of a launch; what is not
understood may be anything. Interpreting a launch of that size would take hours and its memory.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Interval = tuple[int, int]

ANYTHING: Interval = (-(2**63), 2**63 - 1)
LIMIT = 2**31

_RESULT = re.compile(r"^\s*(%\w+)(?::\d+)? = ([\w.]+) ?(.*?)(?: loc\(.*)?$")
_FOR = re.compile(r"scf\.for (%\w+) = (%\w+) to (%\w+) step %\w+")
_PARAMETER = re.compile(r"(%\w+): (?:i32|i64)\b")


def _products(a: Interval, b: Interval) -> Interval:
    corners = [x * y for x in a for y in b]
    return min(corners), max(corners)


def _quotients(a: Interval, b: Interval) -> Interval:
    if b[0] <= 0:
        return ANYTHING
    corners = [int(x / y) if abs(x) < 2**52 else x // y for x in a for y in b]
    return min(corners), max(corners)


def _remainders(a: Interval, b: Interval) -> Interval:
    return (0, b[1] - 1) if a[0] >= 0 and b[0] > 0 else ANYTHING


OPERATIONS: dict[str, Callable[[Interval, Interval], Interval]] = {
    "arith.muli": _products,
    "arith.addi": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "arith.subi": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    "arith.divsi": _quotients,
    "arith.remsi": _remainders,
    "arith.minsi": lambda a, b: (min(a[0], b[0]), min(a[1], b[1])),
    "arith.maxsi": lambda a, b: (max(a[0], b[0]), max(a[1], b[1])),
}
PASSING = ("arith.extsi", "tt.splat", "tt.broadcast", "tt.expand_dims", "tt.reshape")
"""The same numbers in another type or shape."""


def too_large(ttir: str, grid: Sequence[int], arguments: Mapping[str, Any]) -> list[str]:
    """The lines of `ttir` that may leave 32 bits; `arguments` are the launch's, by name."""
    known: dict[str, Interval] = {}
    found = []
    for line in ttir.splitlines():
        if "tt.func" in line:
            known |= _parameters(line, arguments)
        if match := _FOR.search(line):
            for name in re.findall(r"(%\w+) = ", line[match.end() :]):  # changes from turn to turn
                known.pop(name, None)
            counter, first, last = match.groups()
            low, high = known.get(first, ANYTHING)[0], known.get(last, ANYTHING)[1]
            known[counter] = (low, max(low, high - 1))
        if not (match := _RESULT.match(line)):
            continue
        name, operation, rest = match.groups()
        value = _value(operation, rest, known, grid)
        if value is None:
            known.pop(name, None)  # another region may have used the name
            continue
        is_32_bits = re.search(r"\bi32$|xi32>$", rest) is not None
        if is_32_bits and operation in OPERATIONS and max(-value[0] - 1, value[1]) >= LIMIT:
            found.append(f"{operation} {rest}")
        known[name] = value
    return found


def _parameters(line: str, arguments: Mapping[str, Any]) -> dict[str, Interval]:
    known = {}
    for name in _PARAMETER.findall(line):
        value = arguments[name[1:]]
        known[name] = (value, value)
    return known


def _value(
    operation: str, rest: str, known: Mapping[str, Interval], grid: Sequence[int]
) -> Interval | None:
    """The interval of a result; None where it is no integer, or none that is understood."""
    operands = [known.get(name, ANYTHING) for name in re.findall(r"%\w+", rest)]
    if operation in OPERATIONS:
        return OPERATIONS[operation](*operands[:2])
    if operation in PASSING:
        return operands[0]
    if operation == "tt.get_program_id":
        axis = "xyz".index(rest[0])
        return 0, (grid[axis] if axis < len(grid) else 1) - 1
    if operation == "tt.get_num_programs":
        axis = "xyz".index(rest[0])
        return (grid[axis] if axis < len(grid) else 1,) * 2
    if operation == "tt.make_range":
        end, start = re.search(r"end = (\d+).*start = (\d+)", rest).groups()  # type: ignore[union-attr]
        return int(start), int(end) - 1
    if operation == "arith.constant" and (match := re.match(r"(?:dense<)?(-?\d+)>? : ", rest)):
        return int(match[1]), int(match[1])
    if operation == "arith.select":
        (low_a, high_a), (low_b, high_b) = operands[1:3]
        return min(low_a, low_b), max(high_a, high_b)
    return None
