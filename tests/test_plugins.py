"""Plugins that fail in each way a plugin can, and what the start says then."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mixkit import Kernel
from mixkit.cli.doctor import _of_plugins
from mixkit.errors import InternalError, MixError, PluginError, ProfileError, StorageError
from mixkit.ffi_call import call_ffi
from mixkit.storage import Place
from mixkit.value import error

Install = Callable[..., str]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Writes a plugin as an installed distribution and a profile with it; answers the profile's path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def install(source: str | None, *, name: str = "odd", profile: str = "", entry: str | None = None) -> str:
        module = f"mix_{name}_under_test"
        made.append(module)
        if source is not None:
            (tmp_path / f"{module}.py").write_text("import mixkit\nfrom mixkit import hookimpl\n" + source)
        info = tmp_path / f"mix_{name}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mix-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[mixkit]\n{name} = {entry or module}\n")
        path = tmp_path / f"{name}.toml"
        path.write_text(f'plugins = ["{name}"]\nengines = []\n{profile}')
        return str(path)

    yield install
    for module in made:
        sys.modules.pop(module, None)


GOOD = """
@hookimpl
def mix_ffis(registry):
    group = mixkit.FFIGroup("odd")
    group.register_simple("$odd_one", lambda: 1)
    registry.add(group)
"""


def test_a_good_plugin_is_loaded(install: Install) -> None:
    with Kernel(install(GOOD), environ={}) as kernel:
        assert "$odd_one" in kernel.ffis


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise RuntimeError('boom')", "plugin 'odd': cannot import .*RuntimeError: boom"),
        ("import a_module_that_is_not_there", "cannot import .*ModuleNotFoundError"),
        ("syntax error here", "cannot import .*SyntaxError"),
        ("x = 1", "has no function marked @mixkit.hookimpl"),
        ("@hookimpl\ndef mix_fis(registry): pass", "unknown hook 'mix_fis'"),
        ("@hookimpl\ndef mix_ffis(registry, extra): pass", "mix_ffis.*extra"),
        (
            "@hookimpl\ndef mix_ffis(registry): raise KeyError('k')",
            "plugin 'odd': mix_ffis failed: KeyError: 'k'",
        ),
        ("@hookimpl\ndef mix_ffis(registry): registry.add(3)", "takes an FFIGroup, found int"),
        (GOOD + "    registry.add(group)\n", r"registers \$odd_one, which plugin 'odd' has"),
        (GOOD.replace("$odd_one", "$core_now"), r"registers \$core_now, which plugin 'core' has"),
        ("@hookimpl\ndef mix_settings(): return 'nowhere.at.all:X'", "mix_settings: cannot import"),
        ("@hookimpl\ndef mix_settings(): return 'json:Nothing'", "module 'json' has no 'Nothing'"),
        ("@hookimpl\ndef mix_settings(): return 'json'", "expected an import string"),
        (
            "@hookimpl\ndef mix_settings(): return 'json:dumps'",
            "mix_settings: its class cannot be used: TypeError",
        ),
        ("@hookimpl\ndef mix_engines(): return ['x']", "answers a dict of names to import strings"),
        (
            "@hookimpl\ndef mix_add_hookspecs(manager): raise ValueError('v')",
            "mix_add_hookspecs failed: ValueError: v",
        ),
    ],
)
def test_each_way_to_fail_names_the_plugin_and_the_reason(
    install: Install, source: str, message: str
) -> None:
    with pytest.raises(PluginError, match=message) as caught:
        Kernel(install(source), environ={})
    assert caught.value.plugin == "odd"


LEAVES = ["sys.exit(0)", "sys.exit('bye')", "raise KeyboardInterrupt", "raise asyncio.CancelledError"]


@pytest.fixture
def handled_interrupts() -> Iterator[None]:
    """SIGINT is handled as servers do it, so that a KeyboardInterrupt can only be a plugin's own."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("handled_interrupts")
@pytest.mark.parametrize("leave", LEAVES)
@pytest.mark.parametrize(
    "source",
    [
        "LEAVE",
        "@hookimpl\ndef mix_ffis(registry): LEAVE",
        "@hookimpl\ndef mix_settings(): LEAVE",
        "@hookimpl\ndef mix_engines(): LEAVE",
        "@hookimpl\ndef mix_add_hookspecs(manager): LEAVE",
    ],
)
def test_a_plugin_that_leaves_while_it_is_loaded_is_named(install: Install, source: str, leave: str) -> None:
    path = install("import asyncio, sys\n" + source.replace("LEAVE", leave))
    with pytest.raises(PluginError, match=r"plugin 'odd': .*(SystemExit|KeyboardInterrupt|CancelledError)"):
        Kernel(path, environ={})


