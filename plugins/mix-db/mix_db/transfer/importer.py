"""Records from a file into a database, batch by batch, so that it can be killed and goes on where it was.

A batch is one commit together with the note of it (see `journal`). Ids are kept as the file has them, whatever they
look like, so that it does not matter which records share a batch.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec.structs import replace

from mix_db.transfer.errors import BadItem, TransferError
from mix_db.transfer.formats import make_reader
from mix_db.transfer.item import Item, Reader
from mix_db.transfer.journal import Journal, Progress, Target
from mix_db.transfer.references import Reference, References
from mix_db.transfer.rejects import Rejects
from mix_db.transfer.source import Source
from mixkit.errors import MixError, RecordError
from mixkit.record import PackedRecord
from mixkit.storage import SaveOptions
from mixkit.value import Ref, kind_of

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

__all__ = ["BATCH", "Import", "ImportOptions", "Outcome"]

BATCH: Final = 1000
_BATCH_BYTES: Final = 8 << 20
_INDEX: Final = re.compile(r"\$\[([0-9]+)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """How a file is imported.

    Attributes:
        format: a name of `FORMATS`.
        batch: most records of a commit.
        id_field: the field whose text or integer is the record's id.
        type: `_rmx_type` of records that have none.
        upsert, keep_original: what becomes of records whose id is known; see `SaveOptions`.
        skip_bad: go on behind a record that is refused, instead of stopping there.
        rejects: where refused records are kept.
        restart: begin with the first record, whatever was imported before.
        references: fields whose values become refs.
        delimiter, kinds: see `make_reader`.
    """

    format: str
    batch: int = BATCH
    id_field: str | None = None
    type: str | None = None
    upsert: bool = False
    keep_original: bool = False
    skip_bad: bool = False
    rejects: Path | None = None
    restart: bool = False
    references: Sequence[Reference] = ()
    delimiter: str | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)

    def reading(self) -> dict[str, Any]:
        """What must stay the same when an import is resumed."""
        options: dict[str, Any] = {
            "format": self.format,
            "id_field": self.id_field,
            "type": self.type,
            "upsert": self.upsert,
            "keep_original": self.keep_original,
            "kinds": dict(self.kinds),
        }
        if self.references:
            options["references"] = [str(each) for each in self.references]
        return options


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of an import, or is becoming of it.

    Attributes:
        imported, deleted, rejected: records of the whole file, those of resumed runs included.
        resumed: items that were done with before this run.
        already: nothing was left to do, since the file was imported before.
        watermark: behind the last commit of this run; None if there was none.
        guessed: columns whose kind was guessed, with the kind.
    """

    source: str
    imported: int = 0
    deleted: int = 0
    rejected: int = 0
    resumed: int = 0
    already: bool = False
    watermark: str | None = None
    guessed: dict[str, str] = field(default_factory=dict)


