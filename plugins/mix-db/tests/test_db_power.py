"""The power goes at every step, calls fail at every step: what was acknowledged is there, and nothing by halves."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st
from mix_db.files import names, write_log
from mix_db.files.check import check
from mix_db.files.compaction import Plan
from mix_db.files.errors import FilesError
from mix_db.files.faults import FaultyFolder, PowerCut
from mix_db.files.guard import GuardedFolder
from mix_db.files.repair import repair
from mix_db.files.segments import SegmentFile
from mix_db.files.store import Store
from mix_db.files.view import View

Commits = list[tuple[bytes, ...]]

# A commit of several records, an empty one, an empty record, a long one; flushes between (None). At last one for which
# there is no room in the log, and one that makes new room.
PLAN: list[tuple[bytes, ...] | None] = [
    (b"a1", b"a2", b"a3"),
    None,
    (),
    (b"",),
    (b"long" * 60,),
    None,
    (b"d1", b"d2"),
    (b"e" * 9,),
    (b"f" * 4000,),
    (b"g",),
]


def run(folder: FaultyFolder, plan: Sequence[tuple[bytes, ...] | None]) -> tuple[Commits, Commits]:
    """(acknowledged, begun): the commits whose call returned, and those with the one that did not."""
    done: Commits = []
    begun: Commits = []
    try:
        store = Store(GuardedFolder(folder))
        for records in plan:
            if records is None:
                store.flush()
            else:
                begun.append(records)
                store.commit(lambda draft, records=records: records)  # type: ignore[misc]
                done.append(records)
    except (PowerCut, FilesError, OSError):
        pass
    return done, begun


def contents(store: Store) -> list[bytes]:
    return [store.read(row) for row in range(store.rows)]


def flat(commits: Commits) -> list[bytes]:
    return [record for commit in commits for record in commit]


def steps() -> list[str]:
    folder = FaultyFolder()
    done, begun = run(folder, PLAN)
    assert done == begun
    return folder.steps


STEPS = steps()


def test_the_plan_has_every_kind_of_step() -> None:
    assert {"write", "sync", "create", "rename", "sync folder", "truncate"} == set(STEPS)


@pytest.mark.parametrize("cut", range(1, len(STEPS) + 1))
def test_power_cut_at_every_step(cut: int) -> None:
    for seed in range(40):
        folder = FaultyFolder(cut=cut)
        done, begun = run(folder, PLAN)
        assert not folder.on
        found = folder.restarted(random.Random(seed))
        store = Store(found)
        assert contents(store) in (flat(done), flat(begun)), (cut, seed)
        # It goes on where it stopped, and what it writes now stays, too.
        store.commit(lambda draft: [b"after"])
        store.flush()
        rows = contents(store)
        assert contents(Store(found.restarted(random.Random(seed)))) == rows
        assert rows[-1] == b"after"
        assert list(check(found)) == []


@pytest.mark.parametrize("cut", range(1, len(STEPS) + 1))
def test_kill_at_every_step(cut: int) -> None:
    folder = FaultyFolder(cut=cut)
    done, begun = run(folder, PLAN)
    # What had been written is there for the next process, which makes it durable before it builds on it.
    found = folder.killed()
    rows = contents(Store(found))
    assert rows in (flat(done), flat(begun))
    for seed in range(10):
        assert contents(Store(found.restarted(random.Random(seed)))) == rows


def test_power_cut_while_recovering() -> None:
    for cut in range(1, len(STEPS) + 1):
        for seed in range(10):
            first = FaultyFolder(cut=cut)
            done, begun = run(first, PLAN)
            for again in range(1, 6):
                chance = random.Random(seed)
                second = first.restarted(chance)
                second.cut = again
                run(second, [])
                rows = contents(Store(second.restarted(chance)))
                assert rows in (flat(done), flat(begun)), (cut, seed, again)


@pytest.mark.parametrize("fail", range(1, len(STEPS) + 1))
def test_a_failing_call_at_every_step(fail: int) -> None:
    folder = FaultyFolder(fail=fail)
    done, _ = run(folder, PLAN)
    reopened = Store(folder)
    assert contents(reopened) == flat(done), "what raised is not there"
    reopened.commit(lambda draft: [b"after"])
    assert contents(Store(folder.restarted(random.Random(fail)))) == [*flat(done), b"after"]


@pytest.mark.parametrize("fail", ["write", "sync"])
def test_the_same_store_goes_on_after_a_failed_commit(fail: str) -> None:
    folder = FaultyFolder()
    store, reader = Store(folder), Store(folder, read_only=True)
    store.commit(lambda draft: [b"1"])
    folder.fail = len(folder.steps) + (1 if fail == "write" else 2)
    with pytest.raises(FilesError, match="not stored"):
        store.commit(lambda draft: [b"lost"])
    reader.refresh()
    store.commit(lambda draft: [b"2", b"a longer one"])
    reader.refresh()
    assert contents(store) == contents(reader) == [b"1", b"2", b"a longer one"]
    assert contents(Store(folder.restarted(random.Random(1)))) == [b"1", b"2", b"a longer one"]


def test_a_reader_that_saw_a_commit_which_then_failed() -> None:
    folder = FaultyFolder()
    store, reader = Store(folder), Store(folder, read_only=True)
    real = FaultyFolder.step

    def look(self: FaultyFolder, name: str) -> object:
        if name == "sync" and len(self.steps) + 1 == self.fail:
            reader.refresh()
        return real(self, name)

    folder.step = look.__get__(folder)  # type: ignore[attr-defined,method-assign]
    # It writes the commit, and room for others.
    folder.fail = len(folder.steps) + 3
    with pytest.raises(FilesError):
        store.commit(lambda draft: [b"gone"])
    assert reader.rows == 1
    store.commit(lambda draft: [b"kept, and of another length"])
    reader.refresh()
    assert contents(reader) == [b"kept, and of another length"]


def test_a_log_that_cannot_be_put_right_is_read_anew() -> None:
    """Neither the sync nor the undoing works: it is in doubt what is stored until the next commit finds out."""
    folder = FaultyFolder()
    store = Store(folder)
    folder.fail = len(folder.steps) + 3
    real = FaultyFolder.rename

    def full(self: FaultyFolder, old: str, new: str) -> None:
        raise OSError("no space")

    folder.rename = full.__get__(folder)  # type: ignore[method-assign]
    with pytest.raises(FilesError, match="in doubt"):
        store.commit(lambda draft: [b"1"])
    folder.rename = real.__get__(folder)  # type: ignore[method-assign]
    assert store.commit(lambda draft: [b"2"]).number == 2
    for each in (store, Store(folder), Store(folder.restarted(random.Random(1)))):
        assert contents(each) == [b"1", b"2"]


def test_a_new_log_of_a_killed_process_is_made_durable_first() -> None:
    """One process dies right after it has put a new log in place; another one commits to that log."""
    for seed in range(20):
        folder = FaultyFolder()
        one, two = Store(folder), Store(folder)
        one.commit(lambda draft: [b"1"])
        number = len(folder.steps)
        one_steps = FaultyFolder.of(folder.files())
        Store(one_steps).flush()
        folder.fail = number + one_steps.steps[2:].index("rename") + 2
        with pytest.raises(FilesError, match="as the test wants"):
            one.flush()
        assert folder.steps[-2] == "rename"
        two.commit(lambda draft: [b"2"])
        assert contents(Store(folder.restarted(random.Random(seed)))) == [b"1", b"2"]


def test_nothing_to_flush_writes_nothing() -> None:
    folder = FaultyFolder()
    store = Store(folder)
    before = len(folder.steps)
    assert store.flush() == 0
    assert len(folder.steps) == before


def test_waiting_threads_share_one_sync() -> None:
    folder = FaultyFolder()
    store = Store(folder)
    numbers: list[int] = []

    def save(name: bytes) -> None:
        numbers.append(store.commit(lambda draft: [name]).number)

    save(b"first")
    threads = [threading.Thread(target=save, args=(b"%d" % i,)) for i in range(8)]
    before = len(folder.steps)
    with store._turn:
        for thread in threads:
            thread.start()
        while len(store._queue) < len(threads):
            pass
    for thread in threads:
        thread.join()
    # The last one is the witness, which nobody waits for.
    assert folder.steps[before:] == ["write", "sync", "write"]
    assert sorted(numbers) == list(range(1, 10))
    assert sorted(contents(store)) == [*(b"%d" % i for i in range(8)), b"first"]


@pytest.mark.parametrize("leads", [False, True])
def test_a_thread_that_is_interrupted_while_it_waits(leads: bool) -> None:
    """Ctrl-C in the main thread, which would have written for the others, or waits for another that does."""

    class Interrupted(Exception):
        pass

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    store = Store(FaultyFolder())
    main = threading.main_thread().ident
    assert main is not None
    assert threading.current_thread() is threading.main_thread()
    others = [threading.Thread(target=store.commit, args=(lambda draft: [b"other"],)) for _ in range(3)]

    def run_others(queued: int) -> None:
        while len(store._queue) < queued:
            time.sleep(0.001)
        for other in others:
            other.start()

    def stop() -> None:
        while len(store._queue) < 4:
            time.sleep(0.001)
        # Until it waits: what comes a moment earlier ends the commit as well.
        time.sleep(0.02)
        signal.pthread_kill(main, signal.SIGUSR1)

    helpers = [threading.Thread(target=stop)]
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with store._turn:
            if leads:
                helpers.append(threading.Thread(target=run_others, args=(1,)))
            else:
                run_others(0)
                while not store._queue:
                    time.sleep(0.001)
            for helper in helpers:
                helper.start()
            with pytest.raises(Interrupted):
                store.commit(lambda draft: [b"main"])
    finally:
        signal.signal(signal.SIGUSR1, before)
    for thread in (*helpers, *others):
        thread.join(30)
        assert not thread.is_alive()
    assert contents(store) == [b"other"] * 3
    assert store.commit(lambda draft: [b"main"]).row == 3


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.none() | st.lists(st.binary(max_size=300), max_size=4).map(tuple), max_size=8),
    st.integers(1, 90),
    st.integers(0, 2**32),
)
def test_any_plan_any_cut(plan: list[tuple[bytes, ...] | None], cut: int, seed: int) -> None:
    folder = FaultyFolder(cut=cut)
    done, begun = run(folder, plan)
    store = Store(folder.restarted(random.Random(seed)))
    assert contents(store) in (flat(done), flat(begun))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=2, max_size=5), st.integers(0, 2**32))
def test_power_cut_in_a_shared_sync(records: list[bytes], seed: int) -> None:
    """Frames of one group may survive in any combination: a later one is no proof against an earlier one."""
    folder = FaultyFolder()
    store = Store(folder)
    store.commit(lambda draft: [b"first"])
    folder.cut = len(folder.steps) + 2
    with pytest.raises(PowerCut):
        store._view.log.append([[record] for record in records])
    found = contents(Store(folder.restarted(random.Random(seed))))
    assert found == [b"first", *records][: len(found)]
    assert found


# --- segments, merges, compaction, repair ---


def index(start: int, records: Iterable[bytes]) -> Iterator[bytes]:
    """A segment that says what it was made of."""
    yield b"%d:" % start
    for record in records:
        yield b"%d," % crc32c(record)


def verified(store: Store) -> list[bytes]:
    """The rows; the segments must cover those that are flushed, each made of its own rows."""
    view, reached = store.view, 0
    for segment in view.segments:
        assert segment.start == reached
        reached = segment.stop
        rows = map(view.read, range(segment.start, segment.stop))
        assert bytes(segment.data) == b"".join(index(segment.start, rows))
    assert reached == view.extent_rows
    return [view.read(row) for row in range(view.rows)]


class Life:
    """A database that does everything, until the power goes. `states`: what may be found in it then.

    A record is a letter and a number; compaction leaves those with an "x" out.
    """

    def __init__(self, folder: FaultyFolder) -> None:
        self.folder = folder
        self.states: list[list[bytes]] = [[]]

    def run(self) -> None:
        store = Store(GuardedFolder(self.folder), index=index)
        self.save(store, b"a1", b"x1", b"a2")
        store.flush()
        self.save(store, b"x2")
        self.save(store, b"b1")
        store.flush()
        store.merge(store.view.segments, lambda: index(0, map(store.read, range(store.view.extent_rows))))
        self.save(store, b"x3", b"c1")
        self.compact(store)
        self.save(store, b"d1", b"x4")
        store.flush()
        store.merge(store.view.segments, lambda: index(0, map(store.read, range(store.view.extent_rows))))
        self.save(store, b"e1")

    def save(self, store: Store, *records: bytes) -> None:
        (now,) = self.states
        self.states = [now, [*now, *records]]
        store.commit(lambda draft: records)
        del self.states[0]

    def compact(self, store: Store) -> None:
        def rewrite(view: View, start: int) -> Iterator[bytes]:
            if start == 0:
                self.save(store, b"x5", b"f1")
                (now,) = self.states
                self.states = [now, [record for record in now if not record.startswith(b"x")] + [b"x5"]]
                self.states[1].sort(key=now.index)
            for row in range(start, view.rows):
                record = view.read(row)
                if start or not record.startswith(b"x"):
                    yield record

        store.compact(lambda view: Plan(rewrite))
        del self.states[0]


def live(folder: FaultyFolder) -> list[list[bytes]]:
    life = Life(folder)
    with contextlib.suppress(PowerCut):
        life.run()
    return life.states


def steps_of_life() -> list[str]:
    folder = FaultyFolder()
    (state,) = live(folder)
    assert state == [b"a1", b"a2", b"b1", b"c1", b"x5", b"f1", b"d1", b"x4", b"e1"]
    return folder.steps


LIFE = steps_of_life()


def goes_on(found: FaultyFolder, states: list[list[bytes]], seed: int) -> None:
    reader = None
    if found.exists("writelog"):
        reader = Store(FaultyFolder.of(found.files()), read_only=True, index=index)
        assert verified(reader) in states
    store = Store(found, index=index)
    rows = verified(store)
    assert rows in states
    if reader is not None:
        assert verified(reader) == rows
    assert list(check(found)) == []
    store.commit(lambda draft: [b"after"])
    store.flush()
    store.compact(lambda view: Plan(lambda view, start: map(view.read, range(start, view.rows))))
    again = found.restarted(random.Random(seed))
    assert verified(Store(again, index=index)) == [*rows, b"after"]
    assert not [name for name in again.listing() if names.family(name) not in (None, store.view.generation)]


@pytest.mark.parametrize("cut", range(1, len(LIFE) + 1))
def test_power_cut_at_every_step_of_a_life(cut: int) -> None:
    for seed in range(15):
        folder = FaultyFolder(cut=cut)
        states = live(folder)
        assert not folder.on
        goes_on(folder.restarted(random.Random(seed)), states, seed)
    goes_on(folder.killed(), states, cut)


def test_power_cut_while_recovering_from_a_life() -> None:
    """Rebuilding and sweeping are cut off, too; here the segments and their list are gone, as well."""
    for cut in range(1, len(LIFE) + 1, 3):
        chance = random.Random(cut)
        first = FaultyFolder(cut=cut)
        states = live(first)
        for again in range(1, 16):
            files = first.restarted(chance).files()
            for name in [name for name in files if name.endswith((".idx", ".seg"))]:
                if chance.random() < 0.5:
                    del files[name]
            second = FaultyFolder.of(files)
            second.cut = again
            with contextlib.suppress(PowerCut):
                Store(second, index=index)
            third = second.restarted(chance)
            assert verified(Store(third, index=index)) in states, (cut, again)
            assert list(check(third)) == []


class Several:
    """Two stores on one folder, doing what they are told; `states` as for `Life`."""

    def __init__(self, folder: FaultyFolder) -> None:
        self.folder = folder
        self.states: list[list[bytes]] = [[]]

    def run(self, plan: Sequence[tuple[str, int]]) -> None:
        guarded = GuardedFolder(self.folder)
        stores = [Store(guarded, index=index), Store(guarded, index=index)]
        for number, (what, choice) in enumerate(plan):
            store = stores[choice % 2]
            if what == "save":
                records = [b"%s%d.%d" % (b"xy"[place % 2 :][:1], number, place) for place in range(choice)]
                self.switch(lambda now, records=records: [*now, *records])  # type: ignore[misc]
                store.commit(lambda draft, records=records: records)  # type: ignore[misc]
            elif what == "flush":
                store.flush()
            elif what == "merge" and store.view.segments:
                start = choice % len(store.view.segments)
                self.merge(store, store.view.segments[start : start + 3])
            elif what == "compact":
                self.switch(lambda now: [record for record in now if not record.startswith(b"x")])
                store.compact(lambda view: Plan(drop))
            elif what == "reopen":
                stores[choice % 2] = Store(guarded, index=index)
            del self.states[:-1]
            for each in stores:
                each.refresh()
                assert verified(each) == self.states[0]

    def switch(self, change: Callable[[list[bytes]], list[bytes]]) -> None:
        self.states.append(change(self.states[0]))

    @staticmethod
    def merge(store: Store, merged: Sequence[SegmentFile]) -> None:
        start, stop = merged[0].start, merged[-1].stop
        store.merge(merged, lambda: index(start, map(store.view.read, range(start, stop))))


def drop(view: View, start: int) -> Iterator[bytes]:
    return (record for record in map(view.read, range(start, view.rows)) if not record.startswith(b"x"))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["save", "save", "flush", "merge", "compact", "reopen"]), st.integers(0, 5)
        ),
        max_size=14,
    ),
    st.integers(1, 150),
    st.integers(0, 2**32),
    st.sampled_from([32, 128, 4096]),
)
def test_any_life_any_cut(plan: list[tuple[str, int]], cut: int, seed: int, room: int) -> None:
    folder = FaultyFolder(cut=cut)
    several = Several(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write_log, "_LEAST_ROOM", room)
        patch.setattr(write_log, "_MOST_ROOM", 4 * room)
        with contextlib.suppress(PowerCut):
            several.run(plan)
        found = folder.restarted(random.Random(seed))
        assert verified(Store(found, index=index)) in several.states
        assert list(check(found)) == []


def damaged_life() -> tuple[dict[str, bytes], list[bytes]]:
    """Files in which one row, and one commit of the log, are spoiled; and what is left to save."""
    folder = FaultyFolder()
    store = Store(folder, index=index)
    for name in (b"a", b"b", b"c"):
        store.commit(lambda draft, name=name: [name + b"1", name + b"2"])  # type: ignore[misc]
    store.flush()
    for name in (b"d", b"e", b"f"):
        store.commit(lambda draft, name=name: [name + b"1", name + b"2"])  # type: ignore[misc]
    files = folder.files()
    files["db.dat"] = files["db.dat"].replace(b"b2", b"!!")
    files["writelog"] = files["writelog"].replace(b"e1", b"!!")
    return files, [b"a1", b"a2", b"b1", b"c1", b"c2", b"d1", b"d2", b"f1", b"f2"]


def test_power_cut_at_every_step_of_a_repair() -> None:
    files, saved = damaged_life()
    whole = FaultyFolder.of(files)
    assert repair(whole, index=index).rows == len(saved)
    for cut in range(1, len(whole.steps) + 1):
        for seed in range(10):
            folder = FaultyFolder.of(files)
            folder.cut = cut
            with pytest.raises(PowerCut):
                repair(folder, index=index)
            found = folder.restarted(random.Random(seed))
            repair(found, index=index)
            store = Store(found, index=index)
            assert verified(store) == saved
            kept = list(found.files().values())
            for name, data in files.items():
                if name in ("db.dat", "writelog"):
                    assert data in kept, (cut, name, "nothing is deleted")
