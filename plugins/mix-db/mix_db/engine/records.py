"""What a call of save or delete writes: from the records given to the versions stored.

Most of the work needs no other record and is done before anybody waits: checks, ids, packing. The rest, which
depends on what is there, is done by `build` under the write lock. Both only compute; nothing here writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn, Protocol

from mix_db.engine.conditions import Unchanged, read_rev
from mix_db.engine.fields import check_fields
from mix_db.engine.ids import is_well_formed, new_ids
from mix_db.versions.given import client_part, take
from mix_db.versions.version import (
    Fields,
    client_fields,
    is_tombstone,
    packer,
    read_fields,
    read_version,
    split,
    stamp,
    unstamped,
)
from mixkit._codec_py import GUARDED, INVALID
from mixkit._fault import step
from mixkit.codec import scan
from mixkit.errors import RecordError
from mixkit.record import PackedRecord
from mixkit.storage import SaveOptions
from mixkit.value import Case, Ref, find_fault

__all__ = ["MAX_ID", "MAX_NAME", "Deleting", "Known", "Newest", "Saving", "read_id"]

MAX_NAME: Final = 1_024
"""Longest name of a field, in bytes of UTF-8."""

MAX_ID: Final = 255
"""Longest id, in characters: the index knows all of it."""


class Known(Protocol):
    """Which records there are."""

    def row_of(self, id: str) -> int | None:
        """The newest row of a record, which may be a tombstone."""
        ...


class Newest(Known, Protocol):
    """The newest versions of records, those of the commits that are just being written included."""

    def stored(self, row: int) -> bytes: ...


_Item = tuple[str, bool, Fields]
"""One record given: its id; whether that is new, so that there is nothing to look up; its fields."""


class Saving:
    """One call of save.

    Args:
        records: as the caller gave them. They are read until `build` is done.
        options: how ids are treated.
        known: looks what there is now. Asked if a record has an id of another form than ours: it is temporary only
            if no record has it.
        max_size: most bytes that a version may have.
        max_fields: most different fields that they may have together.

    Raises:
        RecordError: a record is refused.
    """

    def __init__(
        self,
        records: Sequence[Mapping[str, Any]],
        options: SaveOptions,
        known: Callable[[], Known],
        max_size: int,
        max_fields: int,
    ) -> None:
        self._options = options
        self._max_size = max_size
        self._max_fields = max_fields
        self._given = [_checked(record, i) for i, record in enumerate(_listed(records))]
        self._unusual = {text for _, text in self._given if text is not None and self._is_unusual(text)}
        self._arrange(_among(self._unusual, known()) if self._unusual else set())
        self.answers: list[int | None] = []
        """After `build`: the row of each record given."""
        self.size: int
        """Bytes of the fields given, as they are packed."""
        self.written: dict[str, int] = {}
        """After `build`: the newest row of each record that it wrote."""

    def build(self, newest: Newest, row: int, number: int, milliseconds: int) -> list[bytes]:
        """The versions to store, of which the first gets the row `row`. May be none.

        Raises:
            Conflict: a record is not as it was read.
            RecordError: a record that was laid over its old version is too large.
        """
        if self._unusual and (own := _among(self._unusual, newest)) != self._own:
            # Another commit has stored such a record, or dropped all of it, since it was looked.
            self._arrange(own)
        _check(self._conditions, newest)
        version = stamp(number, milliseconds)
        made: list[bytes] = []
        written: dict[str, int] = {}
        answers: list[int | None] = []
        for index, (id, is_fresh, given) in enumerate(self._items):
            fields, previous = given, None
            if not is_fresh:
                previous = written.get(id)
                if previous is None:
                    previous = newest.row_of(id)
                if previous is not None:
                    if self._options.keep_original:
                        answers.append(previous)
                        continue
                    if self._options.upsert:
                        old = newest.stored(previous) if previous < row else made[previous - row]
                        fields = self._laid_over(old, id, given, index)
            here = row + len(made)
            made.append(version(fields, previous, False))
            written[id] = here
            answers.append(here)
        self.answers, self.written = answers, written
        return made

    def _arrange(self, own: set[str]) -> None:
        """Prepare all that needs no other record, where `own` are the ids of the client's own choice."""
        self._own = own
        self._temporary = self._unusual - own
        self._items = self._prepare(self._given)
        self._conditions = self._read_conditions(self._given) if self._options.unchanged else ()

    def _prepare(self, given: Sequence[_Given]) -> list[_Item]:
        kept = [text is not None and not self._is_temporary(text) for _, text in given]
        fresh = iter(new_ids(kept.count(False)))
        temporary: dict[str, str] = {}
        ids: list[tuple[str, bool]] = []
        for own, (_, text) in zip(kept, given, strict=True):
            if text is None:
                ids.append((next(fresh), True))
            elif own:
                ids.append((_checked_id(text, len(ids)), False))
            else:
                new = next(fresh)
                ids.append((temporary.setdefault(text, new), temporary[text] is new))
        pack = packer((lambda id: temporary.get(id, id)) if temporary else None)
        items: list[_Item] = []
        size = paths = 0
        for index, ((record, _), (id, is_fresh)) in enumerate(zip(given, ids, strict=True)):
            if type(record) is PackedRecord and not temporary:
                packed = record.msgpack()
            else:
                packed = _packed(pack, record if type(record) is dict else dict(record), index)
            count, fields, own_size, longest, more = take(packed, id)
            if own_size > self._max_size:
                self._check_size(own_size, index)
            if longest > MAX_NAME:
                _check_names(client_part(record), f"$[{index}]")
            size, paths = size + own_size, paths + more
            items.append((id, is_fresh, (count, fields)))
        self.size = size
        # Paths that occur again are counted here too, so that most calls need no other count.
        if paths > self._max_fields:
            check_fields((client_part(record) for record, _ in given), self._max_fields)
        return items

    def _read_conditions(self, given: Sequence[_Given]) -> list[Unchanged]:
        conditions: list[Unchanged] = []
        for index, (record, id) in enumerate(given):
            if id is not None and not self._is_temporary(id):
                conditions.append(Unchanged(id, read_rev(record, f"$[{index}]"), f"$[{index}]"))
            elif record.get("_rmx_rev") is not None:
                found = "none" if id is None else "a temporary one"
                raise RecordError(
                    f"expected the id of the record that _rmx_rev is of, found {found}", f"$[{index}]._rmx_id"
                )
        return conditions

    def _is_unusual(self, text: str) -> bool:
        """Whether it depends on what is there whether the id is temporary."""
        options = self._options
        return not (options.dont_use_id or options.original_id_always or is_well_formed(text))

    def _is_temporary(self, text: str) -> bool:
        return self._options.dont_use_id or text in self._temporary

    def _laid_over(self, old: bytes, id: str, own: Fields, index: int) -> Fields:
        if is_tombstone(old):
            return own
        merged = client_fields(read_version(old)) | read_fields(own)
        packed = packer()(merged)
        self._check_size(len(packed), index)
        if len(packed) > self._max_fields:
            check_fields([merged], self._max_fields, index)
        return unstamped(split(packed, len(merged)), id)

    def _check_size(self, size: int, index: int) -> None:
        if size > self._max_size:
            raise RecordError(
                f"expected a record of at most {self._max_size} bytes, found {size}", f"$[{index}]"
            )


