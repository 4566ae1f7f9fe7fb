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


def test_matches_behind_each_other_are_linear(run: Run) -> None:
    """Each search goes on where the one before ended, in texts beyond ASCII too."""
    text = """do {
  var at = 0;
  var count = 0;
  var found = regex.findFrom("b", at, p);
  while (found[0] >= 0) { at = found[1]; count = count + 1; found = regex.findFrom("b", at, p) }
  return count
}"""
    assert run(text, "éb" * 10) == 10
    linear(run, text, lambda size: "éb" * size, 10_000)


# ------------------------------------------------------------------------------------------------------------ csv


def test_tables_are_those_of_python(run: Run) -> None:
    import csv
    import io

    random = Random(seed := Random().randrange(2**32))
    for _ in range(40):
        rows = [
            [
                "".join(random.choice('a,;"\n\r é') for _ in range(random.randrange(5)))
                for _ in range(random.randrange(1, 4))
            ]
            for _ in range(random.randrange(4))
        ]
        out = io.StringIO(newline="")
        csv.writer(out).writerows(rows)
        assert run("csv.parse({}, p)", out.getvalue()) == rows, f"seed {seed}"
        assert list(csv.reader(io.StringIO(run("csv.format({}, p)", rows), newline=""))) == rows, (
            f"seed {seed}"
        )


def test_csv_on_edges(run: Run) -> None:
    assert run("""[
  csv.parse({}, ""), csv.parse({}, "\\n\\n"), csv.parse({}, "a"), csv.parse({}, ","), csv.parse({}, "\\"\\""), csv.parse({separator: "^"}, "a^b"), csv.parse({separator: "\\t"}, "a\\tb\\r\\rc"),
  csv.parseMaps({}, ""), csv.parseMaps({}, "a,b"), csv.parseMaps({}, "a,b\\n1"), csv.format({}, []), csv.format({}, [[]]), csv.formatMaps({}, []), csv.parse({separator: "]"}, "a]b]-"),
  csv.parse({separator: "é"}, "aéb"), csv.parse({separator: "d"}, "1d2")
]""") == [
        [], [], [["a"]], [["", ""]], [[""]], [["a", "b"]], [["a", "b"], ["c"]], [], [], [{"a": "1"}], "", "\r\n", "\r\n", [["a", "b", "-"]], [["a", "b"]], [["1", "2"]],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('csv.parse({}, "a\\nb\\"c\\"")', "line 2: .* found a quote"), ('csv.parse({}, "\\"a\\nb\\"\\n\\"c\\"d")', "line 3: .* behind a quote"), ('csv.parse({}, "a,\\"b")', "does not end"),
        ('csv.parse({separator: ""}, "")', "one character"), ('csv.parse({separator: "\\""}, "")', "one character"), ('csv.parseMaps({}, "a\\n1,2")', "row 2 has more"),
        ("csv.format({}, [[[1]]])", "expected texts"), ("csv.parse({}, p)", "string"), ("csv.parse({separator: 5}, \"\")", "string"),
    ],
)  # fmt: skip
def test_csv_misuse(run: Run, text: str, said: str) -> None:
    with pytest.raises(RunError, match=said):
        run(f"let found = {text}; found", 5)


def test_csv_is_linear(run: Run) -> None:
    linear(run, "array.length(csv.parse({}, p))", lambda size: 'é,"a""b"\n' * size, 2500)
    linear(
        run, "try csv.parse({}, p) |> (global.error(_) -> 1 | _ -> 2)", lambda size: '"' + '""' * size, 20_000
    )


# --------------------------------------------------------------------------------------------------------- random


def test_random_texts(run: Run) -> None:
    found = run("""[
  random.cryptoRandomString(random.digits, 40000), random.pseudoRandomString("aé", 300), random.pseudoRandomString("a", 0), random.cryptoRandomString("x", 5),
  array.map(_ -> random.pseudoRandomInt(-1, 1), array.enumerate(200)), random.pseudoRandomFloat(), random.cryptoRandomString(random.urlSafe, 10)
]""")
    digits, letters, none, one, numbers, number, _ = found
    assert len(digits) == 40_000 and all(3_500 < digits.count(digit) < 4_500 for digit in "0123456789")
    assert (
        set(letters) == {"a", "é"}
        and (none, one) == ("", "xxxxx")
        and set(numbers) == {-1, 0, 1}
        and 0 <= number < 1
    )
    assert run("util.ifThenElse(p == null, 1, 2)") == 1


