"""SQL for agents of mixkit, in processes that can be killed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mixkit.contracts import Check
    from mixkit.ffi import Registry

__all__: list[str] = []


@hookimpl
def mix_ffis(registry: Registry) -> None:
    from mix_duckdb.ffis import group

    registry.add(group)


@hookimpl
def mix_settings() -> str:
    return "mix_duckdb.settings:DuckdbSettings"


@hookimpl
def mix_sql() -> dict[str, str]:
    return {"duckdb": "mix_duckdb.records:DuckdbSql"}


@hookimpl
def mix_doctor(kernel: Any) -> list[Check]:
    from mix_duckdb.doctor import checks

    return checks(kernel.settings("duckdb"))
