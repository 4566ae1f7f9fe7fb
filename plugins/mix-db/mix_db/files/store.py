"""The rows of a database, wherever they are: in the write log or in the row files; and the segments of its index.

One `Store` serves all threads of a process; several processes may each have one on the same folder. Readers take
`Store.view` and work on that.

What happens in what order, so that a crash anywhere leaves the state before or the one after:

    commit    the frames are written to the log and synced
    flush     the rows are durable behind the present ones, and a segment of them;
              under the write lock: the manifest with the segment; then the log, which counts the rows
    merge     the merged segment is durable;
              under the write lock: the manifest with it instead of the others, which are then removed
    compact   see `mix_db.files.compaction`
What a crash leaves behind counts for nothing, and is removed when a database is next opened for writing.

What holds whatever processes do at the same time, and are killed at. `mix_db.files.guard` checks it at each step:

    locks     are waited for in the order MERGE, FLUSH, LOCK. Nothing that was seen before a lock is taken is believed
              behind it but what that lock, or one already held, keeps as it is
    LOCK      who has it alone changes the log, the manifest in force and the witness, and puts another log in place
    FLUSH     who has it alone writes behind the rows that count; those that count are never written over, in no case
    MERGE     who has it alone writes segments of rows that count, and files of another generation. With all three it
              puts that in force, so that under MERGE row numbers mean the same, and under FLUSH as many rows are in
              the row files
    log       begins behind the rows of the row files; each commit follows the one before by one, and carries the sum
              of the checksums of all rows of the generation. An intact commit is neither written over nor cut off
    switch    another log has all commits that the present one has, in itself or in the row files: their numbers, the
              number of their rows, those that a compaction has dropped included, and in the same generation their
              sum. The horizon does not go back. What it counts is durable before
    segments  those that the manifest lists are there; they cover the rows that count, each once. It lists them before
              a log counts their rows, and no longer before they are removed
    witness   is not ahead of the log: a log that lacks what it says is refused
    recovery  cuts off what no later commit and not the witness knows, and syncs the rest before it builds on it
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeAlias

from mix_db.files import compaction, names, rows, segments, write_log
from mix_db.files.compaction import MakePlan
from mix_db.files.errors import DamagedFile, FilesError, LockTimeout, explained, os_error
from mix_db.files.layer import Folder
from mix_db.files.manifest import Entry, Manifest
from mix_db.files.rows import RowReader
from mix_db.files.segments import MakeIndex, SegmentFile
from mix_db.files.view import View
from mix_db.files.witness import Witness, Writer, forget
from mix_db.files.write_log import Commit, Header, WriteLog

__all__ = ["Build", "Draft", "MakeSegment", "Store"]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a commit will be, told to the function that makes its records.

    `number` and `row` are the commit's own and that of its first row. `unsynced` are the commits that go to the
    disk together with this one, before it; `view` has those before.
    """

    number: int
    row: int
    unsynced: Sequence[Commit]
    view: View


Build: TypeAlias = Callable[[Draft], Iterable[bytes]]
"""Makes the records of a commit.

It is called once, in any thread, with the write lock held; it must be quick, and must neither commit nor refresh.
Those of calls that wait at the same time are called one after the other in the order of their commit numbers. What it
raises is raised by `Store.commit`; that commit does not happen, and the next one gets its number and row. When the
disk refuses the write afterwards, every commit of the group fails, also those whose `Build` has long returned, and the
numbers and rows are given again: nothing that a `Build` prepares may be believed before its `Store.commit` returns or
a view has the commit."""

MakeSegment: TypeAlias = Callable[[Sequence[Commit]], Iterable[bytes]]
"""Makes the content of the index segment of the commits' rows, in parts of any size.

It is called with the write lock held, when the view has these commits and no later ones, and must be quick; the parts
are asked for when no lock is held that a commit or reader waits for."""


@dataclass(eq=False, slots=True)
class _Ticket:
    """A commit that waits. `wake` is held until it is stored or refused, or must write for all that wait."""

    build: Build
    wake: threading.Lock = field(default_factory=threading.Lock)
    leads: bool = False
    commit: Commit | None = None
    error: BaseException | None = None


