"""Fuzzes what the database reads: queries of strangers, and files that something has spoiled.

    python tests/fuzz/fuzz_db.py [--seconds 20] [--seed N]

Prints its seed first. The same seed gives the same cases. A text or a JSON form is a query, which is written and read
back as the same and can be run, or a QueryError. Of a spoiled index segment each look-up answers what it did before,
or says that it is damaged. Stored versions are read by both readers without anything but the errors they document.
A spoiled write log has the commits from its beginning up to some point, as they were, or is damaged.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from mix_db import Database
from mix_db.files import write_log
from mix_db.files.errors import FilesError
from mix_db.files.faults import FaultyFolder
from mix_db.files.rows import Extent
from mix_db.index.part import Path
from mix_db.index.segment import Segment, check
from mix_db.index.write import build
from mix_db.query.json_form import from_json, to_json
from mix_db.query.parser import parse
from mix_db.query.printer import format_query
from mix_db.versions import version

from mixkit.errors import MixError, QueryError
from mixkit.value import UNDEF, Case, Ref

QUERIES = [
    '"entity" == "person" and .age >= 18 | { name, city: .address.city ?? "-" } | orderAsc("name") | limit(20)',
    "inner.(a == 1 and b != -2.5e3) or not exists x.y.z",
    'name like "pre%" && tags contains "a" || n in [1, null, true, "x"]',
    "tags all in [1, 2] and n not in $list and m not all in []",
    "true | { *, -secret, +owner, n: a.b + 1 * 2 % 3 - 4 / 5 } | reverse() | skip(1) | limit(2)",
    'owner.friend == ref("x") | group(age) | orderDesc("count")',
    "after $w | sum(n)",
    'owner == ref("x") | { ** } | distinct(owner)',
    '"é\\n\\"" == "a" | { l: [1, {"b": 2}], s: "x" + name } | order(n, $direction)',
]
WORDS = [
    *(
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "|",
        "||",
        "&&",
        "!",
        "==",
        "<=",
        ".",
        ",",
        ":",
        "??",
        "*",
        "**",
        "+",
        "-",
    ),
    *(
        "and",
        "or",
        "not",
        "exists",
        "in",
        "all in",
        "like",
        "contains",
        "after",
        "null",
        "true",
        "$p",
        '"',
        "\\",
    ),
    *(
        "count()",
        "group(a)",
        "limit(1)",
        "skip(",
        "ref(",
        "9" * 30,
        "1e999",
        "-0",
        "0x",
        "\0",
        "\ud800",
        "😀",
    ),
    *("(" * 300, "!" * 300, "[" * 300, "a." * 300, "- " * 300, "a and " * 300, "{a:" * 100),
]
PATHS: list[Path] = [("a",), ("b",), ("b", "c"), ("l",), ("l", None), ("_rmx_id",), ("nowhere",)]
NAME = "0.idx"

Case_ = Callable[[random.Random], bool]


class Queries:
    """Texts and JSON forms, made of valid ones."""

    def __init__(self) -> None:
        self.database = Database.in_memory()
        self.database.save([{"a": n, "n": n * 0.5, "tags": ["a", n], "inner": [{"a": n}]} for n in range(20)])
        for text in QUERIES:
            assert self._query(partial(parse, text)), text

    def text(self, chance: random.Random) -> bool:
        """A text; whether it is a query."""
        words = list(chance.choice(QUERIES))
        for _ in range(chance.choice((1, 1, 2, 4, 12))):
            at = chance.randrange(len(words) + 1)
            match chance.randrange(4):
                case 0:
                    words[at:at] = chance.choice(WORDS)
                case 1:
                    del words[at : at + chance.choice((1, 1, 3, 10))]
                case 2:
                    other = chance.choice(QUERIES)
                    start = chance.randrange(len(other))
                    words[at:at] = other[start : start + chance.randrange(20)]
                case _:
                    words[at : at + 1] = chr(chance.choice((chance.randrange(128), chance.randrange(0x3000))))
        text = "".join(words)
        return self._query(partial(parse, text))

    def form(self, chance: random.Random) -> bool:
        """A JSON form; whether it is a query."""
        tree = json.loads(json.dumps(to_json(parse(chance.choice(QUERIES)))))
        for _ in range(chance.choice((1, 1, 2, 5))):
            parts = [part for part in walk(tree) if part]
            if not parts:
                break
            part, other = chance.choice(parts), chance.choice(parts)
            key = chance.choice(list(part) if isinstance(part, dict) else range(len(part)))
            match chance.randrange(4):
                case 0:
                    del part[key]
                case 1:
                    part[key] = chance.choice(
                        (None, -1, 2**70, 1.5, "", "and", [], {}, True, "$", ["and", [[]]])
                    )
                case 2:
                    # A copy, since a tree that holds itself is none.
                    part[key] = json.loads(json.dumps(other))
                case _ if isinstance(part, list):
                    part.insert(key, chance.choice((None, 0, "param", [], ["param", "p"], ["nullFilter"])))
                case _:
                    part[chance.choice(("", "_rmx_type", "a"))] = part[key]
        return self._query(partial(from_json, tree))

    def _query(self, read: Callable[[], Any]) -> bool:
        try:
            query = read()
        except QueryError as exc:
            # What is shown to people must be showable.
            assert str(exc).encode()
            return False
        text = format_query(query)
        assert parse(text) == query, text
        assert from_json(json.loads(json.dumps(to_json(query)))) == query, text
        params = {"w": "0" * 16, "list": [1], "p": 1, "direction": "asc"}
        # That it is no rows, or too many, is an answer like others.
        with suppress(MixError):
            known = {name: params[name] for name in params if f"${name}" in text}
            self.database.query(query, known, timeout=2).first()
        return True


def walk(tree: Any) -> list[Any]:
    """All arrays and objects of a tree."""
    found, parts = [], [tree]
    while parts:
        part = parts.pop()
        if isinstance(part, dict | list):
            found.append(part)
            parts += part.values() if isinstance(part, dict) else part
    return found


def spoiled(chance: random.Random, data: bytes) -> bytes:
    """The bytes with some changes."""
    raw = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        at = chance.randrange(len(raw) + 1)
        size = chance.choice((1, 2, 4, 8, 64, 500))
        match chance.randrange(6):
            case 0 if at < len(raw):
                raw[at] ^= 1 << chance.randrange(8)
            case 1:
                raw[at : at + size] = chance.randbytes(size)
            case 2:
                del raw[at : at + size]
            case 3:
                del raw[at:]
            case 4:
                start = chance.randrange(len(raw) + 1)
                raw[at : at + size] = raw[start : start + size]
            case _:
                start = chance.randrange(len(raw) + 1)
                raw[at:at] = raw[start : start + size]
    return bytes(raw)


def versions() -> list[bytes]:
    """Stored versions of all kinds of values."""
    kept = {"a": 1, "b": {"c": "x" * 40}, "l": [1, 2.5, None, True, b"\0", "é"]}
    linked = {"r": Ref("y"), "c": Case("ok", [Case("none"), Ref("z")]), "u": Case("a", UNDEF), "é": -(2**63)}
    many = {f"field {number}": number for number in range(300)}
    made = []
    every: list[dict[str, Any]] = [kept, linked, many, {}]
    for number, fields in enumerate(every):
        body = version.unstamped(version.split(version.packer()(fields), len(fields)), f"{number:032d}")
        made.append(version.stamp(number, 1_700_000_000_000)(body, number or None, not fields))
    return made


class Segments:
    """Segments of a few sizes; each is asked all that there is to be asked."""

    def __init__(self) -> None:
        self.kept = []
        for rows in (1, 40, 3000):
            records = [
                {
                    "_rmx_id": Ref(f"{n % 900:032d}"),
                    "a": n % 7,
                    "b": {"c": f"text {n}" * 3},
                    "l": [n, str(n % 50)],
                }
                | ({"_rmx_previous": Ref(str(n - 900))} if n >= 900 else {})
                for n in range(rows)
            ]
            data = build(0, records)
            self.kept.append((data, self._asked(data)))

    def spoiled(self, chance: random.Random) -> bool:
        """Whether the damage was noticed by what was asked; `check` notices it in any case."""
        data, expected = chance.choice(self.kept)
        changed = spoiled(chance, data)
        if changed == data:
            return False
        with suppress(FilesError):
            assert list(check(NAME, memoryview(changed))), "check finds nothing"
        try:
            asked = self._asked(changed)
        except FilesError:
            return True
        assert asked == expected, "a damaged segment answers something else"
        return False

    @staticmethod
    def _asked(data: bytes) -> list[Any]:
        segment = Segment(NAME, memoryview(data))
        found: list[Any] = [segment.start, segment.stop, list(segment.deleted())]
        found += [list(segment.links.superseded(1 << 30)), segment.links.successor(5)]
        for path in PATHS:
            for kind in segment.kinds(path):
                column = segment.column(path, kind)
                assert column is not None
                keys = [column.key(index) for index in range(0, len(column), 7)]
                found += [kind, len(column), list(column.rows()), keys]
                found += [(column.find(key), list(column.lookup(key))) for key in keys]
                found.append(list(column.bitmap(0, len(column) // 2)))
        return found


class Versions:
    """Stored versions."""

    def __init__(self) -> None:
        self.kept = versions()

    def spoiled(self, chance: random.Random) -> bool:
        """Whether it is still one."""
        changed = spoiled(chance, chance.choice(self.kept))
        found = False
        for read in (version.read_version, version.read_python):
            # NOTE: where a field of the engine stands twice, which is no version, the readers may take either.
            with suppress(ValueError, TypeError):
                record = read(changed)
                assert all(type(name) is str for name in record)
                found = True
        return found


class WriteLogs:
    """Write logs of some commits."""

    def __init__(self) -> None:
        folder = FaultyFolder()
        header = write_log.Header(b"MARK", Extent(7, 100), 3)
        rows = versions()
        commits = [
            write_log.Commit(4 + n, 7 + 4 * n, tuple(rows[: n % 5]) + tuple(rows[: 4 - n % 5]))
            for n in range(12)
        ]
        write_log.WriteLog.create(folder, header, commits)
        self.header, self.commits = header, [(commit.number, commit.records) for commit in commits]
        # With room for more.
        self.content = folder.files()[write_log.NAME] + bytes(200)

    def spoiled(self, chance: random.Random) -> bool:
        """Whether commits are left."""
        changed = spoiled(chance, self.content)
        try:
            header = write_log.Header.unpack(changed[: write_log.HEADER_SIZE])
        except FilesError:
            return False
        assert header == self.header, "a spoiled header is believed"
        size = write_log.HEADER_SIZE
        found = write_log.scan(header, changed[size:], size, None)
        commits = [(commit.number, commit.records) for commit in found.commits]
        assert commits == self.commits[: len(commits)], "a spoiled commit is believed"
        assert size <= found.end <= found.end + found.torn <= len(changed)
        return bool(commits)


def main() -> int:
    """Fuzz for so many seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if args.seed is None else args.seed
    print(f"seed {seed}", flush=True)
    chance, queries = random.Random(seed), Queries()
    targets: dict[str, Case_] = {
        "query text": queries.text,
        "JSON form": queries.form,
        "segment": Segments().spoiled,
        "version": Versions().spoiled,
        "write log": WriteLogs().spoiled,
    }
    names = [name for name in targets for _ in range(1 if name == "segment" else 4)]
    cases: Counter[str] = Counter()
    yes: Counter[str] = Counter()
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        name = chance.choice(names)
        state = chance.getstate()
        try:
            yes[name] += targets[name](chance)
        except BaseException:
            print(f"{name}, case {cases.total()} of seed {seed}", file=sys.stderr)
            raise
        # What a case takes of chance is its own: how it ends must not change the next.
        chance.setstate(state)
        chance = random.Random(chance.getrandbits(64))
        cases[name] += 1
    for name in targets:
        print(f"{cases[name]} of {name}, {yes[name]} of them accepted or noticed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
