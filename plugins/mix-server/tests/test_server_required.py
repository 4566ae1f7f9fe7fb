"""The server does not start without what the operator says must be in force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mix_server.required import check_required

from mixkit import Kernel, hookimpl
from mixkit.contracts import Check
from mixkit.errors import ProfileError


class Layered:
    """A plugin with a layer that is in force, and one that is not."""

    @hookimpl
    def mix_doctor(self, kernel: Any) -> list[Check]:
        return [
            Check("walls", "ok", "up"),
            Check("roof", "warning", "the kernel has none", "use a newer one"),
        ]


@pytest.fixture
def kernel(tmp_path: Path) -> Any:
    with Kernel("test", overrides={}, environ={}) as kernel:
        kernel.manager.register(Layered(), "layered")
        yield kernel


def test_what_is_in_force_lets_it_start(kernel: Kernel) -> None:
    check_required(kernel, [])
    check_required(kernel, ["layered: walls", "limits"])


def test_what_is_missing_does_not(kernel: Kernel) -> None:
    with pytest.raises(
        ProfileError,
        match="'layered: roof' has to be in force, and is not: the kernel has none; use a newer one",
    ):
        check_required(kernel, ["layered: walls", "layered: roof"])


def test_a_name_that_is_none_is_refused(kernel: Kernel) -> None:
    with pytest.raises(ProfileError, match="did you mean 'layered: walls'"):
        check_required(kernel, ["layered: wals"])


def test_checks_that_end_the_process_end_the_start(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(kernel: Any) -> Any:
        raise RuntimeError("out of order")

    monkeypatch.setattr("mixkit.cli.doctor.kernel_checks", fail)
    with pytest.raises(ProfileError, match="cannot be found out"):
        check_required(kernel, ["limits"])
