"""What an answer says of its text is read in one pass, however long and strange it is."""

from __future__ import annotations

import time

import pytest
from mix_http.text import decode_text, media_type

LONG = 250_000
"""Characters. What grows with the square took minutes for so many."""

UNITS = (" ", "\t", ";", "=", '"', "'", "; ", " ;", "charset", "charset=", "charset= ", "; charset=", " charset", "; =",
         '"=', "=;", "a=b;", "charset=utf-8 ", '; charset="', "\xa0", "\u2028")  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_a_strange_content_type_takes_one_pass(unit: str) -> None:
    repeated = unit * (LONG // len(unit))
    began = time.perf_counter()
    for content_type in (
        f"text/html; charset={repeated}",
        f"text/html{repeated}; charset=latin1",
        f"text/html; charset{repeated}=latin1",
        f"{repeated}\0",
    ):
        text, changed = decode_text(b"a\xe9b", content_type)
        assert len(text) == 3 and changed is ("\ufffd" in text)
        assert len(media_type(content_type)) <= len(content_type)
    assert time.perf_counter() - began < 5


def test_a_label_that_is_padded_is_found_and_one_that_is_too_long_is_none() -> None:
    assert decode_text(b"\xe9", f"text/plain; charset={' ' * 1000}latin1{' ' * 1000}") == ("é", False)
    assert decode_text(b"\xe9", f"text/plain; charset={'l' * LONG}") == ("\ufffd", True)
