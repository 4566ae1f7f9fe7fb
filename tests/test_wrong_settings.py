"""Every setting of every plugin, with what it cannot mean: refused at start, with what was expected, found, and where."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mixkit.assembly import Assembly
from mixkit.errors import MixError, ProfileError
from mixkit.kernel import Kernel
from mixkit.setting_values import bare, extra_of, is_secret
from mixkit.settings import fill, variable

SERVER = {"MIXKIT_SERVER_TOKEN": "a-token-for-tests-0123456789"}

WRONG: dict[str, list[str]] = {
    "files.s3_access_key": ["alone"],
    "files.s3_allow_private": ["x", "10.0.0.0/99"],
    "files.s3_bucket": ["A bucket"],
    "files.s3_endpoint": ["s3", "ftp://s3.example:21"],
    "files.s3_prefix": ["../x", "/x"],
    "files.s3_region": [" "],
    "files.s3_secret_key": ["alone"],
    "http.allow_private": ["x", "10.0.0.0/99"],
    "http.proxy": ["proxy", "ftp://proxy.example:21"],
    "mqtt.allow_private": ["x", "10.0.0.0/99"],
    "mqtt.broker": ["broker", "https://broker.example"],
    "mqtt.password": ["without a user"],
    "mqtt.prefix": ["a/#"],
    "server.auth": ["headers", "SPCS"],
    "server.base_url": ["agents.example.com", "https://agents.example.com/path", "ftp://agents.example.com"],
    "server.cors_origins": ["agents.example.com", "https://agents.example.com/path"],
    "server.env": ["region=eu", "[1]", "{"],
    "server.host": [" "],
    "server.jwks_url": ["id.example"],
    "server.jwt_audience": ["without jwks_url"],
    "server.jwt_issuer": ["without jwks_url"],
    "server.provider_networks": ["x", "10.0.0.0/99"],
    "server.rate_burst": ["7"],
    "server.remote_compile_server": ["compiler", "http://compiler.example"],
    "server.remote_compile_token": ["without remote_compile_server"],
    "server.server_key": ["no key", "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----"],
    "server.token": ["short"],
    "server.workspace_creators": ["everybody", "user/nobody"],
    "wasm2c.trusted": ["not a digest"],
    "ws.allow_private": ["x", "10.0.0.0/99"],
    "ws.proxy": ["proxy", "ftp://proxy.example:21"],
}
"""Texts of the right type that are wrong for this setting, beside those that are wrong for all."""

BESIDE = {"server.jwks_url": {"MIXKIT_SERVER_JWT_AUDIENCE": "mixkit"}}
"""What else is set, so that a setting is looked at."""

ANY_TEXT = {
    "files.s3_session_token",
    "http.user_agent",
    "mqtt.user",
    "server.required",  # a name that no check has is refused when the checks are made: test_server_required
    "server.spcs_token_file",
    "ws.user_agent",
}
"""Texts that may be whatever is printable, or are looked at with another setting."""


def classes() -> dict[str, type]:
    """All sections and their classes."""
    assembly = Assembly("all", environ={})
    found = {
        name: type(assembly.settings(name))
        for name in ("kernel", *assembly.profile.plugins)
        if name in assembly._settings
    }
    return {**found, "limits": type(assembly.limits)}


SECTIONS = classes()
FIELDS = [(section, key) for section, cls in SECTIONS.items() for key in cls.__struct_fields__]  # type: ignore[attr-defined]


def type_of(section: str, key: str) -> Any:
    """The type of a setting without what is said of it, and what is."""
    return typing.get_type_hints(SECTIONS[section], include_extras=True)[key]


def single(hint: Any) -> Any:
    """The type of a setting's value where it is there."""
    options = [option for option in typing.get_args(bare(hint)) if option is not type(None)]
    return options[0] if type(None) in typing.get_args(bare(hint)) else bare(hint)


def bounds(hint: Any) -> Iterator[str]:
    """Numbers just outside of those that a setting takes."""
    for meta in getattr(hint, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta):
            for least, step in ((meta.ge, 1), (meta.gt, 0)):
                if least is not None:
                    yield str(least - step)
            for most, step in ((meta.le, 1), (meta.lt, 0)):
                if most is not None:
                    yield str(most + step)


def wrong_for_all(hint: Any) -> Iterator[str]:
    """Texts that no setting of that type takes."""
    of = single(hint)
    if of is bool:
        yield from ("", "maybe", "2")
    elif of is int:
        yield from ("", "many", "1.5", "1e3", "0x10", str(2**63), "nan", "inf", *bounds(hint))
    elif of is float:
        yield from ("", "long", "1s", "nan", "inf", "-inf", "1e400", "1e18", *bounds(hint))
    elif of is str:
        yield from (" ", "\t", "a\0b", "a\x1b[31mb", "a\x7fb")
        if not extra_of(hint).get("lines"):
            yield "a\r\nb"
        if any(
            isinstance(meta, msgspec.Meta) and meta.min_length for meta in getattr(hint, "__metadata__", ())
        ):
            yield ""
    elif typing.get_origin(of) in (list, tuple):
        yield from ("[1]", '["a\\u0000b"]', '[" "]', '[""]', "[", "a\0b")
    elif typing.get_origin(of) is dict:
        yield from ("", "x", "[1]", "{")
    else:
        assert typing.get_origin(of) is typing.Literal, f"expected a type that this test knows, found {of}"
        yield from ("", "x")


def check(message: str, section: str, key: str, value: str) -> None:
    """The message says what was expected and found, and where, and no secret."""
    assert re.search(r"expected", message, re.IGNORECASE), message
    where = (variable(section, key), f"{section}.{key}", key, f"settings.{section}")
    assert any(place in message for place in where), message
    assert "found" in message or "cannot" in message or "/" in message, message
    if is_secret(key) and len(value.strip()) > 3:
        assert value not in message, message


