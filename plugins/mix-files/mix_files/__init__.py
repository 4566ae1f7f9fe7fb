"""Files of apps: FFIs, a command, and the file systems in folders and in a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mixkit.cli.group import Group
    from mixkit.contracts import Check
    from mixkit.ffi import Registry

__all__: list[str] = []


@hookimpl
def mix_ffis(registry: Registry) -> None:
    from mix_files.ffis import group

    registry.add(group)


@hookimpl
def mix_filesystems() -> dict[str, str]:
    return {
        "std": "mix_files.backends:StdFileSystem",
        "async": "mix_files.backends:AsyncFileSystem",
        "s3": "mix_files.s3.files:S3FileSystem",
    }


@hookimpl
def mix_settings() -> str:
    return "mix_files.settings:FilesSettings"


@hookimpl
def mix_commands(group: Group) -> None:
    group.lazy("files", "mix_files.cli:files", "List, read, store and remove files of an app.")


@hookimpl
def mix_doctor(kernel: Any) -> list[Check]:
    from mix_files.doctor import checks

    return checks(kernel)
