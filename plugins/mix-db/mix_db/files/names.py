"""The names of a database's files.

    writelog                  the write log (`mix_db.files.write_log`), which names the generation in force
    db.dat db.off db.sum      the rows of generation 0 (`mix_db.files.rows`)
    db.seg                    the list of its index segments (`mix_db.files.manifest`)
    db.0-512.idx              the index segment of rows 0 to 511
    db.3.dat db.3.0-512.idx   and so on: the same of generation 3
    *.new                     one of these that is being made
    LOCK FLUSH MERGE          locks, empty (`mix_db.files.lock`)
    WITNESS                   the last commit that was acknowledged (`mix_db.files.witness`)

A compaction or repair writes a new generation beside the one in force and then switches to it.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = [
    "FLUSH",
    "LOCK",
    "MERGE",
    "NEW",
    "WITNESS",
    "data",
    "family",
    "manifest",
    "offsets",
    "segment",
    "sums",
]

LOCK: Final = "LOCK"
"""Held to change the log or the manifest, and to switch generations."""
FLUSH: Final = "FLUSH"
"""Held to write behind the end of the row files."""
MERGE: Final = "MERGE"
"""Held to make merged segments or a new generation. Where several are held, MERGE is taken first and LOCK last."""
WITNESS: Final = "WITNESS"
NEW: Final = ".new"

_FAMILY: Final = re.compile(r"db(?:\.([1-9][0-9]*))?\.(?:dat|off|sum|seg|[0-9]+-[0-9]+\.idx)(?:\.new)?")


def data(generation: int) -> str:
    return f"{_stem(generation)}.dat"


def offsets(generation: int) -> str:
    return f"{_stem(generation)}.off"


def sums(generation: int) -> str:
    return f"{_stem(generation)}.sum"


def manifest(generation: int) -> str:
    return f"{_stem(generation)}.seg"


def segment(generation: int, start: int, stop: int) -> str:
    return f"{_stem(generation)}.{start}-{stop}.idx"


def family(name: str) -> int | None:
    """The generation that a file belongs to, or None if it belongs to none."""
    found = _FAMILY.fullmatch(name)
    return int(found[1] or 0) if found else None


def _stem(generation: int) -> str:
    return f"db.{generation}" if generation else "db"
