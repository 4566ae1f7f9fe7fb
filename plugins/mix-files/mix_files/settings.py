"""Settings of the plugin, `[settings.files]` in a profile."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from mix_files.s3_settings import S3Settings

__all__ = ["FilesSettings"]

MIB = 1024 * 1024


class FilesSettings(S3Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the files of apps are kept, and how many there may be."""

    max_bytes: Annotated[
        int, Meta(ge=0, description="Bytes that the files of one app have together; 0 is unbounded.")
    ] = 1024 * MIB
    max_files: Annotated[int, Meta(ge=0, description="Files of one app; 0 is unbounded.")] = 100_000
    ephemeral_lifetime: Annotated[
        float, Meta(gt=0, description="Seconds that a file below /ephemeral is there after it was stored.")
    ] = 86_400.0
    read_bytes: Annotated[
        int,
        Meta(
            ge=1, description="Bytes of a file that one call of $file_read answers, unless it asks for fewer."
        ),
    ] = 8 * MIB
    threads: Annotated[
        int, Meta(ge=1, le=256, description="Threads of a process that wait for the disk, with async.")
    ] = 8
    uploads: Annotated[int, Meta(ge=1, description="Files that one run sends in pieces at once.")] = 8
