"""Grants: what a pattern allows, that layers only narrow, and that no odd input widens them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixkit.errors import GrantError
from mixkit.grants import ALL, NONE, Grants, matches, overlap

names = st.from_regex(r"\$[a-d]{1,3}(_[a-d]{1,3})?", fullmatch=True)
patterns = st.lists(names | names.map(lambda n: n + "*") | st.just("*"), max_size=4)


def test_exact_names_prefixes_and_all() -> None:
    grants = Grants(["$http_do", "$db_*"])
    assert [grants.allows(n) for n in ("$http_do", "$db_x", "$db_")] == [True] * 3
    for name in ("$http_do_server", "$http", "$db", "$dbx", "db_x", "$DB_x", "", "*", "$db", " $http_do"):
        assert not grants.allows(name)
    assert ALL.allows("$anything") and not NONE.allows("$anything")


@given(a=patterns, b=patterns, name=names)
def test_both_must_allow(a: list[str], b: list[str], name: str) -> None:
    both = Grants(a) & Grants(b)
    assert both.allows(name) is (Grants(a).allows(name) and Grants(b).allows(name))
    assert both.patterns() == [sorted(set(a)), sorted(set(b))]


@pytest.mark.parametrize("ffis", ["$db_*", "*", b"*", ""])
def test_a_single_text_is_not_read_as_its_letters(ffis: Any) -> None:
    with pytest.raises(GrantError, match="grants are a list"):
        Grants(ffis)


@pytest.mark.parametrize(
    "pattern",
    ["", "$", "$db*x", "**", "$db_?", "[a]*", "$db_*\n", "$d b", "*$db", 5, None, b"*", ("*",)],
)
def test_malformed_patterns(pattern: Any) -> None:
    with pytest.raises(GrantError, match="found"):
        Grants([pattern])


@given(one=patterns, other=patterns, name=names)
def test_patterns_overlap_where_both_allow_a_name(one: list[str], other: list[str], name: str) -> None:
    for a in one:
        for b in other:
            assert overlap(a, b) == overlap(b, a)
            assert overlap(a, b) or not (matches([a], name) and matches([b], name))
    assert not overlap("$a_*", "$b_*") and not overlap("$a", "$ab") and overlap("$a*", "$ab*")


def test_options_of_all_layers_apply() -> None:
    grants = Grants(["*"], {"http.hosts": ["a"]}) & Grants(["*"], {"http.hosts": ["b"], "x.y": 1}) & ALL
    assert grants.option("http.hosts") == [["a"], ["b"]]
    assert grants.option("none") == []
    assert grants.option_keys() == {"http.hosts", "x.y"}


def test_a_flood_of_names_does_not_fill_memory() -> None:
    grants = Grants(["$a*"])
    for i in range(5_000):
        assert grants.allows(f"$a{i}")
    assert len(grants._cache) <= 1024
    assert grants.allows("$a-new") and not grants.allows("$b")