RUN = """
import asyncio, sys
group = mixkit.FFIGroup("odd")
@group.register("$odd_now")
def now() -> int:
    LEAVE
@group.register("$odd_later")
async def later() -> int:
    await asyncio.sleep(0)
    LEAVE
async def raw(state, words):
    LEAVE
group.register_raw("$odd_raw", raw)
@group.register("$odd_result")
async def result() -> mixkit.Result[int]:
    LEAVE
@group.register("$odd_waits")
async def waits() -> int:
    await asyncio.sleep(60)
@hookimpl
def mix_ffis(registry):
    registry.add(group)
@hookimpl
def mix_state_close(state):
    LEAVE
"""


@pytest.mark.usefixtures("handled_interrupts")
@pytest.mark.parametrize("leave", LEAVES)
def test_an_ffi_that_leaves_costs_its_call_alone(install: Install, leave: str) -> None:
    async def calls(kernel: Kernel) -> None:
        for name in ("$odd_now", "$odd_later", "$odd_raw"):
            with pytest.raises(InternalError, match=rf"\{name} failed inside"):
                await call_ffi(kernel, name)
        answer = await call_ffi(kernel, "$odd_result")
        assert answer == error("$odd_result failed inside; the log says why")

    with Kernel(install(RUN.replace("LEAVE", leave)), environ={}) as kernel:
        asyncio.run(calls(kernel))


ENGINE = """
import asyncio, sys
class Engine:
    name, version = "odd", "1"
    def __init__(self):
        if WHEN == "made": LEAVE
    def prepare(self):
        if WHEN == "prepared": LEAVE
    def compile(self, code):
        if WHEN == "compiling": LEAVE
@hookimpl
def mix_engines():
    return {"odd": __name__ + ":Engine"}
"""


@pytest.mark.usefixtures("handled_interrupts")
@pytest.mark.parametrize("leave", LEAVES)
@pytest.mark.parametrize("when", ["made", "prepared", "compiling"])
def test_an_engine_that_leaves_is_named(install: Install, when: str, leave: str) -> None:
    source = ENGINE.replace("WHEN", repr(when)).replace("LEAVE", leave)
    with Kernel(install(source), environ={}, overrides={"engines": "odd"}) as kernel:
        with pytest.raises(PluginError, match="plugin 'odd': the engine 'odd' ") as caught:
            kernel.prepare()
            kernel.load(b"code")
        assert caught.value.plugin == "odd"
        # Nothing is locked, and nothing half made is kept.
        with pytest.raises(PluginError):
            kernel.prepare()
            kernel.load(b"code")


STORAGE = """
import asyncio, sys
class Storage:
    name, durable = "odd", True
    def __init__(self):
        if WHEN == "made": LEAVE
    def open(self, place):
        if WHEN == "closed": return self
        LEAVE
    def close(self): LEAVE
    def remove(self, place): LEAVE
@hookimpl
def mix_storages():
    return {"odd": __name__ + ":Storage"}
"""


@pytest.mark.usefixtures("handled_interrupts")
@pytest.mark.parametrize("leave", LEAVES)
@pytest.mark.parametrize("when", ["made", "used"])
def test_a_storage_that_leaves_is_named(install: Install, tmp_path: Path, when: str, leave: str) -> None:
    source = STORAGE.replace("WHEN", repr(when)).replace("LEAVE", leave)
    place = Place("ws", "app", tmp_path / "home")
    with Kernel(install(source, profile='storage = "odd"'), environ={}) as kernel:
        for use in (kernel.databases.open, kernel.databases.remove):
            with pytest.raises(StorageError, match=r"storage '(mix_)?odd.*(SystemExit|Interrupt|Cancelled)"):
                use(place)


DOCTOR = """
import asyncio, sys
@hookimpl
def mix_doctor(kernel):
    yield ODD
"""


@pytest.mark.usefixtures("handled_interrupts")
@pytest.mark.parametrize("odd", ["3", "sys.exit(0)", "(_ for _ in ()).throw(KeyboardInterrupt)"])
def test_checks_that_fail_are_a_finding(install: Install, odd: str) -> None:
    profile = install(DOCTOR.replace("ODD", odd))
    with Kernel(profile, environ={}) as kernel:
        (found,) = _of_plugins(kernel)
    assert (found.name, found.level) == ("odd", "error")
    assert found.message.startswith("its checks failed: ")


