"""Saving under a condition: processes beside each other, and commits that go to the disk together."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import pytest
from mix_db import Database
from mix_db.engine.engine import Engine
from mix_db.engine.handle import Handle
from mix_db.files.store import Draft
from mix_db.files.write_log import Commit
from mix_db.settings import Settings
from mix_db.versions.rows import MemoryRows

from mixkit.errors import Conflict, StorageError
from mixkit.storage import SaveOptions

COUNTER = """
import sys
from mix_db import Database
from mixkit.errors import Conflict

database = Database(sys.argv[1])
for _ in range(int(sys.argv[2])):
    while True:
        record = database.get("counter")
        try:
            database.save(record | {"n": record["n"] + 1}, unchanged=True, original_id_always=True)
            break
        except Conflict:
            pass
database.close()
"""


def test_processes_that_count_together_lose_nothing(tmp_path: Path) -> None:
    with Database(tmp_path) as database:
        database.save({"_rmx_id": "counter", "n": 0}, original_id_always=True)
        counters = [
            subprocess.Popen([sys.executable, "-c", COUNTER, tmp_path, "25"], stderr=subprocess.PIPE)
            for _ in range(2)
        ]
        for counter in counters:
            _, told = counter.communicate(timeout=60)
            assert counter.returncode == 0, told.decode()
        assert [version["n"] for version in database.history("counter")] == list(range(51))


class Together(MemoryRows):
    """`beside` is called while a commit is on its way to the disk, which does not take it."""

    def __init__(self) -> None:
        super().__init__()
        self.beside: Callable[[], object] | None = None
        self._group: tuple[Commit, ...] = ()

    def commit(self, build: Callable[[Any], Iterable[bytes]]) -> Commit:
        beside, self.beside = self.beside, None
        group, self._group = self._group, ()
        if beside is None and not group:
            return super().commit(build)
        view = self.view
        number, row = view.last + 1 + len(group), view.rows + sum(len(commit.records) for commit in group)
        commit = Commit(number, row, tuple(build(Draft(number, row, group, cast(Any, view)))))
        self._group = (*group, commit)
        if beside is not None:
            beside()
        raise StorageError("the disk does not take it")


def test_what_the_disk_did_not_take_is_in_nobodys_way() -> None:
    rows = Together()
    engine = Engine(lambda: rows, Settings(background=False), shared=False)
    database = Handle(engine, read_only=False, release=engine.close)
    [read] = database.save([{"n": 1}]).records
    saved: list[Any] = []
    rows.beside = lambda: saved.extend(database.save([read | {"n": 3}], SaveOptions(unchanged=True)).records)
    with pytest.raises(StorageError, match="does not take"):
        database.save([read | {"n": 2}], SaveOptions(unchanged=True))
    assert [record["n"] for record in saved] == [3]
    assert [version["n"] for version in database.history(read["_rmx_id"])] == [1, 3]
    with pytest.raises(Conflict):
        database.save([read], SaveOptions(unchanged=True))
    database.close()