_NO_FIELDS: Final[Fields] = (0, b"")


class Deleting:
    """One call of delete. Raises `RecordError` if something given is no id, nor a map with id and `_rmx_rev`."""

    def __init__(self, ids: Iterable[Ref | str | Mapping[str, Any]]) -> None:
        if isinstance(ids, str | bytes | Mapping) or not isinstance(ids, Iterable):
            raise RecordError(f"expected an array of ids, found {_kind(ids)}")
        self._ids: list[str] = []
        self._conditions: list[Unchanged] = []
        for index, given in enumerate(ids):
            path = f"$[{index}]"
            if isinstance(given, Mapping):
                id = read_id(given.get("_rmx_id"), f"{path}._rmx_id")
                self._conditions.append(Unchanged(id, read_rev(given, path), path))
            else:
                id = read_id(given, path)
            self._ids.append(id)
        self.answers: list[int | None] = []
        """After `build`: the row of each tombstone, None where there was nothing to delete."""
        self.written: dict[str, int] = {}
        """After `build`: the tombstone of each record that was deleted."""

    def build(self, newest: Newest, row: int, number: int, milliseconds: int) -> list[bytes]:
        """The tombstones to store, of which the first gets the row `row`. May be none.

        Raises:
            Conflict: a record is not as it was read.
        """
        _check(self._conditions, newest)
        version = stamp(number, milliseconds)
        made: list[bytes] = []
        written: dict[str, int] = {}
        answers: list[int | None] = []
        for id in self._ids:
            previous = None if id in written else newest.row_of(id)
            if previous is None or is_tombstone(newest.stored(previous)):
                answers.append(None)
                continue
            here = row + len(made)
            made.append(version(unstamped(_NO_FIELDS, id), previous, True))
            written[id] = here
            answers.append(here)
        self.answers, self.written = answers, written
        return made


