"""Stored versions into the columns of the index, in C; the twin in Python says what it does."""

from mix_db.index.memory import Node

def add(root: Node, row: int, versions: tuple[bytes, ...], /) -> tuple[int, list[tuple[int, int]], list[int]]:
    """What `mix_db.versions.indexing.add_python` does, up to the first version that cannot be added.

    Returns:
        how many were added; each row that replaced one, and which; the tombstones.

    Raises:
        ValueError, TypeError: the first of them is none.
    """