class Import:
    """One file on its way into a database.

    Args:
        target: the database.
        source: the file, at its beginning; locked against other imports of it.
        watch: called after each commit.

    Raises:
        TransferError: the file does not begin as its format wants it; it has been changed where it was imported
            already; or other options were given then.
    """

    def __init__(
        self,
        target: Target,
        source: Source,
        options: ImportOptions,
        watch: Callable[[Outcome], None] | None = None,
    ) -> None:
        self._target = target
        self._source = source
        self._options = options
        self._watch = watch or (lambda outcome: None)
        self._saving = SaveOptions(
            upsert=options.upsert, keep_original=options.keep_original, original_id_always=True
        )
        self._references = References(options.references, target.query)
        self.outcome = Outcome(source=source.name)
        self._journal: Journal | None = None
        self._progress = Progress(source=_file_name(source), options=options.reading())
        if source.path is not None:
            source.lock()
            self._journal = Journal(target, source.path, chain=options.keep_original)
        before = self._journal.progress if self._journal else None
        resumed = before is not None and not options.restart and self._resume(before)
        if not resumed:
            self._begin()
        self._rejects: Rejects | None = None
        if options.rejects is not None:
            size = self._progress.rejects_size if resumed else None
            if resumed and before is not None and before.done:
                # Whoever has seen to what was refused then may have put the file away.
                size = options.rejects.stat().st_size if options.rejects.exists() else 0
            self._rejects = Rejects(options.rejects, size=size, replace=options.restart)
            if not resumed and self._journal is not None:
                # Before anything is refused, so that what a crash leaves in that file is known for what it is.
                self._progress.digest = self._digest.hexdigest()
                target.save([self._journal.note(self._progress)], self._saving)
                self._journal.stored()

    def run(self) -> Outcome:
        """Import what is left of the file.

        Raises:
            TransferError: a record is refused, or the file cannot be read any further. What stood before is
                imported, and a further run goes on there.
            StorageError: the database did not take a batch.
        """
        try:
            self._run()
        finally:
            if self._rejects is not None:
                self._rejects.close()
        return self.outcome

    # ------------------------------------------------------------------------------------------------ where

    def _begin(self) -> None:
        reader = self._reader()
        self._digest = hashlib.sha256(reader.head)
        self._items = reader.items()

    def _resume(self, before: Progress) -> bool:
        """Pass over what is done with; False if that was another file."""
        self._begin()
        passed = 0
        for item in itertools.islice(self._items, before.items):
            self._digest.update(item.raw)
            passed += 1
        if passed < before.items or self._digest.hexdigest() != before.digest:
            if not before.done:
                raise TransferError(
                    f"{self._source.name}: an import of it was begun, and the {before.items} records that it had "
                    "imported have been changed in the file; begin again with --restart"
                )
            # Another file of the same name.
            self._source.rewind()
            return False
        if before.options != self._progress.options and not before.done:
            raise TransferError(
                f"{self._source.name}: an import of it was begun with other options ({_shown(before.options)}); use "
                "those, or begin again with --restart"
            )
        first = next(self._items, None)
        self.outcome.already = before.done and first is None
        self._items = itertools.chain([first] if first else [], self._items)
        self._progress = replace(before, options=self._progress.options, done=False)
        self.outcome.resumed = before.items
        self._tell()
        return True

    def _reader(self) -> Reader:
        options = self._options
        reader = make_reader(options.format, self._source, delimiter=options.delimiter, kinds=options.kinds)
        columns = dict(getattr(reader, "columns", ()))
        self.outcome.guessed = {name: columns[name] for name in getattr(reader, "guessed", ())}
        self._record, self._text, self._unit = reader.record, reader.text, reader.unit
        return reader

    # ------------------------------------------------------------------------------------------------ work

    def _run(self) -> None:
        batch = _Batch()
        while not self.outcome.already:
            try:
                item = next(self._items, None)
            except TransferError:
                self._commit(batch)
                raise
            if item is None:
                self._commit(batch, done=True)
                break
            try:
                record = self._read(item)
            except MixError as exc:
                self._refuse(item, str(exc), batch)
                batch.add(item, refused=True)
                continue
            if record.get("_rmx_deleted") is True:
                batch.add(item, tombstone=record["_rmx_id"])
                continue
            if batch.tombstones or batch.is_full(self._options.batch):
                batch = self._commit(batch)
            batch.add(item, record)
        if self._journal is not None:
            self._journal.close()

    def _read(self, item: Item) -> Mapping[str, Any]:
        if item.problem:
            raise BadItem(item.problem)
        record = self._record(item)
        options = self._options
        if type(record) is PackedRecord:
            if options.id_field is None and options.type is None and not options.references:
                return self._checked(record, record.own())
            record = record.value()
        if type(record) is not dict:
            raise BadItem(f"expected a record, a map; found the kind {kind_of(record)}")
        if options.id_field is not None:
            record["_rmx_id"] = Ref(_id(record, options.id_field))
        if options.type is not None:
            record.setdefault("_rmx_type", options.type)
        self._references.put(record)
        return self._checked(record, record)

    @staticmethod
    def _checked(record: Mapping[str, Any], own: Mapping[str, Any]) -> Mapping[str, Any]:
        """The record. `own` has the fields of the engine, at least."""
        if own.get("_rmx_deleted") is True and not isinstance(own.get("_rmx_id"), Ref | str):
            raise BadItem("expected the _rmx_id of a record that was deleted, found none")
        return record

    def _refuse(self, item: Item, reason: str, before: _Batch) -> None:
        """Set an item aside, or end the import behind the batch that stands before it."""
        if not self._options.skip_bad:
            self._commit(before)
            raise TransferError(
                f"{self._source.name}, {self._unit} {item.place}: {reason}; what stands before it is imported: "
                "mend it and import the file again, or pass over such records with --on-error skip"
            )
        if self._rejects is not None:
            self._rejects.add(self._progress.source, item.place, self._unit, self._text(item), reason)

    def _commit(self, batch: _Batch, *, done: bool = False) -> _Batch:
        """Store a batch; answers the one that begins with what the next note must count."""
        while True:
            progress = batch.advanced(self._progress, self._digest)
            progress.done = done and not batch.tombstones
            try:
                self._save(batch, progress)
                break
            except RecordError as exc:
                found = _INDEX.match(exc.path)
                entry = batch.entry_of(int(found[1])) if found else None
                if entry is None:
                    raise
                # Its place in the batch means nothing to whoever has the file.
                reason = str(exc).replace(exc.path, "$" + exc.path.removeprefix(found[0] if found else ""))
                self._refuse(batch.entries[entry].item, reason, batch.before(entry))
                batch.refuse(entry)
        for each in batch.entries:
            self._digest.update(each.item.raw)
        self._progress = progress
        self._tell()
        following = _Batch()
        if batch.tombstones:
            # Deleted behind the note, not with it: to delete once more after a crash changes nothing.
            if not self._options.keep_original:
                self.outcome.watermark = self._target.delete([ref for _, ref in batch.tombstones]).watermark
            for item, _ in batch.tombstones:
                following.add(item, deleted=True)
            if done:
                return self._commit(following, done=True)
        return following

    def _save(self, batch: _Batch, progress: Progress) -> None:
        records = batch.records()
        if self._rejects is not None:
            self._rejects.sync()
            progress.rejects_size = self._rejects.size
        noted = self._journal if batch.entries or progress.done else None
        if noted is not None:
            records.append(noted.note(progress))
        if records:
            self.outcome.watermark = self._target.save(records, self._saving).watermark
        if noted is not None:
            noted.stored()

    def _tell(self) -> None:
        progress, outcome = self._progress, self.outcome
        outcome.imported, outcome.deleted = progress.imported, progress.deleted
        outcome.rejected = progress.rejected
        self._watch(outcome)


