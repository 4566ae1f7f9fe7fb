"""Stored versions as columns, in C; the twins in Python say what it does."""

from typing import Any

def scan(rows: list[bytes], fields: int, most: int, depth: int, /) -> tuple[int, dict[str, Any], Any]:
    """`mix_db.columns.walk.scan_python`."""

def fill(rows: list[bytes], plan: tuple[Any, ...], /) -> tuple[int, int, bytes, bytes, bytes, list[Any]]:
    """`mix_db.columns.walk.fill_python`."""
