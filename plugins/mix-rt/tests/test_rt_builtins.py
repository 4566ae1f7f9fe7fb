"""Built-ins beyond the basic ones, against Python's: case, JSON, binaries, the functions of mathematics."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mix_rt.calls import Calls
from mix_rt.qcode import Assembly
from mix_rt.testing import Panicked, execute
from mix_rt.vm import Gave, Result, Virtual

from mixkit import codec
from mixkit.value import UNDEF, Case, Ref, equal


@pytest.fixture
def calls(native: Callable[[], Virtual]) -> Calls:
    return Calls(native())


def test_case(calls: Calls) -> None:
    texts = ["", "abc XYZ", "straße", "ÀÉîõ", "ŉ", "ǆ", "ΑΣ ΣΑΣ", "İıſ", "привет", "ﬁ", "𐐨", "ა"]
    texts += [
        "".join(chr(code) for code in range(start, start + 256))
        for start in (0x80, 0x100, 0x370, 0x1E00, 0x2C00)
    ]
    for text in texts:
        assert calls("string_uppercase", text) == text.upper()
        assert calls("string_fold", text) == text.casefold()
        assert calls("string_capitalize", text) == text[:1].upper() + text[1:]
        if "Σ" not in text[:-1] or text == "ΑΣ ΣΑΣ":
            assert calls("string_lowercase", text) == text.lower()


def test_mathematics(calls: Calls) -> None:
    """Within a unit or two in the last place: libraries differ there."""
    random = Random(seed := Random().randrange(2**32))
    names = "sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh exp expm1 log log10 log1p"
    for name in names.split():
        for number in (0.0, 0.5, 1.0, random.uniform(-1, 1), random.uniform(0, 30)):
            try:
                expected = getattr(math, name)(number)
            except ValueError:
                continue
            found = calls(f"number_{name}", number)
            assert math.isclose(found, expected, rel_tol=1e-14, abs_tol=1e-15), (name, number, f"seed {seed}")
    for name in ("atan2", "pow", "hypot", "copysign"):
        x, y = random.uniform(0, 9), random.uniform(-9, 9)
        assert math.isclose(calls(f"number_{name}", x, y), getattr(math, name)(x, y), rel_tol=1e-14), (
            name,
            x,
            y,
        )
    assert calls("number_pow", 2, 10) == 1024 and math.isnan(calls("number_log", -1))


def test_base64_and_hex(calls: Calls) -> None:
    random = Random(1)
    for size in range(70):
        octets = random.randbytes(size)
        text = base64.b64encode(octets).decode()
        assert calls("binary_to_base64", octets) == text
        for form in (text, text.rstrip("="), base64.urlsafe_b64encode(octets).decode()):
            assert calls("binary_of_base64", form) == octets
        assert calls("binary_to_hex", octets) == octets.hex()
        assert calls("binary_of_hex", octets.hex().upper()) == octets
        assert calls("binary_sub", 2, 5, octets) == octets[2:5]
        assert calls("binary_find", octets[3:5], octets) == octets.find(octets[3:5])
    for bad in ("A", "AB=", "A?==", "AB", "QQ=", "Q===", "=QQ="):
        assert calls("binary_of_base64", bad) is UNDEF, bad
    for bad in ("a", "gg", "0x"):
        assert calls("binary_of_hex", bad) is UNDEF
    assert (
        calls("binary_join", b"-", [b"a", b"", b"bc"]) == b"a--bc" and calls("binary_join", b"-", []) == b""
    )


def test_sequences(calls: Calls) -> None:
    assert calls("array_flatten", [[1, 2], [], list(range(100))]) == [1, 2, *range(100)]
    assert calls("map_of_pairs", [["b", 1], ["a", 2], ["b", 3]]) == {"a": 2, "b": 3}
    with pytest.raises(Panicked, match="array_flatten: expected arrays, found int as element 1"):
        calls("array_flatten", [[], 1])


def test_groups_and_sorts_by_keys(calls: Calls) -> None:
    random = Random(2)
    numbers = list(range(500))
    keys = [str(random.randrange(60)) for _ in numbers]
    groups: dict[str, list[int]] = {}
    for key, number in zip(keys, numbers, strict=True):
        groups.setdefault(key, []).append(number)
    assert calls("map_of_groups", keys, numbers) == groups
    asked = ["x", *(str(number) for number in range(70))]
    assert calls("array_matches", asked, keys, numbers) == [groups.get(key, []) for key in asked]
    order = sorted(numbers, key=lambda number: keys[number])
    assert calls("array_sort_by", keys, numbers) == order


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("map_of_groups", ([1], [1]), "map_of_groups: expected a string as key 0, found int"),
        ("map_of_groups", (["a"], []), "map_of_groups: expected as many keys as elements, found 1 and 0"),
        ("array_matches", ([], ["a"], []), "array_matches: expected as many keys as elements, found 1 and 0"),
        ("array_sort_by", ([1], []), "array_sort_by: expected as many keys as elements, found 1 and 0"),
        ("sort_step", (True, [1]), "expected what sort_open gives"),
        ("sort_step", (True, 5), "expected what sort_open gives"),
        ("sort_close", (None,), "expected what sort_open gives"),
        ("expect", ("f", "option", "o", 5), "f: expected an option as o, found int"),
    ],
)
def test_misuse_of_groups_and_sorts(
    calls: Calls, name: str, arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(Panicked, match=message):
        calls(name, *arguments)


@pytest.mark.parametrize("seed", range(3))
def test_a_sort_that_a_program_writes_into(native: Callable[[], Virtual], seed: int) -> None:
    """It ends, with elements of the array or with an error."""
    random = Random(seed)
    for _ in range(4):
        assembly = Assembly()
        f = assembly.function("main", 1)
        state, value = f.register(), f.register()
        step = f.register(2)
        f.emit("builtin", state, 0, "sort_open")
        for _ in range(random.randrange(1, 4)):
            written = random.choice((0, 1, 2, 5, 100, 2**26, 2**28, -1, 0.5, "x", None))
            f.emit("load", value, written)
            f.emit("set_slot", state, random.randrange(2, 15), value)
            for _ in range(random.randrange(60)):
                f.emit("load", step, True)
                f.emit("move", step + 1, state)
                f.emit("builtin", step, step, "sort_step")
        f.emit("builtin", 0, state, "sort_close")
        f.emit("return", 0)
        assembly.exports["main"] = "main"
        try:
            found = execute(native(), assembly, "main", list(range(20)))
        except Panicked as panic:
            assert "expected what sort_open gives" in str(panic)
        else:
            assert len(found) == 20


trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(st.text(max_size=3), inner, max_size=40),
    max_leaves=80,
)


def test_json(calls: Calls) -> None:
    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    @given(trees, st.booleans())
    def check(tree: Any, ascii_only: bool) -> None:
        text = calls("json_format", tree)
        assert equal(json.loads(text), tree)
        found = calls(
            "json_parse", json.dumps(tree, ensure_ascii=ascii_only, indent=1 if ascii_only else None)
        )
        assert found.name == "ok" and equal(found.arg, tree)

    check()
    assert (
        calls("json_format", {"b": [1.5, 2.0, 'a\n"\x01é'], "a": None})
        == '{"a":null,"b":[1.5,2,"a\\n\\"\\u0001é"]}'
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "byte 0: expected a value"),
        ("[1,]", "byte 3: expected a value"),
        ("[1 2]", "byte 3: expected , or ]"),
        ('{"a" 1}', "byte 5: expected : after a key"),
        ("{a:1}", "byte 1: expected a key in quotes"),
        ("01", "byte 2: expected a value"),
        ("1.", "expected a value"),
        ("-", "expected a value"),
        ("1e", "expected a value"),
        ("nul", "expected a value"),
        ('"a', "a string that does not end"),
        ('"\\x"', "unknown escape"),
        ('"\\ud800"', "a lone surrogate"),
        ("[1] 2", "byte 4: expected the end"),
        ('"\n"', "a control character"),
        ("1e400", "a number beyond a double"),
        ('{"a":1,"a":2}', "byte 7: a key that is there already"),
        ("[" * 300, "nesting above 256"),
        ("NaN", "expected a value"),
        ('"\\ud800\\u0041"', "a lone surrogate"),
    ],
)
def test_what_is_no_json(calls: Calls, text: str, message: str) -> None:
    found = calls("json_parse", text)
    assert found.name == "error" and message in found.arg


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, Ref("x")]}, r"found ref at \$.a\[1\]"),
        (Case("red"), r"found case at \$$"),
        ([float("nan")], r"found a number that is not finite at \$\[0\]"),
        ({"k": b""}, r"found binary at \$.k"),
    ],
)
def test_what_json_has_not(calls: Calls, value: Any, message: str) -> None:
    with pytest.raises(Panicked, match=message):
        calls("json_format", value)


def test_random_numbers_are_those_of_the_seed(native: Callable[[], Virtual]) -> None:
    calls = Calls(native())
    calls.seed = 7
    assert calls("random_int", 1, 10**15) == calls("random_int", 1, 10**15)
    found = set()
    for seed in range(300):
        calls.seed = seed
        found.add(calls("random_int", -2, 3))
        assert 0 <= calls("random_float") < 1
        assert type(calls("random_int", -(2**63), 2**63 - 1)) is int
    assert found == {-2, -1, 0, 1, 2, 3}
    with pytest.raises(Panicked, match="random_int: expected a last that is not below the first, 3, found 2"):
        calls("random_int", 3, 2)


def test_refs(calls: Calls) -> None:
    for text in ("", "a", "é" * 1000):
        assert calls("ref_of_string", text) == Ref(text)
        assert calls("ref_to_string", Ref(text)) == text
    with pytest.raises(Panicked):
        calls("ref_to_string", "a")


@pytest.mark.parametrize("separator", [",", "", "ab"])
def test_a_split_gives_way_in_the_middle(native: Callable[[], Virtual], separator: str) -> None:
    """It goes on where it was, also when everything has moved meanwhile."""
    text = "aé,b,ab,," * 3000
    assembly = Assembly()
    f = assembly.function("split", 2)
    f.emit("builtin", 0, 0, "string_split")
    f.emit("return", 0)
    assembly.exports["split"] = "split"
    code, virtual = assembly.code(), native()
    virtual.load(code.to_bytes())
    event = virtual.enter(code.exports["split"], codec.encode([separator, text]), 1000)
    steps = 0
    while isinstance(event, Gave):
        steps += 1
        virtual.collect()
        event = virtual.step(1000)
    assert isinstance(event, Result) and steps > 3
    assert codec.decode(event.words) == (text.split(separator) if separator else list(text))


def test_json_is_read_in_parts(native: Callable[[], Virtual]) -> None:
    """It goes on where it was, also when everything has moved meanwhile; errors are at the same places."""
    assembly = Assembly()
    f = assembly.function("parse", 1)
    f.emit("builtin", 0, 0, "json_parse")
    f.emit("return", 0)
    assembly.exports["parse"] = "parse"
    code, virtual = assembly.code(), native()
    virtual.load(code.to_bytes())
    value: Any = {
        "a": [{"b": index, "c": [str(index)] * (index % 50)} for index in range(400)],
        "d": {},
        "e": [],
    }
    for _ in range(60):
        value = {"in": [value, 1]}
    text = json.dumps(value)
    for written, expected in (
        (text, Case("ok", value)),
        (text[:-1], Case("error", f"byte {len(text) - 1}: expected , or }} in an object")),
        (text[:-1] + ',"in":1}', Case("error", f"byte {len(text)}: a key that is there already")),
    ):
        event = virtual.enter(code.exports["parse"], codec.encode([written]), 300)
        steps = 0
        while isinstance(event, Gave):
            steps += 1
            virtual.collect()
            event = virtual.step(300)
        assert isinstance(event, Result) and steps > 10
        assert codec.decode(event.words) == expected


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("json_parse", ['[{"a":[1,"xé",{}]},[2]]']),
        ("string_split", [",", "a,b," * 40]),
        ("map_of_groups", [list("abcab"), list(range(5))]),
        ("array_matches", [list("bxa"), list("abcab"), list(range(5))]),
        ("array_sort_by", [list("badce"), list(range(5))]),
    ],
)
def test_parts_survive_failing_allocations(
    native: Callable[[], Virtual], name: str, arguments: list[Any]
) -> None:
    """Whatever allocation fails between its parts: the answer, or that memory is out."""
    assembly = Assembly()
    f = assembly.function("main", len(arguments))
    f.emit("builtin", 0, 0, name)
    f.emit("return", 0)
    assembly.exports["main"] = "main"
    code = assembly.code()
    answers = set()
    for fail_from in range(1, 60, 3):
        virtual = native()
        virtual.load(code.to_bytes())
        virtual.test(stress=fail_from % 2 == 0, fail_from=fail_from, fail_until=fail_from + 1)
        event = virtual.enter(code.exports["main"], codec.encode(arguments), 1)
        while isinstance(event, Gave):
            event = virtual.step(1)
        answers.add(event.words if isinstance(event, Result) else b"")
    assert len(answers - {b""}) == 1
