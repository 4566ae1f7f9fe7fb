"""Hashes, signatures, encryption and JWTs for agents of mixkit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixkit import hookimpl

if TYPE_CHECKING:
    from mixkit.contracts import Check
    from mixkit.ffi import Registry


@hookimpl
def mix_ffis(registry: Registry) -> None:
    from mix_crypto.ffis import ffis

    registry.add(ffis)


@hookimpl
def mix_settings() -> str:
    return "mix_crypto.settings:CryptoSettings"


@hookimpl
def mix_doctor(kernel: Any) -> list[Check]:
    from mix_crypto.doctor import checks

    return checks()