def _among(ids: Iterable[str], known: Known) -> set[str]:
    return {id for id in ids if len(id) <= MAX_ID and known.row_of(id) is not None}


def _check(conditions: Iterable[Unchanged], newest: Newest) -> None:
    for condition in conditions:
        row = newest.row_of(condition.id)
        condition.check(None if row is None else newest.stored(row))


def read_id(id: object, path: str = "$") -> str:
    """The text of an id given as a Ref or a string.

    Raises:
        RecordError: it is neither, or no Unicode text.
    """
    text = id.id if isinstance(id, Ref) else id
    if type(text) is not str:
        raise RecordError(f"expected an id as a Ref or a string, found {_kind(id)}", path)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise RecordError("expected an id of Unicode text, found a lone surrogate", path) from None
    return text


def _checked_id(text: str, index: int) -> str:
    if not 0 < len(text) <= MAX_ID:
        raise RecordError(
            f"expected an id of 1 to {MAX_ID} characters, found one of {len(text)}", f"$[{index}]._rmx_id"
        )
    return text


def _listed(records: object) -> Sequence[Any]:
    if isinstance(records, str | bytes | Mapping) or not isinstance(records, Sequence):
        raise RecordError(f"expected an array of records, found {_kind(records)}")
    return records


_Given = tuple[Mapping[str, Any], str | None]
"""A record, and the id that it names. It is a dict, or packed."""


def _checked(given: object, index: int) -> _Given:
    if type(given) is PackedRecord:
        # It is a value, as it is packed.
        return given, _named(given.own(), index)
    if type(given) is dict:
        record = given
    elif isinstance(given, Mapping):
        record = dict(given)
    else:
        raise RecordError(f"expected a record, which is a map, found {_kind(given)}", f"$[{index}]")
    if scan(record) & (INVALID | GUARDED):
        _refuse(record, index)
    return record, _named(record, index)


def _named(record: dict[str, Any], index: int) -> str | None:
    """The id that a record names."""
    kind = record.get("_rmx_type", "")
    if type(kind) is not str:
        raise RecordError(
            f"expected a string as type of a record, found {_kind(kind)}", f"$[{index}]._rmx_type"
        )
    return read_id(record["_rmx_id"], f"$[{index}]._rmx_id") if "_rmx_id" in record else None


def _packed(pack: Callable[[Any], bytes], record: dict[str, Any], index: int) -> bytes:
    try:
        return pack(record)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        # It was right when it was checked, and somebody has changed it since.
        _refuse(record, index)


def _refuse(record: dict[str, Any], index: int) -> NoReturn:
    fault = find_fault(record, tokens=False)
    if fault is None:
        raise RecordError("expected a record that nobody changes while it is saved, found one", f"$[{index}]")
    raise RecordError(f"expected what a record can hold, found {fault.message}", fault.path(f"$[{index}]"))


def _check_names(value: Any, path: str) -> None:
    """Refuse names that are too long, in maps inside too. `scan` has bounded the depth."""
    if type(value) is dict:
        for name, item in value.items():
            if len(name.encode()) > MAX_NAME:
                raise RecordError(
                    f"expected names of fields of at most {MAX_NAME} bytes, found one of {len(name.encode())}",
                    path + step(name),
                )
            if type(item) in _CONTAINERS:
                _check_names(item, path + step(name))
    elif type(value) is list:
        for index, item in enumerate(value):
            if type(item) in _CONTAINERS:
                _check_names(item, f"{path}[{index}]")
    elif type(value) is Case:
        _check_names(value.arg, path + step(value.name))


_CONTAINERS: Final = frozenset({dict, list, Case})


def _kind(value: object) -> str:
    return f"the Python type {type(value).__name__}"
