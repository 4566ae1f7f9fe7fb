"""Cells of a CSV file: text that stands for a value, by the kind of its column.

An empty cell means that the record has no such field, whatever the kind is.

    string  the text itself
    int     decimal digits within 64 bits
    number  an int where it reads as one, else a float; also nan, inf, -inf
    bool    true or false
    ref     the id of a record
    binary  base64
    json    any value in tagged JSON
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from mix_db.transfer.errors import BadItem
from mixkit import tagged_json
from mixkit.errors import TaggedJSONError
from mixkit.value import INT64_MAX, INT64_MIN, Ref

__all__ = ["KINDS", "cell_reader", "infer", "kind_for", "looks_like_formula", "write_cell"]

_INT: Final = re.compile(r"-?(0|[1-9][0-9]{0,18})", re.ASCII)
_FLOAT: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)
_NO_NUMBERS: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def looks_like_formula(text: str) -> bool:
    """Whether a spreadsheet may run the cell instead of showing it."""
    return text.startswith(("=", "+", "-", "@", "\t", "\r"))


def _string(cell: str) -> str:
    return cell


def _int(cell: str) -> int:
    text = cell.strip()
    if _INT.fullmatch(text) and INT64_MIN <= (value := int(text)) <= INT64_MAX:
        return value
    raise BadItem("an integer within 64 bits")


def _number(cell: str) -> int | float:
    text = cell.strip()
    if _INT.fullmatch(text) and text != "-0" and INT64_MIN <= (whole := int(text)) <= INT64_MAX:
        return whole
    if text in _NO_NUMBERS:
        return _NO_NUMBERS[text]
    if len(text) <= 400 and _FLOAT.fullmatch(text) and math.isfinite(value := float(text)):
        return value
    raise BadItem("a number")


def _bool(cell: str) -> bool:
    text = cell.strip().lower()
    if text in ("true", "false"):
        return text == "true"
    raise BadItem("true or false")


def _binary(cell: str) -> bytes:
    try:
        return binascii.a2b_base64(cell, strict_mode=True)
    except ValueError:
        raise BadItem("base64") from None


def _json(cell: str) -> Any:
    try:
        return tagged_json.loads(cell)
    except TaggedJSONError as exc:
        raise BadItem(f"tagged JSON ({exc})") from None


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "string": _string,
    "int": _int,
    "number": _number,
    "bool": _bool,
    "ref": Ref,
    "binary": _binary,
    "json": _json,
}

KINDS: Final = tuple(_READERS)
"""All kinds of columns."""


def cell_reader(kind: str, *, guessed: bool = False) -> Callable[[str], Any]:
    """What reads cells of a kind that are not empty; if it is `guessed` it refuses what would lose something.

    It raises `BadItem` for what is none of the kind; the message is what was expected.
    """
    return _exact_number if guessed and kind == "number" else _READERS[kind]


def write_cell(value: Any, kind: str) -> str:
    """The cell of a value that `kind_for` put into a column of this kind."""
    match kind:
        case "string":
            return str(value)
        case "bool":
            return "true" if value else "false"
        case "int" | "number":
            return repr(value)
        case "ref":
            return str(value.id)
        case "binary":
            return base64.b64encode(value).decode()
        case _:
            return tagged_json.dumps(value)


def kind_for(value: Any) -> str:
    """The kind of column that holds the value exactly, and that a spreadsheet shows without running it."""
    match value:
        case bool():
            return "bool"
        case int():
            return "int"
        case float() if value == value:
            return "number"
        # An empty cell would be no field, so what is empty is written as JSON.
        case str() if value and not looks_like_formula(value) and "\0" not in value:
            return "string"
        case Ref(id=id) if id and not looks_like_formula(id) and "\0" not in id:
            return "ref"
        case bytes() if value and not looks_like_formula(base64.b64encode(value[:3]).decode()):
            return "binary"
        case _:
            return "json"


def infer(cells: Iterable[str]) -> str:
    """The kind of a column that does not say which it has: the one in which no cell loses anything.

    Numbers are taken for such only if they are written back as they stand: `007`, `1.50` and `+1` are strings.
    """
    left = {"number", "bool"}
    found = False
    for cell in cells:
        if not cell:
            continue
        found = True
        if "number" in left and not _written_back(cell):
            left.discard("number")
        if "bool" in left and cell not in ("true", "false"):
            left.discard("bool")
        if not left:
            break
    return next(iter(left)) if found and left else "string"


def _written_back(cell: str) -> bool:
    try:
        _exact_number(cell)
    except BadItem:
        return False
    return True


def _exact_number(cell: str) -> int | float:
    # `nan` and `inf` are more often words than numbers.
    value = _number(cell)
    if cell in _NO_NUMBERS or repr(value) != cell:
        raise BadItem("a number that is written back as it stands")
    return value
