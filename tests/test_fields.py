"""JSON that others have written."""

from __future__ import annotations

import msgspec
import pytest

from mixkit.fields import read_json


class Form(msgspec.Struct):
    name: str
    more: object = None


def test_what_is_there_is_read() -> None:
    assert read_json(b'{"a": [1, "\xc3\xa9"]}') == {"a": [1, "é"]}
    assert read_json(b'{"name": "a", "more": [1]}', Form) == Form("a", [1])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"name": "\xff"}', "not UTF-8"),
        (b'{"name": "a", "more": {"\xff": 1}}', "not UTF-8"),
        (b'{"name": "a", "more": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"name": "a", "more": ' + b'{"a":' * 100_000, "nested too deeply"),
        (b'{"name": "a"', "truncated"),
        (b'{"name": 1}', "Expected `str`"),
        (b'{"name": "\\ud800"}', "truncated|surrogate"),
    ],
)
def test_all_else_is_one_error(data: bytes, said: str) -> None:
    with pytest.raises(msgspec.MsgspecError, match=said):
        read_json(data, Form)
