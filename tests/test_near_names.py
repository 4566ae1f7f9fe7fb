"""Every argument and option of every command that names something, misspelt: the error says what was meant.

A new command is walked too; what it takes as text must be told here, as a name, or as what names nothing that is there.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from mixkit.cli import main
from mixkit.cli.app import cli
from mixkit.cli.session import Session

AGENT = """/// Greets somebody.
module greet(p: data)
  _meta_ {description: "Greets somebody", inParams: {name: "string"}, outParams: {text: "string"}}
  import assert
  import string
  cell output = {text: "Good day, " + string.capitalize(p.name)}
  test "names are capital" { assert.equal("Ada", string.capitalize("ada")) }
module end
"""
MANIFEST = {
    "format": 3, "name": "notes", "version": "1.0", "kind": "app",
    "apps": {"notes": {"agents": {"greeting": {"code": "greet.mix", "entry": "greet"}}}},
    "grants": {"ffis": ["$core_*", "$http_do"]},
}  # fmt: skip
PROVIDER = {
    "kind": "oauth2", "client_id": "x", "scopes": [],
    "authorization_endpoint": "https://a.example/a", "token_endpoint": "https://a.example/t",
}  # fmt: skip

VALUES: Final = {
    "--param", "--env", "--answer", "--timeout", "--token", "--server", "--since", "--as-of", "--extra", "--property",
    "--seconds", "--name", "--package-version", "--run", "--id-field", "--type", "--types", "--ref", "--delimiter",
    "--from-token", "--remote", "--user", "--trust", "--set", "--query", "--subject", "--where", "--link", "-k", "--via",
}  # fmt: skip
"""Options that take values, or names of strangers: there is nothing that they could be near to."""

TEXTS: Final = {
    "app create": {"name"},
    "auth set": {"name"},
    "auth token": {"email"},
    "codec check": {"source"},
    "codec decode": {"source"},
    "codec encode": {"source"},
    "db delete": {"ids"},
    "db explain": {"text"},
    "db get": {"ids"},
    "db history": {"id"},
    "db put": {"texts"},
    "db query": {"text"},
    "db sql": {"text"},
    "dev": {"ws"},
    "doc": {"member"},
    "error-decode": {"error"},
    "ffi call": {"args"},
    "files put": {"path"},
    "new app": {"name"},
    "perms revoke": {"ids"},
    "plugin new": {"name"},
    "remix install": {"ws"},
    "run": {"params"},
    "secrets set": {"name"},
    "wasm run": {"params", "entry", "patterns"},  # as those of run, once a compiler has been there
    "ws clone": {"url", "ws"},
    "ws create": {"name"},
    "ws import": {"ws"},
}
"""Texts that are values, or name what is made: code, queries, records of which there may be millions."""

W = ("--ws-dir", "ws")
SHOP = ("--ws", "shop", *W)
APP = ("--app", "shop/notes", *W)
WS_CASES: Final = {
    "app import": ("app", "import", "notes.export", "--yes", "--ws"),
    "auth list": ("auth", "list", "--ws"),
    "auth rm": ("auth", "rm", "corporate", "--ws"),
    "auth set": ("auth", "set", "x", "provider.json", "--ws"),
    "auth show": ("auth", "show", "corporate", "--ws"),
    "auth test": ("auth", "test", "corporate", "--ws"),
    "mcp": ("mcp", "--ws"),
    "mcp install": ("mcp", "install", "--dry-run", "--ws"),
    "openapi": ("openapi", "--ws"),
    "perms explain": ("perms", "explain", "all-users", "run", "--ws"),
    "perms grant": ("perms", "grant", "all-users", "runner", "--ws"),
    "perms list": ("perms", "list", "--ws"),
    "perms revoke": ("perms", "revoke", "x", "--ws"),
    "remix diff": ("remix", "diff", "notes.remix", "--ws"),
    "remix history": ("remix", "history", "notes", "--ws"),
    "remix list": ("remix", "list", "--ws"),
    "remix remove": ("remix", "remove", "notes", "--yes", "--ws"),
    "repl": ("repl", "--app", "notes", "--ws"),
}
"""Commands to what comes before the name of a workspace."""
DB_ARGUMENTS: Final = {
    "backup": ("copy",), "check": (), "compact": (), "delete": ("x",), "explain": ("x",), "export": (), "flush": (),
    "get": ("x",), "history": ("x",), "import": ("records.ndjson",), "init": (), "put": ("{}",), "query": ("x",),
    "repair": (), "sql": ("select 1",), "stats": (), "tail": (),
}  # fmt: skip
FILES_ARGUMENTS: Final = {"get": ("/x",), "ls": (), "put": ("logo.svg", "/x"), "rm": ("/x",)}
CASES: Final[dict[tuple[str, str], tuple[tuple[str, ...], str]]] = {
    **{
        (path, name): ((*words, "shpo", *W), "shop")
        for path, words in WS_CASES.items()
        for name in ("ws", "workspace")
    },
    **{
        (f"db {name}", "app"): (("db", name, *words, "--app", "shop/ntoes", *W), "notes")
        for name, words in DB_ARGUMENTS.items()
    },
    **{
        (f"files {name}", "name"): (("files", name, *words, "--app", "shop/ntoes", *W), "notes")
        for name, words in FILES_ARGUMENTS.items()
    },
    ("app export", "name"): (("app", "export", "shop/ntoes", *W), "notes"),
    ("app list", "name"): (("app", "list", "shpo", *W), "shop"),
    ("app powers", "name"): (("app", "powers", "shop/ntoes", *W), "notes"),
    ("app powers", "wanted"): (("app", "powers", "shop/notes", "--agree", "$http_od", *W), "$http_do"),
    ("app rm", "name"): (("app", "rm", "shop/ntoes", "-y", *W), "notes"),
    ("app show", "name"): (("app", "show", "shop/ntoes", *W), "notes"),
    ("auth rm", "name"): (("auth", "rm", "corprate", *SHOP), "corporate"),
    ("auth show", "name"): (("auth", "show", "corprate", *SHOP), "corporate"),
    ("auth test", "name"): (("auth", "test", "corprate", *SHOP), "corporate"),
    ("code disasm", "function"): (
        ("code", "disasm", "greet.mixexe", "-f", "mix.cells.frehs"),
        "mix.cells.fresh",
    ),
    ("doc", "name"): (("doc", "array.lenght"), "array.length"),
    ("explain", "code"): (("explain", "M03234"), "M0323"),
    ("ffi call", "name"): (("ffi", "call", "core_lgo"), "$core_log"),
    ("ffi list", "prefix"): (("ffi", "list", "$htpp"), "$http_*"),
    ("ffi show", "name"): (("ffi", "show", "http_od"), "$http_do"),
    ("files get", "path"): (("files", "get", "/public/lgoo.svg", *APP), "/public/logo.svg"),
    ("files ls", "folder"): (("files", "ls", "/pbulic", *APP), "/public"),
    ("files rm", "paths"): (("files", "rm", "/public/lgoo.svg", *APP), "/public/logo.svg"),
    ("fmt", "paths"): (("fmt", "graat.mix"), "greet.mix"),
    ("list", "where"): (("list", "shop/ntoes", *W), "notes"),
    ("logs", "where"): (("logs", "shop/notes/greetnig", *W), "greeting"),
    ("perms explain", "subject"): (("perms", "explain", "uesr/a@b.example", "run", *SHOP), "user"),
    ("perms explain", "permission"): (("perms", "explain", "all-users", "wirte", *SHOP), "write"),
    ("perms explain", "resource"): (
        ("perms", "explain", "all-users", "run", "agent/notes/greetnig", *SHOP),
        "greeting",
    ),
    ("perms grant", "subject"): (("perms", "grant", "uesr/a@b.example", "runner", *SHOP), "user"),
    ("perms grant", "role"): (("perms", "grant", "all-users", "runer", *SHOP), "runner"),
    ("perms grant", "resource"): (("perms", "grant", "all-users", "runner", "db/ntoes", *SHOP), "notes"),
    ("profile path", "name"): (("profile", "path", "agent_sevrer"), "agent_server"),
    ("profile show", "name"): (("profile", "show", "snowfalke"), "snowflake"),
    ("remix history", "app"): (("remix", "history", "ntoes", *SHOP), "notes"),
    ("remix install", "patterns"): (
        ("remix", "install", "notes.remix", "--grant", "$crpyto_*", *SHOP),
        "$crypto_*",
    ),
    ("remix remove", "package"): (("remix", "remove", "ntoes", "-y", *SHOP), "notes"),
    ("repl", "app"): (("repl", "--app", "ntoes", *SHOP), "notes"),
    ("run", "entry"): (("run", "notes.remix", "greetnig"), "greeting"),
    ("run", "patterns"): (("run", "shop/notes/greeting", "{}", "--grant", "$crpyto_*", *W), "$crypto_*"),
    ("secrets list", "where"): (("secrets", "list", "shop/ntoes", *W), "notes"),
    ("secrets rm", "app"): (("secrets", "rm", "shop/ntoes", "api-key", "--user", "a@b.example", *W), "notes"),
    ("secrets rm", "name"): (
        ("secrets", "rm", "shop/notes", "api-kye", "--user", "a@b.example", *W),
        "api-key",
    ),
    ("secrets set", "app"): (("secrets", "set", "shop/ntoes", "x", "--user", "a@b.example", *W), "notes"),
    ("test", "paths"): (("test", "greet.mix::names are captial"), "names are capital"),
    ("ws export", "name"): (("ws", "export", "shpo", *W), "shop"),
    ("ws rm", "name"): (("ws", "rm", "shpo", "-y", *W), "shop"),
    ("ws show", "name"): (("ws", "show", "shpo", *W), "shop"),
}
"""A command and what it calls the parameter, to words with it misspelt and the name that is meant."""
MORE: Final = [
    (("logs", "shpo", *W), "shop"),
    (("logs", "shop/ntoes", *W), "notes"),
    (("run", "shpo/notes", *W), "shop"),
    (("run", "shop/ntoes", *W), "notes"),
    (("run", "shop/notes/greetnig", *W), "greeting"),
    (("run", "notes.remx"), "notes.remix"),
    (("run", "greet.mxi"), "greet.mix"),
    (("run", "notes.remix", "greeting", "@parmas.json"), "params.json"),
    (("perms", "grant", "all-users", "runner", "workspcae", *SHOP), "workspace"),
    (("secrets", "list", "shpo", *W), "shop"),
    (("doc", "arary"), "array"),
    (("serve", "--auth", "tokns", "--port", "0"), "tokens"),
    (("-p", "agent_sevrer", "list"), "agent_server"),
    (("--set", "limits.wall_tiem=1", "list"), "wall_time"),
    (("compile", "sbu/greet.mix"), "sub"),
]


def walk(group: click.Group, ctx: click.Context) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        inner = click.Context(command, parent=ctx, info_name=name)
        path = inner.command_path.removeprefix("mixkit ")
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield path, command
        if isinstance(command, click.Group):
            yield from walk(command, inner)


def parameters() -> list[tuple[str, click.Parameter]]:
    """Those of every command but `serve`, whose options are settings: test_misspellings has them."""
    commands = walk(cli, click.Context(cli, info_name="mixkit", obj=Session("all")))
    return [(path, param) for path, command in commands if path != "serve" for param in command.params]


def is_value(path: str, param: click.Parameter) -> bool:
    return bool(
        (isinstance(param, click.Option) and set(param.opts) & VALUES) or param.name in TEXTS.get(path, ())
    )


NAMED = [
    (path, str(param.name))
    for path, param in parameters()
    if isinstance(param.type, click.types.StringParamType)
    and not getattr(param, "is_flag", False)
    and not is_value(path, param)
]
CHOICES = [
    (path, param)
    for path, param in parameters()
    if isinstance(param.type, click.Choice) and max(map(len, map(str, param.type.choices))) > 2
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that is named in the table."""
    place = tmp_path_factory.mktemp("near")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name, text in (("greet.mix", AGENT), ("manifest.json", json.dumps(MANIFEST)), ("logo.svg", "<svg/>"),
                           ("provider.json", json.dumps(PROVIDER)), ("params.json", "{}"),
                           ("records.ndjson", "{}"), ("sub/x", "")):  # fmt: skip
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_text(text, encoding="utf-8")
        for words in (
            ("remix", "build", ".", "-o", "notes.remix"),
            ("remix", "install", "notes.remix", "--yes", "--grant", "$core_*", *SHOP),
            ("app", "export", "shop/notes", "-o", "notes.export", *W),
            ("compile", "greet.mix"),
            ("files", "put", "logo.svg", "/public/logo.svg", *APP),
            ("auth", "set", "corporate", "provider.json", *SHOP),
            ("secrets", "set", "shop/notes", "api-key", "--user", "a@b.example", *W),
        ):
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"secret")))
            assert main(words) == 0, words
    return place


