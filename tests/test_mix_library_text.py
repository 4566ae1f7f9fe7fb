"""Modules of Mix's library that read what others wrote: times, patterns, formats. Against Python's, and hostile input."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import pytest
from mix_lang import library

from mixkit.environment import Env
from mixkit.errors import RunError
from mixkit.kernel import Kernel
from mixkit.value import Case

Run: TypeAlias = Callable[..., Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs an expression of the parameter `p`, with the modules that it names."""
    folder = tmp_path_factory.mktemp("agents")
    profile = folder / "mix.toml"
    profile.write_text('plugins = ["wasmtime", "rt", "lang"]\nengines = ["wasmtime"]\n')
    with Kernel(profile, environ={}) as kernel:

        def one(text: str, params: Any = None, **options: Any) -> Any:
            path = folder / "main.mix"
            used = "\n".join(
                f"import {name}" for name in library.sources() if re.search(rf"\b{name}\.", text)
            )
            path.write_text(f"module main(p: data)\n{used}\ncell output = {text}\nmodule end\n")
            return kernel.run_sync(kernel.load(path), "main", params, **options).value

        yield one


def seconds(call: Callable[[], Any]) -> float:
    """Processor time that a call takes."""
    began = time.process_time()
    call()
    return time.process_time() - began


def linear(run: Run, text: str, make: Callable[[int], Any], size: int) -> None:
    """Four times as much takes no more than some ten times as long: what is quadratic takes sixteen."""
    run(text, make(10))
    small = min(seconds(lambda: run(text, make(size))) for _ in range(3))
    large = min(seconds(lambda: run(text, make(4 * size))) for _ in range(3))
    assert large < 10 * small + 0.1, (small, large)


# ------------------------------------------------------------------------------------------------------- calendar

FACTS = """array.map(t -> let d = calendar.parse(t) |> (d @ calendar.date(_) -> d | _ -> fail("no date")); [
  calendar.weekday(d), calendar.weekISO(d), calendar.quarter(d), calendar.toString(d),
  calendar.toString(calendar.addDays(1000, d)), calendar.toString(calendar.addMonths(-14, d)), calendar.weekUS(d)
], p)"""


