"""SQL for agents of mixkit, in a process that can be killed."""

from __future__ import annotations

from mixkit.hookspecs import hookimpl

__all__: list[str] = []


@hookimpl
def mix_settings() -> str:
    return "mix_duckdb.settings:DuckdbSettings"


@hookimpl
def mix_sql() -> dict[str, str]:
    return {"duckdb": "mix_duckdb.records:DuckdbSql"}
