"""What the plugins of ours bring, known without an import: what a profile lacks is named with the plugin that has it.

A test holds it against the plugins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["COMMANDS", "ENGINES", "FILESYSTEMS", "PLUGINS", "STORAGES", "ffi_plugin", "pip_name"]

COMMANDS: Final[Mapping[str, str]] = {
    "auth": "server",
    "code": "rt",
    "compile": "lang",
    "db": "db",
    "dev": "dev",
    "doc": "lang",
    "explain": "lang",
    "files": "files",
    "fmt": "lang",
    "lsp": "dev",
    "mcp": "mcp",
    "new": "dev",
    "openapi": "server",
    "perms": "server",
    "repl": "dev",
    "secrets": "secrets",
    "serve": "server",
    "test": "dev",
    "wasm": "wasm",
}
ENGINES: Final[Mapping[str, str]] = {"wasm2c": "wasm2c", "wasmtime": "wasmtime"}
FILESYSTEMS: Final[Mapping[str, str]] = {"async": "files", "noop": "noopfs", "s3": "files", "std": "files"}
STORAGES: Final[Mapping[str, str]] = {"memory": "db", "mixquery": "db"}
PLUGINS: Final = frozenset(
    (
        "admin", "crypto", "db", "dev", "duckdb", "files", "http", "lang", "mcp", "mqtt", "noopfs", "rt", "secrets",
        "server", "wasm", "wasm2c", "wasmtime", "ws",
    )
)  # fmt: skip

_FFIS: Final[Mapping[str, str]] = {
    "$crypto": "crypto", "$db": "db", "db": "db", "$duckdb": "duckdb", "$file": "files", "$http": "http",
    "$mqtt": "mqtt", "$secrets": "secrets", "$token": "secrets", "$wasm": "wasm", "$ws": "ws",
}  # fmt: skip
"""How the names of their FFIs begin."""


def ffi_plugin(name: str) -> str | None:
    """The plugin of ours that an FFI is of, by how its name begins, with or without `$`."""
    group = name.partition("_")[0]
    return _FFIS.get(group) or _FFIS.get(f"${group}")


def pip_name(plugin: str) -> str:
    """The distribution that adds a plugin of ours: `mix-http` for `http`."""
    return f"mix-{plugin}"
