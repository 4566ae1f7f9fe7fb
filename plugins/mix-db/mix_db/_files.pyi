"""What queries and commits do to files again and again, in C; the twins in Python say what it does."""

from mix_db.files.layer import Mapped

def identity(directory: int, name: str, /) -> tuple[int, int] | None:
    """`mix_db.files.layer.identity_python`."""

def rows(
    data: Mapped, offsets: memoryview, sums: memoryview, wanted: list[int], at: int, most: int, /
) -> list[bytes]:
    """`mix_db.files.rows.rows_python`. Only where the processor computes CRC-32C itself."""

def lay(records: tuple[bytes, ...], at: int, /) -> tuple[bytes, bytes, bytes, int]:
    """`mix_db.files.rows.lay_python`. Only where the processor computes CRC-32C itself."""
