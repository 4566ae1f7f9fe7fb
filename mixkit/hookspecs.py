"""Every hook of the kernel, on one page. A plugin is a module with `@mixkit.hookimpl` functions of these names.

Hooks answer light things: names, and import strings (`"package.module:Name"`) of what is imported when it is
first needed, so that loading a plugin costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from mixkit.cli.group import Group
    from mixkit.contracts import Check
    from mixkit.ffi import Registry
    from mixkit.state import State
    from mixkit.topics import Carrier

__all__ = ["hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("mixkit")
hookimpl = pluggy.HookimplMarker("mixkit")


@hookspec
def mix_ffis(registry: Registry) -> None:
    """Register FFIs: `registry.add(group)` for each `FFIGroup`. All of a plugin's FFIs appear, or none."""


@hookspec
def mix_engines() -> dict[str, str]:  # type: ignore[empty-body]
    """Wasm engines: name to import string of a class that meets `WasmEngine`, made with the plugin's settings."""


@hookspec
def mix_filesystems() -> dict[str, str]:  # type: ignore[empty-body]
    """File systems for apps: name to import string of a class that meets `mixkit.filesystem.FileSystem`."""


@hookspec
def mix_storages() -> dict[str, str]:  # type: ignore[empty-body]
    """Databases for apps: name to import string of a class that meets `mixkit.storage.Storage`."""


@hookspec
def mix_sql() -> dict[str, str]:  # type: ignore[empty-body]
    """Engines for SQL over records: name to import string of a class that meets `mixkit.sql.SqlEngine`."""


@hookspec
def mix_belongings() -> dict[str, str]:  # type: ignore[empty-body]
    """Types of records in a workspace's own database that move with it: each to the import string of a function.

    It is called with the records of the type, the name of the workspace that they were of, and that of the one that
    they come to, and answers those that come along, as they are to be there. A `MixError` refuses the import. No secret
    belongs into such a record.
    """


@hookspec
def mix_compilers() -> dict[str, str]:  # type: ignore[empty-body]
    """Compilers: name of the language to import string of a class that meets `Compiler`."""


@hookspec
def mix_interpreters() -> dict[str, str]:  # type: ignore[empty-body]
    """Kinds of code other than Wasm: name to import string of a class that meets `mixkit.contracts.Interpreter`."""


@hookspec
def mix_settings() -> str:  # type: ignore[empty-body]
    """Import string of the plugin's settings: a frozen `msgspec.Struct` that forbids unknown fields.

    Every field has a default and a description (`Annotated[int, Meta(description="…")]`). It is filled from the
    profile's `[settings.<plugin>]`, from `MIXKIT_<PLUGIN>_<KEY>` and from the command line, in that order.
    """


@hookspec
def mix_state_open(state: State) -> None:
    """A run begins: put the plugin's resources on its state. Raising ends the run before it starts."""


@hookspec
def mix_state_close(state: State) -> None:
    """A run has ended, however it ended. Called for every plugin, even if another one's close raised."""


@hookspec
async def mix_http_intercept(request: Any) -> Any | None:
    """Answer an outgoing HTTP request inside the process, or None to let it go out.

    Implementations are asked one after the other, the first answer wins; each may be async or not.
    """


@hookspec
def mix_vaults() -> dict[str, str]:  # type: ignore[empty-body]
    """What keeps secrets of workspaces for the server: name to import string of a class that meets
    `mixkit.vault.Vaults`."""


@hookspec
async def mix_account_token(state: State, name: str) -> Any | None:
    """The access token (`mixkit.Token`) of the account `name` that the user for whom a run is has connected, good for
    now; None if it is none of the plugin's. Whether the run may have it has been decided.

    Implementations are asked one after the other, the first answer wins; each may be async or not.
    """


@hookspec
def mix_topics(kernel: Any) -> Carrier | None:
    """Where the messages of agents go, if not between the processes of a server alone: what the server lets its clients
    follow, it follows there. The first that is not None counts."""


@hookspec
def mix_commands(group: Group) -> None:
    """Add subcommands: `group.lazy("name", "package.cli:command", "One line of help.")`."""


@hookspec
def mix_doctor(kernel: Any) -> list[Check]:  # type: ignore[empty-body]
    """Checks for `mixkit doctor`, each ok, warning or error with a remedy."""


@hookspec
def mix_add_hookspecs(manager: pluggy.PluginManager) -> None:
    """Add hooks of the plugin's own: `manager.add_hookspecs(module)`. Called before other hooks are checked."""
