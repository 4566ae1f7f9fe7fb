"""Built-ins and operators on large input give way in the middle, so that a limit ends them as it ends a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mix_rt.calls import Calls
from mix_rt.qcode import Assembly
from mix_rt.testing import execute, finish
from mix_rt.vm import Gave, Virtual

from mixkit import codec

BUDGET = 1_000
TEXT = "a,ü" * 10_000
NUMBERS = list(range(20_000))
TABLE = {f"{index:06}": index for index in range(10_000)}

WORKS: list[tuple[str, tuple[Any, ...]]] = [
    ("json_format", (NUMBERS,)),
    ("json_format", (TABLE,)),
    ("json_format", ("\x01\"" * 20_000,)),
    ("json_format", ([{"key": "a" * 30_000, "b" * 30_000: [0.5]}],)),
    ("json_parse", (str(NUMBERS),)),
    ("array_sort", (NUMBERS[::-1],)),
    ("string_split", (",", TEXT)),
    ("string_split", ("", TEXT)),
    ("string_split", ("ab" * 50, "ab" * 150_000)),
    ("string_split", ("b", TEXT * 10)),
    ("string_join", (", ", [*NUMBERS, "a", 0.5])),
    ("string_replace", (",", "--", TEXT)),
    ("string_replace", ("b", "c", TEXT * 10)),
    ("string_replace", ("a,ü" * 30, "", TEXT * 10)),
    ("string_find", ("b", TEXT * 10)),
    ("string_find", ("üü" + "a" * 40, TEXT * 10 + "üü" + "a" * 40)),
    ("string_find_last", ("ba", "ba" + TEXT * 10)),
    ("string_find_last", ("ba" + TEXT[:60], "ba" + TEXT * 10)),
    ("string_uppercase", (TEXT,)),
    ("string_lowercase", (TEXT + "ΑΣ" * 5_000,)),
    ("string_fold", (TEXT,)),
    ("binary_find", (b"b", TEXT.encode() * 10)),
    ("binary_join", (b", ", [b"ab" * (each % 9) for each in range(20_000)])),
    ("binary_to_base64", (TEXT.encode() * 5,)),
    ("binary_to_base64", (TEXT.encode() * 5 + b"a",)),
    ("binary_of_base64", ("QUJD" * 50_000 + "QUI=",)),
    ("binary_to_hex", (TEXT.encode() * 5,)),
    ("binary_of_hex", ("4a6B" * 50_000,)),
    ("binary_of_hex", ("4a6B" * 50_000 + "0x",)),
    ("string_repeat", (100_000, "aüb")),
    ("string_repeat", (3, TEXT * 10)),
    ("array_sub", (1, 19_999, NUMBERS)),
    ("array_reverse", (NUMBERS,)),
    ("array_flatten", ([[each, [each]] for each in NUMBERS],)),
    ("map_keys", (TABLE,)),
    ("map_values", (TABLE,)),
    ("map_of_pairs", ([[key, value] for key, value in TABLE.items()],)),
    ("array_sort_by", (NUMBERS[::-1], NUMBERS)),
    ("map_of_groups", ([f"{each % 9000}" for each in NUMBERS], NUMBERS)),
    ("array_matches", ([f"{each}" for each in NUMBERS[::2]], [f"{each % 9000}" for each in NUMBERS], NUMBERS)),
    ("add", (NUMBERS, NUMBERS)),
    ("regex_find", ("a,b|[^b]c", 0, TEXT)),
    ("regex_find_all", ("a", -1, TEXT)),
    ("regex_texts", ("a", -1, TEXT)),
    ("eq", (NUMBERS, NUMBERS)),
    ("eq", (TABLE, TABLE)),
    ("lt", (NUMBERS, NUMBERS)),
]  # fmt: skip
"""What each works on, so large that the budget above is used up several times."""


@pytest.mark.parametrize(
    ("name", "arguments"), WORKS, ids=[f"{name}-{at}" for at, (name, _) in enumerate(WORKS)]
)
def test_large_input(native: Callable[[], Virtual], name: str, arguments: tuple[Any, ...]) -> None:
    calls = Calls(native())
    expected = calls(name, *arguments, budget=2**31 - 1)
    event = calls.enter(name, *arguments, budget=BUDGET)
    calls.virtual.test(stress=True)
    slices = 1
    while isinstance(event, Gave):
        event = calls.virtual.step(BUDGET)
        slices += 1
    # Time would say how busy the computer is.
    assert slices > 3
    assert finish(calls.virtual, event) == expected
    calls.virtual.test()
    # The least budget there is: each slice uses up more.
    assert calls(name, *arguments, budget=0) == expected


def _doubled(instruction: str, nested: str) -> Assembly:
    """main(n) compares two arrays that share their parts with themselves n levels deep, apart from each other."""
    assembly = Assembly()
    make = assembly.function("make", params=1)
    made, again = make.register(), make.label()
    make.emit("load", made, [1])
    make.place(again)
    if nested == "map":
        key = make.register()
        pairs = make.register(4)
        for at, name in ((0, "a"), (2, "b")):
            make.emit("load", key, name)
            make.emit("move", pairs + at, key)
            make.emit("move", pairs + at + 1, made)
        make.emit("map", made, pairs, 2)
    else:
        pairs = make.register(2)
        make.emit("move", pairs, made)
        make.emit("move", pairs + 1, made)
        make.emit("array", made, pairs, 2)
    make.emit("add_int", 0, 0, -1)
    make.emit("load", pairs, 0)
    make.emit("jump_lt", pairs, 0, again)
    make.emit("return", made)
    main = assembly.function("main", params=1)
    both = main.register(2)
    for at in range(2):
        window = main.window(1)
        main.emit("move", window + 2, 0)
        main.emit("call_func", both + at, window, "make")
        main.release(window)
    if instruction == "array_sort":
        main.emit("array", both, both, 2)
        main.emit("builtin", both, both, "array_sort")
    else:
        main.emit(instruction, both, both, both + 1)
    main.emit("return", both)
    assembly.exports["main"] = "main"
    return assembly


@pytest.mark.parametrize(
    ("instruction", "nested"),
    [
        ("eq", "array"),
        ("same", "array"),
        ("lt", "array"),
        ("array_sort", "array"),
        ("eq", "map"),
        ("same", "map"),
    ],
)
def test_values_that_double(native: Callable[[], Virtual], instruction: str, nested: str) -> None:
    expected = execute(native(), _doubled(instruction, nested), "main", 9, budget=2**31 - 1)
    assert execute(native(), _doubled(instruction, nested), "main", 9, budget=10) == expected
    virtual = native()
    code = _doubled(instruction, nested).code()
    virtual.load(code.to_bytes())
    event = virtual.enter(code.exports["main"], codec.encode([60]), BUDGET)
    for _ in range(50):
        # It would go on for longer than there have been computers.
        assert isinstance(event, Gave)
        event = virtual.step(BUDGET)


@pytest.mark.parametrize(
    ("name", "arguments"), WORKS, ids=[f"{name}-{at}" for at, (name, _) in enumerate(WORKS)]
)
def test_an_allocation_that_fails_in_the_middle(
    native: Callable[[], Virtual], name: str, arguments: tuple[Any, ...]
) -> None:
    calls = Calls(native())
    expected = calls(name, *arguments, budget=2**31 - 1)
    for number in (1, 2, 3, 5, 9, 30):
        event = calls.enter(name, *arguments, budget=100)
        if isinstance(event, Gave):
            calls.virtual.test(fail_from=number, fail_until=number + 1)
        assert finish(calls.virtual, event, budget=BUDGET) == expected