def _sunday_week(day: date) -> list[int]:
    saturday = day + timedelta(days=6 - day.isoweekday() % 7)
    first = date(saturday.year, 1, 1)
    begin = first - timedelta(days=first.isoweekday() % 7)
    return [saturday.year, (day - begin).days // 7 + 1]


def test_dates_are_those_of_python(run: Run) -> None:
    random = Random(seed := Random().randrange(2**32))
    days = [
        date(1900, 3, 1),
        date(2000, 2, 29),
        date(1600, 12, 31),
        date(2024, 12, 30),
        date(2021, 1, 1),
        date(9990, 1, 1),
        date(3, 1, 1),
    ]
    days += [date.fromordinal(random.randrange(1000, 3_600_000)) for _ in range(150)]
    found = run(FACTS, [day.isoformat() for day in days])
    for day, facts in zip(days, found, strict=True):
        iso = day.isocalendar()
        months = day.year * 12 + day.month - 1 - 14
        back = date(months // 12, months % 12 + 1, 1) + timedelta(days=day.day - 1)
        assert facts == [
            day.isoweekday(), [iso.year, iso.week], (day.month + 2) // 3, day.isoformat(), (day + timedelta(days=1000)).isoformat(),
            back.isoformat(), _sunday_week(day),
        ], (day, f"seed {seed}")  # fmt: skip


def test_times_in_zones_are_those_of_python(run: Run) -> None:
    random = Random(seed := Random().randrange(2**32))
    for name in ("Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"):
        stamps = [random.randrange(-2_000_000_000, 4_000_000_000) for _ in range(20)] + [
            1_711_846_800,
            1_729_990_800,
        ]
        zone = ZoneInfo(name)
        text = f"""array.map(s -> do {{
  let t = calendar.timestamp(s * 1000 + 250);
  let local = calendar.inZone("{name}", t);
  return [calendar.toString(t), calendar.toString(local), calendar.toString(calendar.fromZone("{name}", local)), calendar.parse(calendar.toString(t)) == t]
}}, p)"""
        for stamp, facts in zip(stamps, run(text, stamps), strict=True):
            at = datetime.fromtimestamp(stamp, UTC)
            local = at.astimezone(zone).replace(tzinfo=None)
            first = local.replace(tzinfo=zone, fold=0).astimezone(UTC).replace(tzinfo=None)
            if local.second == 0 or local.year > 1972:
                assert facts == [
                    f"{at.replace(tzinfo=None).isoformat()}.250Z", local.isoformat(), f"{first.isoformat()}.000Z", True,
                ], (name, stamp, f"seed {seed}")  # fmt: skip


def test_calendar_edges(run: Run) -> None:
    assert run("""[
  calendar.makeDate(calendar.undefIfBad, 2023, 2, 29)?, calendar.makeDate(calendar.undefIfBad, 0, 1, 1)?, calendar.makeDate(calendar.undefIfBad, 2024, 1.5, 1)?,
  calendar.makeDateTime(calendar.normIfBad, 2024, 1, 31, 24, -1, 120) |> calendar.toString, calendar.makeDate(calendar.undefIfBad, 1e300, 1, 1)?,
  calendar.makeDate(calendar.undefIfBad, 9007199254740993, 1, 1)?, calendar.makeTimestamp(calendar.undefIfBad, 0 / 0)?,
  calendar.date([2024, 1, 1]) == calendar.dateTime([2024, 1, 1, 0, 0, 0]), calendar.compare(calendar.timestamp(1), calendar.timestamp(0)),
  calendar.parse("2024-01-01 10:20"), calendar.parse("2024-01-01T00:00:00.1Z"), calendar.parse("2024-01-01T00:00:00-0130"), calendar.zone(),
  calendar.toDBString(calendar.date([2024, 1, 1])), calendar.toDBString(calendar.dateTime([2024, 7, 1, 12, 0, 0]))
]""", env=Env(timezone="Europe/Berlin")) == [
        False, False, False, "2024-02-01T00:01:00", False, False, False, False, 1, Case("dateTime", [2024, 1, 1, 10, 20, 0]), Case("timestamp", 1704067200100),
        Case("timestamp", 1704072600000), "Europe/Berlin", "2024-01-01", "2024-07-01T10:00:00.000Z",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("calendar.makeDate(calendar.failIfBad, 2024, 13, 1)", "no such time"), ("calendar.diffDays(calendar.date([2024, 1, 1]), calendar.timestamp(0))", "two of one kind"),
        ("calendar.addHours(1, calendar.date([2024, 1, 1]))", "addHours: expected a dateTime or timestamp"), ("calendar.addDays(0.5, calendar.timestamp(0))", "whole number"),
        ("calendar.addYears(9000, calendar.date([2024, 1, 1]))", "years 1 to 9999"), ("calendar.addDays(1000000000000, calendar.timestamp(0))", "years 1 to 9999"),
        ('calendar.inZone("Mars/Olympus", calendar.timestamp(0))', "time zone"), ('calendar.inZone("../../etc/passwd", calendar.timestamp(0))', "time zone"),
        ('calendar.inZone("", calendar.timestamp(0))', "time zone"), ('calendar.parse("2024-02-30")', "no such time"), ('calendar.parse("")', "expected a date"),
        ('calendar.parse("2024-01-01T00:00:00.5")', "zone behind it"), ("calendar.periodIndex(0, calendar.timestamp(0), calendar.timestamp(0))", "at least one day"),
        ('calendar.parse("0001-01-01T00:00:00+23:00")', "years 1 to 9999"),
    ],
)  # fmt: skip
def test_calendar_misuse(run: Run, text: str, said: str) -> None:
    with pytest.raises(RunError, match=said):
        run(f"let found = {text}; found")


# ---------------------------------------------------------------------------------------------------------- regex


def test_regex_on_edges(run: Run) -> None:
    text = """[
  regex.find("x", p)?, regex.findIndex("x", p), regex.findAll("x*", -1, p), regex.findSubmatch("x", p)?, regex.findSubmatchIndex("x", p)?, regex.match("", p),
  regex.split(",", p), regex.fullSplit(",", p), regex.replaceAll("", "-", p), regex.boundedSplit(",", 1, p), regex.findAllIndex("é", 2, p)
]"""
    assert run(text, "") == [False, [-1, -1], [""], False, False, True, [""], [], "-", [""], []]
    assert run(text, "é,é") == [
        False, [-1, -1], ["", "", "", ""], False, False, True, ["é", "é"], [Case("text", "é"), Case("delim", ","), Case("text", "é")], "-é-,-é-", ["é,é"],
        [[0, 1], [2, 3]],
    ]  # fmt: skip
    assert run("""[
  regex.find("a|ab|abc", "xabcd"), regex.replaceAll("(a)(b)?", "[$2$1${1}$$$9$x$]", "ab a"), regex.find("(?i)É", "é"), regex.findAll("(?m)^.", -1, "ab\\ncd"),
  regex.replaceAllWith("[a-z]", t -> t[0] + t[0], "aéb"), regex.boundedSplit(",", 2, "a,b,c"), regex.split("", "ab"), regex.lex([["(a)(b)?", "x"], [".", "y"]], "abcé"),
  regex.instantiate({a: "1"}, regex.template("<<a>> << a >> <a> << 1 >>")), regex.lex([], ""), regex.find("a", ({} : map(string)).none)?
]""") == [
        "abc", "[baa$$x$] [aa$$x$]", "é", ["a", "c"], "aaébb", ["a", "b,c"], ["", "a", "b", ""],
        [["x", "ab"], ["y", "c"], ["y", "é"]], "1 1 <a> << 1 >>", [], False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('regex.find("(", "a")', "regular expression"), ('regex.lex([["a", "x"]], "aab")', "no rule fits at character 2"), ('regex.find(p, "a")', "expected a string as pattern"),
        ('regex.instantiate({}, regex.template("<<a>>"))', "no value for a"), ('regex.replaceAll("a", p, "b")', "expected a string"),
    ],
)  # fmt: skip
def test_regex_misuse(run: Run, text: str, said: str) -> None:
    with pytest.raises(RunError, match=said):
        run(f"let found = {text}; found", 5)


def test_regex_is_linear(run: Run) -> None:
    linear(run, 'array.length(regex.split("[, ]+|é", p))', lambda size: "aé, b" * size, 4000)
    linear(run, 'string.length(regex.replaceAll("(a*)*b", "$1", p))', lambda size: "aé" * size, 4000)
    linear(run, 'array.length(regex.lex([["é+", "e"], ["[^é]", "o"]], p))', lambda size: "éa" * size, 3000)
