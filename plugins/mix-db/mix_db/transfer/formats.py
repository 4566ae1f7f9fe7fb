"""The formats by name, and which one a file has by its suffix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from mix_db.transfer.errors import TransferError
from mix_db.transfer.item import Reader, Writer
from mix_db.transfer.source import Source

__all__ = ["FORMATS", "delimiter_of", "format_of", "make_reader", "writing"]

FORMATS: Final = ("ndjson", "json", "msgpack", "csv", "parquet")

_SUFFIXES: Final = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "json",
    ".msgpack": "msgpack",
    ".mpk": "msgpack",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def format_of(path: Path) -> str | None:
    """The format that the suffix says, `.gz` left aside; None if it says none."""
    return _SUFFIXES.get(_suffix(path))


def delimiter_of(path: Path | None) -> str:
    """What separates the cells of a file of this name."""
    return "\t" if path is not None and _suffix(path) == ".tsv" else ","


def _suffix(path: Path) -> str:
    return path.with_suffix("").suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def make_reader(
    format: str, source: Source, *, delimiter: str | None = None, kinds: Mapping[str, str] = {}
) -> Reader:
    """A reader for a file, from where it stands.

    Args:
        delimiter: between cells of CSV; by the file's suffix if None.
        kinds: of columns, by name, for CSV and Parquet.

    Raises:
        TransferError: the file does not begin as the format wants it.
    """
    if kinds and format not in ("csv", "parquet"):
        raise TransferError(f"{source.name}: kinds of columns are for csv and parquet, found {format}")
    match format:
        case "ndjson":
            from mix_db.transfer.ndjson import NDJSONReader

            return NDJSONReader(source)
        case "json":
            from mix_db.transfer.json_values import JSONReader

            return JSONReader(source)
        case "msgpack":
            from mix_db.transfer.messagepack import MessagePackReader

            return MessagePackReader(source)
        case "csv":
            from mix_db.transfer.csv_table import CSVReader

            return CSVReader(source, delimiter=delimiter or delimiter_of(source.path), kinds=kinds)
        case "parquet":
            from mix_db.transfer.parquet import ParquetReader

            return ParquetReader(source, kinds=kinds)
        case _:
            raise TransferError(f"expected one of the formats {', '.join(FORMATS)}, found {format!r}")


@contextmanager
def writing(format: str, stream: IO[bytes], *, delimiter: str = ",", typed: bool = True) -> Iterator[Writer]:
    """A writer to a stream, which stays open. It is to be finished inside the block.

    Args:
        typed: whether columns of CSV say their kinds; see `CSVWriter`.

    Raises:
        TransferError: there is no such format, or what it needs is not installed.
    """
    writer = _writer(format, stream, delimiter, typed)
    try:
        yield writer
    finally:
        writer.close()


def _writer(format: str, stream: IO[bytes], delimiter: str, typed: bool) -> Writer:
    match format:
        case "ndjson":
            from mix_db.transfer.ndjson import NDJSONWriter

            return NDJSONWriter(stream)
        case "json":
            from mix_db.transfer.json_values import JSONWriter

            return JSONWriter(stream)
        case "msgpack":
            from mix_db.transfer.messagepack import MessagePackWriter

            return MessagePackWriter(stream)
        case "csv":
            from mix_db.transfer.csv_table import CSVWriter

            return CSVWriter(stream, delimiter=delimiter, typed=typed)
        case "parquet":
            from mix_db.transfer.parquet import ParquetWriter

            return ParquetWriter(stream)
        case _:
            raise TransferError(f"expected one of the formats {', '.join(FORMATS)}, found {format!r}")
