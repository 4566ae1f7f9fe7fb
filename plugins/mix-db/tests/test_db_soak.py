"""Several processes do everything at once to one database, and are killed: nothing acknowledged is lost.

`MIXKIT_SOAK_SECONDS` says for how long (6 by default). Each process changes records of its own. It says what it begins
and what has returned, so that of each record is known what it must be: what was acknowledged last, or what was begun
behind that and never answered. Besides all of them count in records that they share, each in a field of its own by
upserts, and all in one field by saves with a condition: none of these may undo another's. The folder is guarded
(`mix_db.files.guard`).
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mix_db import Database

SECONDS = float(os.environ.get("MIXKIT_SOAK_SECONDS", "6"))
PROCESSES = 4
FINISH = 120.0

USER = """
import logging, os, random, sys, threading, time
from pathlib import Path
from mix_db import Database, mending
from mix_db.engine import file_rows
from mix_db.files.guard import GuardedFolder
from mix_db.files.layer import DiskFolder
from mix_db.settings import Settings
from mixkit.errors import Conflict

folder, who, seconds, retention = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
rng, stop = random.Random(who), time.monotonic() + seconds
settings = Settings(
    retention=retention, compact_share=0.01, flush_seconds=0.1, flush_rows=100, lock_timeout=100
)

# What fails in the background is only logged.
class Fail(logging.Handler):
    def emit(self, record):
        print(record.getMessage(), record.exc_info, file=sys.stderr, flush=True)
        os._exit(3)

logging.getLogger("mixkit.db").addHandler(Fail(logging.ERROR))

def guarded(*args, **options):
    return GuardedFolder(DiskFolder(*args, **options))

file_rows.DiskFolder = mending.DiskFolder = guarded
database = Database(folder, settings=settings)

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def tend():
    number = 0
    while time.monotonic() < stop:
        time.sleep(rng.random() * 0.1)
        number += 1
        chore = rng.choice(["flush", "drop", "compact", "backup", "repair", "check"])
        if chore == "repair":
            # Of what is whole it finds nothing to do.
            assert mending.repair_folder(Path(folder)).findings == ()
        elif chore == "check":
            assert database.check() == []
        elif chore == "backup":
            database.backup(f"{folder}.{who}.{number}")
            with Database(f"{folder}.{who}.{number}", read_only=True) as copy:
                assert copy.check() == []
        else:
            database.flush() if chore == "flush" else database.compact(drop_history=chore == "drop")

def follow():
    with database.live("n > 0") as live:
        while time.monotonic() < stop:
            live.next(0.1)

# What every process does to the same two records.
def count(number):
    say("begin", f"{who}*", number)
    database.upsert({"_rmx_id": "fields", who: number}, original_id_always=True)
    say("done", f"{who}*", number)
    say("begin", f"{who}+=", number)
    while True:
        read = database.get("sum") or {"_rmx_id": "sum", "_rmx_rev": None, "total": 0}
        try:
            database.save(read | {"total": read["total"] + 1}, unchanged=True, original_id_always=True)
            break
        except Conflict:
            continue
    say("done", f"{who}+=", number)

helpers = [threading.Thread(target=work) for work in (tend, follow)]
[helper.start() for helper in helpers]
number = counted = 0
while time.monotonic() < stop:
    number += 1
    key = f"{who}.{rng.randrange(12)}"
    how = rng.choice(["save", "save", "upsert", "unchanged", "delete"])
    say("begin", key, 0 if how == "delete" else number)
    # The second record shows whether a commit is there in part.
    twins = [{"_rmx_id": key, "n": number}, {"_rmx_id": key + "+", "n": number}]
    if how == "delete":
        database.delete([key, key + "+"])
    elif how == "unchanged":
        for twin in twins:
            twin["_rmx_rev"] = (database.history(twin["_rmx_id"]) or [{"_rmx_rev": None}])[-1]["_rmx_rev"]
        try:
            database.save(twins, unchanged=True, original_id_always=True)
        except Conflict:
            # A compaction has dropped the tombstone meanwhile.
            continue
    else:
        database.save(twins, upsert=how == "upsert", original_id_always=True)
    say("done", key, 0 if how == "delete" else number)
    if rng.random() < 0.15:
        counted += 1
        count(counted)
[helper.join() for helper in helpers]
database.close()
"""


class User:
    """A process, and the records that it has changed."""

    def __init__(self, folder: Path, name: str, seconds: float, retention: float) -> None:
        arguments = [str(folder), name, str(seconds), str(retention)]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self._said = folder.with_name(f"{folder.name}.{name}.said")
        self._failed = folder.with_name(f"{folder.name}.{name}.failed")
        with self._said.open("wb") as said, self._failed.open("wb") as failed:
            self.process = subprocess.Popen(
                [sys.executable, "-c", USER, *arguments], stdout=said, stderr=failed, env=environ
            )

    def ended(self, *, killed: bool = False) -> dict[str, set[int]]:
        """What each record may be when the process has ended: its number, 0 if there is none."""
        if killed:
            self.process.kill()
        status = self.process.wait(SECONDS + FINISH)
        assert killed or status == 0, self._failed.read_text()
        states: dict[str, set[int]] = {}
        for line in self._said.read_text().split("\n")[:-1]:
            what, key, number = line.split()
            states[key] = {int(number)} if what == "done" else states.get(key, {0}) | {int(number)}
        return states


def verify(folder: Path, states: dict[str, set[int]]) -> None:
    with Database(folder) as database:
        assert database.check() == []
        counted = {key: allowed for key, allowed in states.items() if key.endswith(("*", "+="))}
        fields, total = database.get("fields") or {}, (database.get("sum") or {"total": 0})["total"]
        sums = [allowed for key, allowed in counted.items() if key.endswith("+=")]
        assert sum(map(min, sums)) <= total <= sum(map(max, sums)), "increments are lost, or were made twice"
        for key, allowed in counted.items():
            assert not key.endswith("*") or fields.get(key[:-1], 0) in allowed, f"{key} is {fields}"
        states = {key: allowed for key, allowed in states.items() if key not in counted}
        for key, allowed in states.items():
            number, twin = ((database.get(id) or {"n": 0})["n"] for id in (key, key + "+"))
            assert number == twin, f"a commit of {key} is there in part"
            assert number in allowed, f"{key} is {number}, acknowledged was {allowed}"
        assert database.query("exists n").count() == 2 * sum(database.get(key) is not None for key in states)


@pytest.mark.slow
@pytest.mark.parametrize("retention", [0, 0.05], ids=["asked", "retention"])
def test_everything_at_once(tmp_path: Path, retention: float) -> None:
    folder, rng = tmp_path / "db", random.Random(1)
    states: dict[str, set[int]] = {}
    stop = time.monotonic() + SECONDS / 2
    users = {n: User(folder, f"user{n}", SECONDS / 2, retention) for n in range(PROCESSES)}
    started = PROCESSES
    while (left := stop - time.monotonic()) > 1:
        time.sleep(rng.uniform(0.5, 1.0))
        victim = rng.choice(list(users))
        states |= users[victim].ended(killed=True)
        users[victim] = User(folder, f"user{started}", max(left - 1, 0.5), retention)
        started += 1
    for user in users.values():
        states |= user.ended()
    assert sum(map(len, states.values())) > 0
    verify(folder, states)
