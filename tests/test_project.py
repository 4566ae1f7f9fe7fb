"""`mixkit.toml`: found by every command, weaker than the command line and the environment, and no power of a stranger's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from mixkit.cli.app import cli
from mixkit.cli.choices import ProjectOption
from mixkit.cli.group import Group
from mixkit.cli.project import FILE, VARIABLE, Project, find_project
from mixkit.cli.session import Session
from mixkit.errors import MixError, ProfileError
from mixkit.settings import Found

Run = Callable[..., subprocess.CompletedProcess[str]]

ALL = """
profile = "agent_server"
workspace = "dev"
ws_dir = "data"
server = "http://127.0.0.1:8000"
[set]
"limits.wall_time" = 3
"settings.http.timeout" = 5
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the command line in a folder, `tmp_path` by default."""

    def run(*args: str, cwd: Path = tmp_path, **variables: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("MIXKIT_")}
        return subprocess.run(
            [sys.executable, "-m", "mixkit", *args],
            cwd=cwd, env={**inherited, **variables}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return run


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    path.write_text(text, encoding="utf-8")
    return path


def shown(run: Run, *args: str, **more: Any) -> dict[str, tuple[Any, str]]:
    done = run(*args, "profile", "show", "--json", **more)
    assert done.returncode == 0, done.stderr + done.stdout
    return {row["key"]: (row["value"], row["origin"]) for row in json.loads(done.stdout)}


# -- what counts ----------------------------------------------------------------------------------------


def test_every_value_shows_where_it_comes_from(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, ALL)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for cwd in (tmp_path, tmp_path / "deep" / "er"):
        found = shown(run, cwd=cwd)
        assert found["profile"] == ("agent_server", f"{path}: profile")
        assert found["workspace"] == ("dev", f"{path}: workspace")
        assert found["server"] == ("http://127.0.0.1:8000", f"{path}: server")
        assert found["settings.server.ws_dir"] == (str(tmp_path / "data"), f"{path}: ws_dir")
        assert found["limits.wall_time"] == (3.0, f"{path}: set")
        assert found["settings.http.timeout"] == (5.0, f"{path}: set")


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(
    run: Run, tmp_path: Path
) -> None:
    write(tmp_path, ALL)
    environment = {"MIXKIT_LIMITS_WALL_TIME": "4", "MIXKIT_SERVER_WS_DIR": "elsewhere"}
    found = shown(run, **environment)
    assert found["limits.wall_time"] == (4.0, "env MIXKIT_LIMITS_WALL_TIME")
    assert found["settings.server.ws_dir"] == ("elsewhere", "env MIXKIT_SERVER_WS_DIR")
    found = shown(run, "--set", "limits.wall_time=5", **environment)
    assert found["limits.wall_time"] == (5.0, "command line")
    # Settings of plugins that another profile lacks are for the one of the file.
    for found in (shown(run, "-p", "test"), shown(run, MIXKIT_PROFILE="test")):
        assert found["limits.wall_time"][0] == 3.0
        assert "settings.http.timeout" not in found and "profile" not in found
    overlay = tmp_path / "over.toml"
    overlay.write_text("[limits]\nwall_time = 6\n", encoding="utf-8")
    assert shown(run, MIXKIT_CONFIG=str(overlay))["limits.wall_time"] == (6.0, "over.toml")


def test_the_nearest_file_counts_alone(run: Run, tmp_path: Path) -> None:
    write(tmp_path, ALL)
    write(tmp_path / "a", 'workspace = "other"')
    found = shown(run, cwd=tmp_path / "a")
    assert found["workspace"][0] == "other"
    assert found["limits.wall_time"] == (60.0, "default")


def test_a_variable_names_the_file_or_none(run: Run, tmp_path: Path) -> None:
    write(tmp_path, ALL)
    elsewhere = tmp_path / "b" / "mine.toml"
    elsewhere.parent.mkdir()
    elsewhere.write_text('workspace = "mine"', encoding="utf-8")
    assert shown(run, MIXKIT_PROJECT=str(elsewhere))["workspace"] == ("mine", f"{elsewhere}: workspace")
    assert "workspace" not in shown(run, MIXKIT_PROJECT="")
    done = run("profile", "show", MIXKIT_PROJECT=str(tmp_path / "none.toml"))
    assert done.returncode == 1
    assert f"{tmp_path / 'none.toml'}: cannot be read" in done.stderr


def test_a_profile_and_a_directory_are_relative_to_the_file(run: Run, tmp_path: Path) -> None:
    write(tmp_path, 'profile = "./p.toml"\nws_dir = "data"')
    (tmp_path / "p.toml").write_text('extends = "agent_server"\n[limits]\nwall_time = 7\n', encoding="utf-8")
    (tmp_path / "below").mkdir()
    assert run("ws", "create", "dev", cwd=tmp_path / "below").returncode == 0
    assert (tmp_path / "data" / "dev").is_dir()
    assert shown(run, cwd=tmp_path / "below")["limits.wall_time"] == (7.0, str(tmp_path / "p.toml"))


def test_a_directory_counts_without_a_server_in_the_profile(run: Run, tmp_path: Path) -> None:
    write(tmp_path, 'profile = "test"\nws_dir = "data"\n[set]\nstorage = "mixquery"')
    assert run("ws", "create", "dev").returncode == 0
    assert (tmp_path / "data" / "dev").is_dir()


def test_the_workspace_is_that_of_commands_that_take_one(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, 'workspace = "dev"\nws_dir = "data"')
    assert run("ws", "create", "other").returncode == 0
    done = run("perms", "list")
    assert done.returncode == 1
    assert "no workspace 'dev'" in done.stderr
    assert f"(workspace, ws_dir from {path})" in done.stderr
    assert run("perms", "list", "--ws", "other").returncode == 0


def test_a_folder_that_is_given_brings_its_own_file(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "app", '[set]\n"limits.wall_tiem" = 1')
    write(tmp_path, 'profile = "agent_server"')
    (tmp_path / "app" / "manifest.json").write_text("{}", encoding="utf-8")
    for words in (("run", "app"), ("test", "app"), ("dev", "app", "--no-serve")):
        done = run(*words)
        assert done.returncode == 1, words
        assert f"{path}: set: limits.wall_tiem: unknown key" in done.stderr, words


# -- what is wrong with it ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('worksapce = "x"', "worksapce: unknown key; known are .*did you mean 'workspace'"),
        ("workspace = 3", "workspace: expected a text, found 3"),
        ('workspace = ""', "workspace: expected a text"),
        ('set = "x"', "set: expected a table"),
        ("[limits]\nwall_time = 1", r"limits: unknown key; values of a profile are below \[set\]"),
        ('server = "ftp://x"', "server: expected a URL"),
        ('server = "http://["', "server: expected a URL"),
        ("profile = 'a\n", r"not TOML: .*\(at line 2, column 1\)"),
        ('a = 1\nb = "\xff"'.encode("latin-1"), r"not TOML: expected UTF-8 \(at line 2, column 6\)"),
        ("# " + "x" * 70_000, "expected at most 65536 bytes"),
        # What it must never hold.
        ('token = "x"', "token: .*a secret does not belong here"),
        ('server = "https://ada:x@agents.example"', "server: a secret does not belong here"),
        ('MIXKIT_SERVER_TOKEN = "x"', "MIXKIT_SERVER_TOKEN: .*a secret does not belong here"),
        ('[set]\n"limits.wall_time" = 1\nlimits.wall_time = 2', "set: limits.wall_time: it is there twice, as 1 and"),
        ('[set]\n"settings.server.token" = "x"', "set: settings.server.token: a secret does not belong here"),
        ('[set.settings.mqtt]\npassword = "x"', "set: settings.mqtt.password: a secret does not belong here"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_an_error_with_the_place(text: str | bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ProfileError, match=told) as caught:
        find_project(tmp_path, {})
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('"limits.wall_tiem" = 1', "set: limits.wall_tiem: unknown key.*did you mean 'wall_time'"),
        ('"limits.wall_time" = "x"', "set: limits.wall_time: Expected `float`"),
        ('"settings.htpt.timeout" = 1', "set: settings.htpt: the profile has no plugin.*did you mean 'http'"),
        ("plugnis = []", "set: plugnis: expected settings.*did you mean 'plugins'"),
        ("plugins = 1", "set: plugins: expected a list"),
    ],
)
def test_a_wrong_value_of_a_profile_names_the_file(text: str, told: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"[set]\n{text}\n")
    session = Session()
    session.work_in(tmp_path)
    with pytest.raises(ProfileError, match=told) as caught:
        session.assembly()
    assert str(caught.value).startswith(str(path))


def test_a_profile_that_there_is_not_names_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, 'profile = "agent_sevrer"')
    session = Session()
    session.work_in(tmp_path)
    with pytest.raises(
        ProfileError, match=r"no profile 'agent_sevrer'.*did you mean 'agent_server'"
    ) as caught:
        session.loaded_profile()
    assert str(caught.value).startswith(f"{path}: profile")


def test_a_broken_file_takes_away_neither_the_help_nor_the_doctor(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, "profile = ")
    done = run("--help")
    assert done.returncode == 0 and str(path) in done.stdout.replace("\n  ", "")
    assert run("--version").returncode == 0
    assert str(path) in run("doctor").stdout
    done = run("ws", "list", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["message"].startswith(f"{path}: not TOML")


# -- what a stranger's may do ---------------------------------------------------------------------------


def test_the_file_of_another_user_is_passed_over(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give a file away")
    path = write(tmp_path / "shared" / "work", 'workspace = "theirs"').parent.parent / FILE
    (tmp_path / "shared" / "work" / FILE).rename(path)
    os.chown(path, 12345, 12345)
    write(tmp_path, 'workspace = "mine"')
    found = find_project(tmp_path / "shared" / "work", {})
    assert found.workspace == "mine"
    assert [line for line in found.passed_over if str(path) in line and "another user" in line]
    # Whoever names it means it.
    assert find_project(tmp_path, {VARIABLE: str(path)}).workspace == "theirs"
    # A link of another's that leads to a file of one's own.
    path.unlink()
    path.symlink_to(tmp_path / FILE)
    os.chown(path, 12345, 12345, follow_symlinks=False)
    assert find_project(tmp_path / "shared", {}).passed_over


def test_a_file_that_everybody_may_write_is_passed_over_and_told(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, 'workspace = "theirs"')
    path.chmod(0o666)
    done = run("profile", "show")
    assert "theirs" not in done.stdout
    assert f"note: {path} is passed over: everybody may write it" in done.stderr


def test_what_is_no_file_is_passed_over_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE)
    assert find_project(tmp_path, {}).passed_over
    (tmp_path / "a" / FILE).mkdir(parents=True)
    assert len(find_project(tmp_path / "a", {}).passed_over) == 2


@pytest.mark.parametrize("key", ["profile", "ws_dir"])
@pytest.mark.parametrize("place", ["../other.toml", "link/other.toml", "/other.toml"])
def test_a_found_file_stays_in_its_folder(key: str, place: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a", f'{key} = "{place}"')
    (tmp_path / "a" / "link").symlink_to(tmp_path)
    with pytest.raises(ProfileError, match="expected a path inside of the folder of the file") as caught:
        find_project(tmp_path / "a", {})
    assert str(caught.value).startswith(f"{path}: {key}")
    assert getattr(find_project(None, {VARIABLE: str(path)}), key)


POWERS = [
    ("http", "dangerous_http_mode", "true"),
    ("http", "allow_private", '["10.0.0.1:443"]'),
    ("http", "proxy", '"http://proxy.example"'),
    ("wasmtime", "cache_dir", '"cache"'),
    ("server", "no_auth", "true"),
    ("server", "host", '"0.0.0.0"'),
    ("server", "serve_files_from", '"."'),
    ("kernel", "key_file", '"keys"'),
    ("db", "retention", "1.0"),
]


@pytest.mark.parametrize(("plugin", "key", "value"), POWERS)
@pytest.mark.parametrize("within", ["set", "profile"])
def test_a_found_file_opens_nothing(plugin: str, key: str, value: str, within: str, tmp_path: Path) -> None:
    if within == "set":
        path = write(tmp_path, f'[set]\n"settings.{plugin}.{key}" = {value}')
    else:
        path = write(tmp_path, 'profile = "p.toml"')
        (tmp_path / "p.toml").write_text(
            f'extends = "agent_server"\n[settings.{plugin}]\n{key} = {value}\n', encoding="utf-8"
        )
    session = Session()
    session.work_in(tmp_path)
    with pytest.raises(MixError, match=r"may not set this|a secret does not belong"):
        session.assembly()
    # Nor by way of another process, which would take it for the user's own word.
    with pytest.raises(MixError, match=r"may not set this|a secret does not belong"):
        session.again()
    # Named, it is the user's own word.
    named = Session()
    os.environ[VARIABLE] = str(path)
    try:
        assert named.assembly().origins[f"settings.{plugin}.{key}"] != "default"
    finally:
        del os.environ[VARIABLE]


def test_no_setting_that_names_or_opens_something_is_open_to_a_found_file() -> None:
    import typing

    from mixkit import Kernel
    from mixkit.setting_values import extra_of, is_secret

    opening = {
        "host",
        "proxy",
        "trusted",
        "trust_all",
        "no_auth",
        "auth",
        "retention",
        "activities",
        "activity_days",
    }
    tried = 0
    with Kernel("all", environ={}) as kernel:
        for settings in kernel.assembly._settings.values():
            hints = typing.get_type_hints(type(settings), include_extras=True)
            for key in getattr(settings, "of_project", ()):
                assert key in type(settings).__struct_fields__
                assert not is_secret(key) and "names" not in extra_of(hints[key]) and key not in opening
                assert not key.startswith(("dangerous", "allow_", "provider_"))
                tried += 1
    assert tried > 50


def test_the_token_does_not_go_to_a_server_that_a_file_names(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, 'server = "https://agents.invalid"\nworkspace = "w"')
    for words in (("ws", "list"), ("logs",), ("mcp",), ("mcp", "install", "--config", "c.json")):
        done = run(*words, MIXKIT_SERVER_TOKEN="abc")
        assert done.returncode == 2, words
        assert (
            f"the token of the environment does not go to https://agents.invalid, which only {path}"
            in done.stderr
        )
    assert not (tmp_path / "c.json").exists()
    # Who types the server, or names the file, means it; and there is none of that name.
    for words, environment in ((("--server", "https://agents.invalid"), {}), ((), {VARIABLE: str(path)})):
        done = run("ws", "list", *words, MIXKIT_SERVER_TOKEN="abc", **environment)
        assert done.returncode == 1, done.stderr


def test_a_server_is_asked_where_no_directory_is_named(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, 'server = "http://127.0.0.1:1"')
    done = run("ws", "list")
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr and str(path) in done.stderr
    write(tmp_path, 'server = "http://127.0.0.1:1"\nws_dir = "data"')
    assert run("ws", "create", "a").returncode == 0
    assert run("ws", "list").returncode == 0


def test_a_process_of_ours_imports_nothing_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise SystemExit('a stranger')", encoding="utf-8")
    write(tmp_path, ALL)
    session = Session()
    session.work_in(tmp_path)
    words, environ = session.again()
    done = subprocess.run(
        [*words, "profile", "show"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert f"settings.server.ws_dir\t{tmp_path / 'data'}\t" in done.stdout
    assert "limits.wall_time\t3.0\t" in done.stdout


def test_another_process_has_what_this_one_has(tmp_path: Path) -> None:
    names = ["wasmtime", "http", "crypto", "db", "lang"]
    write(
        tmp_path,
        f'ws_dir = "data"\n[set]\nplugins = {json.dumps(names)}\n"settings.http.timeout" = 5\n"settings.ws.timeout" = 5',
    )
    session = Session("wasi")
    session.work_in(tmp_path)
    words, environ = session.again()
    # What is of plugins that the profile lacks, as the directory of the server, is passed over there too.
    done = subprocess.run(
        [*words, "profile", "show", "--json"], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout
    shown = {row["key"]: row["value"] for row in json.loads(done.stdout)}
    assert shown["plugins"] == names and shown["settings.http.timeout"] == 5.0


def test_nobody_is_told_to_install_what_a_stranger_names(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, '[set]\nplugins = ["wasmtme"]')
    done = run("profile", "show")
    assert done.returncode == 1 and "pip" not in done.stderr
    assert f"{path}: set: plugins: no plugin 'wasmtme' is installed; did you mean 'wasmtime'?" in done.stderr


def test_an_error_names_the_file_for_what_it_has_said_alone(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, 'workspace = "e"\nws_dir = "data"')
    assert run("ws", "create", "dev").returncode == 0
    assert f"(workspace, ws_dir from {path})" in run("perms", "list").stderr
    # It goes by no workspace, and the letter is one of many.
    for words in (("run", "e.mix"), ("list", "e/"), ("run", "e/e/e"), ("perms", "e")):
        assert "(workspace" not in run(*words).stderr, words


def test_a_client_is_not_given_a_profile_that_only_a_found_file_names(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, 'profile = "own.toml"\nworkspace = "dev"\nws_dir = "data"')
    (tmp_path / "own.toml").write_text('extends = "agent_server"\n', encoding="utf-8")
    assert run("ws", "create", "dev").returncode == 0
    done = run("mcp", "install", "--config", "c.json")
    assert done.returncode == 2 and f"only {path} names" in done.stderr.replace("\n", " ")
    assert not (tmp_path / "c.json").exists()
    assert run("-p", "own.toml", "mcp", "install", "--config", "c.json").returncode == 0


# -- every command ----------------------------------------------------------------------------------------

OTHERS = {
    ("ws", "import"): "the name of one that is made",
    ("openapi",): "without it the routes of the server are meant",
}


def walked(group: click.Group, ctx: click.Context) -> list[tuple[tuple[str, ...], click.Command]]:
    found = []
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        inner = click.Context(command, parent=ctx, info_name=name)
        path = tuple(inner.command_path.split()[1:])
        found.append((path, command))
        if isinstance(command, Group):
            found += walked(command, inner)
    return found


def test_every_option_for_a_workspace_has_that_of_the_file() -> None:
    tried = set()
    for path, command in walked(cli, click.Context(cli, info_name="mixkit", obj=Session("all"))):
        for param in command.params:
            if "--ws" in param.opts:
                is_of_project = isinstance(param, ProjectOption) and param.of_project == "workspace"
                assert is_of_project == (path not in OTHERS), path
                tried.add(path)
    assert len(tried) > 10 and set(OTHERS) <= tried


def test_without_a_file_nothing_is_said(tmp_path: Path) -> None:
    assert find_project(tmp_path, {VARIABLE: ""}) == Project()
    assert Project().overlays(optional=False) == []
    assert Project(path="/p/mixkit.toml", sets={"limits.depth": 1}).overlays(optional=False)[
        0
    ].origin == Found("/p/mixkit.toml: set")