@pytest.mark.parametrize(
    "text",
    [
        'random.pseudoRandomString("", 1)',
        'random.cryptoRandomString("", 1)',
        'random.pseudoRandomString("a", -1)',
        'random.pseudoRandomString("a", 1e9)',
        'random.pseudoRandomString("a", 2.5)',
        'random.cryptoRandomString("a", 2.5)',
        "random.pseudoRandomInt(2, 1)",
    ],
)
def test_random_misuse(run: Run, text: str) -> None:
    with pytest.raises(RunError, match="expected"):
        run(f"let found = {text}; found")


# ------------------------------------------------------------------------------------------------------------ xml


def _tree(random: Random, depth: int = 0) -> Any:
    from xml.etree.ElementTree import Element

    element = Element(
        random.choice(["a", "b-1", "é", "_x.y"]),
        {random.choice("pq"): random.choice(["", "1 < 2 & 'x'", 'é"', "a\tb"])}
        if random.random() < 0.5
        else {},
    )
    element.text = random.choice(["", "text", "a & b < c > \" ' ]]", "é😀"])
    for _ in range(random.randrange(4) if depth < 4 else 0):
        child = _tree(random, depth + 1)
        child.tail = random.choice(["", "tail", "\r\n x"])
        element.append(child)
    return element


def _plain(element: Any) -> dict[str, Any]:
    children: list[Any] = [element.text] if element.text else []
    for child in element:
        children += [_plain(child), *([child.tail] if child.tail else [])]
    return {"name": element.tag, "attributes": dict(element.attrib), "children": children}


def test_documents_are_those_of_python(run: Run) -> None:
    from xml.etree.ElementTree import fromstring, tostring

    random = Random(seed := Random().randrange(2**32))
    for _ in range(25):
        text = tostring(_tree(random), encoding="unicode").replace("\r", "")
        text = (
            random.choice(["", '<?xml version="1.0"?>\n', "<!-- a - b -->"])
            + text
            + random.choice(["", "\n", "<?end?>"])
        )
        assert run("xml.parse({whitespace: true}, {}, p)", text) == _plain(fromstring(text)), (
            f"seed {seed}: {text}"
        )


def test_xml_namespaces_and_edges(run: Run) -> None:
    feed = '<feed xmlns="urn:a" xmlns:x="urn:b" xmlns:y="urn:a"><x:e y:k="1" k="2"/><e xmlns="urn:c" xml:lang="en"/><f xmlns:x="urn:a"><x:g/></f></feed>'
    root = run('xml.parse({}, {a: "urn:a", "": "urn:b"}, p)', feed)
    assert root == {
        "name": "a:feed", "attributes": {}, "children": [
            {"name": "e", "attributes": {"a:k": "1", "k": "2"}, "children": []},
            {"name": "e", "attributes": {"xml:lang": "en"}, "children": []},
            {"name": "a:f", "attributes": {}, "children": [{"name": "a:g", "attributes": {}, "children": []}]},
        ],
    }  # fmt: skip
    assert run("""[
  xml.parse({}, {}, "<a> <b/> </a>"), xml.parse({}, {}, "\\u{FEFF}<a><![CDATA[x]]]><!-- c -->&#65;&#x1F600;</a>"), xml.parse({whitespace: true}, {}, "<a> </a>").children,
  xml.parse({}, {}, "<a x = 'y\\n z' ></a >").attributes.x, xml.parse({}, {}, "<a><![CDATA[<b>&amp;]]></a>").children, xml.parse({}, {}, "<a:b xmlns:a='u'/>").name
]""") == [
        {"name": "a", "attributes": {}, "children": [{"name": "b", "attributes": {}, "children": []}]}, {"name": "a", "attributes": {}, "children": ["x]A😀"]},
        [" "], "y  z", ["<b>&amp;"], "a:b",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found none"), ("text", "text outside"), ("<a>", "found the end"), ("<a></b>", "expected </a>, found </b>"), ("</a>", "expected nothing"), ("<a/><b/>", "found a second"),
        ("<a/>x", "text outside"), ("<!DOCTYPE a><a/>", "document types and declarations are refused"), ("<a>&other;</a>", "found the entity 'other'"), ("<a>&#0;</a>", "number of a character"),
        ("<a>&#xD800;</a>", "number of a character"), ("<a>a & b</a>", "begins no entity"), ("<a x='1' x='2'/>", "twice"), ("<b:a/>", "stands for no namespace"), ("<a b:c='1'/>", "stands for no namespace"),
        ("<a><", "is no element"), ("<a x=1/>", "is no element"), ("<1/>", "is no element"), ("<a><!-- -- --></a>", "refused"), ("<a><![CDATA[x</a>", "refused"), ("<a b='<'/>", "is no element"),
        ("<a xmlns:x='u' xmlns:y='u' x:k='1' y:k='2'/>", "twice|x:k"), ("<a>" * 101 + "</a>" * 101, "100 deep"), ("<a/><![CDATA[x]]>", "text outside"),
    ],
)  # fmt: skip
def test_xml_misuse(run: Run, text: str, said: str) -> None:
    if "twice|" in said:
        assert run('try xml.parse({}, {z: "u"}, p)', text).name == "error"
        return
    with pytest.raises(RunError, match=said):
        run("let found = xml.parse({}, {}, p); found", text)
    assert run("xml.parseResult({}, {}, p)", text).name == "error"


