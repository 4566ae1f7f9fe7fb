"""Every hook, called: a test for each, the golden transcript of a lifecycle, and the documents that describe them."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mixkit import Kernel
from mixkit.errors import NotFound, PluginError, RunError
from mixkit.grants import ALL
from mixkit.value import Token

ROOT = Path(__file__).parent.parent
Load = Callable[..., Kernel]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """A kernel with plugins of those sources, named one, two …, and the Wasmtime engine."""
    monkeypatch.syspath_prepend(str(tmp_path))
    # A module that is written anew within a second would be taken from its old byte code.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = ["one", "two"]

    def load(*sources: str, overrides: dict[str, Any] | None = None, beside: tuple[str, ...] = ()) -> Kernel:
        used = names[: len(sources)]
        for name, source in zip(used, sources, strict=True):
            sys.modules.pop(f"mix_{name}_hooks", None)
            (tmp_path / f"mix_{name}_hooks.py").write_text(
                "import mixkit\nfrom mixkit import hookimpl\n" + textwrap.dedent(source)
            )
            info = tmp_path / f"mix_{name}-1.0.dist-info"
            info.mkdir(exist_ok=True)
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mix-{name}\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(f"[mixkit]\n{name} = mix_{name}_hooks\n")
        profile = tmp_path / "hooks.toml"
        profile.write_text(
            f'plugins = {json.dumps(["wasmtime", *{*beside} - {"wasmtime"}, *used])}\nengines = ["wasmtime"]\n'
            + ('storage = "mixquery"\n' if "db" in beside else "")
        )
        return Kernel(profile, environ={}, overrides=overrides)

    yield load
    for name in names:
        sys.modules.pop(f"mix_{name}_hooks", None)


def module(name: str) -> Any:
    return sys.modules[f"mix_{name}_hooks"]


FFI = """
    @hookimpl
    def mix_ffis(registry):
        group = mixkit.FFIGroup("one")
        group.register_simple("$one_ping", lambda: "pong")
        registry.add(group)
"""
PING = "(call $call (i32.const 64) (i32.const 9) (local.get $p) (local.get $n))"
PING_DATA = '(data (i32.const 64) "$one_ping")'


def test_mix_ffis(load: Load, guest: Callable[..., bytes]) -> None:
    with load(FFI) as kernel:
        assert kernel.run_sync(guest(PING_DATA, ping=PING), "ping", [], grants=ALL).value == "pong"


def test_mix_engines(load: Load) -> None:
    source = """
        @hookimpl
        def mix_engines():
            return {"slow": "mix_one_hooks:Slow"}
        class Slow:
            name, version = "slow", "1"
    """
    with load(source, overrides={"engines": ["slow", "wasmtime"]}) as kernel:
        assert [engine.name for engine in kernel.engines.made()] == ["slow", "wasmtime"]


def offers(load: Load, hook: str) -> None:
    with load(f"@hookimpl\ndef {hook}():\n    return {{'mine': 'mix_one_hooks:Mine'}}\n") as kernel:
        assert getattr(kernel.manager.hook, hook)() == [{"mine": "mix_one_hooks:Mine"}]


def test_mix_filesystems(load: Load) -> None:
    offers(load, "mix_filesystems")


def test_mix_storages(load: Load) -> None:
    offers(load, "mix_storages")


def test_mix_sql(load: Load) -> None:
    source = """
        @hookimpl
        def mix_sql():
            return {"mine": "mix_one_hooks:Mine"}
        class Mine:
            name = "mine"
    """
    with load(source) as kernel:
        assert kernel.sql.name == "mine"
        assert kernel.sql is kernel.sql


def test_mix_vaults(load: Load) -> None:
    source = """
        @hookimpl
        def mix_vaults():
            return {"mine": "mix_one_hooks:Mine"}
        class Mine:
            name = "mine"
    """
    with load(source) as kernel:
        assert type(kernel.vaults).__name__ == "Mine"
        assert kernel.vaults is kernel.vaults
    with load() as kernel, pytest.raises(NotFound, match="keeps secrets"):
        assert kernel.vaults


def test_mix_belongings(load: Load) -> None:
    source = """
        @hookimpl
        def mix_belongings():
            return {"card": "mix_one_hooks:cards"}
        def cards(records, before, now):
            return records[:1]
    """
    with load(source) as kernel:
        judge = kernel.belonging("card")
        assert judge is not None
        assert judge(["a", "b"], "old", "new") == ["a"]
        assert kernel.belonging("other") is None


def test_mix_compilers(load: Load) -> None:
    offers(load, "mix_compilers")


def test_mix_interpreters(load: Load) -> None:
    offers(load, "mix_interpreters")


def test_mix_settings(load: Load) -> None:
    source = """
        import msgspec
        class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
            size: int = 7
        @hookimpl
        def mix_settings():
            return "mix_one_hooks:Settings"
    """
    with load(source) as kernel:
        assert kernel.settings("one").size == 7
    with load(source, overrides={"settings.one.size": "8"}) as kernel:
        assert kernel.settings("one").size == 8


OPEN_AND_CLOSE = """
    seen = []
    @hookimpl
    def mix_state_open(state):
        seen.append("open " + state.run_id)
    @hookimpl
    def mix_state_close(state):
        seen.append("close " + state.run_id)
