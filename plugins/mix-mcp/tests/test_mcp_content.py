"""Results of tools: the same whether an answer comes as a value or as the JSON of one."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from mix_mcp.content import result_of

from mixkit import tagged_json
from mixkit.forms import JSONText
from mixkit.value import UNDEF, Case

RESULT = {
    "_rmx_type": "mcp_result",
    "content": [{"type": "text", "text": "x"}],
    "structuredContent": {"n": 1},
}


@pytest.mark.parametrize("structured", [True, False])
@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize(
    "value",
    [
        None, True, 7, 1.5, -0.0, "text", 'with "quotes" and é', "_rmx_type", "", [], {}, [1, [2]],
        {"text": "hello", "more": {"n": [1, 2.5, None]}}, {"_rmx_type": "note", "text": "x"}, RESULT,
        RESULT | {"isError": True}, RESULT | {"content": 1}, UNDEF, {"n": math.nan}, [math.inf],
        b"bytes", {"case": Case("some", 1)}, {"_rmx_type": "{tag}undef"},
    ],
    ids=repr,
)  # fmt: skip
def test_a_value_and_its_json_make_the_same_result(value: Any, modern: bool, structured: bool) -> None:
    text = JSONText(tagged_json.dumps(value).encode())
    as_value, as_json = (
        msgspec.json.decode(msgspec.json.encode(result_of(each, structured=structured, modern=modern)))
        for each in (value, text)
    )
    assert as_json == as_value
