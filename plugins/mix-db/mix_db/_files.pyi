"""What the file layer asks of the system, in C; the twin in Python says what it does."""

def identity(directory: int, name: str, /) -> tuple[int, int] | None:
    """`mix_db.files.layer.identity_python`."""
