"""Events of live queries: how a change is written, and the first event of a client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from mix_server.errors import BadRequest
from mix_server.size import Size
from mixkit import tagged_json
from mixkit.errors import QueryError
from mixkit.value import Ref

if TYPE_CHECKING:
    from mix_server.question import Question
    from mixkit.storage import Change, Database

__all__ = ["Event", "Writer"]

_LONGEST_WATERMARK: Final = 64
_REMEDY: Final = "follow a query of fewer rows"

Rows = Mapping[str, bytes]
"""Rows by the id of their record, each as JSON."""


class Event:
    """An event as those who send it share it.

    Attributes:
        watermark: the state behind it.
        data: JSON on one line.
        all: it has all rows, and the client is to forget what it knows.
    """

    __slots__ = ("__weakref__", "all", "data", "watermark")

    def __init__(self, watermark: str, data: bytes, *, all: bool = False) -> None:
        self.watermark = watermark
        self.data = data
        self.all = all

    def head(self, knows: bool) -> bytes:
        """What stands before the data for a client that knows rows, or does not."""
        kind = "reset" if self.all and knows else "change"
        return f"event: {kind}\nid: {self.watermark}\ndata: ".encode()


class Writer:
    """Writes the events of a query. In a thread: it reads databases.

    Args:
        limit: bytes of an event.
        seconds: of work that reading all rows may take.
    """

    def __init__(self, database: Database, question: Question, limit: int, seconds: float) -> None:
        self.database = database
        self.question = question
        self._limit = limit
        self._seconds = seconds

    def change(self, change: Change, *, all: bool) -> Event:
        """The event of a change, which has all rows or not. `BadRequest` if it is too large."""
        size = self._size()
        entered = [size.add(_json(row)) for row in change.entered]
        changed = [size.add(_json(row)) for row in change.changed]
        left = [size.add(_json(ref)) for ref in change.left]
        return _event(change.watermark, entered, changed, left, all=all)

    def beginning(self, since: str | None, watermark: str) -> Event:
        """All rows in a state, or how they differ from those at another watermark, which a client knows.

        Raises:
            QueryError: the state cannot be read, or not in time.
            BadRequest: the event is too large.
        """
        known = None if since is None else self._known(since)
        rows = list(self._rows(watermark))
        compared = None if known is None else _compare(known, rows)
        if compared is None:
            return _event(watermark, [text for _, text in rows], [], [], all=True)
        entered, changed, left = compared
        return _event(watermark, entered, changed, [_json(Ref(id)) for id in left])

    def _known(self, since: str) -> Rows | None:
        """What the client knows; None where that cannot be said: history was dropped, rows have no ids."""
        known: dict[str, bytes] = {}
        try:
            for id, text in self._rows(since[:_LONGEST_WATERMARK]):
                if id is None:
                    return None
                known[id] = text
        except (QueryError, BadRequest):
            # If it is the query that is wrong, following it has said so.
            return None
        return known

    def _rows(self, watermark: str) -> Iterator[tuple[str | None, bytes]]:
        size = self._size()
        question = self.question
        reader = self.database.as_of(watermark)
        with reader.query(question.source, question.params, timeout=self._seconds) as cursor:
            for row in cursor:
                yield _id_of(row), size.add(_json(row))

    def _size(self) -> Size:
        return Size(self._limit, _REMEDY)


def _event(
    watermark: str, entered: list[bytes], changed: list[bytes], left: list[bytes], *, all: bool = False
) -> Event:
    named = {"entered": entered, "changed": changed, "left": left}
    lists = b"".join(b',"%s":[%s]' % (name.encode(), b",".join(items)) for name, items in named.items())
    return Event(watermark, b'{"watermark":%s%s}' % (_json(watermark), lists), all=all)


def _compare(
    known: Rows, rows: list[tuple[str | None, bytes]]
) -> tuple[list[bytes], list[bytes], list[str]] | None:
    """What entered, changed and left between what was known and the rows now; None if rows have no ids."""
    entered, changed, seen = [], [], set()
    for id, text in rows:
        if id is None:
            return None
        seen.add(id)
        if id not in known:
            entered.append(text)
        elif known[id] != text:
            changed.append(text)
    return entered, changed, [id for id in known if id not in seen]


def _id_of(row: Any) -> str | None:
    ref = row.get("_rmx_id") if type(row) is dict else None
    return ref.id if type(ref) is Ref else None


def _json(value: Any) -> bytes:
    return tagged_json.dumps(value).encode()
