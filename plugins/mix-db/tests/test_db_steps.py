"""Two processes on one database, stopped before each thing they do to the files, while the other one acts.

Each is an engine of its own in a thread of its own, and only one of them runs at a time: a plan says after how many
steps it is whose turn. So every run can be had again. A step is one call of the file layer, or a lock that is taken;
who finds it taken gives its turn to the other, as it would wait. The folder is guarded (`mix_db.files.guard`).

A part of the runs is made with all tests. All of them, which takes some minutes:

    MIXKIT_STEPS=all pytest plugins/mix-db/tests/test_db_steps.py --timeout 0
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mix_db.engine.engine import Engine
from mix_db.engine.handle import Handle
from mix_db.engine.reader import StateReader
from mix_db.files.check import check
from mix_db.files.errors import DamagedFile, LockTimeout
from mix_db.files.faults import FaultyFolder
from mix_db.files.guard import GuardedFolder
from mix_db.files.repair import repair
from mix_db.files.store import Store
from mix_db.index.merge import settle
from mix_db.mending import _salvaged
from mix_db.settings import Settings
from mix_db.versions.indexing import check_segment, index_rows

from mixkit.storage import SaveOptions

SETTINGS = Settings(background=False)
OWN = SaveOptions(original_id_always=True)
UPSERT = SaveOptions(original_id_always=True, upsert=True)
LONG = 60.0
ALL = os.environ.get("MIXKIT_STEPS") == "all"


class Killed(BaseException):
    """A process is dead. No `Exception`, because no program gets to handle it."""


class Process(threading.Thread):
    """Runs `work` step by step, when it is told to."""

    def __init__(self, folder: FaultyFolder, work: Callable[[Folder], None]) -> None:
        super().__init__(daemon=True)
        self.folder = Folder(folder, self)
        self.work = work
        self.steps = 0
        self.done = self.waits = self.dead = False
        self.error: BaseException | None = None
        self._go = threading.Semaphore(0)
        self._paused = threading.Semaphore(0)
        self.start()

    def run(self) -> None:
        self._go.acquire()
        try:
            self.work(self.folder)
        except Killed:
            pass
        except BaseException as exc:
            self.error = exc
        self.done = True
        self._paused.release()

    def step(self, *, waits: bool = False) -> None:
        """In its own thread: before it does something, or as long as it can do nothing."""
        if self.dead:
            raise Killed
        self.steps += 1
        self.waits = waits
        self._paused.release()
        self._go.acquire()
        self.waits = False
        if self.dead:
            raise Killed

    def advance(self, most: int | None = None) -> None:
        """Let it go on until it is done, waits for a lock, or has made so many steps."""
        while not self.done and most != 0:
            self._go.release()
            assert self._paused.acquire(timeout=LONG), "a step does not end"
            most = None if most is None else most - 1
            if self.waits:
                return

    def kill(self) -> None:
        """Nothing that it does from now on happens; its locks are free."""
        self.dead = True
        self.advance()
        self.join(LONG)


class Folder:
    """A folder as one process has it: its locks, files and steps."""

    def __init__(self, folder: FaultyFolder, process: Process) -> None:
        self._folder = folder
        self._process = process

    def __getattr__(self, name: str) -> Any:
        return _stepped(self._process, getattr(self._folder, name), name)

    @contextlib.contextmanager
    def lock(self, timeout: float, name: str = "LOCK") -> Iterator[None]:
        self._process.step()
        with contextlib.ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(self._folder.lock(0, name))
                    break
                except LockTimeout:
                    if timeout == 0:
                        raise
                    self._process.step(waits=True)
            yield

    def open(self, name: str, *, write: bool = False, create: bool = False) -> Any:
        self._process.step()
        return File(self._folder.open(name, write=write, create=create), self._process)


class File:
    def __init__(self, file: Any, process: Process) -> None:
        self._file = file
        self._process = process

    def __getattr__(self, name: str) -> Any:
        return _stepped(self._process, getattr(self._file, name), name)


def _stepped(process: Process, call: Any, name: str) -> Any:
    if name in ("close", "files", "exists", "size", "map") or not callable(call):
        return call

    def stepped(*args: Any, **options: Any) -> Any:
        process.step()
        return call(*args, **options)

    return stepped


class Files(Store):
    """A store as an engine takes it."""

    def check(self) -> list[str]:
        return [str(finding) for finding in check(self.folder, check_segment)]

    def size(self) -> int:
        return 0

    def size_in_force(self) -> int:
        return 0


class Database:
    """What a process does. `saved` are its records as those whose save returned must be found; `begun` is what may be
    found instead, as a save that did not return is stored or not."""

    def __init__(self, folder: Any, name: str) -> None:
        self.folder = GuardedFolder(folder)
        self.name = name
        self.saved: dict[str, int | None] = {f"{name}-new": None, f"{name}-old": -2, f"{name}-gone": -2}
        self.begun: dict[str, int | None] = {}
        self.counted = 0
        self.engine = self._engine()

    def _engine(self) -> Engine:
        return Engine(lambda: Files(self.folder, index=index_rows), SETTINGS, shared=True)

    def save(self) -> None:
        """A new record, a new version, a record that goes, and a field of one that all write."""
        engine, new, old, gone = self.engine, f"{self.name}-new", f"{self.name}-old", f"{self.name}-gone"
        count = (self.saved[new] or 0) + 1
        self.begun = {new: count, old: count}
        engine.save([{"_rmx_id": new, "n": count}, {"_rmx_id": old, "n": count}], OWN)
        self.saved |= self.begun
        self.begun = {gone: None}
        engine.delete([gone])
        self.saved |= self.begun
        self.begun = {}
        engine.save([{"_rmx_id": "shared", self.name: count}], UPSERT)
        self.counted = count

    def flush(self) -> None:
        self.engine.flush()

    def merge(self) -> None:
        self.engine._merge(settle)

    def compact(self) -> None:
        self.engine.compact(drop_history=False)

    def drop(self) -> None:
        self.engine.compact(drop_history=True)

    def repair(self) -> None:
        assert (
            repair(self.folder, salvage=_salvaged, index=index_rows, check_segment=check_segment).findings
            == ()
        )

    def reopen(self) -> None:
        self.engine = self._engine()


ACTS = ("save", "flush", "merge", "compact", "drop", "repair", "reopen")


def lived() -> dict[str, bytes]:
    """Files of a database with several segments, old versions, tombstones, and commits in its log."""
    folder = FaultyFolder()
    database = Database(folder, "0")
    names = [f"{name}-{kind}" for name in "ab" for kind in ("old", "gone", "rest")]
    for turn in range(3):
        database.engine.save([{"_rmx_id": name, "n": -turn} for name in names], OWN)
        database.save()
        if turn < 2:
            database.flush()
    database.engine.delete(["a-rest"])
    return folder.files()


LIVED = lived()


class Run:
    """Processes "a" and "b" on one folder; each does one thing, and saves."""

    def __init__(self, first: str, second: str) -> None:
        self.files = FaultyFolder.of(LIVED)
        self.spoiled = False
        self.databases: dict[str, Database] = {}
        # Both have it open before, so that either may hold what is not true any more.
        self.processes = [self._process("a", first), self._process("b", second)]

    def _process(self, name: str, act: str) -> Process:
        def work(folder: Folder) -> None:
            database = self.databases[name]
            getattr(database, act)()
            database.save()

        process = Process(self.files, work)
        stepped = process.step
        process.step = lambda *, waits=False: None  # type: ignore[method-assign]
        self.databases[name] = Database(process.folder, name)
        process.step = stepped  # type: ignore[method-assign]
        return process

    def to_end(self) -> None:
        """Both go on to their ends, as they find the locks free."""
        a, b = self.processes
        while not (a.done and b.done):
            before = a.steps, b.steps
            a.advance()
            b.advance()
            assert (a.steps, b.steps) != before or a.done or b.done, "they wait for each other"
            assert max(a.steps, b.steps) < 10_000, "they wait for each other"

    def verify(self, told: str) -> None:
        try:
            self._verify()
        except BaseException as exc:
            exc.add_note(told)
            raise

    def _verify(self) -> None:
        for process in self.processes:
            if process.error is not None and not (self.spoiled and isinstance(process.error, DamagedFile)):
                raise process.error
        folder = FaultyFolder.of(self.files.files())
        assert [str(finding) for finding in check(folder, check_segment)] == []
        engine = Engine(lambda: Files(folder, index=index_rows), SETTINGS, shared=True)
        handle = Handle(engine, read_only=True, release=engine.close)
        for database in self.databases.values():
            there = {id: found(handle, id, "n") for id in database.saved}
            assert there in (database.saved, database.saved | database.begun)
            assert (found(handle, "shared", database.name) or 0) >= database.counted
        assert found(handle, "shared", "0") == 3
        assert found(handle, "b-rest", "n") == -2
        assert found(handle, "a-rest", "n") is None


def found(reader: StateReader, id: str, field: str) -> Any:
    record = reader.get(id)
    return None if record is None else record.get(field)


def steps_of(act: str) -> int:
    run = Run(act, "repair")
    run.processes[0].advance()
    run.to_end()
    run.verify("")
    return run.processes[0].steps


STEPS = {act: steps_of(act) for act in ACTS}


def seconds(stop: int) -> list[str]:
    """What the other one does: one thing after the other at one stop after the other, or all at each."""
    return list(ACTS) if ALL else [ACTS[stop % len(ACTS)]]


@pytest.mark.parametrize("first", ACTS)
def test_stopped_at_every_step_while_another_acts(first: str) -> None:
    """The second goes on until it is done or has to wait; then the first goes on to its end."""
    for stop in range(1, STEPS[first] + 1):
        for second in seconds(stop):
            run = Run(first, second)
            a, b = run.processes
            a.advance(stop)
            b.advance()
            run.to_end()
            run.verify(f"{first} stopped at step {stop}, then {second}")


@pytest.mark.parametrize("first", ACTS)
def test_killed_at_every_step_and_another_acts(first: str) -> None:
    for stop in range(1, STEPS[first] + 1, 1 if ALL else 2):
        for second in seconds(stop // 2):
            run = Run(first, second)
            a, b = run.processes
            a.advance(stop)
            a.kill()
            b.advance()
            run.verify(f"{first} killed at step {stop}, then {second}")


def test_stopped_again_and_again_and_killed() -> None:
    chance = random.Random(7)
    for _ in range(2000 if ALL else 120):
        first, second = chance.choice(ACTS), chance.choice(ACTS)
        turns = [chance.randint(1, 40) for _ in range(chance.randint(2, 12))]
        kill = chance.randrange(4) == 0
        run = Run(first, second)
        for number, turn in enumerate(turns):
            run.processes[number % 2].advance(turn)
        if kill:
            run.processes[len(turns) % 2].kill()
        run.to_end()
        run.verify(f"{first} and {second} in turns of {turns}{', then one is killed' if kill else ''}")


@pytest.mark.parametrize("first", ["merge", "drop"])
def test_the_index_is_damaged_while_it_is_merged_and_another_opens_the_database(first: str) -> None:
    """Who opens it makes the segments again, which the first is just about to replace."""
    for stop in range(1, STEPS[first] + 1, 1 if ALL else 2):
        run = Run(first, "reopen")
        run.spoiled = True
        a, b = run.processes
        a.advance(stop)
        for name in run.files.listing():
            if name.endswith(".idx"):
                run.files.spoil(name)
        b.advance()
        run.to_end()
        # What was spoiled behind the look of both is found by the next one.
        Database(run.files, "c")
        run.verify(f"{first} stopped at step {stop}, and the index spoiled")


def test_who_plans_before_it_has_the_lock_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """This test can fail: a compaction that decides too early is caught."""
    real = Store.compact

    def early(self: Store, make_plan: Any) -> bool:
        plan = make_plan(self.refresh())
        return real(self, lambda view: plan)

    monkeypatch.setattr(Store, "compact", early)
    caught = 0
    for stop in range(1, STEPS["drop"] + 1, 2):
        run = Run("drop", "drop")
        run.processes[0].advance(stop)
        run.processes[1].advance()
        run.to_end()
        try:
            run.verify("")
        except Exception:
            caught += 1
    assert caught


def test_the_guard_is_awake() -> None:
    folder = GuardedFolder(FaultyFolder.of(LIVED))
    Store(folder, index=index_rows)
    for change in (
        lambda: folder.remove("db.dat"),
        lambda: folder.remove("WITNESS"),
        lambda: folder.open("writelog", write=True).truncate(90),
        lambda: folder.open("writelog", write=True).write(90, b"x"),
        lambda: folder.open("db.dat", write=True).write(0, b"x"),
        lambda: folder.open("db.seg", write=True).truncate(0),
        lambda: folder.rename("db.dat", "writelog"),
    ):
        with pytest.raises(AssertionError):
            change()
        with folder.lock(1, "MERGE"), folder.lock(1, "FLUSH"), folder.lock(1), pytest.raises(AssertionError):
            change()
    with folder.lock(1), pytest.raises(AssertionError, match="waited for"), folder.lock(1, "MERGE"):
        pass
