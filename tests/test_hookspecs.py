"""Every hook: documented, with its exact signature in the reference, and really called. One plugin has them all."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mixkit import hookspecs
from mixkit.cli.doctor import doctor
from mixkit.cli.plugin_commands import collect
from mixkit.cli.session import Session
from mixkit.ffi_call import call_ffi
from mixkit.kernel import Kernel

REFERENCE = Path(__file__).parent.parent / "docs" / "reference" / "hooks.md"
SPECS: dict[str, Callable[..., Any]] = {
    name: function for name, function in vars(hookspecs).items() if name.startswith("mix_")
}
WAITING = {"mix_filesystems", "mix_storages", "mix_compilers"}
"""Hooks whose contracts grow with the first plugins that need them; until then nothing calls them."""

PLUGIN = """
from typing import Annotated
import msgspec
import mixkit
from mixkit import hookimpl

calls = []
{extra}

class OddSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    size: Annotated[int, msgspec.Meta(description="A size.")] = 1

class Specs:
    @mixkit.hookspecs.hookspec
    def mix_odd_extra(self): "Of our own."

@hookimpl
def mix_ffis(registry):
    calls.append("mix_ffis")
    group = mixkit.FFIGroup("odd")

    @group.register("$odd_do")
    async def do(state: mixkit.State) -> list:
        calls.append("the FFI")
        state.put(calls, lambda calls: calls.append("the resource's close"))
        return [state.services.settings("odd").size, await state.services.intercept("a request")]

    registry.add(group)

@hookimpl
def mix_engines():
    calls.append("mix_engines")
    return {{}}

@hookimpl
def mix_filesystems(): return {{}}

@hookimpl
def mix_storages(): return {{}}

@hookimpl
def mix_compilers(): return {{}}

@hookimpl
def mix_settings():
    calls.append("mix_settings")
    return __name__ + ":OddSettings"

@hookimpl
def mix_state_open(state): calls.append("mix_state_open")

@hookimpl
def mix_state_close(): calls.append("mix_state_close")

@hookimpl
async def mix_http_intercept(request):
    calls.append("mix_http_intercept")
    return f"answer to {{request}}"

@hookimpl
def mix_commands(group):
    calls.append("mix_commands")
    group.lazy("odd", "odd.cli:odd", "Odd.")

@hookimpl
def mix_doctor():
    calls.append("mix_doctor")
    from mixkit.contracts import Check
    return [Check("odd", "ok", "fine")]

@hookimpl
def mix_add_hookspecs(manager):
    calls.append("mix_add_hookspecs")
    manager.add_hookspecs(Specs)

@hookimpl
def mix_odd_extra(): return 1
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Writes the plugin as an installed distribution and a profile with it; answers the profile's path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(extra: str = "") -> Path:
        (tmp_path / "mix_all_hooks.py").write_text(PLUGIN.format(extra=extra))
        info = tmp_path / "mix_odd-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mix-odd\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[mixkit]\nodd = mix_all_hooks\n")
        profile = tmp_path / "odd.toml"
        profile.write_text('plugins = ["odd"]\nengines = []\n')
        return profile

    yield install
    sys.modules.pop("mix_all_hooks", None)


def test_the_life_of_a_plugin(install: Callable[..., Path]) -> None:
    """The whole order of calls. A hook that is new and not called here fails the test."""
    profile = install()
    with Kernel(profile, environ={}) as kernel:
        calls: list[str] = sys.modules["mix_all_hooks"].calls
        assert asyncio.run(call_ffi(kernel, "$odd_do")) == [1, "answer to a request"]
    session = Session(profile=str(profile))
    assert "odd: odd" in CliRunner().invoke(doctor, obj=session).output
    commands, broken = collect(session, {})
    assert set(commands.lazies) == {"odd"} and broken is None
    assert calls == [
        "mix_add_hookspecs",
        "mix_settings",
        "mix_ffis",
        "mix_engines",
        "mix_state_open",
        "the FFI",
        "mix_http_intercept",
        "mix_state_close",
        "the resource's close",
        *("mix_add_hookspecs", "mix_settings", "mix_ffis", "mix_engines", "mix_doctor"),
        *("mix_add_hookspecs", "mix_commands"),
    ]
    assert set(calls) & set(SPECS) == set(SPECS) - WAITING


@pytest.mark.parametrize("name", SPECS)
def test_every_hook_is_a_documented_specification(name: str) -> None:
    function = SPECS[name]
    assert hasattr(function, "mixkit_spec"), f"{name} lacks @hookspec"
    assert (inspect.getdoc(function) or "").endswith("."), f"{name} lacks a docstring"
    assert all(p.annotation is not p.empty for p in inspect.signature(function).parameters.values())


@pytest.mark.parametrize("name", SPECS)
def test_the_reference_has_its_exact_signature(name: str) -> None:
    found = inspect.signature(SPECS[name])
    params = ", ".join(f"{key}: {param.annotation}" for key, param in found.parameters.items())
    heading = f"`{'async ' if inspect.iscoroutinefunction(SPECS[name]) else ''}{name}({params}) -> "
    assert f"### {heading}{found.return_annotation}`\n" in REFERENCE.read_text(), "run scripts/reference.py"


def test_the_reference_has_no_hook_that_does_not_exist() -> None:
    _, _, section = REFERENCE.read_text().partition("## Of `mixkit.hookspecs`")
    section, _, _ = section.partition("\n## ")
    headings = [
        line.partition("mix_")[2].partition("(")[0]
        for line in section.splitlines()
        if line.startswith("### ")
    ]
    assert {f"mix_{name}" for name in headings} == set(SPECS)


@pytest.mark.parametrize("name", SPECS)
def test_every_hook_of_the_plugin_is_implemented(install: Callable[..., Path], name: str) -> None:
    with Kernel(install(), environ={}) as kernel:
        assert {impl.plugin_name for impl in getattr(kernel.manager.hook, name).get_hookimpls()} >= {"odd"}


@pytest.mark.parametrize("name", [*SPECS, "mix_odd_extra"])
def test_a_misspelt_hook_fails_the_start(install: Callable[..., Path], name: str) -> None:
    from mixkit.errors import PluginError

    profile = install(extra=f"@hookimpl\ndef {name}s(): pass")
    with pytest.raises(PluginError, match=f"unknown hook '{name}s'"):
        Kernel(profile, environ={})
