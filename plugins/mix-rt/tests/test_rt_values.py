"""Arrays, maps, strings and numbers of the machine against Python's, with every older version looked at in the end."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from mix_rt.calls import Calls
from mix_rt.qcode import Assembly
from mix_rt.testing import Panicked, execute
from mix_rt.vm import Virtual

from mixkit.value import UNDEF, Case, equal


@pytest.fixture
def calls(native: Callable[[], Virtual]) -> Calls:
    return Calls(native())


def test_versions_of_arrays(calls: Calls) -> None:
    """Whatever is done to one version, the others stay as they were."""
    random = Random(seed := Random().randrange(2**32))
    versions: list[list[int]] = [[], list(range(31)), list(range(1024 + 40))]
    calls("begin", versions)
    for step in range(300):
        at = random.choice((len(versions) - 1, random.randrange(len(versions))))
        own = versions[at]
        match random.choice(("push", "push", "push", "set", "add", "sub")):
            case "push":
                calls("v_push", at, step)
                versions.append([*own, step])
            case "set" if own:
                index = random.randrange(len(own))
                calls("v_set", at, index, -step)
                versions.append([*own[:index], -step, *own[index + 1 :]])
            case "add":
                other = random.randrange(len(versions))
                if len(own) + len(versions[other]) < 3000:
                    calls("v_add", at, other)
                    versions.append(own + versions[other])
            case "sub":
                start, end = sorted(random.randrange(len(own) + 2) for _ in range(2))
                calls("v_array_sub", at, start, end)
                versions.append(own[start:end])
    assert calls("all") == versions, f"seed {seed}"


def test_versions_of_maps(calls: Calls) -> None:
    random = Random(seed := Random().randrange(2**32))
    versions: list[dict[str, int]] = [{}, {f"k{number}": number for number in range(300)}]
    calls("begin", versions)
    for step in range(300):
        at = random.choice((len(versions) - 1, random.randrange(len(versions))))
        own = versions[at]
        key = f"k{random.randrange(500)}"
        match random.choice(("set", "set", "remove", "remove", "add")):
            case "set":
                calls("v_set", at, key, step)
                versions.append(own | {key: step})
            case "remove":
                key = random.choice(sorted(own)) if own and random.random() < 0.8 else key
                calls("v_map_remove", at, key)
                versions.append({name: value for name, value in own.items() if name != key})
            case "add":
                other = random.randrange(len(versions))
                calls("v_add", at, other)
                versions.append(own | versions[other])
    found = calls("all")
    assert found == versions, f"seed {seed}"
    largest = max(found, key=len)
    assert calls("map_keys", largest) == sorted(largest)
    assert calls("map_values", largest) == [largest[key] for key in sorted(largest)]
    for index in (0, 5, len(largest) - 1):
        assert calls("map_entry", index, largest) == [sorted(largest)[index], largest[sorted(largest)[index]]]
    assert calls("map_entry", len(largest), largest) is UNDEF


TEXTS = ["", "a", "abc", "aXbXc", "héé→𝄞x", " \t a b \n", "ab" * 40, "a" * 200 + "b", "é" * 70]


def test_strings(calls: Calls) -> None:
    for text in TEXTS:
        for start, end in ((0, 1), (1, 3), (-2, 2), (2, 1), (0, 999)):
            assert calls("string_sub", start, end, text) == text[max(start, 0) : max(end, 0)]
        assert calls("string_trim", text) == text.strip()
        assert calls("string_trim_left", text) == text.lstrip()
        assert calls("string_trim_right", text) == text.rstrip()
        assert calls("string_repeat", 3, text) == text * 3
        assert calls("binary_to_string", calls("binary_of_string", text)) == text
        assert calls("string_split", "", text) == list(text)
        for part in ("a", "X", "é", "ab" * 20, "a" * 150, "𝄞x", "zz"):
            assert calls("string_find", part, text) == (text.find(part) if part in text else UNDEF)
            assert calls("string_find_last", part, text) == (text.rfind(part) if part in text else UNDEF)
            assert calls("string_has_prefix", part, text) == text.startswith(part)
            assert calls("string_has_suffix", part, text) == text.endswith(part)
            assert calls("string_replace", part, "-é", text) == text.replace(part, "-é")
            assert calls("string_split", part, text) == text.split(part)
        for index, letter in enumerate(text):
            assert calls("string_code_point_at", index, text) == ord(letter)
        assert calls("string_code_point_at", len(text), text) is UNDEF
    assert calls("string_join", ", ", ["a", 1, 2.5, "é"]) == "a, 1, 2.5, é"
    assert calls("string_from_code_point", 0x1D11E) == "𝄞"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("string_sub", "x", 1, "abc"), "string_sub: expected a whole number as start, found string"),
        (
            ("string_sub", 0, 1.5, "abc"),
            "string_sub: expected a whole number as end, found a number with a fraction",
        ),
        (
            ("string_join", ",", ["a", None]),
            "string_join: expected strings or numbers, found null as element 1",
        ),
        (("array_sort", [1, "a"]), "array_sort: expected values that compare, found int and string"),
        (("string_from_code_point", 0xD800), "expected the code of a character, found 55296"),
        (("number_div_int", 1, 0), "expected a divisor other than 0"),
        (("parse_words", b"abc"), "word 0: the last word is cut"),
    ],
)
def test_misuse_is_named(calls: Calls, call: tuple[Any, ...], message: str) -> None:
    with pytest.raises(Panicked, match=message):
        calls(*call)


def shown(number: float) -> str:
    """As JavaScript writes a number."""
    if math.isnan(number) or math.isinf(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    sign, digits, power = Decimal(repr(number)).normalize().as_tuple()
    assert isinstance(power, int)
    text = "".join(map(str, digits))
    point = len(text) + power
    if len(text) <= point <= 21:
        text += "0" * (point - len(text))
    elif 0 < point <= 21:
        text = f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{text}"
    else:
        text = f"{text[0]}{'.' if len(text) > 1 else ''}{text[1:]}e{point - 1:+}"
    return "-" * sign + text


def test_numbers_as_text_and_back(calls: Calls) -> None:
    random = Random(seed := Random().randrange(2**32))
    numbers = [
        0.1,
        1e21,
        1e-7,
        123456.75,
        5e-324,
        1.7976931348623157e308,
        2.0**53,
        0.3,
        1 / 3,
        1e22,
        1e23,
        -0.5,
        1e-6,
        9.5e-7,
    ]
    numbers += [struct.unpack("<d", random.randbytes(8))[0] for _ in range(300)]
    numbers += [random.randrange(10**6) / 10 ** random.randrange(9) for _ in range(200)]
    for number in numbers:
        text = calls("to_text", number)
        assert text == shown(number), (number, f"seed {seed}")
        if math.isfinite(number):
            assert float(calls("number_parse", text)) == number, (text, f"seed {seed}")
    for text in (
        "1", "-12", "+5", "1.5e3", ".5", "5.", "0.1e-5", "123456789012345678", "9223372036854775807",
        "9223372036854775808", "1e400", "-1e-400", "0." + "0" * 400 + "1", "1" * 800, "2.2250738585072012e-308",
        "9007199254740993", "9007199254740992.999", "1.00000000000000011102230246251565404",
    ):  # fmt: skip
        found = calls("number_parse", text)
        whole = "." not in text and "e" not in text and -(2**63) <= int(text) < 2**63
        assert equal(found, int(text) if whole else float(text)) and (type(found) is int) == whole, text
    for text in ("", "-", "1e", "x", "1 ", "1.2.3", "0x10", "--1", "1e+"):
        assert calls("number_parse", text) is UNDEF, text


def test_numbers(calls: Calls) -> None:
    random = Random(seed := Random().randrange(2**32))
    sizes = [1, 100, 2**31, 2**47, 2**62]
    for _ in range(200):
        a, b = (random.randrange(-random.choice(sizes), random.choice(sizes)) for _ in range(2))
        for name, result in (("add", a + b), ("sub", a - b), ("mul", a * b)):
            expected = (
                result
                if -(2**63) <= result < 2**63
                else float(a) * float(b)
                if name == "mul"
                else float(result)
            )
            assert equal(calls(name, a, b), expected), (name, a, b, f"seed {seed}")
        if b:
            assert calls("number_mod_int", a, b) == a % b
            assert calls("number_div_int", a, b) == (abs(a) // abs(b)) * (1 if (a < 0) == (b < 0) else -1)
            assert calls("number_rem_int", a, b) == math.fmod(a, b) or abs(a) > 2**53 or abs(b) > 2**53
        x, y = random.uniform(-1e3, 1e3), random.choice((0.5, 3.7, -2.25, 1e-9, 1e300))
        assert calls("rem", x, y) == math.fmod(x, y)
        assert calls("number_mod", x, y) == math.fmod(x, y) + (y if math.fmod(x, y) * y < 0 else 0)
        assert calls("number_floor", x) == math.floor(x) and calls("number_ceil", x) == math.ceil(x)
    for number, rounded in ((2.5, 3), (-2.5, -3), (0.49999999999999994, 0), (1e300, 1e300), (7, 7)):
        assert calls("number_round", number) == rounded


def test_sort_is_stable_and_gives_way(native: Callable[[], Virtual]) -> None:
    random = Random(seed := Random().randrange(2**32))
    for values in (
        [random.randrange(1000) for _ in range(3000)], [f"k{random.randrange(500)}" for _ in range(500)],
        [[random.randrange(9), index] for index in range(500)], [], [1], [None, 3, None, 1.5], list(range(1000)),
    ):  # fmt: skip
        # Ints and the floats that equal them stay in their order.
        assembly = Assembly()
        f = assembly.function("main", params=1)
        f.emit("builtin", 0, 0, "array_sort")
        f.emit("return", 0)
        assembly.exports["main"] = "main"
        ordered = sorted(values, key=lambda value: (value is not None, value if value is not None else 0))  # type: ignore[type-var]
        assert execute(native(), assembly, "main", values, budget=500) == ordered, f"seed {seed}"
    assert [type(value) for value in Calls(native())("array_sort", [1, 1.0, 0, 1])] == [int, int, float, int]


def test_cases(calls: Calls) -> None:
    assert calls("case_make", "a", [1]) == Case("a", [1])
    assert calls("case_name", Case("a", 1)) == "a"
    assert calls("kind", Case("a")) == "case" and calls("kind", 1) == "int" and calls("kind", 1.0) == "number"
    assert calls("parse_words", calls("format_words", {"a": [1, None]})) == {"a": [1, None]}


def test_undefined_arguments_give_undefined(native: Callable[[], Virtual]) -> None:
    assembly = Assembly()
    f = assembly.function("main")
    first = f.register(2)
    f.emit("literal", first, "undef")
    f.emit("load", first + 1, "abc")
    f.emit("builtin", first, first, "string_find")
    f.emit("return", first)
    assembly.exports["main"] = "main"
    assert execute(native(), assembly, "main") is UNDEF
