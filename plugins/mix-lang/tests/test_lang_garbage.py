"""While Mix is compiled nobody looks for garbage; afterwards it is as it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping

import pytest
from mix_lang.compile import check
from mix_lang.compiler import build
from mix_lang.garbage import uncollected


class _Watching(Mapping[str, str]):
    """A source that notes whether there are looks for garbage when it is read."""

    def __init__(self) -> None:
        self.seen: list[bool] = []

    def __getitem__(self, name: str) -> str:
        self.seen.append(gc.isenabled())
        return "cell output = 1\n"

    def __iter__(self) -> Iterator[str]:
        return iter(["main.mix"])

    def __len__(self) -> int:
        return 1


def test_checking_is_without() -> None:
    watching = _Watching()
    assert not check(watching).failed
    assert watching.seen == [False] and gc.isenabled()


def test_compiling_leaves_it_as_it_was() -> None:
    build({"main.mix": "cell output = 1\n"})
    assert gc.isenabled()
    gc.disable()
    try:
        build({"main.mix": "cell output = 1\n"})
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_an_error_leaves_it_as_it_was() -> None:
    @uncollected
    def fail() -> None:
        assert not gc.isenabled()
        raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert gc.isenabled()
