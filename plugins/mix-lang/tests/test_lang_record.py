"""Records are what frozen dataclasses with slots are."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest
from mix_lang import syntax as s
from mix_lang.record import Record, changed, record
from mix_lang.source import Span

KINDS = sorted(
    (kind for kind in vars(s).values() if isinstance(kind, type) and issubclass(kind, s.Node | s.Part)),
    key=lambda kind: kind.__name__,
)


@record
class _Point(Record):
    x: int
    y: int = 0


@record
class _Named(_Point):
    name: str = ""


def _twin(kind: type[Record]) -> Any:
    """The same kind as a dataclass."""
    return dataclasses.make_dataclass(kind.__name__, kind.__match_args__, frozen=True, slots=True)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_of_node_is_as_a_dataclass(kind: type[Any]) -> None:
    values = [Span(1, 2), *range(len(kind.__match_args__) - 1)]
    node, twin = kind(*values), _twin(kind)(*values)
    assert repr(node) == repr(twin) and not hasattr(node, "__dict__")
    assert [getattr(node, name) for name in kind.__match_args__] == values
    assert node == kind(**dict(zip(kind.__match_args__, values, strict=True)))
    assert hash(node) == hash(kind(*values)) and node != twin and twin != node
    for index, name in enumerate(kind.__match_args__):
        other = changed(node, **{name: "other"})
        assert other == kind(*values[:index], "other", *values[index + 1 :]) != node
    assert copy.deepcopy(node) == node == pickle.loads(pickle.dumps(node))


def test_fields_may_be_left_out_and_are_inherited() -> None:
    assert (_Point(1).y, _Named(1, name="a")) == (0, _Named(1, 0, "a"))
    assert _Point(1) != _Named(1) and {_Point(1): 2}[_Point(1, 0)] == 2
    match _Named(1, 2, "a"):
        case _Named(x, y, name):
            assert (x, y, name) == (1, 2, "a")
    assert _Named.__match_args__ == ("x", "y", "name")


@pytest.mark.parametrize("make", [lambda: _Point(), lambda: _Point(1, z=2), lambda: changed(_Point(1), z=2)])  # type: ignore[call-arg]
def test_other_fields_are_refused(make: Any) -> None:
    with pytest.raises(TypeError):
        make()
