"""What a message says to somebody who was wrong by a letter, a profile or an installation: what to write instead."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixkit import Kernel, distributions, plugins
from mixkit.cli import main
from mixkit.cli.plugin_commands import OURS, collect
from mixkit.cli.session import Session
from mixkit.errors import MixError, PackageError, PluginError
from mixkit.near import meant
from mixkit.package.manifest import Manifest


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command that fails, and answers what it says, on one line."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def run(*args: str) -> str:
        assert main(args) in (1, 2)
        return " ".join(capsys.readouterr().err.split())

    return run


def test_commands_of_our_plugins_are_known_without_an_import() -> None:
    given, trouble = collect(Session(profile="all"), {})
    assert trouble is None
    assert {name: lazy.plugin for name, lazy in given.lazies.items()} == OURS


def test_a_command_that_the_profile_lacks(say: Callable[..., str]) -> None:
    text = say("-p", "test", "serve", "--port", "0")
    assert "plugin 'server' brings it" in text and "mixkit -p agent_server serve" in text
    for profile in ("agent_server", "test"):
        assert "Did you mean 'serve'?" in say("-p", profile, "srve")


def test_a_bare_installation_is_told_one_line(
    monkeypatch: pytest.MonkeyPatch, say: Callable[..., str]
) -> None:
    monkeypatch.setattr(plugins, "installed", dict)
    monkeypatch.setattr(distributions, "installed", dict)
    with pytest.raises(PluginError) as told:
        Kernel("agent_server", environ={})
    assert "pip install 'mixkit[agent_server]'" in str(told.value) and "-p " not in str(told.value)
    for command in (("plugins",), ("serve",), ("wasm", "new", "x"), ("ffi", "list"), ("run", "x.wasm")):
        assert "pip install 'mixkit[agent_server]'" in say(*command)


def test_a_profile_that_would_load_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    every = plugins.installed()
    some = {name: points for name, points in every.items() if name not in ("http", "server")}
    monkeypatch.setattr(plugins, "installed", lambda: some)
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
    for code in ("agent.c", "."):
        assert f"mixkit wasm run {code} ENTRY PARAMS" in say("-p", "test", "run", code, "go")
    assert "--param NAME=VALUE" in say("-p", "test", "run", "x.wasm", "go", "name=Ada")
    assert """'["a text", 1]'""" in say("-p", "test", "ffi", "call", "$crypto_md5", "abc")
