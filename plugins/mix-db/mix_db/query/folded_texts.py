"""The texts of columns without regard to case and accents, kept for the next query while they are few enough.

To fold a text takes twenty times as long as to look for another one in it. Columns of files never change, so that
theirs can be kept as long as the columns themselves are.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakKeyDictionary

from mix_db.index.part import Column, ambiguous
from mix_db.index.segment import SegmentColumn
from mix_db.query.folding import fold

__all__ = ["MAX_KEPT", "folded_texts"]

MAX_KEPT: Final = 1 << 18
"""Most texts that are kept in a process, of all columns together: some 30 MiB."""

_EVERY: Final = 100


class _Kept:
    def __init__(self) -> None:
        self.texts: WeakKeyDictionary[SegmentColumn, list[str | None]] = WeakKeyDictionary()
        self.mutex = threading.Lock()

    def put(self, column: SegmentColumn, texts: list[str | None]) -> None:
        with self.mutex:
            if sum(map(len, self.texts.values())) + len(texts) > MAX_KEPT:
                self.texts.clear()
            self.texts[column] = texts


_kept: Final = _Kept()
# A child must not begin with a lock that nobody will let go of.
os.register_at_fork(
    before=_kept.mutex.acquire,
    after_in_parent=_kept.mutex.release,
    after_in_child=_kept.mutex.release,
)


def folded_texts(column: Column, tick: Callable[[], None]) -> Sequence[str | None]:
    """The folded text of each key of a column, in the order of keys; None where the key is only its beginning.

    Args:
        column: of strings.
        tick: called every hundred keys or so.
    """
    lasting = column if isinstance(column, SegmentColumn) and len(column) <= MAX_KEPT else None
    if lasting is not None and (known := _kept.texts.get(lasting)) is not None:
        return known
    texts: list[str | None] = []
    for place in range(len(column)):
        if not place % _EVERY:
            tick()
        key = column.key(place)
        assert isinstance(key, bytes)
        text = key.decode()
        texts.append(None if ambiguous(text) else fold(text))
    if lasting is not None:
        _kept.put(lasting, texts)
    return texts