@pytest.mark.parametrize(("section", "key"), FIELDS, ids=str)
def test_what_no_setting_of_that_type_means_is_refused(section: str, key: str) -> None:
    hint = type_of(section, key)
    values = list(wrong_for_all(hint))
    assert values
    for value in values:
        with pytest.raises(ProfileError) as caught:
            fill(section, SECTIONS[section], [], {variable(section, key): value}, {})
        assert variable(section, key) in str(caught.value), value
        check(str(caught.value), section, key, value)


@pytest.mark.parametrize(
    ("section", "key"),
    [(section, key) for section, key in FIELDS if single(type_of(section, key)) in (int, float)],
    ids=str,
)
def test_the_same_from_a_file_and_the_command_line(section: str, key: str) -> None:
    for value in (float("nan"), float("inf"), 2**64, True, None, [1], "1 2"):
        for layers, overrides in (([("mine.toml", {key: value})], {}), ([], {key: value})):
            with pytest.raises(ProfileError) as caught:
                fill(section, SECTIONS[section], layers, {}, overrides)
            said = str(caught.value)
            assert ("command line" if overrides else "mine.toml") in said and key in said


def start(key: str, value: str, folder: Path) -> None:
    """Start a server with a setting, as far as that goes without serving."""
    from mix_server.server import Server
    from mix_server.tls import check_pair

    section, _, name = key.partition(".")
    environ = {
        **SERVER,
        **BESIDE.get(key, {}),
        "MIXKIT_SERVER_WS_DIR": str(folder / "workspaces"),
        variable(section, name): value,
    }
    with Kernel("all", environ=environ) as kernel:
        settings = kernel.settings("server")
        check_pair(settings.tls_certs, settings.tls_key)
        Server(kernel)


TEXTS = [
    f"{section}.{key}"
    for section, key in FIELDS
    if single(type_of(section, key)) is str
    or typing.get_origin(single(type_of(section, key))) in (list, tuple)
]
NAMING = {
    f"{section}.{key}": names
    for section, key in FIELDS
    if (names := extra_of(type_of(section, key)).get("names"))
}


def test_each_text_is_looked_at() -> None:
    """A new one needs a row above, or says that it names something."""
    assert set(TEXTS) <= {*WRONG, *NAMING, *ANY_TEXT}
    assert set(WRONG) <= {f"{section}.{key}" for section, key in FIELDS}
    assert len(NAMING) > 10


@pytest.mark.parametrize("key", WRONG)
def test_a_text_that_is_wrong_for_its_setting(tmp_path: Path, key: str) -> None:
    for value in WRONG[key]:
        with pytest.raises(MixError) as caught:
            start(key, value, tmp_path)
        check(str(caught.value), *key.split("."), value)


@pytest.mark.parametrize("key", NAMING)
def test_what_a_setting_names_must_be_there(tmp_path: Path, key: str) -> None:
    nothing = tmp_path / "nothing" / "here"
    no_folder = tmp_path / "file"
    no_folder.write_text("no certificate")
    wrong = {
        "file": [nothing, tmp_path],
        "authorities": [nothing, tmp_path, no_folder],
        "folder": [no_folder, no_folder / "below"],
        "program": [nothing, no_folder],
    }[NAMING[key]]
    for path in wrong:
        with pytest.raises(MixError) as caught:
            start(key, str(path), tmp_path)
        check(str(caught.value), *key.split("."), str(path))


def options() -> list[Any]:
    """The options of `mixkit serve`."""
    from mix_server.cli import serve

    return [option for option in serve.params if option.name != "help"]


@pytest.mark.parametrize("option", options(), ids=lambda option: option.opts[0])
def test_a_wrong_option_of_serve(
    option: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused before anything is served, with its name or that of its setting, and what was found."""
    from mix_server import serve
    from mix_server.cli import _ELSEWHERE

    from mixkit.cli import main

    key = _ELSEWHERE.get(option.name, f"settings.server.{option.name}")
    section, _, name = key.removeprefix("settings.").partition(".")
    if option.is_flag or option.name == "log_format":
        wrong = ["maybe"]
    elif f"{section}.{name}" in NAMING:
        (tmp_path / "file").touch()
        wrong = [str(tmp_path / "file" / "below")]
    else:
        hint = type_of(section, name)
        wrong = [WRONG.get(f"{section}.{name}", ["x"])[0], *list(bounds(hint))[:1]]

    def served(*_: Any) -> None:
        raise AssertionError("it serves")

    monkeypatch.setattr(serve, "serve", served)
    monkeypatch.setattr(serve, "serve_with_workers", served)
    for each, text in {**SERVER, **BESIDE.get(f"{section}.{name}", {})}.items():
        monkeypatch.setenv(each, text)
    monkeypatch.setenv("MIXKIT_PROFILE", "all")
    monkeypatch.setenv("MIXKIT_SERVER_WS_DIR", str(tmp_path / "workspaces"))
    for value in wrong:
        assert main(["serve", "--port=0", f"{option.opts[0]}={value}"]) in (1, 2)
        said = capsys.readouterr().err
        assert "it serves" not in said and "Traceback" not in said
        # A file of a pair says what stands beside it.
        names = (option.opts[0], f"{section}.{name}", f" {name}", f"{section}: {name}:")
        assert any(each in said for each in names), said
        if option.is_flag:
            assert "does not take a value" in said
        else:
            assert re.search(r"expected|is not (a|one of)|cannot", said, re.IGNORECASE), said
            assert is_secret(name) or value in said or "found" in said, said
            if is_secret(name) and len(value) > 3:
                assert value not in said, said
