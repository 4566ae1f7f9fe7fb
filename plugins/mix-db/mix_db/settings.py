"""Settings of the plugin, `[settings.db]` in a profile."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["Settings"]

MIB = 1024 * 1024


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How databases are kept."""

    query_timeout: Annotated[
        float, Meta(gt=0, description="Seconds of work for one query that names no time of its own.")
    ] = 30.0
    query_memory: Annotated[
        int,
        Meta(
            ge=1024,
            description="Bytes of rows that one query may hold at once, to sort or group them or to follow them.",
        ),
    ] = 256 * MIB
    table_bytes: Annotated[
        int, Meta(ge=1024, description="Bytes of stored records that one table of SQL may be made of.")
    ] = 256 * MIB
    lock_timeout: Annotated[
        float, Meta(gt=0, description="Seconds that a save waits while another process writes.")
    ] = 30.0
    max_record_bytes: Annotated[
        int, Meta(ge=1024, le=128 * MIB, description="Bytes of one record as it is stored.")
    ] = 16 * MIB
    max_records: Annotated[
        int, Meta(ge=1, description="Records that one call of an agent gets, saves or deletes.")
    ] = 10_000
    max_fields: Annotated[
        int,
        Meta(
            ge=1,
            description="Most different fields, those of maps inside counted, in the records of one call.",
        ),
    ] = 100_000
    quota: Annotated[
        int,
        Meta(
            ge=0,
            description="Bytes that the files of one database may take: what is larger takes no more records, until "
            "some are deleted and it is compacted without history. 0: no end.",
        ),
    ] = 8 * 1024 * MIB
    flush_rows: Annotated[
        int, Meta(ge=1, description="Versions in the write log at which they are moved to the row files.")
    ] = 10_000
    flush_bytes: Annotated[
        int, Meta(ge=1, description="Bytes in the write log at which they are moved to the row files.")
    ] = 4 * MIB
    flush_fields: Annotated[
        int,
        Meta(
            ge=1,
            description="Different fields in the write log at which it is moved: each takes a kilobyte of memory.",
        ),
    ] = 50_000
    flush_seconds: Annotated[
        float, Meta(gt=0, description="Seconds after which even little is moved to the row files.")
    ] = 30.0
    background: Annotated[
        bool,
        Meta(description="Flush, merge and compact without being asked, in one thread of each process."),
    ] = True
    retention: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds for which versions that were replaced, and deleted records, are kept at least; "
            "0: for ever. They go with a compaction.",
        ),
    ] = 0.0
    compact_share: Annotated[
        float,
        Meta(gt=0, le=1, description="With a retention: compact when this share of the versions may go."),
    ] = 0.5
