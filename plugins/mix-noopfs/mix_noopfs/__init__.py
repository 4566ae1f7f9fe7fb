"""A file system that keeps nothing, for profiles whose agents are to have no files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mixkit.contracts import Check

__all__: list[str] = []


@hookimpl
def mix_filesystems() -> dict[str, str]:
    return {"noop": "mix_noopfs.filesystem:NoopFileSystem"}


@hookimpl
def mix_doctor(kernel: Any) -> list[Check]:
    from mixkit.contracts import Check

    if kernel.profile.filesystem == "noop":
        return [
            Check("files", "ok", "the profile keeps none: what is stored is refused, and nothing is there")
        ]
    return []
