"""Stored versions read in C; the twin in Python says what it does."""

from typing import Any

def read(data: bytes, /) -> dict[str, Any]:
    """`mix_db.engine.version.read_python`. `ValueError` if it is not the MessagePack of a record."""
