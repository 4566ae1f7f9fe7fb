"""mixquery, the embedded document database of mixkit: `from mix_db import Database`, and a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mix_db.database import Database
    from mixkit.cli.group import Group
    from mixkit.contracts import Check
    from mixkit.ffi import Registry

__all__ = ["Database"]


def __getattr__(name: str) -> Any:
    # A plugin's module is imported at each start; the engine is not.
    if name == "Database":
        from mix_db.database import Database

        return Database
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@hookimpl
def mix_ffis(registry: Registry) -> None:
    from mix_db.ffis import group

    registry.add(group)


@hookimpl
def mix_storages() -> dict[str, str]:
    return {"mixquery": "mix_db.storages:Mixquery", "memory": "mix_db.storages:Memory"}


@hookimpl
def mix_settings() -> str:
    return "mix_db.settings:Settings"


@hookimpl
def mix_commands(group: Group) -> None:
    group.lazy("db", "mix_db.cli:db", "Make, fill, ask, follow and mend databases.")


@hookimpl
def mix_doctor(kernel: Any) -> list[Check]:
    from mix_db.doctor import checks

    return checks(kernel)
