"""What `mixkit doctor` says about the bucket."""

from __future__ import annotations

import asyncio

from mix_files.s3.store import Store
from mix_files.settings import FilesSettings
from mixkit.contracts import Check
from mixkit.errors import MixError

__all__ = ["checks"]


def checks(settings: FilesSettings) -> list[Check]:
    """The findings: whether the store can be written, and whether it heeds conditions. Stores a short object twice, and
    deletes it."""
    if not settings.s3_bucket:
        return [
            Check(
                "files s3",
                "error",
                "the profile's file system is s3, and there is no bucket",
                "set settings.files.s3_bucket",
            )
        ]
    where = f"bucket {settings.s3_bucket!r} at {settings.s3_target().netloc}"
    try:
        heeds = asyncio.run(_heeds(settings))
    except MixError as exc:
        return [Check("files s3", "error", str(exc), "look at the settings files.s3_…")]
    found = [Check("files s3", "ok", f"{where} can be written")]
    if settings.dangerous_s3_mode:
        found = [
            Check(
                "files s3",
                "warning",
                f"{where}, dangerous_s3_mode: plain http and every address are allowed",
                "unset settings.files.dangerous_s3_mode unless this machine is for development",
            )
        ]
    if heeds:
        found.append(Check("files s3 conditions", "ok", "the store heeds conditions of writes"))
    else:
        found.append(
            Check(
                "files s3 conditions",
                "warning",
                "the store does not heed conditions of writes: the locks in the homes of the apps decide, so they hold "
                "for all processes that have these",
                "let no process write to the bucket that has not the same directory of workspaces",
            )
        )
    return found


async def _heeds(settings: FilesSettings) -> bool:
    return await Store(settings).heeds_conditions()
