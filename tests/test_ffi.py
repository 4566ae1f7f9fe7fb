"""FFIs: every form of registration, what calls cost an adversary, and what failures look like to an agent."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mixkit
from mixkit import codec, msgpack_values
from mixkit.errors import CancelledRun, FFIError, GrantError, InternalError, LimitExceeded, NotFound
from mixkit.ffi import FFIGroup, FFITable, Registry
from mixkit.forms import Packed
from mixkit.grants import ALL, NONE, Grants
from mixkit.limits import Budget, Limits
from mixkit.rows import PackedRows, Rows, ValueRows
from mixkit.state import State
from mixkit.testing.strategies import identical, values
from mixkit.value import UNDEF, Case, Ref, Result, Token, Value


def run(group: FFIGroup, name: str, *args: Any, state: State | None = None) -> Any:
    """Calls an FFI as a guest does: words in, words out."""
    state = state or State()
    words = codec.encode(list(args), token=state.token_to_handle)
    ffi, answer = FFITable([group]).dispatch(state, name.encode(), words)
    if ffi.is_async:
        answer = asyncio.run(_awaited(answer))
    return codec.decode(answer, token=state.token_from_handle)


async def _awaited(answer: Any) -> Any:
    return await answer


def one(function: Callable[..., Any]) -> FFIGroup:
    """A group with the function as `$t_f`."""
    group = FFIGroup("t")
    group.register("$t_f")(function)
    return group


# -- forms ------------------------------------------------------------------------------------------


def test_the_decorator_chooses_the_form_from_the_signature() -> None:
    group = FFIGroup("t")

    @group.register("$t_sync")
    def with_state(state: State, a: int) -> str:
        return f"{state.code} {a}"

    @group.register("$t_annotated")
    def annotated(run: mixkit.State, a: int) -> str:
        return f"{run.code} {a}"

    @group.register("$t_async")
    async def waits(state: State, a: int) -> str:
        await asyncio.sleep(0)
        return f"{state.code} {a}"

    @group.register("$t_async_simple")
    async def waits_simply(a: int) -> int:
        return a + 1

    @group.register("$t_simple")
    def simple(a: int) -> int:
        return a + 1

    state = State(code="agent")
    assert {ffi.name: ffi.kind for ffi in group} == {
        "$t_sync": "sync",
        "$t_annotated": "sync",
        "$t_async": "async",
        "$t_async_simple": "async",
        "$t_simple": "simple",
    }
    for name in ("$t_sync", "$t_annotated", "$t_async"):
        assert run(group, name, 1, state=state) == "agent 1"
    assert run(group, "$t_simple", 1) == run(group, "$t_async_simple", 1) == 2


def test_const_takes_nothing_and_answers_the_same() -> None:
    group = FFIGroup("t")
    group.register_const("$t_pi", {"pi": 3.14}, "A constant.")
    assert run(group, "$t_pi") == {"pi": 3.14}
    with pytest.raises(FFIError, match=r"\$t_pi takes 0 arguments, found 1"):
        run(group, "$t_pi", 1)


def test_raw_gets_and_answers_words() -> None:
    group = FFIGroup("t")

    async def later(state: State, words: bytes) -> memoryview:
        return memoryview(words)

    group.register_raw("$t_echo", lambda state, words: bytearray(words))
    group.register_raw("$t_later", later, "Echo, later.")
    assert run(group, "$t_echo", 1, "x") == run(group, "$t_later", 1, "x") == [1, "x"]


@pytest.mark.parametrize("answer", [7, None, "text", [1], b"", b"abc", 10**9])
def test_a_raw_answer_that_is_no_words_is_our_fault(answer: Any) -> None:
    async def later(state: State, words: bytes) -> Any:
        return answer

    group = FFIGroup("t")
    group.register_raw("$t_now", lambda state, words: answer)
    group.register_raw("$t_later", later)
    for name in ("$t_now", "$t_later"):
        with pytest.raises(InternalError, match=r"codec words"):
            run(group, name)


def test_unsupported_says_why() -> None:
    group = FFIGroup("t")
    group.register_unsupported("$t_gpu", "there is none")
    with pytest.raises(FFIError, match=r"\$t_gpu is not supported here: there is none"):
        run(group, "$t_gpu")


@pytest.mark.parametrize("count", range(10))
def test_zero_to_nine_arguments(count: int) -> None:
    names = ", ".join(f"a{i}: int" for i in range(count))
    scope: dict[str, Any] = {}
    exec(f"def f({names}): return [{', '.join(f'a{i}' for i in range(count))}]", scope)  # noqa: S102
    group = one(scope["f"])
    assert run(group, "$t_f", *range(count)) == list(range(count))
    for wrong in (count - 1, count + 1):
        if wrong >= 0:
            expected = rf"\$t_f takes {count} arguments?, found {wrong}$"
            with pytest.raises(FFIError, match=expected):
                run(group, "$t_f", *range(wrong))


def test_optional_arguments() -> None:
    def f(a: int, b: str = "b", c: int | None = None) -> list[Value]:
        return [a, b, c]

    group = one(f)
    assert [run(group, "$t_f", *args) for args in ([1], [1, "x"], [1, "x", 3])] == [
        [1, "b", None],
        [1, "x", None],
        [1, "x", 3],
    ]
    for args in ([], [1, "x", 3, 4]):
        with pytest.raises(FFIError, match="takes 1 to 3 arguments, found"):
            run(group, "$t_f", *args)


def bad_ten(a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int, i: int, j: int) -> None: ...
def bad_variadic(*args: int) -> None: ...
def bad_keyword(*, a: int) -> None: ...
def bad_type(a: set[int]) -> None: ...
def bad_nested(a: list[dict[int, str]]) -> None: ...
def bad_result() -> complex: ...  # type: ignore[empty-body]
def bad_literal(a: Literal[None, "x"]) -> None: ...
def bad_name(a: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (bad_ten, "at most 9 arguments, found 10"),
        (bad_variadic, "'args' must be positional"),
        (bad_keyword, "'a' must be positional"),
        (bad_type, "argument 'a': .*no type of Values"),
        (bad_nested, "argument 'a'"),
        (bad_result, "result: "),
        (bad_literal, "argument 'a'"),
        (bad_name, "cannot resolve the annotation 'Missing'"),
    ],
)
def test_what_cannot_be_registered(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(FFIError, match=rf"^\$t_f: .*{message}"):
        one(function)


@pytest.mark.parametrize("name", ["", "$", "t.f", "$t f", "$t\n", "$t*", "$1", "$té", "$a.b"])
def test_a_name_that_no_grant_could_name_is_refused(name: str) -> None:
    with pytest.raises(FFIError, match="the name of an FFI"):
        FFIGroup("t").register_const(name, 1)


def test_names_are_unique() -> None:
    group = FFIGroup("t")
    group.register_const("$t_a", 1)
    with pytest.raises(FFIError, match=r"group 't' registers \$t_a twice"):
        group.register_const("$t_a", 2)
    other = FFIGroup("u")
    other.register_const("$t_a", 1)
    with pytest.raises(FFIError, match=r"\$t_a is registered by group 't' and by 'u'"):
        FFITable([group, other])


def test_a_coroutine_function_is_not_registered_as_sync() -> None:
    async def f(state: State) -> None: ...

    for register in (FFIGroup("t").register_sync, FFIGroup("t").register_simple):
        with pytest.raises(FFIError, match="register_async"):
            register("$t_f", f)


def test_registry_takes_only_groups() -> None:
    with pytest.raises(FFIError, match="takes an FFIGroup, found dict"):
        Registry().add({})  # type: ignore[arg-type]


# -- arguments and results --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "wrong", "message"),
    [
        (int, "x", "expected int, found string"),
        (int, True, "expected int, found bool True"),
        (int, 1.5, "expected int, found number 1.5"),
        (int, 1e300, "expected int, found number 1e"),
        (float, "1", "expected number, found string"),
        (str, b"x", "expected string, found binary"),
        (bytes, "x", "expected binary, found string"),
        (Ref, "x", "expected ref, found string"),
        (Token, "x", "expected token, found string"),
        (list[int], [1, 2, "x"], r"expected int, found string at \[2\]"),
        (dict[str, list[int]], {"a": [None]}, r"expected int, found null at \.a\[0\]"),
        (int | None, "x", "expected int | null, found string"),
        (Literal["a", "b"], "c", 'expected "a" | "b", found \'c\''),
    ],
)
def test_a_mismatch_names_ffi_argument_expected_and_found(annotation: Any, wrong: Any, message: str) -> None:
    def f(first: int, second: Any) -> None: ...

    f.__annotations__["second"] = annotation
    with pytest.raises(FFIError, match=rf"^\$t_f: argument 2 \(second\): {message.replace('|', '[|]')}"):
        run(one(f), "$t_f", 1, wrong)


@given(value=values(undef=False, tokens=True))
def test_any_value_passes_unchanged(value: Any) -> None:
    def f(a: Value) -> Value:
        return a  # type: ignore[no-any-return,unused-ignore]

    state = State()
    assert identical(run(one(f), "$t_f", value, state=state), value)


@given(words=st.binary(max_size=64))
def test_malformed_arguments_are_an_error_of_the_agent(words: bytes) -> None:
    def f() -> None: ...

    table = FFITable([one(f)])
    try:
        table.dispatch(State(), b"$t_f", words)
    except FFIError as exc:
        assert str(exc).startswith("$t_f")
    else:
        assert words == codec.encode([])


@pytest.mark.parametrize("value", [None, 1, "x", {}, UNDEF])
def test_arguments_are_an_array(value: Any) -> None:
    with pytest.raises(FFIError, match="takes an array of arguments"):
        FFITable([one(lambda: None)]).dispatch(State(), b"$t_f", codec.encode(value))


@dataclass
class Place:
    city: str
    zip: int = 0

    def __post_init__(self) -> None:
        if self.zip < 0:
            raise ValueError("zip is not negative")


def test_a_dataclass_is_built_and_checked() -> None:
    def f(place: Place) -> str:
        return f"{type(place).__name__} {place.city} {place.zip}"

    assert run(one(f), "$t_f", {"city": "Rome"}) == "Place Rome 0"
    for wrong, message in (
        ({}, r"expected string, found nothing at \.city"),
        ({"city": "x", "zap": 1}, "one of the keys city, zip, found key 'zap'"),
        ({"city": "x", "zip": -1}, "zip is not negative"),
        ({"city": "x", "k" * 1000: 1}, r"k{80}…'$"),
    ):
        with pytest.raises(FFIError, match=message):
            run(one(f), "$t_f", wrong)


def test_annotations_are_resolved_though_state_is_only_for_type_checkers() -> None:
    def f(state: State, a: Value, b: list[Value], c: dict[str, Value] | None = None) -> Result[Value]:
        return [a, b, c]

    (ffi,) = one(f)
    assert ffi.signature == "$t_f(a: data, b: array(data), c?: map(data) | null) -> result(data)"


@pytest.mark.parametrize(
    ("annotation", "answer", "message"),
    [
        (int, "1", "expected int, found string"),
        (None, 1, "expected null, found int 1"),
        (list[int], [1, None], r"expected int, found null at \[1\]"),
        (dict[str, str], {"a": 1}, r"expected string, found int 1 at \.a"),
        (Literal["a", "b"], "c", 'expected "a" | "b", found \'c\''),
        (Place, {"city": "x", "zpi": 1}, r"found key 'zpi'; did you mean 'zip'\?"),
        (list[Place], [Place(1)], r"expected string, found int 1 at \[0\]\.city"),  # type: ignore[arg-type]
    ],
)
def test_an_answer_of_another_type_than_declared_is_our_fault(
    annotation: Any, answer: Any, message: str
) -> None:
    def f() -> Any:
        return answer

    async def h() -> Any:
        return answer

    f.__annotations__["return"] = h.__annotations__["return"] = annotation
    wrapped = types.FunctionType(f.__code__, f.__globals__, closure=f.__closure__)
    wrapped.__annotations__["return"] = Result[annotation]
    for function in (f, wrapped, h):
        with pytest.raises(
            InternalError, match=rf"^\$t_f answered what it does not declare: .*{message.replace('|', '[|]')}"
        ):
            run(one(function), "$t_f")


def test_an_answer_leaves_as_it_was_declared() -> None:
    def f() -> list[Place | int]:
        return [Place("Rome", 1), 2.0, {"city": "Oslo"}]  # type: ignore[list-item]

    answer = run(one(f), "$t_f")
    assert identical(answer, [{"city": "Rome", "zip": 1}, 2, {"city": "Oslo"}])


class Weird:
    def __repr__(self) -> str:
        return "hidden"


def cyclic() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize("answer", [Weird(), {1: 2}, (1,), 2**63, "\ud800", [UNDEF], {"a": {1}}, cyclic()])
def test_an_answer_that_is_no_value_is_our_fault(answer: Any) -> None:
    def f() -> Any:
        return answer

    def g() -> Result[Any]:
        return answer

    async def h() -> Any:
        return answer

    for function in (f, g, h):
        with pytest.raises(InternalError, match=r"\$t_f answered something that is no Value") as caught:
            run(one(function), "$t_f")
        assert "hidden" not in str(caught.value)


RECORDS = [{"a": 1, "b": [Ref("x")]}, {}]


@pytest.mark.parametrize(
    "rows",
    [ValueRows(RECORDS), PackedRows(2, msgpack_values.pack(RECORDS[0]) + b"\x80")],
    ids=["values", "packed"],
)
def test_rows_leave_as_they_are_at_hand(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    def plain() -> Rows:
        return rows

    def result() -> Result[Rows]:
        return rows

    async def later() -> Rows:
        return rows

    assert run(one(plain), "$t_f") == RECORDS
    assert run(one(result), "$t_f") == Case("ok", RECORDS)
    assert run(one(later), "$t_f") == RECORDS
    [ffi] = one(result)
    assert ffi.signature == "$t_f() -> result(array(map(data)))"


def test_what_is_packed_is_checked_as_values_are() -> None:
    def right() -> list[int]:
        return Packed(codec.encode([1, 2]))  # type: ignore[return-value]

    def changed() -> list[int]:
        return Packed(codec.encode([1.0, 2]))  # type: ignore[return-value]

    def wrong() -> Rows:
        return ValueRows([1])

    assert run(one(right), "$t_f") == [1, 2]
    assert identical(run(one(changed), "$t_f"), [1, 2])
    with pytest.raises(InternalError, match=r"\$t_f answered what it does not declare"):
        run(one(wrong), "$t_f")


# -- failures ---------------------------------------------------------------------------------------


def failing(exc: Exception) -> tuple[FFIGroup, FFIGroup, FFIGroup]:
    def plain() -> int:
        raise exc

    def result() -> Result[int]:
        raise exc

    async def later() -> Result[int]:
        raise exc

    return one(plain), one(result), one(later)


def test_result_is_ok_or_error() -> None:
    def f(a: int) -> Result[int]:
        if a < 0:
            raise FFIError("negative")
        return a

    assert run(one(f), "$t_f", 1) == Case("ok", 1)
    assert run(one(f), "$t_f", -1) == Case("error", "negative")
    with pytest.raises(FFIError, match="argument 1"):  # The agent's mistake, not an outcome.
        run(one(f), "$t_f", "x")


def test_an_unexpected_exception_shows_nothing_to_the_agent(caplog: pytest.LogCaptureFixture) -> None:
    plain, result, later = failing(KeyError("inside"))
    with pytest.raises(InternalError, match=r"^\$t_f failed inside; the log says why$"):
        run(plain, "$t_f")
    for group in (result, later):
        answer = run(group, "$t_f")
        assert (answer.name, answer.arg) == ("error", "$t_f failed inside; the log says why")
    assert caplog.text.count("KeyError: 'inside'") == 3


@pytest.mark.parametrize("exc", [LimitExceeded("memory", 1, "bytes"), CancelledRun("gone"), GrantError("no")])
def test_what_ends_the_run_is_no_result(exc: Exception) -> None:
    for group in failing(exc):
        with pytest.raises(type(exc)):
            run(group, "$t_f")


def test_an_error_may_quote_what_is_no_text() -> None:
    answer = run(failing(FFIError("no file \udcff\ud800"))[1], "$t_f")
    assert answer.arg == r"no file \udcff\ud800"


def test_raw_failures_are_hidden_too(caplog: pytest.LogCaptureFixture) -> None:
    group = FFIGroup("t")
    group.register_raw("$t_f", lambda state, words: 1 / 0)
    with pytest.raises(InternalError, match="failed inside"):
        run(group, "$t_f")
    assert "ZeroDivisionError" in caplog.text


# -- dispatch: grants and limits --------------------------------------------------------------------


def test_grants_are_enforced_before_anything_else() -> None:
    called = []
    group = FFIGroup("t")
    group.register_const("$t_a", 1)
    group.register_raw("$t_b", lambda state, words: called.append(1) or words)  # type: ignore[func-returns-value]
    state = State(grants=Grants(["$t_a"]), code="agent x")
    assert run(group, "$t_a", state=state) == 1
    with pytest.raises(GrantError, match=r"\$t_b is not granted to agent x; its manifest must request it"):
        run(group, "$t_b", state=state)
    with pytest.raises(GrantError):
        FFITable([group]).dispatch(state, b"$t_b", b"no words at all")
    assert called == [] and state.budget.spent("host_calls") == 1


@pytest.mark.parametrize(
    "name", [b"$t_none", b"", b"$", b"\xff\xfe", b"$t_a\0", b"$T_A", b" $t_a", b"x" * 10_000]
)
def test_names_that_do_not_exist(name: bytes) -> None:
    group = FFIGroup("t")
    group.register_const("$t_a", 1)
    table = FFITable([group])
    with pytest.raises(NotFound, match="no FFI") as caught:
        table.dispatch(State(), name, codec.encode([]))
    assert len(str(caught.value)) < 600
    with pytest.raises(GrantError, match="is not granted"):  # No oracle for what else is installed.
        table.dispatch(State(grants=NONE), name, codec.encode([]))


def test_a_name_forges_no_line_of_the_log() -> None:
    for grants in (NONE, Grants(["*"])):
        with pytest.raises((GrantError, NotFound)) as caught:
            FFITable([]).dispatch(
                State(grants=grants), "$x\n2026 ERROR root\x1b[31m\u2028".encode(), codec.encode([])
            )
        assert str(caught.value).isprintable()


def test_calls_and_sizes_are_bounded() -> None:
    group = FFIGroup("t")
    group.register_const("$t_a", 1)
    state = State(budget=Budget(Limits(host_calls=2, call_size=64)))
    table = FFITable([group])
    with pytest.raises(LimitExceeded, match="limit call_size of 64 bytes"):
        table.dispatch(state, b"$t_a", bytes(68))
    assert run(group, "$t_a", state=state) == 1
    with pytest.raises(LimitExceeded, match=r"limit host_calls of 2 calls exceeded.*limits\.host_calls"):
        run(group, "$t_a", state=state)
    state.budget.check_call(bytes(64))
    with pytest.raises(LimitExceeded, match="call_size"):
        state.budget.check_call(bytes(68))


def test_unknown_grant_options_are_refused() -> None:
    table = FFITable([FFIGroup("t", options={"t.hosts": "Hosts."})])
    table.check_grant_options(["t.hosts"])
    with pytest.raises(GrantError, match=r"enforces the grant option 't\.host'; known: t\.hosts"):
        table.check_grant_options(["t.hosts", "t.host"])


def test_grants_that_mean_nothing_here_are_told_with_the_near_name() -> None:
    group = FFIGroup("t", options={"t.hosts": "Hosts."})
    group.register_const("$http_do", 1)
    group.register_unsupported("$db_save", "there is no storage")
    table = FFITable([group])
    assert table.unknown_grants(ALL) == []
    assert table.unknown_grants(Grants(["$http_*", "$http_do", "$db_*"], {"t.hosts": []})) == []
    wrong = Grants(["$htp_do", "http_do", "$htp_*", "$mail_send", "$db_save"]) & Grants(
        ["$htp_do"], {"t.host": []}
    )
    listed = "`mixkit ffi list` shows what there is"
    assert table.unknown_grants(wrong) == [
        "$db_save is not supported in this profile: there is no storage",
        "no FFI of this profile begins with '$htp_'; did you mean '$http_*'?",
        "no FFI of this profile is called '$htp_do'; did you mean '$http_do'?",
        f"no FFI of this profile is called '$mail_send'; {listed}",
        "no FFI of this profile is called 'http_do'; did you mean '$http_do'?",
        "no loaded plugin enforces the grant option 't.host'; known: t.hosts; did you mean 't.hosts'?",
    ]
    with pytest.raises(NotFound, match=r"no FFI '\$http_doo' in this profile; did you mean '\$http_do'\?"):
        table["$http_doo"]


def test_values_of_grant_options_are_checked_before_they_count() -> None:
    def check(value: object) -> None:
        if value != ["a"]:
            raise GrantError(f"grant option t.hosts: expected [a], found {value}")

    table = FFITable(
        [FFIGroup("t", options={"t.hosts": "Hosts.", "t.free": "Any."}, checks={"t.hosts": check})]
    )
    good, bad = Grants([], {"t.hosts": ["a"], "t.free": 1}), Grants([], {"t.hosts": "a"})
    table.check_grants(good)
    assert table.unknown_grants(good) == []
    with pytest.raises(GrantError, match=r"t\.hosts: expected \[a\], found a"):
        table.check_grants(good & bad)
    assert table.unknown_grants(good & bad) == ["grant option t.hosts: expected [a], found a"]
    with pytest.raises(GrantError, match=r"enforces the grant option 't\.host'"):
        table.check_grants(Grants([], {"t.host": ["a"]}))
    with pytest.raises(FFIError, match=r"checks the option 't\.host', which it does not have"):
        FFIGroup("t", options={"t.hosts": "Hosts."}, checks={"t.host": check})


def test_the_table_lists_what_there_is() -> None:
    group = FFIGroup("t")
    group.register_const("$t_b", 1, "A constant.")
    group.register_const("$t_a", 1)
    table = FFITable([group])
    assert [ffi.name for ffi in table] == ["$t_a", "$t_b"] and len(table) == 2 and "$t_a" in table
    assert table["$t_b"].describe()["doc"] == "A constant."
    with pytest.raises(NotFound, match="no FFI '\\$t_c'"):
        table["$t_c"]


def test_tokens_are_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    def f(state: State, a: int) -> None: ...

    def g(state: State, token: Token) -> Token:
        state.log(1, repr(token))
        logging.getLogger("mixkit.test").error("%s %r", token, {"k": token})
        return token

    caplog.set_level(logging.DEBUG)
    state, token = State(), Token("s3cret")
    with pytest.raises(FFIError, match="expected int, found token") as caught:
        run(one(f), "$t_f", token, state=state)
    answer = run(one(g), "$t_f", token, state=state)
    assert answer is token
    assert "s3cret" not in str(caught.value) + caplog.text + repr(state.__dict__)
    words = codec.encode([token], token=state.token_to_handle)
    assert b"s3cret" not in words


def test_a_token_of_another_run_is_refused() -> None:
    def f(token: Token) -> None: ...

    words = codec.encode([Token("x")], token=State().token_to_handle)
    with pytest.raises(FFIError, match=r"\$t_f: the arguments are malformed: .*Token"):
        FFITable([one(f)]).dispatch(State(), b"$t_f", words)


# -- what is large is not for the event loop ------------------------------------------------------------


async def test_arguments_are_converted_where_they_are_given_and_large_answers_in_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of an async FFI too: its coroutine alone runs on the event loop."""
    seen: list[tuple[str, str]] = []
    encode, decode = codec.encode, codec.decode

    def spy(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            seen.append((name, threading.current_thread().name))
            return function(*args, **kwargs)

        return call

    async def f(values: list[int], answer: int) -> list[int]:
        seen.append(("body", threading.current_thread().name))
        return values[:answer]

    table = FFITable([one(f)])
    words = {answer: codec.encode([[1] * 5_000, answer]) for answer in (3, 5_000)}
    monkeypatch.setattr(codec, "encode", spy("encode", encode))
    monkeypatch.setattr(codec, "decode", spy("decode", decode))
    with concurrent.futures.ThreadPoolExecutor(1, "caller") as threads:
        for answer, encoder in ((3, "MainThread"), (5_000, "asyncio")):
            seen.clear()
            pending = await asyncio.get_running_loop().run_in_executor(
                threads,
                lambda n=answer: table.dispatch(State(), b"$t_f", words[n])[1],  # type: ignore[misc]
            )
            assert decode(await pending) == [1] * answer
            assert [name for name, _ in seen] == ["decode", "body", "encode"]
            decoded, body, encoded = (thread for _, thread in seen)
            assert decoded.startswith("caller") and body == "MainThread" and encoded.startswith(encoder)


def test_values_of_a_call_are_bounded_apart_from_those_of_a_run() -> None:
    def f(values: list[int]) -> None: ...

    words = codec.encode([[1] * 60])
    budget = Budget(Limits(values=10, call_values=100))
    FFITable([one(f)]).dispatch(State(budget=budget), b"$t_f", words)
    with pytest.raises(LimitExceeded, match="limit call_values of 50 values"):
        FFITable([one(f)]).dispatch(State(budget=Budget(Limits(call_values=50))), b"$t_f", words)