"""


def test_mix_state_open(load: Load, guest: Callable[..., bytes]) -> None:
    failing = "@hookimpl\ndef mix_state_open(state):\n    raise RuntimeError('no database today')\n"
    with load(OPEN_AND_CLOSE, failing) as kernel:
        with pytest.raises(RunError, match="no database today"):
            kernel.run_sync(guest(), "echo", 1, run_id="r")
        assert module("one").seen == ["open r", "close r"]


def test_mix_state_close(load: Load, guest: Callable[..., bytes]) -> None:
    failing = "@hookimpl\ndef mix_state_close(state):\n    raise RuntimeError('cannot close')\n"
    with load(OPEN_AND_CLOSE, failing) as kernel:
        assert kernel.run_sync(guest(), "echo", 1, run_id="a").value == 1
        with pytest.raises(RunError):
            kernel.run_sync(guest(bad="(unreachable)"), "bad", 1, run_id="b")
        assert module("one").seen == ["open a", "close a", "open b", "close b"]


def test_mix_topics(load: Load) -> None:
    source = """
        from mixkit.topics import Carrier
        @hookimpl
        def mix_topics(kernel):
            return Carrier("house")
    """
    with load(source) as kernel:
        assert kernel.carrier().prefix == "house"


def test_mix_http_intercept(load: Load) -> None:
    first = "@hookimpl\ndef mix_http_intercept(request):\n    return 'one' if request == 'both' else None\n"
    second = (
        "@hookimpl\nasync def mix_http_intercept(request):\n    return 'two' if request != 'none' else None\n"
    )
    with load(first, second) as kernel:
        assert asyncio.run(kernel.intercept("both")) == "one"
        assert asyncio.run(kernel.intercept("second")) == "two"
        assert asyncio.run(kernel.intercept("none")) is None


def test_mix_account_token(load: Load) -> None:
    first = "@hookimpl\ndef mix_account_token(state, name):\n    return None if name == 'b' else mixkit.Token(name)\n"
    second = "@hookimpl\nasync def mix_account_token(name):\n    return 'no token' if name == 'b' else None\n"
    with load(first, second) as kernel:
        run: Any = None
        found = asyncio.run(kernel.account_token(run, "a"))
        assert isinstance(found, Token) and found.reveal() == b"a"
        with pytest.raises(PluginError, match="plugin 'two': mix_account_token answers a Token, found str"):
            asyncio.run(kernel.account_token(run, "b"))


def test_mix_commands(mixkit_cli: Run) -> None:
    # What a plugin's command can do and break is in test_cli_plugins; this one is a real one.
    assert mixkit_cli("wasm", "--help").returncode == 0


def test_mix_doctor(load: Load, mixkit_cli: Run, tmp_path: Path) -> None:
    source = """
        @hookimpl
        def mix_doctor(kernel):
            from mixkit.contracts import Check
            return [Check("disk", "warning", kernel.profile.name, "buy one")]
    """
    load(source).close()
    done = mixkit_cli(
        "-p", str(tmp_path / "hooks.toml"), "doctor", "--json", env={"PYTHONPATH": str(tmp_path)}
    )
    expected = {"name": "one: disk", "level": "warning", "message": "hooks", "remedy": "buy one"}
    assert expected in json.loads(done.stdout)


def test_mix_add_hookspecs(load: Load) -> None:
    adding = """
        import sys
        @mixkit.hookspecs.hookspec
        def mix_tea(kind):
            "Tea of that kind."
        @hookimpl
        def mix_add_hookspecs(manager):
            manager.add_hookspecs(sys.modules[__name__])
    """.replace("mixkit.hookspecs.hookspec", "__import__('mixkit.hookspecs').hookspecs.hookspec")
    using = "@hookimpl\ndef mix_tea(kind):\n    return kind + ' tea'\n"
    with load(adding, using) as kernel:
        assert kernel.manager.hook.mix_tea(kind="green") == ["green tea"]
    with pytest.raises(PluginError, match="mix_tee"):
        load(adding, using.replace("mix_tea", "mix_tee"))


@pytest.mark.parametrize("parameters", ["*, kind", "kind, *, more=1", "*kinds", "**all"])
def test_a_parameter_that_would_never_be_filled(load: Load, parameters: str) -> None:
    """pluggy would fail at the first call, or leave it at its default whatever is passed."""
    with pytest.raises(PluginError, match=r"mix_state_open.*would never be filled"):
        load(f"@hookimpl\ndef mix_state_open({parameters.replace('kind', 'state')}):\n    pass\n")


SERVED = """
    @hookimpl
    def mix_routes(app, server):
        app.add_route("/v1/ext/tea", Tea(server))
    @hookimpl
    def mix_middleware():
        return Steam()
    class Tea:
        def __init__(self, server):
            self.server = server
        async def on_get(self, req, resp):
            resp.media = {"profile": self.server.kernel.profile.name}
    class Steam:
        async def process_response(self, req, resp, resource, req_succeeded):
            resp.set_header("X-Steam", "hot")
