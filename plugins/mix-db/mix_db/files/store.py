"""The rows of a database, wherever they are: in the write log or in the row files.

One `Store` serves all threads of a process; several processes may each have one on the same folder.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from mix_db.files import rows, write_log
from mix_db.files.errors import DamagedFile, FilesError
from mix_db.files.layer import Folder
from mix_db.files.rows import RowReader
from mix_db.files.write_log import Commit, WriteLog

__all__ = ["Build", "Draft", "Store"]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a commit will be, told to the function that makes its records.

    `number` and `row` are the commit's own and that of its first row. `unsynced` are the commits that go to the
    disk together with this one, before it; `Store.commits` has those before.
    """

    number: int
    row: int
    unsynced: Sequence[Commit]


Build: TypeAlias = Callable[[Draft], Iterable[bytes]]
"""Makes the records of a commit. It is called in any thread, with the write lock held; it must be quick, and must
not commit. What it raises is raised by `Store.commit`, and the commit does not happen."""


@dataclass(eq=False, slots=True)
class _Ticket:
    build: Build
    commit: Commit | None = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class _View:
    """What readers see; replaced as a whole. The lists only grow, and count as far as `commits` and `rows` say."""

    reader: RowReader
    log: WriteLog
    records: list[bytes] = field(default_factory=list)
    commits: int = 0
    rows: int = 0
    last: int = 0


class Store:
    """Opens the files, makes them if there are none, and puts right what a killed writer left.

    Args:
        folder: where they are.
        read_only: change nothing, not even a torn tail.
        timeout: seconds that a writer waits for the write lock.

    Raises:
        DamagedFile: a file is damaged beyond what a crash can do.
        LockTimeout: as for `commit`.
    """

    def __init__(self, folder: Folder, *, read_only: bool = False, timeout: float = 30.0) -> None:
        self._folder = folder
        self._read_only = read_only
        self._timeout = timeout
        self._mutex = threading.Lock()
        self._queue: deque[_Ticket] = deque()
        # Whether the log that is open is known to be durable by content and name.
        self._adopted = False
        if read_only:
            self._view = self._open()
            return
        with folder.lock(timeout):
            if not folder.exists(write_log.NAME):
                if folder.exists(rows.OFFSETS):
                    raise DamagedFile(write_log.NAME, 0, "there are rows, and no log that says how many")
                WriteLog.create(folder, rows.Extent(), 0)
            self._view = self._open()
            self._adopt()

    @property
    def rows(self) -> int:
        """Number of rows committed, as far as this process knows (see `refresh`)."""
        return self._view.rows

    @property
    def last(self) -> int:
        """Number of the last commit."""
        return self._view.last

    def commits(self) -> Sequence[Commit]:
        """The commits that are still in the log, in order."""
        view = self._view
        return view.log.commits[: view.commits]

    def read(self, row: int) -> bytes:
        """The record of a row. `IndexError` if there is none, `DamagedFile` if it is not what was written."""
        view = self._view
        if row < view.reader.extent.rows:
            return view.reader.read(row)
        if row >= view.rows:
            raise IndexError(f"row {row} of {view.rows}")
        return view.records[row - view.reader.extent.rows]

    def refresh(self) -> None:
        """See everything whose commit returned before this call, in whatever process. Waits for no other process."""
        with self._mutex:
            self._reopen()
            self._view.log.refresh()
            self._publish()

    def commit(self, build: Build) -> Commit:
        """Store the records that `build` makes, all or none, and return when they are durable.

        Calls of several threads that wait at the same time share one sync.

        Raises:
            LockTimeout: another process writes for longer than the timeout.
            FilesError: the disk did not take it, or it is too large; it is not stored.
        """
        if self._read_only:
            raise FilesError("expected a database that is open for writing, this one is read-only")
        ticket = _Ticket(build)
        self._queue.append(ticket)
        with self._mutex:
            # Whoever comes first writes for all that wait; the others find their work done.
            if ticket.commit is None and ticket.error is None:
                self._write([self._queue.popleft() for _ in range(len(self._queue))])
        if ticket.error is not None:
            raise ticket.error
        assert ticket.commit is not None
        return ticket.commit

    def flush(self, prepare: Callable[[Sequence[Commit]], None] | None = None) -> int:
        """Move the log's rows to the row files and start a new log; answers how many rows.

        `prepare` gets the commits when their rows are durable and before they leave the log: the place to write
        an index of them. If it raises, nothing has happened.
        """
        if self._read_only:
            raise FilesError("expected a database that is open for writing, this one is read-only")
        with self._mutex, self._folder.lock(self._timeout):
            self._catch_up()
            log = self._view.log
            if not log.commits:
                return 0
            extent = rows.append(self._folder, log.header.extent, (r for c in log.commits for r in c.records))
            if prepare is not None:
                prepare(tuple(log.commits))
            WriteLog.create(self._folder, extent, log.last)
            self._catch_up()
            return extent.rows - log.header.extent.rows

    def close(self) -> None:
        """Nothing is lost without it."""
        with self._mutex:
            self._view.log.close()
            self._folder.close()

    def _write(self, tickets: list[_Ticket]) -> None:
        try:
            with self._folder.lock(self._timeout):
                self._catch_up()
                log = self._view.log
                commits: list[Commit] = []
                accepted: list[_Ticket] = []
                number, row = log.last + 1, log.rows
                for ticket in tickets:
                    try:
                        records = tuple(ticket.build(Draft(number, row, commits)))
                        write_log.check_size(records)
                    except Exception as exc:
                        ticket.error = exc
                        continue
                    commits.append(Commit(number, row, records))
                    accepted.append(ticket)
                    number, row = number + 1, row + len(records)
                if commits:
                    log.append([commit.records for commit in commits])
                    self._publish()
                for ticket, commit in zip(accepted, commits, strict=True):
                    ticket.commit = commit
        except BaseException as exc:
            for ticket in tickets:
                if ticket.error is None:
                    ticket.error = _not_stored(exc)
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
        if not old.is_current():
            self._view = self._open()
            self._adopted = False
            old.close()

    def _open(self) -> _View:
        log = WriteLog(self._folder, write=not self._read_only)
        try:
            reader = RowReader(self._folder, log.header.extent)
            log.refresh()
        except BaseException:
            log.close()
            raise
        # Whole at once: threads that read meanwhile must not see fewer rows than before.
        records = [record for commit in log.commits for record in commit.records]
        return _View(reader, log, records, len(log.commits), log.rows, log.last)

    def _publish(self) -> None:
        view = self._view
        log = view.log
        if view.commits == len(log.commits):
            return
        for commit in log.commits[view.commits :]:
            view.records.extend(commit.records)
        self._view = _View(view.reader, log, view.records, len(log.commits), log.rows, log.last)


def _not_stored(exc: BaseException) -> FilesError:
    if isinstance(exc, FilesError):
        return exc
    # One for each thread: an exception that several raise collects the frames of all.
    error = FilesError(f"the commit is not stored: {exc or type(exc).__name__}")
    error.__cause__ = exc
    return error
