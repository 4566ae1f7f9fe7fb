"""Every name that is read anywhere, misspelt: refused, or told, with the name that was meant.

Each reader says which names it knows, so that a name that is added is tried too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from mixkit import Kernel, action
from mixkit.cli.app import cli
from mixkit.cli.group import Group
from mixkit.cli.session import Session
from mixkit.contracts import FuncType
from mixkit.converter import converter
from mixkit.databases import load_records
from mixkit.errors import MixError
from mixkit.grants import Grants
from mixkit.job import RunOptions
from mixkit.limits import Limits
from mixkit.package.manifest import AgentSpec, AppSpec, GrantsSpec, Manifest
from mixkit.profile import _KEYS as PROFILE_KEYS
from mixkit.profile import load_profile, profile_names
from mixkit.schema import ArrayType, MapType, RecordType, Type, UnionType
from mixkit.settings import variable
from mixkit.storage import SaveOptions
from mixkit.variables import OURS
from mixkit.vm import interface
from mixkit.vm import manifest as guest_manifest
from mixkit.vm.guest import HOST_IMPORTS

LIMITS = Limits.__struct_fields__
_SHORT = 3
"""Letters of a name that is like no other once two of them are changed."""


def misspelt(name: str) -> str:
    """The name with its last two different neighbours among the letters in the other order."""
    for at in range(len(name) - 2, -1, -1):
        if name[at] != name[at + 1] and name[at].isalnum() and name[at + 1].isalnum():
            return name[:at] + name[at + 1] + name[at] + name[at + 2 :]
    return name + name[-1]


def is_told(name: str, read: Callable[[str], object]) -> None:
    """What reads the misspelt name refuses it, or answers a message, and says what was meant, or what is as near."""
    wrong = misspelt(name)
    try:
        said = str(read(wrong))
    except (MixError, TypeError, click.UsageError) as exc:
        said = exc.format_message() if isinstance(exc, click.UsageError) else str(exc)
    assert wrong in said, f"{wrong} for {name}: {said}"
    if len(name) <= _SHORT:
        return
    _, _, meant = said.lower().partition("did you mean ")
    likeness = max((_likeness(wrong, word.strip("'\"[](),?")) for word in meant.split()), default=0)
    assert likeness >= _likeness(wrong, name), f"{wrong} for {name}: {said}"


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(a=one.lower(), b=other.lower()).ratio()


def names_of(*structs: type[msgspec.Struct]) -> Iterator[tuple[type[msgspec.Struct], str]]:
    for struct in structs:
        for field in msgspec.structs.fields(struct):
            yield struct, field.encode_name


@pytest.fixture(scope="module")
def full() -> Iterator[Kernel]:
    """A kernel with all plugins of ours."""
    with Kernel("agent_server", environ={}) as kernel:
        yield kernel


def settings_of(kernel: Kernel) -> dict[str, tuple[str, ...]]:
    found = {name: type(settings).__struct_fields__ for name, settings in kernel.assembly._settings.items()}
    assert set(found) >= {"kernel", "http", "db", "server", "crypto", "wasmtime"}
    return found


# -- profiles, settings, limits -----------------------------------------------------------------------


@pytest.mark.parametrize("key", PROFILE_KEYS)
def test_keys_of_a_profile(key: str, tmp_path: Path) -> None:
    def read(wrong: str) -> object:
        (tmp_path / "p.toml").write_text(f'{wrong} = "x"\n')
        return load_profile(tmp_path / "p.toml", environ={})

    is_told(key, read)
    if key != "extends":
        is_told(key, lambda wrong: load_profile("test", environ={}, overrides={wrong: "x"}))


def test_keys_of_settings_wherever_they_stand(full: Kernel, tmp_path: Path) -> None:
    def in_a_file(wrong: str) -> object:
        (tmp_path / "p.toml").write_text(f'extends = "agent_server"\n[settings.{section}]\n{wrong} = 1\n')
        return Kernel(tmp_path / "p.toml", environ={})

    for section, keys in settings_of(full).items():
        for key in keys:
            if key == keys[0]:
                is_told(key, in_a_file)
            dotted = f"settings.{section}."
            is_told(
                key,
                lambda wrong, at=dotted: Kernel("agent_server", environ={}, overrides={f"{at}{wrong}": 1}),
            )


def test_keys_of_limits_wherever_they_stand(tmp_path: Path) -> None:
    def in_a_file(wrong: str) -> object:
        (tmp_path / "p.toml").write_text(f'extends = "test"\n[limits]\n{wrong} = 1\n')
        return Kernel(tmp_path / "p.toml", environ={})

    for key in LIMITS:
        is_told(key, in_a_file)
        is_told(key, lambda wrong: Kernel("test", environ={}, overrides={f"limits.{wrong}": 1}))


def test_environment_variables(full: Kernel) -> None:
    sections = {**settings_of(full), "limits": LIMITS}
    names = OURS | {variable(section, key) for section, keys in sections.items() for key in keys}
    for name in names:
        is_told(name, lambda wrong: Kernel("agent_server", environ={wrong: "1"}))


def test_names_of_plugins_profiles_and_layers() -> None:
    def kernel(**overrides: Any) -> Kernel:
        return Kernel("agent_server", environ={}, overrides=overrides)

    for plugin in load_profile("agent_server", environ={}).plugins:
        is_told(plugin, lambda wrong: kernel(**{f"settings.{wrong}.x": 1}))
    for profile in profile_names({}):
        is_told(profile, lambda wrong: load_profile(wrong, environ={}))
    is_told("mixquery", lambda wrong: kernel(storage=wrong))
    is_told("wasmtime", lambda wrong: kernel(engines=wrong))
    # Of several the first that is installed counts; a misspelt one is no reason to take the next.
    is_told("wasmtime", lambda wrong: kernel(engines=[wrong, "wasmtime"]))
    assert [choice.engine for choice in kernel(engines=["wasm2c", "wasmtime"]).engines.choices] == [
        "wasmtime"
    ]


# -- manifests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("struct", "key"), [*names_of(Manifest, AppSpec, AgentSpec, GrantsSpec)])
def test_keys_of_a_package(struct: type, key: str) -> None:
    def read(wrong: str) -> object:
        agent, app, grants = {"code": "code/a/a.wasm"}, {"agents": {}}, {"ffis": []}
        document: dict[str, Any] = {"format": 3, "name": "a", "version": "1", "kind": "app"}
        document |= {"apps": {"a": app | {"agents": {"m": agent}}}, "grants": grants}
        place = {Manifest: document, AppSpec: document["apps"]["a"], AgentSpec: agent, GrantsSpec: grants}[
            struct
        ]
        place[wrong] = place[key] if key == "format" else place.pop(key, "x")
        return Manifest.decode(json.dumps(document).encode())

    is_told(key, read)


@pytest.mark.parametrize("key", LIMITS)
def test_limits_of_a_package(key: str) -> None:
    agents = {"a": {"agents": {"m": {"code": "code/a/a.wasm"}}}}
    document: dict[str, Any] = {"format": 3, "name": "a", "version": "1", "kind": "app", "apps": agents}
    is_told(key, lambda wrong: Manifest.decode(json.dumps(document | {"limits": {wrong: 1}}).encode()))


@pytest.mark.parametrize(
    ("place", "key"),
    [
        *(("", key) for key in sorted(guest_manifest._KEYS)),
        *(("entry", key) for key in sorted(guest_manifest._ENTRY_KEYS)),
        *(("grants", key) for key in ("ffis", "options")),
    ],
)
def test_keys_of_a_manifest_in_code(place: str, key: str) -> None:
    def read(wrong: str) -> object:
        entry: dict[str, Any] = {}
        grants: dict[str, Any] = {}
        document = {"version": 1, "entries": {"e": entry}, "grants": grants}
        {"": document, "entry": entry, "grants": grants}[place][wrong] = "x"
        return guest_manifest._parse(json.dumps(document).encode())

    is_told(key, read)


def test_imports_of_a_guest() -> None:
    class Module:
        def __init__(self, key: tuple[str, str]) -> None:
            self.imports = {key: FuncType((), ())}
            self.exports: dict[str, FuncType | str] = {}

    for space, name in HOST_IMPORTS:
        is_told(name, lambda wrong, space=space: interface.problems(Module((space, wrong)))[0])


# -- what is asked for, given and chosen --------------------------------------------------------------


def test_grants(full: Kernel) -> None:
    for ffi in full.ffis:
        is_told(ffi.name, lambda wrong: full.ffis.unknown_grants(Grants([wrong])))
        is_told(ffi.name, lambda wrong: full.ffis[wrong])
    for option in full.ffis.options:
        is_told(option, lambda wrong: full.ffis.unknown_grants(Grants([], {wrong: 1})))
        is_told(option, lambda wrong: full.ffis.check_grant_options([wrong]))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("http.hosts", "example.com"),
        ("http.hosts", ["exa mple.com"]),
        ("ws.hosts", [1]),
        ("mqtt.topics", "sensors/#"),
        ("mqtt.topics", ["sensors/#/x"]),
        ("duckdb.files", "main"),
        ("duckdb.files", ["../main"]),
        ("db.apps", "shop"),
        ("db.apps", None),
        ("db.apps", {"shop": True}),
    ],
)
def test_values_that_options_of_grants_cannot_have(full: Kernel, option: str, value: object) -> None:
    if option not in full.ffis.options:
        pytest.skip(f"the profile has no {option}")
    grants = Grants([], {option: value})
    with pytest.raises(MixError, match=f"grant option {option}: .*expected"):
        full.ffis.check_grants(grants)
    assert len(full.ffis.unknown_grants(grants)) == 1


def records(type: Type) -> Iterator[RecordType]:
    """The closed records in a type."""
    match type:
        case RecordType(fields):
            if not type.open:
                yield type
            for field in fields.values():
                yield from records(field.type)
        case ArrayType(item) | MapType(item):
            yield from records(item)
        case UnionType(options):
            for option in options:
                yield from records(option)


def test_keys_of_records_that_ffis_take(full: Kernel) -> None:
    found = [record for ffi in full.ffis for param in ffi.params for record in records(param.type)]
    assert any("followRedirects" in record.fields for record in found)
    for record in found:
        check = converter(record)
        for key in record.fields:
            is_told(key, lambda wrong, check=check: check({wrong: None}))


def test_options_of_saves(full: Kernel) -> None:
    from mix_db.where import Where

    for _, key in names_of(SaveOptions):
        is_told(key, lambda wrong: load_records(None, [], {wrong: True}))  # type: ignore[arg-type]
    for _, key in names_of(Where):
        is_told(key, lambda wrong: Where.of({wrong: True}))


def test_keys_and_kinds_of_actions() -> None:
    for kind, cls in action._TYPES.items():
        is_told(kind, lambda wrong: action.parse({"_rmx_type": wrong}))
        given = {name: "x" for name in ("name", "url") if name in cls.__struct_fields__}
        for key in cls.__struct_fields__:
            if key not in given:
                is_told(
                    key, lambda wrong, whole=given | {"_rmx_type": kind}: action.parse({**whole, wrong: None})
                )


def test_options_of_runs(full: Kernel) -> None:
    for key in RunOptions.__annotations__:
        is_told(key, lambda wrong: full.run_sync(b"", "e", None, **{wrong: None}))  # type: ignore[misc]


# -- the command line ---------------------------------------------------------------------------------


def commands(group: click.Group, ctx: click.Context) -> Iterable[tuple[click.Context, click.Command]]:
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        inner = click.Context(command, parent=ctx, info_name=name)
        yield inner, command
        if isinstance(command, click.Group):
            yield from commands(command, inner)


def test_commands_and_their_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIXKIT_PROFILE", raising=False)
    top = click.Context(cli, info_name="mixkit", obj=Session())
    tried = 0
    for ctx, command in [(top, cli), *commands(cli, top)]:
        if isinstance(command, Group):
            for name in command.list_commands(ctx):
                is_told(name, lambda wrong, ctx=ctx, command=command: command.resolve_command(ctx, [wrong]))
        for param in command.get_params(ctx):
            for option in param.opts if isinstance(param, click.Option) else ():
                if option.startswith("--"):
                    is_told(
                        option,
                        lambda wrong, ctx=ctx, command=command: command.make_parser(ctx).parse_args([wrong]),
                    )
                    tried += 1
    assert tried > 100
