"""Stored versions read and made public, and values weighed, in C; the twins in Python say what it does."""

from typing import Any

def read(data: bytes, /) -> dict[str, Any]:
    """`mix_db.versions.version.read_python`. `ValueError` if it is not the MessagePack of a record."""

def publish(
    records: list[bytes],
    rows: list[int],
    marks: dict[int, int],
    dropped: tuple[bytes, ...],
    picks: tuple[tuple[bytes, bytes], ...] | None,
    /,
) -> bytes:
    """`mix_db.versions.public.publish_python`. `ValueError` if one is not the MessagePack of a record."""

def weigh(value: object, most: int, /) -> int:
    """`mix_db.query.weight.weigh_python`."""
