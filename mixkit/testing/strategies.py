"""Hypothesis strategies for Values, and the comparison that a round-trip test wants. Needs hypothesis."""

from __future__ import annotations

import math
from typing import Any, Final

from hypothesis import strategies as st

from mixkit.value import INT64_MAX, INT64_MIN, UNDEF, Case, Ref, Token

__all__ = ["identical", "keys", "scalars", "texts", "values"]

_EDGES: Final = [
    *(
        sign * 2**power + off
        for power in (0, 8, 23, 24, 31, 32, 53)
        for sign in (1, -1)
        for off in (-1, 0, 1)
    ),
    INT64_MIN,
    INT64_MIN + 1,
    INT64_MAX,
]

_MARKS: Final = [
    "_rmx_type",
    "_rmx_value",
    "{tag}",
    "{tag}int",
    "{tag}case:db.ref",
    "{str}",
    "{str}{tag}",
    "{ref}x",
]

texts: Final[st.SearchStrategy[str]] = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
"""Strings of Unicode scalar values."""

keys: Final[st.SearchStrategy[str]] = texts | st.sampled_from(["", "a", "ab", "b", "\x00", *_MARKS])
"""Map keys, those that tagged JSON gives a meaning included."""

_case_names: Final = keys.filter(lambda name: name != "db.ref")


def scalars(*, undef: bool = True, tokens: bool = False) -> st.SearchStrategy[Any]:
    """Values without parts: numbers prefer the edges of their forms."""
    kinds: list[st.SearchStrategy[Any]] = [
        st.none(),
        st.booleans(),
        st.sampled_from(_EDGES),
        st.integers(INT64_MIN, INT64_MAX),
        st.floats(),
        texts,
        st.sampled_from(_MARKS),
        st.binary(max_size=9),
        texts.map(Ref),
        _case_names.map(Case),
    ]
    if undef:
        kinds.append(st.just(UNDEF))
    if tokens:
        kinds.append(st.binary(max_size=9).map(Token))
    return st.one_of(kinds)


def values(*, undef: bool = True, tokens: bool = False, max_leaves: int = 25) -> st.SearchStrategy[Any]:
    """Values of every kind. No Case is named `db.ref`, which tagged JSON keeps for a Ref.

    Args:
        undef: whether the whole may be undefined; a part never is.
        tokens: whether Tokens occur.
        max_leaves: about how many scalars there are at most.
    """
    inner = st.recursive(
        scalars(undef=False, tokens=tokens),
        lambda part: (
            st.lists(part, max_size=6)
            | st.dictionaries(keys, part, max_size=6)
            | st.builds(Case, _case_names, part)
        ),
        max_leaves=max_leaves,
    )
    return inner | st.just(UNDEF) if undef else inner


def identical(a: Any, b: Any) -> bool:
    """Whether two Values cannot be told apart: same kinds, -0.0 is not 0.0, and NaN is NaN.

    Stricter than `mixkit.value.equal`, except that Tokens of the same content are identical; the order of
    a map does not matter.
    """
    if type(a) is not type(b):
        return False
    match a:
        case float():
            return (math.isnan(a) and math.isnan(b)) or (
                a == b and math.copysign(1, a) == math.copysign(1, b)
            )
        case list():
            return len(a) == len(b) and all(map(identical, a, b))
        case dict():
            return a.keys() == b.keys() and all(identical(item, b[key]) for key, item in a.items())
        case Case():
            return bool(a.name == b.name and identical(a.arg, b.arg))
        case Token():
            return bool(a.reveal() == b.reveal())
        case _:
            return bool(a == b)