def test_xml_is_linear(run: Run) -> None:
    linear(
        run,
        "array.length(xml.parse({}, {}, p).children)",
        lambda size: "<é>" + "é<b c='d'>&lt;</b>" * size + "</é>",
        800,
    )
    linear(
        run,
        "xml.parseResult({}, {}, p) |> (global.error(_) -> 1 | _ -> 2)",
        lambda size: "<a>" + "<!--" * size,
        20_000,
    )
    linear(
        run,
        "xml.parseResult({}, {}, p) |> (global.error(_) -> 1 | _ -> 2)",
        lambda size: "<a " + "b='" * size,
        20_000,
    )
    linear(
        run,
        "xml.parseResult({}, {}, p) |> (global.error(_) -> 1 | _ -> 2)",
        lambda size: "<a>" + "&amp" * size + "</a>",
        10_000,
    )
    linear(
        run,
        "xml.parseResult({}, {}, p) |> (global.error(_) -> 1 | _ -> 2)",
        lambda size: "<a>" + "]]" * size + "<![CDATA[" + "]]" * size,
        10_000,
    )


# ----------------------------------------------------------------------------------------------------------- mime


def test_forms_are_those_of_python(run: Run) -> None:
    from urllib.parse import parse_qsl, urlencode

    random = Random(seed := Random().randrange(2**32))
    for _ in range(30):
        pairs = [
            ["".join(random.choice("ab&=+% é;😀") for _ in range(random.randrange(5))) for _ in range(2)]
            for _ in range(random.randrange(4))
        ]
        pairs = [pair for pair in pairs if pair[0]]
        assert run("mime.parseForm(p)", urlencode([tuple(pair) for pair in pairs])) == pairs, f"seed {seed}"
        assert [
            list(pair) for pair in parse_qsl(run("mime.formatForm(p)", pairs), keep_blank_values=True)
        ] == pairs, f"seed {seed}"


def test_parts_are_what_was_sent(run: Run) -> None:
    random = Random(seed := Random().randrange(2**32))
    for _ in range(20):
        bodies = [
            random.choice([b"", b"text", b"\xff\x00\r\n", b"\r\n--", b"--b", b"\r\n\r\n", "é".encode()])
            for _ in range(random.randrange(1, 5))
        ]
        body = b"preamble" if random.random() < 0.3 else b""
        for number, part in enumerate(bodies):
            body += (
                b'\r\n--b0 \r\nContent-Disposition: form-data; name="n%d"; filename="a;\\"b"\r\nX: y\r\n\r\n'
                % number
                + part
            )
        body += b"\r\n--b0--\r\nbehind"
        found = run('mime.parseMultipart("multipart/form-data; boundary=b0", p)', body.removeprefix(b"\r\n"))
        assert [part["body"] for part in found] == bodies, f"seed {seed}"
        assert [(part["name"], part["filename"]) for part in found] == [
            (f"n{number}", 'a;"b') for number in range(len(bodies))
        ]
        assert found[0]["headers"][1] == ["x", "y"]


