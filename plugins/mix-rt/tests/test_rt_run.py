"""What instructions do: calls, closures, data, streams, errors, coroutines, in small assembled programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mix_rt.qcode import Assembly, FunctionBuilder
from mix_rt.testing import SLICE, Panicked, execute, finish
from mix_rt.vm import Call, Gave, Result, Virtual, Waits

from mixkit import codec
from mixkit.value import UNDEF, Case


@pytest.fixture(params=["plain", "stress"])
def native(request: pytest.FixtureRequest, native: Callable[[], Virtual]) -> Callable[[], Virtual]:
    """Machines as they are, and those that move everything after each instruction that allocates."""

    def make() -> Virtual:
        virtual = native()
        virtual.test(stress=request.param == "stress")
        return virtual

    return make


def fib_assembly() -> Assembly:
    assembly = Assembly()
    fib = assembly.function("fib", params=1)
    small = fib.label()
    fib.emit("jump_lt_int", 0, 2, small)
    one, two = fib.register(), fib.register()
    window = fib.window(1)
    fib.emit("add_int", window + 2, 0, -1)
    fib.emit("call_func", one, window, "fib")
    fib.emit("add_int", window + 2, 0, -2)
    fib.emit("call_func", two, window, "fib")
    fib.emit("add", one, one, two)
    fib.emit("return", one)
    fib.place(small)
    fib.emit("return", 0)
    assembly.exports["fib"] = "fib"
    return assembly


def body(name: str, params: int, write: Callable[[FunctionBuilder], None]) -> Assembly:
    """An assembly of one function, exported under its name."""
    assembly = Assembly()
    write(assembly.function(name, params))
    assembly.exports[name] = name
    return assembly


def binary(instruction: str) -> Assembly:
    def write(f: FunctionBuilder) -> None:
        f.emit(instruction, 0, 0, 1)
        f.emit("return", 0)

    return body("main", 2, write)


def test_fib(native: Callable[[], Virtual]) -> None:
    assert execute(native(), fib_assembly(), "fib", 20) == 6765


def test_a_small_budget_changes_nothing(native: Callable[[], Virtual]) -> None:
    virtual = native()
    assert execute(virtual, fib_assembly(), "fib", 12, budget=3) == 144


BINARY = [
    ("add", 1, 2, 3), ("add", 2**47 - 1, 1, 2**47), ("add", 2**63 - 1, 1, 2.0**63), ("add", 1, 0.5, 1.5),
    ("add", "a", "b", "ab"), ("add", "a", 1, "a1"), ("add", 0.5, "b", "0.5b"), ("add", [1], [2, 3], [1, 2, 3]),
    ("add", {"a": 1, "b": 2}, {"b": 3, "c": 4}, {"a": 1, "b": 3, "c": 4}), ("add", None, 1, None),
    ("add", "a", None, None), ("sub", -(2**63), 1, -(2.0**63)), ("sub", 5, 7, -2),
    ("mul", 2**31, 2**31, 2**62), ("mul", -(2**32), 2**31, -(2**63)), ("mul", 2**32, 2**31, 2.0**63),
    ("mul", 3, -4, -12), ("mul", 0.5, 4, 2.0), ("div", 6, 3, 2.0), ("div", 1, 0, float("inf")),
    ("rem", 7, 3, 1.0), ("rem", -7, 3, -1.0), ("rem", 1e300, 3.0, 1e300 % 3.0), ("rem", 5.5, 2, 1.5),
    ("eq", 1, 1.0, True), ("eq", 1, "1", False), ("eq", [1, {"a": 2}], [1.0, {"a": 2.0}], True),
    ("eq", Case("a", 1), Case("a", 1), True), ("eq", Case("a", 1), Case("b", 1), False),
    ("eq", None, None, True), ("eq", float("nan"), float("nan"), True), ("ne", "a", "b", True),
    ("lt", 2.0**53, 2**53 + 1, True), ("lt", [1, 2], [1, 3], True), ("lt", "a", "b", True),
    ("lt", False, True, True), ("lt", None, 0, True), ("le", 2, 2.0, True), ("lt", "Z", "é", True),
    ("same", 1, 1.0, True), ("differ", 1, 2, True), ("and", True, False, False), ("or", False, True, True),
    ("get", [1, 2], 1, 2), ("get", {"a": 5}, "a", 5), ("get", [1, 2], 1.0, 2),
]  # fmt: skip


def test_operators(native: Callable[[], Virtual]) -> None:
    assembly = Assembly()
    for name in sorted({name for name, *_ in BINARY}):
        f = assembly.function(name, 2)
        f.emit(name, 0, 0, 1)
        f.emit("return", 0)
        assembly.exports[name] = name
    code, virtual = assembly.code(), native()
    virtual.load(code.to_bytes())
    for name, left, right, expected in BINARY:
        event = virtual.enter(code.exports[name], codec.encode([left, right]), SLICE)
        assert finish(virtual, event) == expected, (name, left, right)
        assert type(finish_again(virtual, code.exports[name], left, right)) is type(expected), (
            name,
            left,
            right,
        )


def finish_again(virtual: Virtual, function: int, *arguments: Any) -> Any:
    return finish(virtual, virtual.enter(function, codec.encode(list(arguments)), SLICE))


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [("lt", 1, "a"), ("lt", {}, {}), ("le", float("nan"), 1.0), ("get", [1], 5), ("get", {}, "a")],
)
def test_operators_without_an_answer(native: Callable[[], Virtual], name: str, left: Any, right: Any) -> None:
    assert execute(native(), binary(name), "main", left, right) is UNDEF


@pytest.mark.parametrize(
    ("name", "left", "right", "message"),
    [
        ("add", 1, True, r"\+: expected two numbers, strings, arrays or maps, found int and bool"),
        ("sub", "a", 1, "-: expected two numbers, found string and int"),
        ("and", 1, True, "&&: expected two bools, found int and bool"),
        ("get", 1, 2, "access: expected an array and a number, or a map and a string, found int and int"),
    ],
)
def test_operators_that_raise(
    native: Callable[[], Virtual], name: str, left: Any, right: Any, message: str
) -> None:
    with pytest.raises(Panicked, match=message) as raised:
        execute(native(), binary(name), "main", left, right)
    assert raised.value.event.addresses == ((0, 0, False),)


def test_a_loop_of_arrays_and_maps(native: Callable[[], Virtual]) -> None:
    """Builds {"k0": 0, …} and [0, 1, …] of n, changes each, and answers both."""

    def write(f: FunctionBuilder) -> None:
        array, table, index, key = f.register(), f.register(), f.register(), f.register()
        again, change, end = f.label(), f.label(), f.label()
        f.emit("load", array, [])
        f.emit("load", table, {})
        f.emit("int", index, 0)
        f.place(again)
        f.emit("push", array, index)
        f.emit("load", key, "k")
        f.emit("add", key, key, index)
        f.emit("set", table, key, index)
        f.emit("add_int", index, index, 1)
        f.emit("jump_lt", index, 0, again)
        f.emit("int", index, 0)
        f.place(change)
        f.emit("jump_not_lt", index, 0, end)
        f.emit("get", key, array, index)
        f.emit("add", key, key, key)
        f.emit("set", array, index, key)
        f.emit("add_int", index, index, 1)
        f.emit("jump", change)
        f.place(end)
        f.emit("array", array, array, 2)
        f.emit("return", array)

    for count in (1, 33, 1100):
        array, table = execute(native(), body("main", 1, write), "main", count)
        assert array == [2 * index for index in range(count)]
        assert table == {f"k{index}": index for index in range(count)}


def test_closures_share_a_variable_and_take_the_rest(native: Callable[[], Virtual]) -> None:
    assembly = Assembly()
    counter = assembly.function("counter", params=1, captures=1)
    box, old = counter.register(), counter.register()
    counter.emit("capture", box, 0)
    counter.emit("slot", old, box, 0)
    counter.emit("add", old, old, 0)
    counter.emit("set_slot", box, 0, old)
    counter.emit("return", old)
    three = assembly.function("three", params=3)
    three.emit("array", 0, 0, 3)
    three.emit("return", 0)
    nest = assembly.function("nest", params=1)
    nest.emit("closure", 0, 0, "inner")
    nest.emit("return", 0)
    inner = assembly.function("inner", params=1, captures=1)
    value = inner.register()
    inner.emit("capture", value, 0)
    inner.emit("array", 0, 0, 2)
    inner.emit("return", 0)
    main = assembly.function("main")
    f, out, spare = main.register(), main.register(8), main.register()
    main.emit("slots", f, 1)
    main.emit("int", out, 10)
    main.emit("set_slot", f, 0, out)
    main.emit("closure", f, f, "counter")
    for index in (0, 1):
        window = main.window(1)
        main.emit("move", window, f)
        main.emit("int", window + 2, index + 1)
        main.emit("call", out + index, window, 1)
        main.release(window)
    window = main.window(3)
    main.emit("func", window, "three")
    main.emit("int", window + 2, 1)
    main.emit("call", spare, window, 1)
    main.emit("move", window, spare)
    main.emit("int", window + 2, 2)
    main.emit("int", window + 3, 3)
    main.emit("call", out + 2, window, 2)
    main.emit("func", window, "nest")  # more arguments than it takes: its result gets them
    main.emit("int", window + 2, 7)
    main.emit("int", window + 3, 8)
    main.emit("call", out + 3, window, 2)
    main.emit("func", window, "nest")
    main.emit("int", window + 2, 7)
    main.emit("int", window + 3, 9)
    main.emit("try", out + 4, window, 2)
    main.emit("array", out, out, 5)
    main.emit("return", out)
    assembly.exports["main"] = "main"
    assert execute(native(), assembly, "main") == [11, 13, [1, 2, 3], [8, 7], Case("ok", [9, 7])]


def test_tail_calls_use_no_stack(native: Callable[[], Virtual]) -> None:
    """Counts down by tail calls, of a known function and of one that is a value."""
    for known in (True, False):

        def write(f: FunctionBuilder, known: bool = known) -> None:
            end = f.label()
            f.emit("jump_le_int", 0, 0, end)
            window = f.window(1)
            f.emit("add_int", window + 2, 0, -1)
            if known:
                f.emit("tail_func", window, "main")
            else:
                f.emit("func", window, "main")
                f.emit("tail", window, 1)
            f.place(end)
            f.emit("return", 0)

        virtual = native()
        virtual.limits(16 << 20, 1000)
        assert execute(virtual, body("main", 1, write), "main", 50_000) == 0


def test_a_tail_call_with_too_many_arguments(native: Callable[[], Virtual]) -> None:
    assembly = Assembly()
    inner = assembly.function("inner", params=1, captures=1)
    value = inner.register()
    inner.emit("capture", value, 0)
    inner.emit("array", 0, 0, 2)
    inner.emit("return", 0)
    outer = assembly.function("outer", params=1)
    outer.emit("closure", 0, 0, "inner")
    outer.emit("return", 0)
    main = assembly.function("main", params=2)
    window = main.window(2)
    main.emit("func", window, "outer")
    main.emit("move", window + 2, 0)
    main.emit("move", window + 3, 1)
    main.emit("tail", window, 2)
    assembly.exports["main"] = "main"
    assert execute(native(), assembly, "main", 1, 2) == [2, 1]


def test_endless_recursion_is_a_panic(native: Callable[[], Virtual]) -> None:
    def write(f: FunctionBuilder) -> None:
        window = f.window(1)
        f.emit("move", window + 2, 0)
        f.emit("call_func", 0, window, "main")
        f.emit("return", 0)

    virtual = native()
    with pytest.raises(Panicked, match="stack") as raised:
        execute(virtual, body("main", 1, write), "main", 1)
    assert len(raised.value.event.addresses) == 64


def test_a_memory_bomb_is_a_panic(native: Callable[[], Virtual]) -> None:
    def write(f: FunctionBuilder) -> None:
        again = f.label()
        f.place(again)
        f.emit("add", 0, 0, 0)
        f.emit("jump", again)

    for start in ("0123456789" * 100, list(range(1000)), "é"):
        virtual = native()
        virtual.limits(8 << 20, 1000)
        with pytest.raises(Panicked, match="memory"):
            execute(virtual, body("main", 1, write), "main", start)


def test_garbage_does_not_count(native: Callable[[], Virtual]) -> None:
    """A loop makes far more than the limit, and keeps little."""

    def write(f: FunctionBuilder) -> None:
        again, piece, index = f.label(), f.register(), f.register()
        f.emit("int", index, 0)
        f.place(again)
        f.emit("array", piece, 0, 1)
        f.emit("add", piece, piece, piece)
        f.emit("add_int", index, index, 1)
        f.emit("jump_lt_int", index, 30000, again)
        f.emit("return", piece)

    virtual = native()
    virtual.limits(1 << 20, 1000)
    assert execute(virtual, body("main", 1, write), "main", "x") == ["x", "x"]
    assert virtual.stats().collections > 5


def raising() -> Assembly:
    """main(x): `try` of a function that raises x two calls deeper."""
    assembly = Assembly()
    deep = assembly.function("deep", params=1)
    deep.emit("raise", 0)
    middle = assembly.function("middle", params=1)
    window = middle.window(1)
    middle.emit("move", window + 2, 0)
    middle.emit("call_func", 0, window, "deep")
    middle.emit("return", 0)
    for name, instruction in (("caught", "try"), ("uncaught", "call")):
        main = assembly.function(name, params=1)
        window = main.window(1)
        main.emit("func", window, "middle")
        main.emit("move", window + 2, 0)
        main.emit(instruction, 0, window, 1)
        main.emit("return", 0)
        assembly.exports[name] = name
    return assembly


def test_errors_are_caught(native: Callable[[], Virtual]) -> None:
    assert execute(native(), raising(), "caught", {"a": 1}) == Case("error", {"a": 1})


def test_errors_have_a_backtrace(native: Callable[[], Virtual]) -> None:
    with pytest.raises(Panicked, match="raised: oh") as raised:
        execute(native(), raising(), "uncaught", "oh")
    assert raised.value.event.addresses == ((0, 0, False), (1, 1, False), (3, 2, False))


def test_patterns(native: Callable[[], Virtual]) -> None:
    def write(f: FunctionBuilder) -> None:
        number, red, rgb, table = f.label(), f.label(), f.label(), f.label()
        f.emit("jump_kind", 0, "number", number)
        f.emit("jump_case", 0, "red", red)
        f.emit("jump_case", 0, "rgb", rgb)
        f.emit("jump_eq_const", 0, [1, 2], red)
        f.emit("jump_table", 0, ["a", "b"])
        f.emit("jump", number)
        f.emit("jump", table)
        f.emit("no_match", 0)
        f.place(number)
        f.emit("load", 0, "number or a")
        f.emit("return", 0)
        f.place(red)
        f.emit("load", 0, "red or [1, 2]")
        f.emit("return", 0)
        f.place(rgb)
        f.emit("argument", 0, 0)
        f.emit("get_int", 0, 0, 1)
        f.emit("return", 0)
        f.place(table)
        f.emit("load", 0, "b")
        f.emit("return", 0)

    assembly = body("main", 1, write)
    code, virtual = assembly.code(), native()
    virtual.load(code.to_bytes())
    for value, expected in [
        (1, "number or a"), (0.5, "number or a"), (Case("red"), "red or [1, 2]"), ([1, 2], "red or [1, 2]"),
        (Case("rgb", [1, 2, 3]), 2), ("a", "number or a"), (Case("b"), "b"), ("b", "b"),
    ]:  # fmt: skip
        assert finish_again(virtual, 0, value) == expected
    with pytest.raises(Panicked, match="no pattern matches the map"):
        finish_again(virtual, 0, {})


def stream_assembly() -> Assembly:
    """count(): a generator of 3, 2, 1 over a slot; main(a): all elements of a ++ generator ++ a."""
    assembly = Assembly()
    make = assembly.function("make", captures=1)
    box, value, end = make.register(), make.register(), make.label()
    make.emit("capture", box, 0)
    make.emit("slot", value, box, 0)
    make.emit("jump_le_int", value, 0, end)
    rest = make.register()
    make.emit("add_int", rest, value, -1)
    make.emit("set_slot", box, 0, rest)
    make.emit("return", value)
    make.place(end)
    make.emit("literal", value, "end")
    make.emit("return", value)
    main = assembly.function("main", params=1)
    box, count, all_, element, again, end = *[main.register() for _ in range(4)], main.label(), main.label()
    main.emit("slots", box, 1)
    main.emit("int", count, 3)
    main.emit("set_slot", box, 0, count)
    main.emit("closure", box, box, "make")
    main.emit("generate", box, box)
    main.emit("concat", box, 0, box)
    main.emit("concat", box, box, 0)
    main.emit("load", all_, [])
    window = main.window(0)
    main.place(again)
    main.emit("next", element, box, window)
    main.emit("jump_end", element, end)
    main.emit("push", all_, element)
    main.emit("jump", again)
    main.place(end)
    main.emit("return", all_)
    assembly.exports["main"] = "main"
    return assembly


def test_streams(native: Callable[[], Virtual]) -> None:
    assert execute(native(), stream_assembly(), "main", ["a", "b"]) == ["a", "b", 3, 2, 1, "a", "b"]
    assert execute(native(), stream_assembly(), "main", []) == [3, 2, 1]
    assert execute(native(), stream_assembly(), "main", "x") == ["x", 3, 2, 1, "x"]


def ffi_assembly() -> Assembly:
    """child(): calls $f(1), wakes the parent with the answer; main(): spawns it, calls $f(2), parks, answers both."""
    assembly = Assembly()
    assembly.ffi("$f", 1)
    child = assembly.function("child", captures=1)
    parent, value = child.register(), child.register()
    child.emit("int", value, 1)
    child.emit("ffi", value, value, "$f")
    child.emit("capture", parent, 0)
    child.emit("wake", parent, value)
    child.emit("return", value)
    main = assembly.function("main")
    me, own, other = main.register(), main.register(), main.register()
    main.emit("current", me)
    main.emit("closure", me, me, "child")
    main.emit("spawn", me, me)
    main.emit("int", own, 2)
    main.emit("ffi", own, own, "$f")
    main.emit("park", other)
    main.emit("array", own, own, 2)
    main.emit("return", own)
    assembly.exports["main"] = "main"
    return assembly


def test_an_ffi_call_suspends_its_coroutine_only(native: Callable[[], Virtual]) -> None:
    code, virtual = ffi_assembly().code(), native()
    virtual.load(code.to_bytes())
    first = virtual.enter(code.exports["main"], codec.encode([]), SLICE)
    assert isinstance(first, Call) and codec.decode(first.words) == [2]
    second = virtual.step(SLICE)
    assert isinstance(second, Call) and codec.decode(second.words) == [1] and second.id != first.id
    assert isinstance(virtual.step(SLICE), Waits)
    assert isinstance(virtual.answer(first.id, codec.encode("two"), SLICE), Waits)
    assert isinstance(virtual.answer(first.id, codec.encode("late"), SLICE), Waits)
    last = virtual.answer(second.id, codec.encode("one"), SLICE)
    assert isinstance(last, Result) and codec.decode(last.words) == ["two", "one"]


def test_an_ffi_that_fails_raises(native: Callable[[], Virtual]) -> None:
    code, virtual = ffi_assembly().code(), native()
    virtual.load(code.to_bytes())
    call = virtual.enter(code.exports["main"], codec.encode([]), SLICE)
    assert isinstance(call, Call)
    with pytest.raises(Panicked, match="raised: no network") as raised:
        finish(virtual, virtual.answer(call.id, codec.encode("no network"), SLICE, raises=True), lambda *_: 1)
    assert raised.value.event.addresses == ((1, 4, False),)


def test_waiting_for_nobody_is_a_deadlock(native: Callable[[], Virtual]) -> None:
    def write(f: FunctionBuilder) -> None:
        f.emit("park", f.register())
        f.emit("return", 0)

    with pytest.raises(Panicked, match="deadlock"):
        execute(native(), body("main", 0, write), "main")


def test_init_sets_globals(native: Callable[[], Virtual]) -> None:
    assembly = Assembly()
    index = assembly.new_global()
    start = assembly.function("start")
    start.emit("load", start.register(), {"a": [1, 2, 3]})
    start.emit("set_global", 0, index)
    start.emit("return", 0)
    main = assembly.function("main")
    main.emit("global", main.register(), index)
    main.emit("return", 0)
    assembly.init, assembly.exports["main"] = "start", "main"
    assert execute(native(), assembly, "main") == {"a": [1, 2, 3]}


def test_endless_loops_give_way(native: Callable[[], Virtual]) -> None:
    def write(f: FunctionBuilder) -> None:
        again = f.label()
        f.place(again)
        f.emit("jump", again)

    code, virtual = body("main", 0, write).code(), native()
    virtual.load(code.to_bytes())
    assert isinstance(virtual.enter(0, codec.encode([]), SLICE), Gave)
    assert isinstance(virtual.step(1), Gave)


def test_runs_that_are_done_at_once(native: Callable[[], Virtual]) -> None:
    """What `v = v + x` and a counting loop are compiled to says the same for whatever is in the registers."""
    assembly = Assembly()
    for name in ("add", "sub", "mul"):
        f = assembly.function(name, params=2)
        copy = f.register(2)
        f.emit(name, copy, 0, 1)
        f.emit("check_stored", copy, "the variable 'v'")
        f.emit("move", copy + 1, copy)
        f.emit("array", copy, copy, 2)
        f.emit("return", copy)
        assembly.exports[name] = name
    for name, start in (("whole", 0), ("middle", 1)):
        # The second one jumps into the middle of the run, where the value is there already.
        f = assembly.function(name, params=2)
        copy, middle = f.register(2), f.label()
        f.emit("move", copy, 1)
        if start:
            f.emit("jump", middle)
        f.emit("add_int", copy, 0, 1)
        f.place(middle)
        f.emit("check_stored", copy, "the variable 'v'")
        f.emit("move", copy + 1, copy)
        f.emit("return", copy + 1)
        assembly.exports[name] = name
    loop = assembly.function("loop", params=2)
    head, end = loop.label(), loop.label()
    loop.place(head)
    loop.emit("jump_not_lt", 0, 1, end)
    loop.emit("add_int", 0, 0, 1)
    loop.emit("jump", head)
    loop.place(end)
    loop.emit("return", 0)
    assembly.exports["loop"] = "loop"
    unset = assembly.function("unset", params=2)
    nothing = unset.register()
    unset.emit("literal", nothing, "undef")
    unset.emit("add", 1, nothing, 0)
    unset.emit("check_stored", 1, "the variable 'v'")
    unset.emit("move", 0, 1)
    unset.emit("return", 0)
    assembly.exports["unset"] = "unset"
    code, virtual = assembly.code(), native()
    virtual.load(code.to_bytes())

    def call(name: str, *arguments: Any) -> Any:
        return finish_again(virtual, code.exports[name], *arguments)

    for left, right in ((1, 2), (1.5, 2.5), (2**47 - 1, 1), (2**63 - 1, 2), (1, 0.5), (None, 1)):
        for name in ("add", "sub", "mul"):
            exact = (
                None
                if left is None
                else {"add": left + right, "sub": left - right, "mul": left * right}[name]
            )
            expected = float(exact) if exact is not None and abs(exact) >= 2**63 else exact
            assert call(name, left, right) == [expected, expected]
    assert call("add", "a", 1) == ["a1", "a1"] and call("whole", 2**47 - 1, 0) == 2**47
    assert call("whole", 1.5, 0) == 2.5 and call("whole", "a", 0) == "a1" and call("middle", 1, 7) == 7
    assert call("loop", 0, 5) == 5 and call("loop", 0.5, 3) == 3.5 and call("loop", 7, 5) == 7
    with pytest.raises(Panicked, match="the variable 'v'") as raised:
        call("unset", 1, 2)
    assert raised.value.event.addresses == ((6, 2, False),)
