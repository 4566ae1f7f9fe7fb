"""The kernel's own settings."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

__all__ = ["KernelSettings"]

Positive = Annotated[int, Meta(ge=1)]


class KernelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[settings.kernel]`."""

    of_project: ClassVar = (
        "threads",
        "programs",
        "idle_instances",
        "output_of_run",
    )

    slice: Annotated[
        float,
        Meta(
            ge=0,
            le=0.1,
            description="Seconds that a run may hold the event loop before it goes on in a thread; 0: a thread for all "
            "but waiting.",
        ),
    ] = 0.005
    threads: Annotated[
        Positive, Meta(description="Runs at once that compute or are in plugins' code that blocks.")
    ] = 32
    programs: Annotated[Positive, Meta(description="Compiled programs kept in memory.")] = 256
    idle_instances: Annotated[
        int, Meta(ge=0, description="Instances of a program kept for its next run.")
    ] = 8
    idle_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Bytes of all instances that wait, of all programs together; the largest go first.",
        ),
    ] = 256 * 1024 * 1024
    idle_mappings: Annotated[
        int,
        Meta(
            ge=0,
            description="Mappings of the process that they take together, of those that the system allows "
            "(vm.max_map_count); a memory takes three or four.",
        ),
    ] = 16_384
    snapshots: Annotated[Positive, Meta(description="Snapshots kept in memory.")] = 256
    snapshot_bytes: Annotated[
        Positive, Meta(description="Bytes of all snapshots in memory, and of those on disk.")
    ] = 512 * 1024 * 1024
    key_file: Annotated[
        str | None,
        Meta(
            extra={"names": "file"},
            description="File of master keys, 32 bytes in base64 each, one a line, that nobody else may read; the "
            "first seals, all open. MIXKIT_SECRETS_KEY goes before; without both it is .keyring/keys in the "
            "workspaces.",
        ),
    ] = None
    snapshot_dir: Annotated[
        str | None,
        Meta(
            extra={"names": "folder"},
            description="Folder where snapshots outlive the process, for other workers and the next start.",
        ),
    ] = None
    activities: Annotated[
        Positive, Meta(description="Activities kept of each workspace, the newest; see docs/activities.md.")
    ] = 100_000
    activity_days: Annotated[
        float,
        Meta(gt=0, le=36_500, description="Days for which activities and the output of guests are kept."),
    ] = 90.0
    output_bytes: Annotated[
        int,
        Meta(
            ge=0,
            le=1 << 40,
            description="Bytes of what guests write to their log and standard streams that are kept of each workspace; "
            "0: none.",
        ),
    ] = 16 * 1024 * 1024
    output_of_run: Annotated[
        int, Meta(ge=0, le=1 << 40, description="Bytes of that which are kept of one run; 0: none.")
    ] = 64 * 1024