@pytest.mark.usefixtures("handled_interrupts")
@pytest.mark.parametrize("leave", LEAVES)
def test_a_database_that_leaves_when_it_is_closed_hides_no_other(
    install: Install, tmp_path: Path, leave: str
) -> None:
    source = STORAGE.replace("WHEN", "'closed'").replace("LEAVE", leave)
    kernel = Kernel(install(source, profile='storage = "odd"'), environ={})
    kernel.databases.open(Place("ws", "app", tmp_path / "home"))
    with pytest.raises(StorageError, match="cannot be closed"):
        kernel.databases.close()
    kernel.close()


CLASSES = """
import asyncio, dataclasses, sys
import msgspec
def __getattr__(name):
    if name == "Lazy": LEAVE
    raise AttributeError(name)
class OddSettings(msgspec.Struct):
    def __post_init__(self): LEAVE
@dataclasses.dataclass
class Given:
    n: int
    def __post_init__(self): LEAVE
group = mixkit.FFIGroup("odd")
@group.register("$odd_takes")
def takes(given: Given) -> int:
    return given.n
@hookimpl
def mix_ffis(registry):
    registry.add(group)
@hookimpl
async def mix_http_intercept(request): LEAVE
"""


@pytest.mark.usefixtures("handled_interrupts")
@pytest.mark.parametrize("leave", LEAVES)
@pytest.mark.parametrize("name", ["OddSettings", "Lazy"])
def test_settings_that_leave_are_named(install: Install, leave: str, name: str) -> None:
    hook = f"@hookimpl\ndef mix_settings(): return __name__ + ':{name}'\n"
    with pytest.raises(
        (PluginError, ProfileError), match=r"odd.*(SystemExit|KeyboardInterrupt|CancelledError)"
    ):
        Kernel(install(CLASSES.replace("LEAVE", leave) + hook), environ={})


@pytest.mark.usefixtures("handled_interrupts")
@pytest.mark.parametrize("leave", LEAVES)
def test_a_record_or_an_intercept_that_leaves_costs_its_call_alone(install: Install, leave: str) -> None:
    async def calls(kernel: Kernel) -> None:
        with pytest.raises(InternalError, match="odd_takes failed inside"):
            await call_ffi(kernel, "$odd_takes", [{"n": 1}])
        with pytest.raises(PluginError, match="plugin 'odd': mix_http_intercept failed"):
            await kernel.intercept(object())

    with Kernel(install(CLASSES.replace("LEAVE", leave)), environ={}) as kernel:
        asyncio.run(calls(kernel))


@pytest.mark.usefixtures("handled_interrupts")
def test_the_watchdog_outlives_what_its_callbacks_raise() -> None:
    from threading import Event

    from mixkit.vm.watchdog import watchdog

    def leave() -> None:
        raise SystemExit(0)

    done = Event()
    watchdog.add(0.0, leave)
    watchdog.add(0.01, done.set)
    assert done.wait(20)


