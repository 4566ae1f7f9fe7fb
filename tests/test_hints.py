"""What a message says to somebody who was wrong by a letter, a profile or an installation: what to write instead."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixkit import Kernel, distributions, offers, plugins
from mixkit.cli import main
from mixkit.cli.plugin_commands import collect
from mixkit.cli.session import Session
from mixkit.errors import MixError, PackageError, PluginError
from mixkit.near import meant
from mixkit.package.manifest import Manifest
from mixkit.plugins import call_each


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command that fails, and answers what it says, on one line."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def run(*args: str) -> str:
        assert main(args) in (1, 2)
        return " ".join(capsys.readouterr().err.split())

    return run


def test_what_our_plugins_bring_is_known_without_an_import() -> None:
    given, trouble = collect(Session(profile="all"), {})
    assert trouble is None
    assert {name: lazy.plugin for name, lazy in given.lazies.items()} == offers.COMMANDS
    with Kernel("all", environ={}) as kernel:
        plugins = set(kernel.profile.plugins)
        for hook, table in (
            ("mix_engines", offers.ENGINES),
            ("mix_filesystems", offers.FILESYSTEMS),
            ("mix_storages", offers.STORAGES),
        ):
            brought = {
                name: plugin for plugin, them in call_each(kernel.manager, hook) for name in them or ()
            }
            assert brought == table
        for ffi in kernel.ffis:
            plugin = ffi.group if ffi.group in plugins and ffi.group != "mcp" else None
            assert offers.ffi_plugin(ffi.name) == plugin
            assert offers.ffi_plugin(ffi.name.removeprefix("$")) == plugin
    assert plugins == offers.PLUGINS


def test_a_command_that_the_profile_lacks(say: Callable[..., str]) -> None:
    text = say("-p", "test", "serve", "--port", "0")
    assert "plugin 'server' brings it" in text and "-p agent_server" in text
    for profile in ("agent_server", "test"):
        assert "Did you mean 'serve'?" in say("-p", profile, "srve")


@pytest.mark.parametrize("command", offers.COMMANDS)
def test_each_command_of_a_plugin_says_how_to_have_it(
    command: str, say: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = offers.COMMANDS[command]
    every = distributions.installed()
    # Core, with a profile that has no plugins.
    text = say("-p", "test", "--set", "plugins=wasmtime", command)
    assert f"No such command {command!r}" in text and f"plugin {plugin!r} brings it" in text
    assert "-p agent_server" in text
    without = {name: points for name, points in every.items() if name != plugin}
    monkeypatch.setattr(plugins, "installed", lambda: without)
    monkeypatch.setattr(distributions, "installed", lambda: without)
    text = say("-p", "test", "--set", "plugins=wasmtime", command)
    assert f"pip install mix-{plugin}`" in text
    # It is one of the profile's that are not there.
    text = say(command)
    assert f"pip install mix-{plugin}`" in text and "No such command" not in text


@pytest.mark.parametrize(
    ("args", "plugin", "profile"),
    [
        (("-p", "wasi", "ffi", "show", "$http_do"), "http", "agent_server"),
        (("-p", "wasi", "ffi", "show", "http_do"), "http", "agent_server"),
        (("-p", "widget", "ffi", "call", "$file_stat", "[]"), "files", "wasi"),
        (("-p", "wasi", "--set", "settings.server.port=1", "ffi", "list"), "server", "agent_server"),
        (("-p", "test", "--set", "engines=wasm2c", "ffi", "list"), "wasm2c", "all"),
        (("-p", "widget", "--set", "filesystem=std", "ffi", "list"), "files", "test"),
        (("-p", "test", "--set", "filesystem=noop", "ffi", "list"), "noopfs", "wasi"),
        (("-p", "test", "--set", "plugins=wasmtime,files", "ffi", "list"), "db", "test"),
    ],
)
def test_what_the_profile_lacks_is_named_with_who_has_it(
    args: tuple[str, ...], plugin: str, profile: str, say: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = say(*args)
    assert f"plugin {plugin!r} brings it" in text and f"-p {profile}" in text
    without = {name: points for name, points in distributions.installed().items() if name != plugin}
    monkeypatch.setattr(distributions, "installed", lambda: without)
    assert f"pip install mix-{plugin}`" in say(*args)


def test_a_name_is_near_without_its_sign(say: Callable[..., str]) -> None:
    assert "did you mean '$http_do'?" in say("ffi", "show", "http_do")
    assert "did you mean '$core_log'?" in say("ffi", "show", "core_lgo")


def test_a_bare_installation_is_told_one_line(
    monkeypatch: pytest.MonkeyPatch, say: Callable[..., str]
) -> None:
    monkeypatch.setattr(plugins, "installed", dict)
    monkeypatch.setattr(distributions, "installed", dict)
    with pytest.raises(PluginError) as told:
        Kernel("agent_server", environ={})
    assert "pip install 'mixkit[agent_server]'" in str(told.value) and "-p " not in str(told.value)
    for command in (
        ("plugins",),
        *((name,) for name in offers.COMMANDS),
        ("serve",),
        ("wasm", "build", "x"),
        ("ffi", "list"),
        ("run", "x.wasm"),
    ):
        assert "pip install 'mixkit[agent_server]'" in say(*command)


def test_a_profile_that_would_load_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    every = plugins.installed()
    some = {name: points for name, points in every.items() if name not in ("http", "server")}
    monkeypatch.setattr(plugins, "installed", lambda: some)
    monkeypatch.setattr(distributions, "installed", lambda: some)
    with pytest.raises(PluginError, match=r"'http': is not installed, nor is server.*or choose.*: -p wasi$"):
        Kernel("agent_server", environ={})
    del some["wasm"]
    with pytest.raises(
        PluginError, match=r"pip install mix-wasm`, or choose a profile that does without: -p test$"
    ):
        Kernel("wasi", environ={})


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (("-p", "agent_sever", "ffi", "list"), "agent_server"),
        (("--set", "limits.wall_tim=3", "ffi", "list"), "wall_time"),
        (("--set", "settings.http.timeuot=3", "ffi", "list"), "timeout"),
        (("--set", "settings.htpp.timeout=3", "ffi", "list"), "http"),
        (("--set", "storage=mixqery", "ffi", "list"), "mixquery"),
        (("--set", "engines=wasmtim", "ffi", "list"), "wasmtime"),
    ],
)
def test_near_names_of_options(args: tuple[str, ...], name: str, say: Callable[..., str]) -> None:
    assert f"did you mean {name!r}?" in say(*args)


def test_near_names_of_the_environment_and_of_entries(guest: Callable[..., bytes], kernel: Kernel) -> None:
    with pytest.raises(MixError, match="did you mean 'MIXKIT_LIMITS_MEMORY'"):
        Kernel("test", environ={"MIXKIT_LIMITS_MEMROY": "1"})
    with pytest.raises(MixError, match="did you mean 'echo'"):
        kernel.run_sync(guest(), "ehco", None)


MANIFEST: dict[str, Any] = {
    "format": 3, "name": "x", "version": "1.0", "kind": "app",
    "apps": {"x": {"agents": {"go": {"code": "code/x/x.wasm"}}}},
}  # fmt: skip
AGENT = "$.apps.x.agents.go"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grant": {}}, "known are format, name, version, .*; did you mean 'grants'\\? at \\$$"),
        ({"grants": {"ffi": []}}, "known are ffis, options; did you mean 'ffis'\\? at \\$.grants"),
        ({"kind": "apps"}, 'expected "app" or "workspace" at \\$.kind'),
        ({"limits": {"wall-time": 1}}, "expected one of .*did you mean 'wall_time'"),
        ({"setup": "gone"}, "of which there are x/go; found 'gone'"),
        ({"apps": {"x": {"agent": {}}}}, "known are agents, widgets; did you mean 'agents'\\? at \\$.apps"),
        (
            {"apps": {"x": {"agents": {"go": {"code": "code/x/x.wasm", "inparams": {}}}}}},
            f"known are code, .*did you mean 'inParams'\\? at \\{AGENT}",
        ),
    ],
)
def test_a_manifest_that_is_wrong_is_told_what_is_valid(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PackageError, match=message):
        Manifest.decode(json.dumps({**MANIFEST, **change}).encode())


def test_what_is_far_or_long_is_not_guessed() -> None:
    assert meant("elsewhere", ["http", "crypto"]) == ""
    assert meant("x" * 10_000, ["x" * 81]) == ""


def test_what_cannot_be_run_says_what_can(
    say: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agent.c").write_text("int x;")
    assert "a source, a .remix package, or a folder with a manifest.json" in say("run", ".", "go")
    said = say("-p", "test", "run", "agent.c", "go")
    assert "agent.c: plugin 'wasm' compiles such sources, which is not on in the profile 'test'" in said
    assert "--param NAME=VALUE" in say("-p", "test", "run", "x.wasm", "go", "name=Ada")
    assert "agent that is installed is WS/APP/AGENT, as `mixkit list` has it" in say("run", "dev", "{}")
    assert """'["a text", 1]'""" in say("-p", "test", "ffi", "call", "$crypto_md5", "abc")


def test_an_app_says_what_its_agents_are_called(
    say: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["new", "app", "greet", "-d", str(tmp_path)]) == 0
    monkeypatch.chdir(tmp_path / "greet")
    assert "there is greet/greet; an ENTRY stands before PARAMS" in say("run", ".", '{"name": "ada"}')
    assert "ENTRY stands" not in say("run", ".", "gret")
    manifest = tmp_path / "greet" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"agents": {"greet"', '"agents": {"hello"'))
    assert """found 'hello' at $.apps.greet.agents.hello; say "entry": "greet" beside its code""" in say(
        "run", ".", "hello"
    )
    # As it says.
    manifest.write_text(manifest.read_text().replace('{"code"', '{"entry": "greet", "code"'))
    assert main(["run", ".", "hello", '{"name": "ada"}']) == 0
