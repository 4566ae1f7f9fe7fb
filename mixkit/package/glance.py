"""What is read of the database of a workspace, and read again only when somebody has written it, in any process."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, TypeVar

from mixkit.package.disk import Mark
from mixkit.storage import Database

__all__ = ["Glance"]

T = TypeVar("T")


class Home(Protocol):
    """Whose database it is."""

    def mark(self) -> Mark | None: ...
    def database(self) -> Database: ...
    def database_at_hand(self) -> Database | None: ...


class _Seen(NamedTuple, Generic[T]):
    """A value, and by what it is seen that the database was written since."""

    mark: Mark | None
    database: weakref.ref[Database]
    watermark: str
    value: T


class Glance(Generic[T]):
    """A value that is made of the database of a workspace. Thread-safe.

    Args:
        home: of which workspace.
        read: makes it; answers the watermark too that it is of.
    """

    def __init__(self, home: Home, read: Callable[[Database], tuple[T, str]]) -> None:
        self.home = home
        self._read = read
        self._seen: _Seen[T] | None = None

    def current(self) -> T | None:
        """The value if nothing was written since it was made, as far as a mark shows. Takes a microsecond."""
        # PERF: asked for every request.
        seen = self._seen
        return None if seen is None or seen.mark is None or seen.mark != self.home.mark() else seen.value

    def at_hand(self) -> T | None:
        """The same, made now if the database is open and was written; else None. Never waits for anybody.

        Raises as `value`, but no `NotFound`.
        """
        found = self.current()
        if found is not None:
            return found
        mark, database = self.home.mark(), self.home.database_at_hand()
        return None if database is None else self._of(mark, database)

    def known(self) -> T | None:
        """The value if it need not be made: `current`, or the database is open and at the same watermark."""
        found = self.current()
        if found is not None:
            return found
        mark, database = self.home.mark(), self.home.database_at_hand()
        return None if database is None else self._still(mark, database)

    def value(self) -> T:
        """The value as it is now.

        Raises:
            NotFound: there is no such workspace.
            StorageError: its database cannot be opened, or what `read` raises.
        """
        # The mark from before the database was asked for: what is read after it is no older.
        return self._of(self.home.mark(), self.home.database())

    def _of(self, mark: Mark | None, database: Database) -> T:
        found = self._still(mark, database)
        if found is None:
            found, watermark = self._read(database)
            self._seen = _Seen(mark, weakref.ref(database), watermark, found)
        return found

    def _still(self, mark: Mark | None, database: Database) -> T | None:
        seen = self._seen
        # A workspace that was deleted and made again may have come to the same watermark.
        if seen is None or seen.watermark != database.watermark() or seen.database() is not database:
            return None
        self._seen = seen._replace(mark=mark)
        return seen.value
