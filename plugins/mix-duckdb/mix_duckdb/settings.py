"""Settings of the plugin, `[settings.duckdb]` in a profile."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta

from mixkit.errors import ProfileError

__all__ = ["DuckdbSettings"]

MIB = 1024 * 1024
_BESIDE: Final = 128 * MIB


class DuckdbSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much SQL gets. Hashable: processes that were started with equal settings are alike."""

    of_project: ClassVar = (
        "threads", "statement_time", "max_rows", "batch_rows", "batch_bytes", "max_columns", "max_text",
        "idle",
    )  # fmt: skip

    memory_limit: Annotated[
        int,
        Meta(
            ge=32 * MIB,
            description="Bytes that DuckDB may hold in one process: that of one run, or of one file of an app.",
        ),
    ] = 256 * MIB
    process_memory: Annotated[
        int,
        Meta(
            ge=64 * MIB,
            description="Bytes of address space that such a process may have beside what it begins with, because some "
            "functions of SQL pass the limit of DuckDB by. Tables handed over come on top.",
        ),
    ] = 768 * MIB
    threads: Annotated[int, Meta(ge=1, le=64, description="Threads of DuckDB in one process.")] = 2
    statement_time: Annotated[
        float, Meta(gt=0, description="Seconds for one statement, if the run has as many.")
    ] = 30.0
    max_rows: Annotated[
        int, Meta(ge=1, description="Rows that one statement answers; more are an error.")
    ] = 1_000_000
    batch_rows: Annotated[int, Meta(ge=1, le=100_000, description="Rows that are handed over at once.")] = (
        1_000
    )
    batch_bytes: Annotated[
        int, Meta(ge=1024, le=256 * MIB, description="Bytes that are handed over at once.")
    ] = 16 * MIB
    max_columns: Annotated[int, Meta(ge=1, description="Columns of what a statement answers.")] = 2_000
    max_text: Annotated[int, Meta(ge=1024, description="Bytes of the text of the statements of a call.")] = (
        MIB
    )
    files: Annotated[int, Meta(ge=0, description="Database files that an app may have.")] = 8
    file_bytes: Annotated[
        int,
        Meta(ge=MIB, description="Bytes of one database file: what is larger takes no more rows."),
    ] = 1024 * MIB
    processes: Annotated[
        int, Meta(ge=1, description="Processes for runs without a file, of one process of the server.")
    ] = 16
    sessions: Annotated[
        int, Meta(ge=1, le=1_000, description="Runs that use one file of an app at once.")
    ] = 64
    idle: Annotated[
        float, Meta(gt=0, description="Seconds after which the process of a file that nobody uses ends.")
    ] = 10.0
    table_cache: Annotated[
        int,
        Meta(
            ge=0,
            description="Bytes of tables of records that one process keeps in shared memory, for the next statement on "
            "them; 0: none.",
        ),
    ] = 512 * MIB

    def __post_init__(self) -> None:
        if self.process_memory < self.memory_limit + _BESIDE:
            raise ProfileError(
                f"expected at least {_BESIDE >> 20} MiB more than memory_limit, {self.memory_limit + _BESIDE}, found "
                f"{self.process_memory}: the process has buffers beside what DuckDB counts",
                "settings.duckdb.process_memory",
            )
