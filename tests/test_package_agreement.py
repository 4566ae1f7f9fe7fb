"""A package and its code: what one says and the other denies is refused, naming the field."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mix_db.storages import Mixquery

from mixkit.databases import Databases
from mixkit.errors import PackageError
from mixkit.package import Package, WorkspaceStore, agreement
from mixkit.package.build import build, pack

Make = Callable[..., dict[str, Any]]
CALL = '(func (export "mix_call") (param i32 i32) (param $p i32) (param $n i32) (result i64) (call $pair (local.get $p) (local.get $n)))'
ENTRY = {"inParams": {"n": "int", "mode?": "string"}, "outParams": "array(int)"}
CODE = {"version": 1, "entries": {"e": ENTRY, "f": {}}, "grants": {"ffis": ["$http_do", "$db_*"]}}


@pytest.fixture(scope="module")
def module(guest: Callable[..., bytes]) -> bytes:
    text = json.dumps(CODE).replace('"', '\\"')
    return guest(f'{CALL} (@custom "mix.manifest" "{text}")')


@pytest.fixture
def store(tmp_path: Path) -> Iterator[WorkspaceStore]:
    databases = Databases(Mixquery)
    yield WorkspaceStore(tmp_path / "store", databases)
    databases.close()


def manifest(code: str, grants: tuple[str, ...] = ("$http_*", "$db_*"), **agents: Any) -> dict[str, Any]:
    return {
        "format": 3,
        "name": "demo",
        "version": "1.0",
        "kind": "app",
        "apps": {"demo": {"agents": {name: {"code": code, **agent} for name, agent in agents.items()}}},
        "grants": {"ffis": list(grants)},
    }


def packed(module: bytes, document: dict[str, Any]) -> Package:
    entries = {"manifest.json": json.dumps(document).encode(), "code/demo/a.wasm": module}
    return Package.open(pack({path: lambda data=data: data for path, data in entries.items()}))  # type: ignore[misc]


@pytest.mark.parametrize(
    "agents",
    [
        {"e": {}, "f": {"inParams": {"x": "int"}, "outParams": "int"}},
        {"e": {"inParams": {"n": "int"}, "outParams": "array(number)"}},
        {"e": {"inParams": {"n": "data", "mode?": '"a" | "b"'}}},
        {"other": {"entry": "e", "inParams": {"n": "int", "mode": "string"}, "outParams": "array"}},
    ],
)
def test_what_the_code_bears_out_is_built(module: bytes, tmp_path: Path, agents: Any) -> None:
    (tmp_path / "a.wasm").write_bytes(module)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest("a.wasm", **agents)))
    assert Package.open(build(tmp_path)).name == "demo"


@pytest.mark.parametrize(
    ("agents", "grants", "message"),
    [
        ({"e": {"inParams": {"n": "string"}}}, None, r"the code takes int, .* string at \$\.apps\.demo\.agents\.e\.inParams\.n$"),
        ({"e": {"inParams": {"n?": "int"}}}, None, r"which may not, .* which may be missing at .*\.e\.inParams\.n$"),
        ({"e": {"inParams": {"mode": "string"}}}, None, r"may not be missing, the package lets in nothing at .*\.e\.inParams\.n$"),
        ({"e": {"inParams": {"n": "int", "mod": "string"}}}, None, r"no such key, .* at .*\.e\.inParams\.mod$"),
        ({"e": {"inParams": {"n": "int", "...": "data"}}}, None, r"takes more keys at .*\.e\.inParams$"),
        ({"e": {"outParams": "array(string)"}}, None, r"promises string, the code answers int at .*\.e\.outParams\[\]$"),
        ({"f": {}, "ee": {}}, None, r"an entry of .* \(e, f\), found 'ee'; did you mean 'e'\? at \$\.apps\.demo\.agents\.ee; say .entry.: .e. beside"),
        ({"x": {"entry": "ff"}}, None, r"found 'ff'; did you mean 'f'\? at \$\.apps\.demo\.agents\.x\.entry$"),
        ({"e": {}}, ["$htp_do", "$db_*"], r"'\$http_do', which the code .* asks for.* did you mean '\$htp_do'\? at \$\.grants\.ffis$"),
        ({"e": {}}, [], r"'\$db_\*', '\$http_do', which the code .* asks for.* at \$\.grants\.ffis$"),
    ],
)  # fmt: skip
def test_what_the_code_denies_is_refused(
    module: bytes, tmp_path: Path, store: WorkspaceStore, agents: Any, grants: Any, message: str
) -> None:
    options = {} if grants is None else {"grants": grants}
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.wasm").write_bytes(module)
    (source / "manifest.json").write_text(json.dumps(manifest("a.wasm", **options, **agents)))
    with pytest.raises(PackageError, match=message) as caught:
        build(source)
    assert caught.value.entry == "manifest.json"
    workspace = store.create("main")
    with pytest.raises(PackageError, match=message):
        workspace.install(packed(module, manifest("code/demo/a.wasm", **options, **agents)))
    assert workspace.apps() == []


def test_code_that_says_nothing_is_not_contradicted(guest: Callable[..., bytes]) -> None:
    for code in (b"not wasm", b"\0asm\1\0\0\0", b"\0asm and no more"):
        agreement.check(packed(code, manifest("code/demo/a.wasm", e={"inParams": {"n": "int"}})))
    dispatches = guest().replace(b"mix_entry_echo", b"mix_other_echo")
    agreement.check(packed(dispatches, manifest("code/demo/a.wasm", e={})))
    agreement.check(packed(guest(), manifest("code/demo/a.wasm", echo={"inParams": {"n": "int"}})))
    with pytest.raises(PackageError, match="found 'ecko'; did you mean 'echo'"):
        agreement.check(packed(guest(), manifest("code/demo/a.wasm", ecko={})))


def test_a_manifest_in_the_code_that_cannot_be_read_is_refused(guest: Callable[..., bytes]) -> None:
    broken = guest(f'{CALL} (@custom "mix.manifest" "{{}}")')
    with pytest.raises(PackageError, match=r"mix\.manifest: expected version 1"):
        agreement.check(packed(broken, manifest("code/demo/a.wasm", e={})))