class _Entry(NamedTuple):
    item: Item
    record: Mapping[str, Any] | None
    refused: bool
    deleted: bool


class _Batch:
    """Items in the order of the file, and tombstones behind them."""

    def __init__(self, entries: Sequence[_Entry] = ()) -> None:
        self.entries = list(entries)
        self.tombstones: list[tuple[Item, Ref | str]] = []
        self._size = 0
        self._count = 0

    def add(
        self,
        item: Item,
        record: Mapping[str, Any] | None = None,
        *,
        tombstone: Ref | str | None = None,
        refused: bool = False,
        deleted: bool = False,
    ) -> None:
        if tombstone is not None:
            self.tombstones.append((item, tombstone))
            return
        self.entries.append(_Entry(item, record, refused, deleted))
        self._size += len(item.raw)
        self._count += record is not None

    def is_full(self, count: int) -> bool:
        return self._count >= count or self._size > _BATCH_BYTES

    def records(self) -> list[Mapping[str, Any]]:
        return [entry.record for entry in self.entries if entry.record is not None]

    def entry_of(self, index: int) -> int | None:
        """Which entry has the record of that index among `records`; None if it is none of these."""
        having = (at for at, entry in enumerate(self.entries) if entry.record is not None)
        return next(itertools.islice(having, index, None), None)

    def before(self, entry: int) -> _Batch:
        return _Batch(self.entries[:entry])

    def refuse(self, entry: int) -> None:
        self.entries[entry] = self.entries[entry]._replace(record=None, refused=True)

    def advanced(self, progress: Progress, digest: Hash) -> Progress:
        """The note to be made when the batch is stored."""
        digest = digest.copy()
        for entry in self.entries:
            digest.update(entry.item.raw)
        return replace(
            progress,
            items=progress.items + len(self.entries),
            digest=digest.hexdigest(),
            imported=progress.imported + sum(entry.record is not None for entry in self.entries),
            deleted=progress.deleted + sum(entry.deleted for entry in self.entries),
            rejected=progress.rejected + sum(entry.refused for entry in self.entries),
        )


def _id(record: Mapping[str, Any], name: str) -> str:
    match record.get(name):
        case str(text) if text:
            return text
        case bool():
            found = "bool"
        case int(number):
            return str(number)
        case Ref(id=text):
            return text
        case None:
            found = "null" if name in record else "no such field"
        case other:
            found = kind_of(other) if other != "" else "an empty string"
    raise BadItem(f"expected a string or an integer in the field {name!r} for the id, found {found}")


def _file_name(source: Source) -> str:
    return source.path.name if source.path is not None else source.name


def _shown(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items() if value) or "none"