Say = Callable[..., str]


@pytest.fixture
def say(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Runs a command in that folder, and answers what it says on stderr."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"secret")))
    monkeypatch.setenv("MIXKIT_PROJECT", "")

    def run(*words: str) -> str:
        capsys.readouterr()
        with contextlib.suppress(SystemExit):
            main(words)
        return " ".join(capsys.readouterr().err.split())

    return run


def test_the_table_has_every_parameter_that_names_something() -> None:
    missing = [case for case in NAMED if case not in CASES]
    assert not missing, (
        "say what these take: a near name is told (CASES), or there is nothing near (TEXTS, VALUES)"
    )
    known = {(path, str(param.name)) for path, param in parameters()}
    assert {(path, name) for path, names in TEXTS.items() for name in names} <= known


@pytest.mark.parametrize(
    ("words", "name"), [*(CASES[case] for case in NAMED if case in CASES), *MORE], ids=str
)
def test_what_is_misspelt_is_told_with_what_is_meant(words: tuple[str, ...], name: str, say: Say) -> None:
    said = say(*words)
    assert "did you mean '" in said, said
    assert name in said.rpartition("did you mean ")[2], said


@pytest.mark.parametrize(("path", "param"), CHOICES, ids=lambda each: str(getattr(each, "name", each)))
def test_choices_are_told(path: str, param: click.Parameter, say: Say) -> None:
    assert isinstance(param.type, click.Choice)
    choice = max(map(str, param.type.choices), key=len)
    wrong = choice[:-1] + "_"
    words = [wrong] if isinstance(param, click.Argument) else [param.opts[0], wrong]
    assert "did you mean '" in say(*path.split(), *words)


PATHS = [
    (path, param)
    for path, param in parameters()
    if isinstance(param, click.Argument) and isinstance(param.type, click.Path) and param.type.exists
]


@pytest.mark.parametrize(("path", "param"), PATHS, ids=lambda each: str(getattr(each, "name", each)))
def test_files_are_told(path: str, param: click.Parameter, say: Say) -> None:
    assert "did you mean 'greet.mixexe'?" in say(*path.split(), "greet.mixexx", "greet.mixexx")
