"""Records as clients give them, in C; the twin in Python says what it does."""

def take(packed: bytes, id: str, /) -> tuple[int, bytes, int, int, int]:
    """`mix_db.versions.given.take_python`. `ValueError` if it is not the MessagePack of a map."""
