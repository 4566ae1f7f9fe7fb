"""Profiles: layers, origins, and what is refused with the place where it stands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from mixkit import __version__
from mixkit.cli.params import read_json
from mixkit.errors import ProfileError
from mixkit.profile import load_profile, profile_names, profile_path

SHIPPED = {"all", "agent_server", "snowflake", "wasi", "test", "widget"}


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_shipped_profiles_load() -> None:
    assert set(profile_names({})) == SHIPPED
    for name in SHIPPED:
        profile = load_profile(name, environ={})
        assert profile.name == name
        assert profile.plugins
        assert profile.description


EXTRAS = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_the_extra_of_a_profile_brings_its_plugins(name: str) -> None:
    """All of them, pinned to the version of the kernel, and no others."""
    ours = [requirement for requirement in EXTRAS[name] if requirement.startswith("mix-")]
    brought = [re.fullmatch(rf"mix-([a-z0-9]+)(?:\[\w+\])?=={re.escape(__version__)}", text) for text in ours]
    assert all(brought), ours
    assert sorted(match[1] for match in brought if match) == sorted(load_profile(name, environ={}).plugins)


def test_the_profile_all_has_every_plugin_of_ours() -> None:
    folders = (Path(__file__).parent.parent / "plugins").glob("mix-*/pyproject.toml")
    assert {path.parent.name.removeprefix("mix-") for path in folders} == set(
        load_profile("all", environ={}).plugins
    )


def test_a_child_wins_over_its_parent_and_settings_keep_their_layers(tmp_path: Path) -> None:
    write(
        tmp_path / "base.toml",
        'plugins = ["http", "crypto"]\n[settings.http]\ntimeout = 5\n[limits]\nstack = 65536',
    )
    child = write(
        tmp_path / "child.toml", 'extends = "base.toml"\nplugins = ["http"]\n[settings.http]\ntimeout = 7'
    )
    profile = load_profile(child, environ={})
    assert profile.plugins == ("http",)
    assert profile.origins["plugins"] == "child.toml"
    assert profile.settings["http"] == [("base.toml", {"timeout": 5}), ("child.toml", {"timeout": 7})]
    assert profile.limits == [("base.toml", {"stack": 65536})]


def test_a_name_is_looked_up_in_the_path_and_may_extend_a_shipped_one(tmp_path: Path) -> None:
    write(tmp_path / "mine.toml", 'extends = "wasi"')
    environ = {"MIXKIT_PROFILE_PATH": str(tmp_path)}
    assert load_profile("mine", environ=environ).plugins == load_profile("wasi", environ={}).plugins


def test_a_shipped_name_cannot_be_taken_over(tmp_path: Path) -> None:
    write(tmp_path / "wasi.toml", 'plugins = ["evil"]')
    assert profile_path("wasi", {"MIXKIT_PROFILE_PATH": str(tmp_path)}).parent != tmp_path


def test_file_environment_and_command_line_are_laid_over(tmp_path: Path) -> None:
    overlay = write(tmp_path / "site.toml", "[limits]\nwall_time = 3.0")
    profile = load_profile(
        "test",
        environ={"MIXKIT_CONFIG": str(overlay)},
        overrides={"limits.stack": "65536", "engines": "a, b"},
    )
    assert profile.limits[-1] == ("site.toml", {"wall_time": 3.0})
    assert profile.overrides == {"limits": {"stack": "65536"}}
    assert profile.engines == ("a", "b")
    assert profile.origins["engines"] == "command line"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plugin = []", r"p\.toml: plugin: unknown key; known are extends"),
        ("plugins = 'http'", r"p\.toml: plugins: expected a list of names"),
        ("plugins = [1]", r"p\.toml: plugins: expected a list of names"),
        ("limits = 3", r"p\.toml: limits: expected a table"),
        ("[settings]\nhttp = 1", r"p\.toml: settings\.http: expected a table"),
        ("[settings.mqtt]\nx = 1", r"settings\.mqtt: the profile has no plugin 'mqtt'"),
        ("extends = 'nowhere'", r"p\.toml: extends: no profile 'nowhere'; there are"),
        ("extends = 'p.toml'", "in a circle"),
        ("= 1", "not TOML"),
        ("storage = 1", r"p\.toml: storage: expected a text"),
    ],
)
def test_a_broken_profile_names_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        load_profile(write(tmp_path / "p.toml", text), environ={})


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ProfileError, match="not TOML"):
        load_profile(tmp_path / "p.toml", environ={})


@pytest.mark.parametrize("key", ["http.timeout", "settings.http", "limit.memory", "x", "settings.a.b.c"])
def test_a_wrong_override_says_what_is_possible(key: str) -> None:
    with pytest.raises(ProfileError, match=r"command line: .*: expected settings\.<plugin>\.<key>"):
        load_profile("test", environ={}, overrides={key: 1})


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(ProfileError, match="no profile 'agent-server'; there are agent_server, all"):
        load_profile("agent-server", environ={})
    with pytest.raises(ProfileError, match="no such file"):
        load_profile("./nothing.toml", environ={})


def test_an_overlay_cannot_extend(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot extend"):
        load_profile("test", config=write(tmp_path / "o.toml", 'extends = "all"'), environ={})


def test_a_byte_order_mark_is_not_part_of_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('plugins = ["http"]', encoding="utf-8-sig")
    assert load_profile(path, environ={}).plugins == ("http",)


def test_a_byte_order_mark_is_not_part_of_parameters(tmp_path: Path) -> None:
    path = tmp_path / "params.json"
    path.write_text('{"a": 1}', encoding="utf-8-sig")
    assert read_json(f"@{path}", "PARAMS") == {"a": 1}