def test_a_call_whose_caller_is_cancelled_is_cancelled(install: Install) -> None:
    async def cancelled(kernel: Kernel) -> None:
        task = asyncio.create_task(call_ffi(kernel, "$odd_waits"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Kernel(install(RUN.replace("LEAVE", "pass")), environ={}) as kernel:
        asyncio.run(cancelled(kernel))


def test_a_missing_plugin_says_how_to_add_it(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('plugins = ["duckdb2"]')
    with pytest.raises(PluginError, match="pip install mix-duckdb2"):
        Kernel(path, environ={})


def test_an_entry_point_must_be_a_module(install: Install) -> None:
    with pytest.raises(PluginError, match="is not a module"):
        Kernel(install(None, entry="json:dumps"), environ={})


def test_a_plugin_named_twice(install: Install) -> None:
    path = install(GOOD)
    Path(path).write_text('plugins = ["odd", "odd"]\nengines = []')
    with pytest.raises(PluginError, match="named twice"):
        Kernel(path, environ={})


def test_a_plugin_that_two_distributions_bring_names_both(install: Install, tmp_path: Path) -> None:
    path = install(GOOD)
    with Kernel(path, environ={}):
        pass
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mixkit]\nodd = json\n")
    with pytest.raises(PluginError, match=r"plugin 'odd': is brought by .*; uninstall") as caught:
        Kernel(path, environ={})
    assert "mix-odd (mix_odd_under_test)" in str(caught.value)
    assert "stranger (json)" in str(caught.value)


def test_a_distribution_that_is_found_twice_is_one(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = install(GOOD)
    again = tmp_path / "again" / "Mix.Odd-0.9.dist-info"
    again.mkdir(parents=True)
    (again / "METADATA").write_text("Metadata-Version: 2.1\nName: Mix.Odd\nVersion: 0.9\n")
    (again / "entry_points.txt").write_text("[mixkit]\nodd = json\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(again.parent)])
    with Kernel(path, environ={}) as kernel:
        assert "$odd_one" in kernel.ffis


@pytest.mark.parametrize("points", [b"[mixkit]\nx = \xff\xfe\n", b"[mixkit]\nno sign\n", b"[mixkit]\nx =\n"])
def test_a_distribution_that_cannot_be_read_is_named_and_passed_over(
    install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture, points: bytes
) -> None:
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_bytes(points)
    for _ in range(2):
        with Kernel(install(GOOD), environ={}) as kernel:
            assert "$odd_one" in kernel.ffis
    said = [record.message for record in caplog.records if record.name == "mixkit.plugins"]
    assert len(said) == 1 and "stranger-1.0.dist-info" in said[0]


def test_only_what_the_profile_names_is_imported(install: Install) -> None:
    install("raise RuntimeError('imported although not named')", name="other")
    with Kernel(install(GOOD), environ={}):
        pass


SETTINGS = """
import msgspec
from typing import Annotated
class OddSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size: Annotated[int, msgspec.Meta(ge=1, description="How large.")] = 3
    names: Annotated[list[str], msgspec.Meta(description="Which.")] = []
    on: Annotated[bool, msgspec.Meta(description="Whether.")] = False
@hookimpl
def mix_settings():
    return __name__ + ":OddSettings"
"""


def test_settings_come_from_profile_environment_and_command_line(install: Install) -> None:
    path = install(SETTINGS, profile="[settings.odd]\nsize = 4\nnames = ['a']")
    environ = {"MIXKIT_ODD_SIZE": "5", "MIXKIT_ODD_ON": "yes"}
    with Kernel(path, environ=environ, overrides={"settings.odd.names": "x, y"}) as kernel:
        settings = kernel.settings("odd")
        assert (settings.size, settings.names, settings.on) == (5, ["x", "y"], True)
        assert kernel.origins["settings.odd.size"] == "env MIXKIT_ODD_SIZE"
        assert kernel.origins["settings.odd.names"] == "command line"
    with Kernel(path, environ={}) as kernel:
        assert kernel.settings("odd").size == 4
        assert kernel.origins["settings.odd.size"] == "odd.toml"
        assert kernel.origins["settings.odd.on"] == "default"


@pytest.mark.parametrize(
    ("profile", "environ", "message"),
    [
        (
            "[settings.odd]\nsise = 4",
            {},
            r"odd\.toml: settings\.odd\.sise: unknown key 'sise'; known are names, on",
        ),
        ("[settings.odd]\nsize = 'x'", {}, r"odd\.toml: settings\.odd\.size: Expected `int`"),
        ("[settings.odd]\nsize = 0", {}, r"settings\.odd\.size: Expected `int` >= 1"),
        ("", {"MIXKIT_ODD_SIZE": "many"}, "environment variable MIXKIT_ODD_SIZE: Expected `int`"),
        ("", {"MIXKIT_ODD_SISE": "4"}, "environment variable MIXKIT_ODD_SISE: no such setting"),
        ("", {"MIXKIT_LIMITS_MEMROY": "4"}, "environment variable MIXKIT_LIMITS_MEMROY: no such setting"),
        ("[limits]\nmemroy = 4", {}, r"odd\.toml: limits\.memroy: unknown key"),
        ("[limits]\nwall_time = 0", {}, r"limits\.wall_time: Expected `float` > 0"),
    ],
)
def test_wrong_settings_say_where(
    install: Install, profile: str, environ: dict[str, str], message: str
) -> None:
    with pytest.raises(ProfileError, match=message):
        Kernel(install(SETTINGS, profile=profile), environ=environ)


def test_settings_that_do_not_go_together_say_so(install: Install) -> None:
    source = SETTINGS.replace(
        "@hookimpl",
        "    def __post_init__(self):\n        if self.on and self.names: raise ValueError('not both')\n@hookimpl",
    )
    with pytest.raises(ProfileError, match=r"settings\.odd: not both"):
        Kernel(install(source, profile="[settings.odd]\non = true\nnames = ['a']"), environ={})


def test_settings_for_a_plugin_without_any(install: Install) -> None:
    with pytest.raises(ProfileError, match=r"settings\.odd: this plugin has no settings"):
        Kernel(install(GOOD, profile="[settings.odd]\na = 1"), environ={})


def test_a_declared_engine_must_be_there(install: Install) -> None:
    path = install(GOOD)
    with pytest.raises(ProfileError, match="no plugin of the profile offers any of the engines nothing"):
        Kernel(path, environ={}, overrides={"engines": "nothing"})


@pytest.mark.parametrize("key", ["storage", "filesystem"])
def test_a_declared_layer_must_be_there(install: Install, key: str) -> None:
    hook = f"mix_{key}s"
    offering = f"@hookimpl\ndef {hook}(): return {{'mine': 'package.module:Class'}}"
    with Kernel(install(offering, profile=f'{key} = "mine"'), environ={}) as kernel:
        assert getattr(kernel, key) == "package.module:Class"
    with pytest.raises(
        ProfileError, match=rf"odd\.toml: {key}: no plugin of the profile offers 'other'; offered: mine"
    ):
        Kernel(install(offering, profile=f'{key} = "other"'), environ={})


def test_close_runs_for_every_plugin_whatever_the_others_do(install: Install, tmp_path: Path) -> None:
    from mixkit.state import State

    path = install(
        "seen = []\n@hookimpl\ndef mix_state_close(state):\n    seen.append(state.run_id)\n    raise ValueError('x')",
    )
    second = install(
        "seen = []\n@hookimpl\ndef mix_state_close(state): seen.append(state.run_id)", name="even"
    )
    Path(second).write_text('plugins = ["odd", "even"]\nengines = []')
    assert path
    with Kernel(second, environ={}) as kernel:
        state = State(run_id="r1")
        kernel.close_state(state)
        for name in ("odd", "even"):
            assert sys.modules[f"mix_{name}_under_test"].seen == ["r1"]


def test_errors_are_all_of_one_root() -> None:
    assert issubclass(PluginError, MixError) and issubclass(ProfileError, MixError)


LINKS = {
    "MIXKIT_ODD_SERVICE_HOST": "10.96.0.12",
    "MIXKIT_ODD_SERVICE_PORT": "8000",
    "MIXKIT_ODD_SERVICE_PORT_HTTP": "8000",
    "MIXKIT_ODD_PORT": "tcp://10.96.0.12:8000",
    "MIXKIT_ODD_PORT_8000_TCP": "tcp://10.96.0.12:8000",
    "MIXKIT_ODD_PORT_53_UDP_PROTO": "udp",
    "MIXKIT_ODD_PORT_8000_TCP_PORT": "8000",
    "MIXKIT_ODD_PORT_8000_TCP_ADDR": "10.96.0.12",
    "MIXKIT_LIMITS_SERVICE_HOST": "10.96.0.13",
    "MIXKIT_ODD_SIZE_PORT": "tcp://10.96.0.14:1",
}


@pytest.mark.parametrize("setting", ["size", "port"])
def test_the_addresses_of_services_in_a_cluster_are_not_ours(install: Install, setting: str) -> None:
    path = install(SETTINGS.replace("size:", f"{setting}:"))
    with Kernel(path, environ=LINKS) as kernel:
        assert getattr(kernel.settings("odd"), setting) == 3
        assert kernel.origins[f"settings.odd.{setting}"] == "default"


@pytest.mark.parametrize(
    "variables",
    [
        {"MIXKIT_ODD_PORT": "8000"},
        {"MIXKIT_ODD_PORT_8000": "x"},
        {"MIXKIT_ODD_SIZE": "tcp://10.96.0.12:8000"},
    ],
)
def test_what_only_resembles_such_an_address_is_refused(install: Install, variables: dict[str, str]) -> None:
    with pytest.raises(ProfileError, match="environment variable MIXKIT_ODD_"):
        Kernel(install(SETTINGS), environ=variables)


def test_a_setting_may_be_called_as_an_address_is(install: Install) -> None:
    path = install(SETTINGS.replace("size:", "service_port:"))
    with Kernel(path, environ={"MIXKIT_ODD_SERVICE_PORT": "8"}) as kernel:
        assert kernel.settings("odd").service_port == 8
