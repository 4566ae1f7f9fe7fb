"""What holds for every hook alike: arguments may be left out, and a misspelt name fails the start.

What each hook does, and that it is documented, is in test_hooks.py.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from mixkit import hookspecs
from mixkit.cli.doctor import doctor
from mixkit.cli.plugin_commands import collect
from mixkit.cli.session import Session
from mixkit.errors import PluginError
from mixkit.ffi_call import call_ffi
from mixkit.kernel import Kernel
from mixkit.state import State
from mixkit.topics import Carrier

SPECS: dict[str, Callable[..., Any]] = {
    name: function for name, function in vars(hookspecs).items() if name.startswith("mix_")
}
ANSWERS = {
    "mix_engines": "{}",
    "mix_settings": "__name__ + ':OddSettings'",
    "mix_http_intercept": "'mine'",
    "mix_account_token": "mixkit.Token('mine')",
    "mix_doctor": "[]",
}
SOURCE = """
import mixkit
import msgspec
from mixkit import hookimpl

calls = []

class OddSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Writes a plugin as an installed distribution and a profile with it; answers the profile's path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def load(functions: str) -> Path:
        (tmp_path / "mix_bare_hooks.py").write_text(SOURCE + functions)
        info = tmp_path / "mix_bare-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mix-bare\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[mixkit]\nbare = mix_bare_hooks\n")
        profile = tmp_path / "bare.toml"
        profile.write_text('plugins = ["bare"]\nengines = []\n')
        return profile

    yield load
    sys.modules.pop("mix_bare_hooks", None)


def test_every_hook_may_leave_out_its_arguments(load: Callable[..., Path]) -> None:
    functions = [
        f"@hookimpl\ndef {name}():\n    calls.append({name!r})\n    return {ANSWERS.get(name)}\n"
        for name in SPECS
    ]
    profile = load("\n".join(functions))
    with Kernel(profile, environ={}) as kernel:
        assert asyncio.run(kernel.intercept("a request")) == "mine"
        token = asyncio.run(kernel.account_token(cast(State, None), "github"))
        assert token is not None and token.reveal() == b"mine"
        assert kernel.carrier() == Carrier()
        assert asyncio.run(call_ffi(kernel, "$core_now")) > 0
    session = Session(profile=str(profile))
    assert "its checks failed" not in CliRunner().invoke(doctor, obj=session).output
    _, broken = collect(session, {})
    assert broken is None
    assert set(sys.modules["mix_bare_hooks"].calls) == set(SPECS)


@pytest.mark.parametrize("name", SPECS)
def test_a_misspelt_hook_fails_the_start(load: Callable[..., Path], name: str) -> None:
    profile = load(f"@hookimpl\ndef {name}s(): pass\n")
    with pytest.raises(PluginError, match=f"unknown hook '{name}s'"):
        Kernel(profile, environ={})