def test_mime_on_edges(run: Run) -> None:
    assert run(r"""[
  mime.parseHeaders(""), mime.parseHeaders("A: b"), mime.parseHeaders("A:\n B:c\n\nD: e\n"), mime.header("x", [])?, mime.formatHeaders([]),
  mime.parseValue(""), mime.parseValue("a;"), mime.parseValue("a; b=c;D=\"e\\\\;\""), mime.parseMediaType("application/vnd.a+json;q=1").subtype,
  mime.parseForm(""), mime.parseForm("&&a"), mime.parseForm("a%2"), mime.formatForm([]), mime.parseMultipart("multipart/x; boundary=b", binary.ofString("--b--")),
  mime.parseMultipart("multipart/x; boundary=b", binary.ofString("--b\r\n\r\nx\r\n--b--"))[0].name
]""") == [
        [], [["a", "b"]], [["a", " B:c"], ["d", "e"]], False, "", {"value": "", "params": {}}, {"value": "a", "params": {}}, {"value": "a", "params": {"b": "c", "d": "e\\;"}},
        "vnd.a+json", [], [["a", ""]], [["a%2", ""]], "", [], None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('mime.parseHeaders("A: b\\nno header")', "line 2: expected a name"), ('mime.parseHeaders(" a: b")', "line 1"), ('mime.parseHeaders(array.map(n -> "a: b\\n", array.enumerate(1001)) |> string.concat(""))', "1000 headers"),
        ('mime.formatHeaders([["a", "b\\r\\nc: d"]])', "one line"), ('mime.formatHeaders([["a b", "c"]])', "name of a header"), ('mime.parseValue("a; b")', "name=value"), ('mime.parseValue("a; b=1; b=2")', "twice"),
        ('mime.parseValue("a; b=\\"c")', "name=value"), ('mime.parseMediaType("text")', "text/plain"), ('mime.parseMediaType("")', "text/plain"), ('mime.parseForm("a=%ff")', "UTF-8"),
        ('mime.parseForm(string.concat("&", array.map(n -> "a", array.enumerate(1001))))', "1000 fields"), ('mime.parseMultipart("text/plain", binary.ofString(""))', "multipart"),
        ('mime.parseMultipart("multipart/x", binary.ofString(""))', "boundary"), ('mime.parseMultipart("multipart/x; boundary=b", binary.ofString("--c"))', "found none"),
        ('mime.parseMultipart("multipart/x; boundary=b", binary.ofString("--b\\r\\nA: b\\r\\n\\r\\n"))', "found the end"), ('mime.parseMultipart("multipart/x; boundary=b", binary.ofString("--bx\\r\\nA: b\\r\\n\\r\\n\\r\\n--b--"))', "without headers"),
        ('mime.parseMultipart("multipart/x; boundary=b", binary.ofString(string.concat("", array.map(n -> "--b\\r\\n\\r\\nx\\r\\n", array.enumerate(201)))))', "200 parts"), ("mime.parseHeaders(p)", "string"),
    ],
)  # fmt: skip
def test_mime_misuse(run: Run, text: str, said: str) -> None:
    with pytest.raises(RunError, match=said):
        run(f"let found = {text}; found", 5)


def test_mime_is_linear(run: Run) -> None:
    linear(run, "array.length(mime.parseHeaders(p))", lambda size: "a: b\n" + " é\n" * size, 5000)
    linear(
        run,
        "try mime.parseValue(p) |> (global.error(_) -> 1 | _ -> 2)",
        lambda size: 'a; b="' + "\\" * size,
        10_000,
    )
    linear(run, "string.length(mime.parseForm(p)[0][1])", lambda size: "a=" + "%C3%A9+" * size, 5000)
    linear(
        run,
        'try mime.parseMultipart("multipart/x; boundary=b", p) |> (global.error(_) -> 1 | _ -> 2)',
        lambda size: b"--b\r\n\r\n" + b"\r\n--" * size,
        50_000,
    )
