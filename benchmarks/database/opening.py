"""A process that opens a database and gets one record, run by bench_db.py for each contender.

    python -m database.opening CONTENDER FOLDER ID

Prints milliseconds from the end of all imports to the answer, and KiB that are resident before and after. Pages of
mapped files that were touched count as resident.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path

from database.contender import Contender

__all__ = ["CONTENDERS", "contender"]

CONTENDERS = {
    "mixquery": "database.ours:Mixquery",
    "SQLite": "database.sqlite:SQLite",
    "+ANALYZE": "database.sqlite:Analyzed",
    "DuckDB": "database.duck:DuckDB",
    "LMDB": "database.by_hand:LMDB",
    "TinyDB": "database.tiny:Tiny",
}


def contender(name: str, folder: Path) -> Contender:
    """The database in the folder, opened; no other contender is imported."""
    module, _, attribute = CONTENDERS[name].partition(":")
    made: Contender = getattr(importlib.import_module(module), attribute)(folder)
    return made


def resident() -> int:
    """KiB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def main(name: str, folder: str, id: str) -> None:
    importlib.import_module(CONTENDERS[name].partition(":")[0])
    before = resident()
    began = time.perf_counter()
    database = contender(name, Path(folder))
    found = database.get(id)
    taken = time.perf_counter() - began
    after = resident()
    assert found is not None
    print(json.dumps({"ms": taken * 1e3, "before": before, "after": after}))
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
