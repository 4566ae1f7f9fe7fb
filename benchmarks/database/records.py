"""The records of the benchmark, and the questions that are asked about them.

Every record has 12 fields:

    name      string, a given name of `number / 500`, and a rest that makes it the only one of its kind
    owner     string, one of `number / 100`
    city      string, one of `number / 5000`
    status    string, one of four, 26 % of them "open"
    quantity  int, 0 to 999
    amount    float, 0 to 10,000 with two decimals
    active    bool
    note      string of 15 to 60 characters, null in a tenth of the records, missing in another tenth
    tags      array of up to three of 40 strings
    address   map of a string, an int, and a map of two floats
    created   int, Unix milliseconds, different for each record, in no order
    parent    the id of an earlier record; null in the first

The answers have about as many rows whatever the number of records, so that figures at several can be compared.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["FIELDS", "INDEXED", "Questions", "checksum", "make_records", "new_records", "questions"]

FIELDS = (
    "name", "owner", "city", "status", "quantity", "amount",
    "active", "note", "tags", "address", "created", "parent",
)  # fmt: skip
INDEXED = ("name", "owner", "city", "status", "quantity", "amount")
"""What is asked for, and what peers therefore have indexes on."""

_SEED = 20240229
_START = 1_700_000_000_000
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SYLLABLES = (
    "ba",
    "den",
    "fi",
    "gor",
    "hel",
    "ka",
    "lin",
    "mo",
    "nes",
    "or",
    "pra",
    "rus",
    "sta",
    "tev",
    "ul",
    "zi",
)
_WORDS = tuple(a + b for a in _SYLLABLES for b in _SYLLABLES)
_STATES = ("open", "closed", "waiting", "lost")
_WEIGHTS = (26, 50, 20, 4)


@dataclass(frozen=True)
class Questions:
    """Parameters of the queries. Each round of a figure takes the next one, so that no answer is just remembered."""

    owners: Sequence[str]
    pairs: Sequence[tuple[str, str]]
    counts: Sequence[tuple[str, int]]
    prefixes: Sequence[str]
    ranges: Sequence[tuple[float, float]]
    ids: Sequence[str]


def _names(count: int) -> list[str]:
    """Different names, no one the beginning of another with a space behind it."""
    return [f"{_WORDS[i % 256]}{_WORDS[i // 256 % 256]}{i // 65536 or ''}".capitalize() for i in range(count)]


def make_records(number: int, seed: int = _SEED) -> Iterator[dict[str, Any]]:
    """The records, each with its `id` of 32 characters; the same ones for the same arguments."""
    rng = random.Random(seed)
    givens, owners, cities = (
        _names(max(1, number // 500)),
        _names(max(1, number // 100)),
        _names(max(1, number // 5000)),
    )
    times = list(range(number))
    rng.shuffle(times)
    ids: list[str] = []
    for i in range(number):
        id = "".join(rng.choices(_ALPHABET, k=32))
        record: dict[str, Any] = {
            "id": id,
            "name": f"{rng.choice(givens)} {rng.choice(_WORDS)} {i:06}",
            "owner": rng.choice(owners) + "@example.com",
            "city": rng.choice(cities),
            "status": rng.choices(_STATES, _WEIGHTS)[0],
            "quantity": rng.randrange(1000),
            "amount": rng.randrange(1_000_000) / 100,
            "active": rng.random() < 0.7,
        }
        fate = rng.random()
        if fate < 0.8:
            record["note"] = " ".join(rng.choices(_WORDS, k=rng.randint(4, 10)))[:60]
        elif fate < 0.9:
            record["note"] = None
        record["tags"] = rng.sample(_WORDS[:40], rng.randint(0, 3))
        record["address"] = {
            "street": f"{rng.choice(_WORDS)} {rng.randrange(200)}",
            "zip": rng.randrange(1000, 10_000),
            "at": {"lat": round(rng.uniform(-90, 90), 5), "lon": round(rng.uniform(-180, 180), 5)},
        }
        record["created"] = _START + 1000 * times[i]
        record["parent"] = rng.choice(ids) if ids else None
        ids.append(id)
        yield record


def new_records(count: int, seed: int) -> list[dict[str, Any]]:
    """Records that no answer to the questions has, and whose ids are new, to be written while others are read."""
    found = []
    for record in make_records(count, seed):
        record |= {
            "owner": "nobody",
            "city": "nowhere",
            "status": "new",
            "amount": -1.0,
            "name": f"~{record['name']}",
        }
        record |= {"quantity": -1, "created": 0}
        found.append(record)
    return found


def questions(records: Sequence[Mapping[str, Any]], rounds: int = 16) -> Questions:
    rng = random.Random(_SEED + 1)
    number = len(records)
    some = rng.sample(range(number), rounds)
    width = 10_000 * 500 / number
    lows = [round(rng.uniform(0, 10_000 - width), 2) for _ in range(rounds)]
    return Questions(
        owners=[records[i]["owner"] for i in some],
        pairs=[(records[i]["city"], "open") for i in some],
        counts=[("open", 400 + 10 * i) for i in range(rounds)],
        prefixes=[records[i]["name"].split(" ")[0] + " " for i in some],
        ranges=[(low, round(low + width, 2)) for low in lows],
        ids=[records[i]["id"] for i in rng.sample(range(number), min(1000, number))],
    )


def checksum(rows: Sequence[Mapping[str, Any]], *, ordered: bool = False) -> str:
    """Of the twelve fields and the id of each row, so that contenders can be seen to answer the same.

    A table has no way to tell a field that is missing from one that is null, so neither counts.
    """
    known = ({key: value for key, value in row.items() if value is not None} for row in rows)
    lines = [json.dumps(row, sort_keys=True) for row in known]
    text = "\n".join(lines if ordered else sorted(lines))
    return f"{len(rows)} rows, {hashlib.sha256(text.encode()).hexdigest()[:12]}"
