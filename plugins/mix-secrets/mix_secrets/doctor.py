"""What `mixkit doctor` says about the master keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixkit.contracts import Check
from mixkit.errors import KeyRingError

if TYPE_CHECKING:
    from mixkit.kernel import Kernel

__all__ = ["checks"]


def checks(kernel: Kernel) -> list[Check]:
    """The findings: where the master keys are from, and whether they can be used. Makes none, and shows none."""
    keys = kernel.keys
    try:
        keys.check()
    except KeyRingError as exc:
        return [
            Check(
                "master keys",
                "error",
                str(exc),
                "nothing is sealed or opened before; the README of mix-secrets says how keys are kept",
            )
        ]
    if keys.described() == "nowhere":
        return [
            Check(
                "master keys",
                "warning",
                "none: the profile serves no workspaces that could keep some",
                "set MIXKIT_SECRETS_KEY, or settings.kernel.key_file",
            )
        ]
    if keys.are_there():
        return [Check("master keys", "ok", f"from {keys.described()}")]
    return [
        Check("master keys", "ok", f"none yet: the first is made in {keys.described()} when it is needed")
    ]
