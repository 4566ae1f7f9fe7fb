"""CSV: a line of column names, then a line for each record. See `cells` for what a cell holds.

A column is named `name` or `name:kind`. A name that would be misread is written as a JSON string: `"a:int":string`.
Columns without a kind get one from the first rows, in which they lose nothing.

    _rmx_id:ref,name:string,age:number
    Yp3…,Ann,42
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, Final

from mix_db.transfer.cells import KINDS, cell_reader, infer, kind_for, looks_like_formula, write_cell
from mix_db.transfer.errors import BadItem, TransferError
from mix_db.transfer.item import MAX_ITEM, Item
from mix_db.transfer.source import Source
from mix_db.transfer.spool import MAX_COLUMNS, Spool
from mixkit.near import meant
from mixkit.rows import Rows

__all__ = ["CSVReader", "CSVWriter"]

_SAMPLE_ROWS: Final = 10_000
_SAMPLE_BYTES: Final = 8 << 20
_FIXED: Final = {"_rmx_id": "ref", "_rmx_type": "string"}


class CSVReader:
    """See `Reader`.

    Args:
        delimiter: one character between cells.
        kinds: by name of a column; `*` is the kind of all others that do not name one.

    Attributes:
        columns: name and kind of each column.
        guessed: names of those whose kind was guessed from the first rows.

    Raises:
        TransferError: the first line names no columns, or one twice.
    """

    unit = "line"

    def __init__(self, source: Source, *, delimiter: str = ",", kinds: Mapping[str, str] = {}) -> None:
        self._source = source
        # With their ends, which are part of a cell where they stand in quotes.
        self._lines = source.lines(ends=True)
        self._place = 0
        self._raw: list[bytes] = []
        self._held = 0
        self._started = 0
        csv.field_size_limit(MAX_ITEM)
        # Strict, because otherwise text behind a closing quote is taken for part of the cell.
        self._rows = csv.reader(self._texts(), delimiter=delimiter, strict=True)
        header = next(self._cells(), None)
        if header is None:
            raise TransferError(
                f"{source.name}: expected a line with the names of columns, found an empty file"
            )
        if header.problem:
            raise TransferError(f"{source.name}: line 1: {header.problem}")
        self.head = header.raw
        names = self._header(header.content)
        for name in kinds:
            if name != "*" and name not in names:
                raise TransferError(
                    f"{source.name}: no column {name!r} to have the kind {kinds[name]!r}; "
                    f"there are: {', '.join(names)}{meant(name, names)}"
                )
        self._sample = self._take_sample()
        self.guessed: list[str] = []
        self.columns: list[tuple[str, str]] = []
        for index, (name, kind) in enumerate(names.items()):
            known = kinds.get(name) or kind or kinds.get("*") or _FIXED.get(name)
            if known is None:
                known = infer(
                    item.content[index]
                    for item in self._sample
                    if not item.problem and index < len(item.content)
                )
                self.guessed.append(name)
            self.columns.append((name, known))
        self._readers = [
            (name, None if kind == "string" else cell_reader(kind, guessed=name in self.guessed))
            for name, kind in self.columns
        ]

    def items(self) -> Iterator[Item]:
        sample, self._sample = self._sample, []
        return itertools.chain(sample, self._cells())

    def record(self, item: Item) -> Any:
        cells = item.content
        if len(cells) != len(self.columns):
            raise BadItem(f"expected {len(self.columns)} cells, as the first line has, found {len(cells)}")
        record = {}
        for (name, read), cell in zip(self._readers, cells, strict=True):
            if cell:
                try:
                    record[name] = cell if read is None else read(cell)
                except BadItem as exc:
                    hint = (
                        f"; the kind was guessed from the first rows, say --types {name}=string"
                        if name in self.guessed
                        else ""
                    )
                    raise BadItem(f"column {name!r}: expected {exc}, found {cell[:80]!r}{hint}") from None
        return record

    def text(self, item: Item) -> bytes:
        return item.raw

    def _texts(self) -> Iterator[str]:
        """The lines as `csv` wants them; those of the row that is being read are kept in `_raw`."""
        for number, line, size in self._lines:
            self._place = number
            self._started = self._started or number
            self._raw.append(line)
            self._held += len(line)
            if size or self._held > MAX_ITEM:
                raise _Refused("a row of more than 64 MiB; a quote that is not closed may be the reason")
            try:
                yield line.decode()
            except UnicodeDecodeError as exc:
                raise _Refused(
                    f"expected UTF-8, found the byte 0x{line[exc.start]:02x} at byte {exc.start + 1}"
                ) from None

    def _cells(self) -> Iterator[Item]:
        while True:
            self._raw, self._held, self._started = [], 0, 0
            problem, cells = "", None
            try:
                cells = next(self._rows, None)
                if cells is None:
                    return
            except _Refused as exc:
                problem = str(exc)
                # The generator has ended with its exception: go on behind the line that was refused.
                self._rows = csv.reader(self._texts(), dialect=self._rows.dialect)
            except csv.Error as exc:
                problem = f"expected CSV: {exc}"
                self._rows = csv.reader(self._texts(), dialect=self._rows.dialect)
            if cells != []:
                yield Item(self._started, b"".join(self._raw).rstrip(b"\r\n"), cells, problem)

    def _take_sample(self) -> list[Item]:
        sample, size = [], 0
        for item in itertools.islice(self._cells(), _SAMPLE_ROWS):
            sample.append(item)
            size += len(item.raw)
            if size > _SAMPLE_BYTES:
                break
        return sample

    def _header(self, cells: Sequence[str]) -> dict[str, str]:
        names: dict[str, str] = {}
        if len(cells) > MAX_COLUMNS:
            raise TransferError(f"{self._source.name}: line 1: more than {MAX_COLUMNS} columns")
        for index, cell in enumerate(cells, 1):
            name, kind = _split(cell.strip())
            if not name:
                raise TransferError(f"{self._source.name}: line 1: column {index} has no name")
            if name in names:
                raise TransferError(
                    f"{self._source.name}: line 1: two columns are named {name[:80]!r}; rename one"
                )
            names[name] = kind
        return names


class _Refused(Exception):
    pass


def _split(cell: str) -> tuple[str, str]:
    """Name and kind of a column, `""` if it says none."""
    if cell.startswith('"'):
        try:
            name, end = json.JSONDecoder().raw_decode(cell)
        except json.JSONDecodeError:
            return cell, ""
        rest = cell[end:]
        if not rest or (rest[0] == ":" and rest[1:] in KINDS):
            return name, rest[1:]
        return cell, ""
    name, colon, kind = cell.rpartition(":")
    return (name, kind) if colon and kind in KINDS else (cell, "")


def _joined(name: str, kind: str) -> str:
    plain = name and name == name.strip() and name.isprintable() and not looks_like_formula(name)
    if not plain or name.startswith('"') or ":" in name:
        name = json.dumps(name, ensure_ascii=False)
    return f"{name}:{kind}"


def _widened(known: str | None, value: Any) -> str:
    kind = kind_for(value)
    if known is None or known == kind:
        return kind
    return "number" if {known, kind} == {"int", "number"} else "json"


class CSVWriter:
    """See `Writer`. Nothing is written before `finish`, since the first line names all columns.

    Args:
        typed: name the kinds of columns, which makes the file one that can be read back exactly. Else cells are
            for people and spreadsheets: what looks like a formula gets an apostrophe in front.
    """

    def __init__(self, stream: IO[bytes], *, delimiter: str = ",", typed: bool = True) -> None:
        self._stream = stream
        self._delimiter = delimiter
        self._typed = typed
        self._spool: Spool[str] = Spool(_widened)

    def write(self, rows: Rows) -> None:
        self._spool.add(rows.values())

    def finish(self) -> None:
        columns = self._spool.columns
        if "" in columns:
            raise TransferError(
                "a record has a field without a name, which CSV cannot hold; export NDJSON instead"
            )
        text = io.TextIOWrapper(self._stream, encoding="utf-8", newline="", write_through=True)
        try:
            out = csv.writer(text, delimiter=self._delimiter, lineterminator="\r\n")
            if self._typed:
                out.writerow([_joined(name, kind) for name, kind in columns.items()])
                for record in self._spool.records():
                    cells = [
                        write_cell(record[name], kind) if name in record else ""
                        for name, kind in columns.items()
                    ]
                    out.writerow(cells)
            else:
                out.writerow([_shown(name) for name in columns])
                for record in self._spool.records():
                    out.writerow([_shown(record.get(name)) for name in columns])
        finally:
            text.detach()

    def close(self) -> None:
        self._spool.close()


def _shown(value: Any) -> str:
    """A cell for people."""
    match value:
        case None:
            return ""
        case bool() | int() | float():
            return write_cell(value, kind_for(value))
        case str():
            text = value
        case _:
            kind = kind_for(value)
            text = write_cell(value, kind)
    return f"'{text}" if looks_like_formula(text) else text