"""


def test_mix_routes_and_middleware(load: Load, tmp_path: Path) -> None:
    from falcon.testing import TestClient
    from mix_server.app import create_app
    from mix_server.server import Server

    token = "a-token-for-tests-0123456789"
    with load(
        SERVED, beside=("server", "db"), overrides={"settings.server.ws_dir": str(tmp_path / "ws")}
    ) as kernel:
        client = TestClient(create_app(Server(kernel, token)))
        answer = client.simulate_get("/v1/ext/tea", headers={"Authorization": f"Bearer {token}"})
        assert (answer.json, answer.headers["X-Steam"]) == ({"profile": "hooks"}, "hot")
        # Who asks is decided before a plugin's resource is reached.
        assert client.simulate_get("/v1/ext/tea").status_code == 401


# -- the lifecycle -----------------------------------------------------------------------------

RECORDER = """
    import msgspec
    from mixkit.contracts import Check
    seen = []
    class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        size: int = 7
    @hookimpl
    def mix_add_hookspecs(manager):
        seen.append("mix_add_hookspecs")
    @hookimpl
    def mix_settings():
        seen.append("mix_settings")
        return "mix_one_hooks:Settings"
    @hookimpl
    def mix_ffis(registry):
        seen.append("mix_ffis")
        group = mixkit.FFIGroup("one")
        group.register_sync("$one_ping", lambda state: seen.append("$one_ping") or "pong")
        registry.add(group)
    @hookimpl
    def mix_engines():
        seen.append("mix_engines")
        return {}
    @hookimpl
    def mix_state_open(state):
        seen.append("mix_state_open")
        state.put(Resource(), lambda resource: seen.append("  its resource is closed"))
    @hookimpl
    def mix_state_close(state):
        seen.append("mix_state_close")
    class Resource: pass
"""


def transcript(load: Load, guest: Callable[..., bytes]) -> list[str]:
    """What happens, in order, from loading a profile to closing the kernel, with a run that ends well and one not."""
    kernel = load(RECORDER)
    seen: list[str] = module("one").seen
    seen.insert(0, "Kernel(profile)")
    seen[1:] = [f"  {line}" for line in seen[1:]]
    with kernel:
        code = guest(PING_DATA, ping=PING, spin="(loop $again (br $again)) (unreachable)")
        for entry, limits in (("ping", None), ("spin", kernel.limits.narrowed(kernel.limits))):
            seen.append(f'kernel.run("{entry}")')
            start = len(seen)
            if limits is not None:
                import msgspec

                limits = msgspec.structs.replace(limits, wall_time=0.2)
            try:
                kernel.run_sync(
                    code,
                    entry,
                    [],
                    grants=ALL,
                    limits=limits,
                    trace=lambda state: seen.append(f"→ {state.value}"),
                )
                seen.append("the result is answered")
            except RunError as exc:
                seen.append(f"RunError is raised, {exc.panic_code}")
            seen[start:] = [f"  {line}" for line in seen[start:]]
    seen.append("kernel.close()")
    return seen


def test_the_lifecycle_is_what_the_document_says(load: Load, guest: Callable[..., bytes]) -> None:
    document = (ROOT / "docs" / "lifecycle.md").read_text(encoding="utf-8")
    golden = re.search(r"^```text transcript\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    assert golden is not None
    assert "\n".join(transcript(load, guest)) == golden[1].rstrip("\n")


# -- documents and tests, by the live manager ---------------------------------------------------


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_script", ROOT / "scripts" / "reference.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.fixture(scope="session")
def specifications(reference: ModuleType) -> dict[str, Any]:
    with Kernel("all", environ={}) as kernel:
        found: dict[str, Any] = reference.specifications(kernel)
    assert len(found) >= 14
    return found


def test_every_hook_has_a_heading_with_its_signature(
    reference: ModuleType, specifications: dict[str, Any]
) -> None:
    text = (ROOT / "docs" / "reference" / "hooks.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^### `(.*)`$", text, re.MULTILINE))
    assert headings == {reference.signature(function) for function, _ in specifications.values()}


def test_every_hook_has_a_docstring(specifications: dict[str, Any]) -> None:
    for name, (function, _) in specifications.items():
        assert len(function.__doc__ or "") > 20, name


def test_every_hook_has_a_test(specifications: dict[str, Any]) -> None:
    tests = [*ROOT.glob("tests/test_*.py"), *ROOT.glob("plugins/*/tests/test_*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in tests)
    for name in specifications:
        assert re.search(rf"def (test_)?{name}\b", text), f"no test implements or is named after {name}"
