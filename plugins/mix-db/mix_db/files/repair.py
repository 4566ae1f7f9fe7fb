"""Repair: every row that is intact is saved into a new generation of the files.

What `check` finds intact is saved: the rows of the row files and the commits of the write log, those behind the damage
included. Rows are numbered anew, without gaps. Nothing is deleted: all files of before get second names, as
`db.dat.damaged-20270131T235959Z`, before the new generation takes their place in one step, so a crash at any moment
leaves either the damaged database or the repaired one. Damage of the index alone leaves the rows where they are.

What is there afterwards is the truth from then on: its sums are those of the rows that were saved. Where commits that
were acknowledged are missing, the horizon says that nobody can look back behind the repair.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from mix_db.files import names, segments, write_log
from mix_db.files.check import (
    CheckSegment,
    Finding,
    check,
    log_content,
    newest_generation,
    read_log,
    read_rows,
    whole_extent,
)
from mix_db.files.errors import DamagedFile, explained
from mix_db.files.generation import NewGeneration
from mix_db.files.layer import Folder
from mix_db.files.rows import Extent, RowReader
from mix_db.files.segments import MakeIndex
from mix_db.files.witness import Witness
from mix_db.files.write_log import Commit, Header, WriteLog

__all__ = ["CommitOf", "Report", "Salvage", "repair"]

Salvage: TypeAlias = Callable[[Iterable[tuple[int | None, bytes]]], Iterable[bytes]]
"""Makes the new rows of those that were saved, in their order. It gets each with its old number, or None where the
damage leaves that unknown, and may leave rows out."""

CommitOf: TypeAlias = Callable[[bytes], int]
"""The number of the commit that a record says it belongs to. With `ValueError`, `LookupError` or `TypeError` it says
that the record is none, which is then left out."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a repair has done.

    Attributes:
        rows: how many rows there are now.
        lost: how many rows of the row files could not be saved; where no log says how many there were, of those
            that there may have been.
        findings: what was damaged, the first of them; a commit of the log that is not whole is lost with its rows.
        aside: the names under which the files of before are kept; empty if nothing was damaged.
        last: number of the last commit.
    """

    rows: int
    lost: int
    findings: tuple[Finding, ...]
    aside: tuple[str, ...]
    last: int


@dataclass(frozen=True, slots=True)
class _Old:
    """What is known of the database to be repaired."""

    header: Header | None
    extent: Extent
    commits: tuple[tuple[Commit, bool], ...]
    """Each with whether its rows are numbered rightly."""

    @property
    def last(self) -> int:
        return max((commit.number for commit, _ in self.commits), default=0)


def repair(
    folder: Folder,
    *,
    salvage: Salvage | None = None,
    commit_of: CommitOf | None = None,
    index: MakeIndex | None = None,
    check_segment: CheckSegment | None = None,
    timeout: float = 30.0,
) -> Report:
    """Save what is intact. Stores that are open see the repaired database from their next `refresh` on.

    Args:
        folder: where the files are; `db.dat`, `db.off` and `db.sum` alone are enough.
        salvage: makes new rows of the old ones, whose numbers change; None takes them as they are.
        commit_of: needed where the header of the write log is gone, to go on counting and to recognise rows that
            are both in the row files and in the log.
        index: makes index segments; None leaves that to the next opening for writing.
        check_segment: finds damage in segments whose checksums are right.
        timeout: seconds to wait for each of the three locks.

    Raises:
        FileNotFoundError: there is nothing to repair.
        FormatVersion: another version of mixkit wrote it.
        LockTimeout: another process writes.
        FilesError: the operating system refuses; nothing has changed.
    """
    if not folder.exists(write_log.NAME) and newest_generation(folder) is None:
        raise FileNotFoundError("there is no database to repair")
    with (
        explained("the database cannot be repaired"),
        folder.lock(timeout, names.MERGE),
        folder.lock(timeout, names.FLUSH),
        folder.lock(timeout, names.LOCK),
    ):
        findings = tuple(check(folder, check_segment))
        old = _old(folder)
        if not findings:
            return Report(old.extent.rows + _count(old), 0, (), (), old.last)
        harmed = {place.file for finding in findings for place in finding.places}
        if old.header is not None and all(name.endswith((".seg", ".idx")) for name in harmed):
            return _repair_index(folder, old, findings, harmed, index)
        return _repair_rows(folder, old, findings, salvage, commit_of, index)


def _repair_index(
    folder: Folder, old: _Old, findings: tuple[Finding, ...], harmed: set[str], index: MakeIndex | None
) -> Report:
    aside = _set_aside(folder, sorted(harmed))
    if index is not None:
        segments.rebuild(folder, RowReader(folder, old.extent), index, distrusted=harmed)
    else:
        for name in harmed:
            if folder.exists(name):
                folder.remove(name)
        folder.sync()
    return Report(old.extent.rows + _count(old), 0, findings, aside, old.last)


def _repair_rows(
    folder: Folder,
    old: _Old,
    findings: tuple[Finding, ...],
    salvage: Salvage | None,
    commit_of: CommitOf | None,
    index: MakeIndex | None,
) -> Report:
    olds = sorted(name for name in folder.listing() if _counts(name))
    newest = max((names.family(name) or 0 for name in folder.listing()), default=0)
    # A commit that is lost was known to somebody by its number, which must not come back. One more is that of the
    # repair itself: of what there is up to it no witness from before can speak.
    witness = Witness.read(folder)
    last = old.last + sum(place.file == write_log.NAME for f in findings for place in f.places)
    last = max(last, witness.number if witness else 0)
    found = 0

    def saved() -> Iterator[tuple[int | None, bytes]]:
        nonlocal found, last
        first = old.commits[0][0].number if old.commits else None
        for row in read_rows(folder, old.extent):
            if isinstance(row, Finding):
                continue
            if commit_of is not None:
                try:
                    number = commit_of(row.record)
                except (ValueError, LookupError, TypeError):
                    continue
                if old.header is None and first is not None and number >= first:
                    # Left by a flush that did not get to its end: it is in the log, too.
                    found += 1
                    continue
                last = max(last, number)
            found += 1
            yield row.number, row.record
        for commit, numbered in old.commits:
            for place, record in enumerate(commit.records):
                yield (commit.row + place if numbered else None), record

    new = NewGeneration(folder, newest + 1, index)
    switched = False
    try:
        new.append((record for _, record in saved()) if salvage is None else salvage(saved()))
        extent = new.finish()
        aside = _set_aside(folder, olds)
        last += 1
        lost = max(0, old.extent.rows - found)
        # Without them nobody can say what the database was like before.
        if lost or old.header is None or any(finding.lost for finding in findings):
            horizon, horizon_time = last, time.time_ns() // 1_000_000
        else:
            horizon, horizon_time = old.header.horizon, old.header.horizon_time
        dropped = old.header.dropped if old.header else 0
        WriteLog.create(folder, Header.new(extent, last, horizon, horizon_time, dropped))
        switched = True
        folder.sync()
    except BaseException:
        if not switched:
            new.remove()
        raise
    for name in olds:
        if name != write_log.NAME:
            folder.remove(name)
    folder.sync()
    return Report(extent.rows, lost, findings, aside, last)


def _old(folder: Folder) -> _Old:
    log = log_content(folder) or b""
    header = None
    commits: list[tuple[Commit, bool]] = []
    try:
        header = Header.unpack(log[: write_log.HEADER_SIZE])
    except DamagedFile:
        generation = newest_generation(folder)
        extent = Extent() if generation is None else whole_extent(folder, generation)
        found: Iterable[Commit | Finding] = _headless(log)
        numbered = False
    else:
        extent, numbered = header.extent, True
        commits.append((Commit(header.commit, extent.rows, ()), True))
        found = read_log(header, log)
    for each in found:
        if isinstance(each, Finding):
            numbered = False
        else:
            commits.append((each, numbered))
    return _Old(header, extent, tuple(commits))


def _headless(log: bytes) -> Iterator[Commit | Finding]:
    """The commits of a log without a header. Its mark is before the first frame, and in the header, if that is left."""
    for mark in (log[write_log.MARK], log[write_log.HEADER_SIZE : write_log.HEADER_SIZE + 4]):
        header = Header(mark, Extent(), 0)
        if len(mark) == 4 and (frame := write_log.find_frame(header, log, write_log.HEADER_SIZE)):
            yield from read_log(header, log, *frame)
            return


def _set_aside(folder: Folder, olds: Iterable[str]) -> tuple[str, ...]:
    """Give the files second names, durably."""
    olds = [name for name in olds if folder.exists(name)]
    time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    suffix, number = f".damaged-{time}", 1
    while any(folder.exists(name + suffix) for name in olds):
        number += 1
        suffix = f".damaged-{time}-{number}"
    for name in olds:
        folder.link(name, name + suffix)
    folder.sync()
    return tuple(name + suffix for name in olds)


def _counts(name: str) -> bool:
    return name == write_log.NAME or (names.family(name) is not None and not name.endswith(names.NEW))


def _count(old: _Old) -> int:
    return sum(len(commit.records) for commit, _ in old.commits)
