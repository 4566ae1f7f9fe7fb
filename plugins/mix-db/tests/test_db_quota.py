"""How large a database may become, and what is done about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mix_db.database import Database
from mix_db.engine.quota import Quota
from mix_db.settings import Settings

from mixkit.errors import QuotaExceeded

QUOTA = 400_000
SETTINGS = Settings(quota=QUOTA, background=False)
RECORD = {"text": "x" * 1_000}


def fill(database: Database) -> list[Any]:
    """Records until no more are taken."""
    ids = []
    while True:
        try:
            ids.append(database.save(RECORD)["_rmx_id"])
        except QuotaExceeded as exc:
            assert exc.used <= exc.allowed == QUOTA
            assert f"at most {QUOTA} bytes, found {exc.used}" in str(exc)
            return ids
        if len(ids) % 100 == 0:
            database.flush()


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir())


@pytest.mark.parametrize("how", ["deleting", "dropping old versions"])
def test_a_full_database_takes_more_when_something_is_gone(tmp_path: Path, how: str) -> None:
    with Database(tmp_path / "db", settings=SETTINGS) as database:
        if how == "deleting":
            ids = fill(database)
            assert QUOTA * 0.8 < size_of(tmp_path / "db") < QUOTA * 1.2
            database.delete(ids)
        else:
            id = database.save(RECORD)["_rmx_id"]
            with pytest.raises(QuotaExceeded):
                for _ in range(1_000):
                    database.save(RECORD | {"_rmx_id": id})
        with pytest.raises(QuotaExceeded):
            database.save(RECORD)
        database.compact(drop_history=True)
        assert size_of(tmp_path / "db") < QUOTA // 4
        for _ in range(50):
            database.save(RECORD)


def test_whoever_opens_it_finds_it_full(tmp_path: Path) -> None:
    with Database(tmp_path / "db", settings=SETTINGS) as database:
        fill(database)
    with Database(tmp_path / "db", settings=SETTINGS) as database:
        assert database.stats()["quota"] == QUOTA
        with pytest.raises(QuotaExceeded):
            database.save([RECORD] * 3)
    with Database(tmp_path / "db", settings=Settings(quota=0)) as database:
        assert database.stats()["quota"] is None
        database.save([RECORD] * 1_000)


def test_a_save_that_is_too_large_by_itself_is_refused_whole(tmp_path: Path) -> None:
    with Database(tmp_path / "db", settings=SETTINGS) as database:
        before = database.watermark()
        with pytest.raises(QuotaExceeded, match=r"and 4[0-9]{5} that are to be stored"):
            database.save([RECORD] * 400)
        assert database.watermark() == before
        database.save(RECORD)


def test_the_files_are_not_looked_at_for_each_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    init = Quota.__init__

    def counted(self: Quota, most: int, measure: Callable[[], int]) -> None:
        def look() -> int:
            nonlocal looks
            looks += 1
            return measure()

        init(self, most, look)

    monkeypatch.setattr(Quota, "__init__", counted)
    with Database(tmp_path / "db", settings=SETTINGS) as database:
        for number in range(60):
            database.save(RECORD)
            if number % 20 == 19:
                database.flush()
        assert 1 <= looks <= 4


def test_what_others_store_counts(tmp_path: Path) -> None:
    with Database(tmp_path / "db", settings=SETTINGS) as database:
        database.save(RECORD)
        # As another process does it: nothing is shared but the files.
        with Database(tmp_path / "db", settings=SETTINGS, read_only=True) as reader:
            fill(database)
            assert reader.stats()["quota"] == QUOTA
        with pytest.raises(QuotaExceeded):
            database.save(RECORD)