class Store:
    """Opens the files, makes them if there are none, and puts right what a killed writer left.

    Args:
        folder: where they are.
        read_only: change nothing, not even a torn tail.
        timeout: seconds that a writer waits for the write lock.
        index: makes an index segment from rows. Then views have segments; those that are missing or visibly
            damaged are made again when the store is opened for writing, with a warning in the log.

    Raises:
        FileNotFoundError: there is no database in the folder, and it is opened read-only.
        DamagedFile: a file is damaged beyond what a crash can do; also in its index, when opened read-only.
        FormatVersion: another version of mixkit wrote it.
        LockTimeout: as for `commit`.
        FilesError: the operating system refuses; the message says why and what to do.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        read_only: bool = False,
        timeout: float = 30.0,
        index: MakeIndex | None = None,
    ) -> None:
        self.folder = folder
        self.index = index
        self.timeout = timeout
        self.read_only = read_only
        # Held for long: whoever changes files, in the order of the locks of `names`. Held shortly: `_mutex`, by
        # whoever replaces the view; never while a commit, flush or merge waits for the disk.
        self._turn = threading.Lock()
        self._mutex = threading.Lock()
        # Commits that wait, and whether one of them is at it; both under `_gate`.
        self._queue: deque[_Ticket] = deque()
        self._led = False
        self._gate = threading.Lock()
        # Whether the log that is open is known to be durable by content and name.
        self._adopted = False
        # Whether this process has the write lock and has seen everything, so that nothing can be new.
        self._exclusive = False
        self._witness = Writer(folder)
        self._view: View
        with _explained_opening():
            if read_only:
                self._check_there()
                self._view = self._open(None)
                return
            try:
                self._begin()
            except DamagedFile:
                if index is None:
                    raise
                # If it is only the index, it is made again; by nobody else at the same time, and while nobody merges.
                with folder.lock(timeout, names.MERGE):
                    self._begin(rebuild=True)

    def _begin(self, *, rebuild: bool = False) -> None:
        """Open for writing; `rebuild` the index where it is damaged, for which it needs the lock MERGE."""
        with self.folder.lock(self.timeout):
            if not self.folder.exists(write_log.NAME):
                self._check_there(create=True)
                forget(self.folder)
                WriteLog.create(self.folder, Header.new(rows.Extent(), 0))
            self._view = self._open(None, rebuild=rebuild)
            self._adopt()
            self.sweep()

    @property
    def view(self) -> View:
        """Everything committed, as far as this process knows (see `refresh`)."""
        return self._view

    @property
    def rows(self) -> int:
        """Number of rows of the view."""
        return self._view.rows

    @property
    def last(self) -> int:
        """Number of the last commit of the view."""
        return self._view.last

    def commits(self) -> Sequence[Commit]:
        """The commits of the view that are still in the log, in order."""
        return self._view.commits

    def read(self, row: int) -> bytes:
        """The record of a row of the view, as `View.read`."""
        return self._view.read(row)

    def refresh(self) -> View:
        """See everything whose commit returned before this call, in whatever process; answers the view of it.

        Waits for no other process. When nothing has changed it is a look at the folder, and one at the log.

        Raises:
            DamagedFile: what other processes have written is damaged.
            FilesError: the files cannot be opened.
        """
        view = self._view
        if self._exclusive or self._is_newest(view):
            return view
        with explained("the database cannot be read"), self._mutex:
            if not self._exclusive:
                self._reopen()
                self._view.log.refresh()
                self._publish()
            return self._view

    def commit(self, build: Build) -> Commit:
        """Store the records that `build` makes, all or none, and return when they are durable.

        Calls of several threads that wait at the same time share one sync.

        Raises:
            LockTimeout: another process writes for longer than the timeout.
            FilesError: the disk did not take it, or it is too large; it is not stored, unless the message says
                that this is in doubt.
        """
        self.check_writable()
        ticket = _Ticket(build)
        ticket.wake.acquire()
        with self._gate:
            self._queue.append(ticket)
            ticket.leads, self._led = not self._led, True
        # Whoever comes first writes for all that wait. The others wait each for its own, not for a lock in common,
        # so that nobody whose commit is stored waits for the next sync, too.
        try:
            if not ticket.leads:
                ticket.wake.acquire()
            if ticket.leads:
                self._lead(ticket)
        finally:
            self._give_up(ticket)
        if ticket.commit is None:
            raise ticket.error or FilesError(
                "the commit is not stored: the thread that wrote was interrupted"
            )
        return ticket.commit

    def flush(self, make_segment: MakeSegment | None = None) -> int:
        """Move the log's rows to the row files and start a new log; answers how many rows.

        What is committed meanwhile stays in the log: the write lock is held at the beginning to see what there is,
        and at the end for the switch. If `make_segment` raises, nothing has happened. Without one, the store's
        `index` makes the segment, if it has one.

        Raises:
            LockTimeout: another process flushes, or writes, for longer than the timeout.
            FilesError: the operating system refuses; no row is lost, and a later flush does what is left to do.
        """
        self.check_writable()
        with explained("the write log cannot be flushed"), self.folder.lock(self.timeout, names.FLUSH):
            with self.writing() as view:
                commits, header = view.commits, view.log.header
                if not commits:
                    return 0
                first, stop = header.extent.rows, commits[-1].row + len(commits[-1].records)
                content = make_segment(commits) if make_segment and stop > first else None
            extent = rows.append(self.folder, header.extent, (r for c in commits for r in c.records))
            entry = None
            if content is None and self.index and stop > first:
                content = self.index(first, (r for c in commits for r in c.records))
            if content is not None:
                entry = segments.write(self.folder, extent.generation, first, stop, content)
            with self.writing() as view:
                if entry is not None:
                    self._list(lambda entries: (*entries, entry))
                last = commits[-1].number
                if extent.sum != commits[-1].sum:
                    raise FilesError(
                        f"the write log cannot be flushed: {stop - first} rows were written that do not add up"
                        f" to those of its commits up to {last}; nothing has changed"
                    )
                after = Header.new(extent, last, header.horizon, header.horizon_time, header.dropped)
                WriteLog.create(self.folder, after, view.since(last))
                self.switched()
            return stop - first

    def merge(
        self, merged: Sequence[SegmentFile], make: Callable[[], Iterable[bytes]], *, timeout: float = 0.0
    ) -> bool:
        """Put one segment in the place of several that follow each other; answers whether that happened.

        `make` makes the content, in parts of any size, with no lock held that a commit, flush or reader waits for.
        It does not happen, and `view` is a new one, if those segments are not in force; and not if another process
        or thread merges or compacts for longer than `timeout` seconds.

        Raises:
            LockTimeout: another process writes for longer than the store's timeout.
            FilesError: the operating system refuses; nothing has happened.
        """
        self.check_writable()
        olds = tuple(segment.entry for segment in merged)
        if not olds or any(one.stop != two.start for one, two in pairwise(olds)):
            raise ValueError(f"expected segments that follow each other, found {[s.name for s in merged]}")
        with explained("index segments cannot be merged"), contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self.folder.lock(timeout, names.MERGE))
            except LockTimeout:
                return False
            with self.writing() as view:
                if not self._lists(view, merged):
                    return False
            start, stop, generation = olds[0].start, olds[-1].stop, view.generation
            entry = segments.write(self.folder, generation, start, stop, make())
            # A manifest must not outlive a power cut that the segment does not.
            self.folder.sync()
            with self.writing() as view:
                if not self._lists(view, merged):
                    return False
                self._list(lambda entries: (*(e for e in entries if e not in olds), entry))
                self._renew()
                for old in olds:
                    if old.stop - old.start != stop - start:
                        self._discard(names.segment(generation, old.start, old.stop))
            return True

    def compact(self, make_plan: MakePlan) -> bool:
        """Write all rows anew, as the plan says, and switch over in one step; commit numbers go on.

        Answers whether there was a plan. While the plan is made, and its `rewrite` called for the first time, commits
        and flushes go on.

        Raises:
            LockTimeout: another process merges, compacts, flushes or writes for longer than the timeout.
            FilesError: the operating system refuses; the old state is in force.
        """
        self.check_writable()
        return compaction.compact(self, make_plan)

    @contextlib.contextmanager
    def writing(self) -> Iterator[View]:
        """The write lock, for the time of a `with`, and everything seen; for the parts of this package."""
        with self._turn, self.folder.lock(self.timeout):
            with self._mutex:
                self._catch_up()
                self._exclusive = True
            try:
                yield self._view
            finally:
                self._exclusive = False

    def switched(self) -> None:
        """Take up the log that was just put in place. Needs `writing`."""
        with self._mutex:
            self._catch_up()

    def sweep(self) -> None:
        """Remove what unfinished flushes, merges and compactions have left. Needs the write lock."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self.folder.lock(0, names.FLUSH))
                stack.enter_context(self.folder.lock(0, names.MERGE))
            except LockTimeout:
                # Somebody is at it; what looks left over may be theirs.
                return
            self.remove_leftovers()

    def remove_leftovers(self) -> None:
        """Remove the files that do not count. Needs all three locks."""
        generation = self._view.generation
        kept = None if self.index is None else {segment.name for segment in self._view.segments}
        for name in self.folder.listing():
            if (family := names.family(name)) is None and name != write_log.NAME + names.NEW:
                continue
            stale = name.endswith(".idx") and kept is not None and name not in kept
            if family != generation or name.endswith(names.NEW) or stale:
                self._discard(name)

    def close(self) -> None:
        """Nothing is lost without it."""
        with self._turn, self._mutex:
            self._view.log.close()
            self._witness.close()
            self.folder.close()

    def check_writable(self) -> None:
        if self.read_only:
            raise FilesError("expected a database that is open for writing, this one is read-only")

    def _discard(self, name: str) -> None:
        """Remove a file that does not count any more, if that can be done; otherwise the next writer sweeps it."""
        with contextlib.suppress(OSError):
            self.folder.remove(name)

    def _check_there(self, *, create: bool = False) -> None:
        if self.folder.exists(write_log.NAME):
            return
        if any(names.family(name) is not None for name in self.folder.listing()):
            raise DamagedFile(
                write_log.NAME,
                0,
                "there are rows, and no log that says how many",
                "mixkit db repair saves them",
            )
        if not create:
            raise FileNotFoundError(f"there is no database: expected a file {write_log.NAME}")

    def _lead(self, ticket: _Ticket) -> None:
        """Write for all that wait."""
        tickets: list[_Ticket] = []
        try:
            with self._turn:
                with self._gate:
                    tickets.extend(self._queue)
                    self._queue.clear()
                self._write(tickets)
        finally:
            for each in tickets:
                if each is not ticket:
                    each.wake.release()

    def _give_up(self, ticket: _Ticket) -> None:
        """The ticket's thread waits and writes no more; if it was to lead, the next one does."""
        if ticket.commit is not None and not ticket.leads:
            return
        with self._gate:
            if ticket in self._queue:
                self._queue.remove(ticket)
            if not ticket.leads:
                return
            ticket.leads = False
            self._led = bool(self._queue)
            if self._queue:
                self._queue[0].leads = True
                self._queue[0].wake.release()

    def _write(self, tickets: list[_Ticket]) -> None:
        doubt = False
        try:
            # Not `writing`: the turn is taken already.
            with self.folder.lock(self.timeout):
                with self._mutex:
                    self._catch_up()
                    self._exclusive = True
                try:
                    view = self._view
                    log = view.log
                    commits: list[Commit] = []
                    accepted: list[_Ticket] = []
                    number, row = log.last + 1, log.rows
                    for ticket in tickets:
                        try:
                            records = tuple(ticket.build(Draft(number, row, commits, view)))
                            write_log.check_size(records)
                        except Exception as exc:
                            ticket.error = exc
                            continue
                        commits.append(Commit(number, row, records))
                        accepted.append(ticket)
                        number, row = number + 1, row + len(records)
                    if commits:
                        try:
                            commits = log.append([commit.records for commit in commits])
                        finally:
                            doubt = log.broken and log.is_current()
                        self._witness.write(log.header, commits[-1])
                        with self._mutex:
                            self._publish()
                    for ticket, commit in zip(accepted, commits, strict=True):
                        ticket.commit = commit
                finally:
                    self._exclusive = False
        except BaseException as exc:
            for ticket in tickets:
                if ticket.error is None:
                    ticket.error = _not_stored(exc, doubt)
            if not isinstance(exc, Exception):
                raise

    def _catch_up(self) -> None:
        """See everything, with the write lock held: what is not whole now will never be."""
        self._reopen()
        if not self._adopted:
            self._adopt()
        else:
            self._view.log.recover()
            self._publish()

    def _adopt(self) -> None:
        self._view.log.recover()
        self._view.log.sync()
        self._adopted = True
        self._publish()

    def _reopen(self) -> None:
        old = self._view.log
        if old.broken or not old.is_current():
            self._view = self._open(self._view)
            self._adopted = False
            old.close()

    def _is_newest(self, view: View) -> bool:
        """Whether its log is in force, and nothing was written behind what the view has of it."""
        try:
            if view.log.grown(view.end):
                return False
        except OSError:
            # Another thread has closed it, as another one is in force.
            return False
        # A file that was replaced has another inode, as long as it is open: if not, the view is not this any more.
        return view.log.is_current() and view is self._view

    def _renew(self) -> None:
        """See the segments that are in force now. Needs `writing`."""
        with self._mutex:
            self._view = replace(self._view, segments=self._segments(self._view, self._view.log.header))

    def _open(self, before: View | None, *, rebuild: bool = False) -> View:
        """`rebuild` needs the lock MERGE, and the write lock."""
        while True:
            witness = Witness.read(self.folder)
            log = WriteLog(self.folder, write=not self.read_only)
            try:
                header = log.header
                reader = RowReader(self.folder, header.extent)
                try:
                    found = self._segments(before, header)
                except DamagedFile:
                    if not rebuild or self.index is None:
                        raise
                    segments.rebuild(self.folder, reader, self.index)
                    found = self._segments(before, header)
                log.refresh()
                if witness is not None:
                    witness.check(log)
            except BaseException as exc:
                current = log.is_current()
                log.close()
                if isinstance(exc, DamagedFile) and not current:
                    # They were not damaged, but replaced while we looked.
                    continue
                raise
            break
        # Whole at once: threads that read meanwhile must not see fewer rows than before.
        records = [record for commit in log.commits for record in commit.records]
        extent = header.extent
        return View(
            rows=log.rows,
            last=log.last,
            generation=extent.generation,
            horizon=header.horizon,
            horizon_time=header.horizon_time,
            extent_rows=extent.rows,
            segments=found,
            reader=reader,
            records=records,
            log=log,
            count=len(log.commits),
            end=log.end,
        )

    def _segments(self, before: View | None, header: Header) -> tuple[SegmentFile, ...]:
        if self.index is None:
            return ()
        extent = header.extent
        known = {segment.entry: segment for segment in before.segments} if before else {}
        if before is not None and before.generation != extent.generation:
            known = {}
        return segments.open_all(self.folder, extent.generation, extent.rows, known)

    def _publish(self) -> None:
        view = self._view
        log = view.log
        if view.count == len(log.commits):
            return
        for commit in log.commits[view.count :]:
            view.records.extend(commit.records)
        self._view = view.grown(log.rows, log.last, len(log.commits), log.end)

    def _manifest(self) -> Manifest:
        """The segments that are in force. Needs `writing`."""
        extent = self._view.log.header.extent
        if not extent.rows or not self.folder.exists(names.manifest(extent.generation)):
            return Manifest(extent.generation)
        return Manifest.read(self.folder, extent.generation).counted(extent.rows)

    def _lists(self, view: View, merged: Sequence[SegmentFile]) -> bool:
        listed = self._manifest().entries
        if all(
            s.entry in listed and s.name == names.segment(view.generation, s.start, s.stop) for s in merged
        ):
            return True
        self._renew()
        return False

    def _list(self, change: Callable[[tuple[Entry, ...]], tuple[Entry, ...]]) -> None:
        """Put a changed manifest in place, durably. Needs `writing`."""
        manifest = self._manifest()
        entries = sorted(change(manifest.entries), key=lambda entry: entry.start)
        Manifest(manifest.generation, tuple(entries)).write(self.folder)
        # Before the log that counts on it, and before what it no longer lists is removed.
        self.folder.sync()


@contextlib.contextmanager
def _explained_opening() -> Iterator[None]:
    with explained("the database cannot be opened"):
        try:
            yield
        except FileNotFoundError as exc:
            missing = exc
        else:
            return
    raise missing


def _not_stored(exc: BaseException, doubt: bool) -> FilesError:
    if isinstance(exc, FilesError):
        return exc
    # One for each thread: an exception that several raise collects the frames of all.
    failed = "it is in doubt whether the commit is stored" if doubt else "the commit is not stored"
    if isinstance(exc, OSError):
        return os_error(failed, exc)
    error = FilesError(f"{failed}: {exc or type(exc).__name__}")
    error.__cause__ = exc
    return error
