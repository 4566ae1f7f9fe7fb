"""Files of apps: FFIs, a command, and the file systems in folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mixkit.ffi import Registry

__all__: list[str] = []


@hookimpl
def mix_ffis(registry: Registry) -> None:
    from mix_files.ffis import group

    registry.add(group)


@hookimpl
def mix_filesystems() -> dict[str, str]:
    return {"std": "mix_files.backends:StdFileSystem", "async": "mix_files.backends:AsyncFileSystem"}


@hookimpl
def mix_settings() -> str:
    return "mix_files.settings:FilesSettings"
