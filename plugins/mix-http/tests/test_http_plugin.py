"""The plugin in its kernel: settings, doctor, cost of loading, and the life of its connections."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mix_http import session
from mix_http.doctor import checks
from mix_http.message import HttpRequest
from mix_http.session import session_for
from mix_http.settings import HttpSettings

from mixkit.errors import GrantError, ProfileError
from mixkit.ffi_call import call_ffi
from mixkit.grants import Grants
from mixkit.hookspecs import hookimpl
from mixkit.kernel import Kernel
from mixkit.settings import describe, fill

PROFILE = 'description = "HTTP alone"\nplugins = ["http"]\nengines = []\n'


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "http_only.toml"
    path.write_text(PROFILE)
    return path


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, mix_http, mix_http.ffis, mix_http.settings\n"
        "print([name for name in ('aiohttp', 'asyncio', 'ssl', 'yarl', 'trustme') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


# -- in a kernel ----------------------------------------------------------------------------------


async def test_a_call_in_a_kernel(server: Any, world: Any, profile: Path) -> None:
    server.reply("/a", "x")
    overrides = {f"settings.http.{key}": getattr(world.settings, key) for key in ("ca_file", "allow_private")}
    with Kernel(profile, overrides=overrides, environ={}) as kernel:
        assert {ffi.name for ffi in kernel.ffis if ffi.group == "http"} == {"$http_do", "$http_do_server"}
        answer = await call_ffi(kernel, "$http_do", [{"url": server.url("/a")}])
        assert (answer["status"], answer["body"]) == (200, "x")
        kernel.ffis.check_grant_options({"http.hosts"})
        with pytest.raises(GrantError, match=r"http\.host'"):
            kernel.ffis.check_grant_options({"http.host"})
        grants = Grants(("$http_*",), {"http.hosts": ["other.test"]})
        answer = await call_ffi(kernel, "$http_do", [{"url": server.url("/a")}], grants=grants)
        assert "granted hosts" in answer["error"]


async def test_another_plugin_intercepts(profile: Path) -> None:
    class Inside:
        @hookimpl
        async def mix_http_intercept(self, request: Any) -> Any:
            return request.answer(200, body=b"inside") if request.target.host == "agents.test" else None

    with Kernel(profile, environ={}) as kernel:
        kernel.manager.register(Inside())
        answer = await call_ffi(kernel, "$http_do", [{"url": "http://agents.test/x"}])
        assert (answer["status"], answer["body"]) == (200, "inside")
        answer = await call_ffi(kernel, "$http_do", [{"url": "http://elsewhere.test/x"}])
        assert "expected https" in answer["error"]


async def test_by_default_a_kernel_is_closed(profile: Path) -> None:
    with Kernel(profile, environ={}) as kernel:
        for url in (
            "http://good.example/",
            "https://127.0.0.1/",
            "https://localhost/",
            "https://169.254.169.254/",
        ):
            assert "refused" in (await call_ffi(kernel, "$http_do", [{"url": url}]))["error"]


# -- settings, doctor -----------------------------------------------------------------------------


def test_every_setting_is_described() -> None:
    assert all(setting.doc.endswith((".", "empty.")) for setting in describe("http", HttpSettings))
    assert HttpSettings() == HttpSettings() and hash(HttpSettings()) == hash(HttpSettings())


def test_settings_from_the_environment() -> None:
    environ = {
        "MIXKIT_HTTP_ALLOW_PRIVATE": "10.0.0.1:443, fd00::/8",
        "MIXKIT_HTTP_DANGEROUS_HTTP_MODE": "yes",
    }
    settings, _ = fill("http", HttpSettings, [], environ, {})
    assert settings.allow_private == ("10.0.0.1:443", "fd00::/8")
    assert settings.policy().dangerous


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"allow_private": ("localhost",)}, "settings.http.allow_private: expected"),
        ({"allow_private": ("10.0.0.0/99",)}, "settings.http.allow_private: expected"),
        ({"proxy": "proxy.test:8080"}, "settings.http.proxy: expected an absolute URL"),
        ({"proxy": "socks5://proxy.test:1080"}, "expected http or https"),
        ({"proxy": "http://me:s3cr3t@proxy.test:99999"}, "settings.http.proxy: not a URL"),
    ],
)
def test_settings_that_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ProfileError) as caught:
        HttpSettings(**values)
    assert message in str(caught.value) and "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("values", [{"timeout": 0}, {"max_redirects": -1}, {"connections": 0}, {"proxi": ""}])
def test_values_out_of_range(values: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(values, HttpSettings)


def levels(settings: HttpSettings) -> dict[str, str]:
    found = checks(settings)
    assert all(check.remedy for check in found if check.level != "ok")
    assert not any("s3cr3t" in check.message for check in found)
    return {check.name: check.level for check in found}


def test_doctor_says_what_is_open(tmp_path: Path) -> None:
    assert levels(HttpSettings())["http egress"] == "ok"
    assert levels(HttpSettings(dangerous_http_mode=True))["http egress"] == "warning"
    assert levels(HttpSettings(allow_private=("10.0.0.1",)))["http egress"] == "warning"
    assert levels(HttpSettings(ca_file=str(tmp_path / "none.pem")))["http certificates"] == "error"
    (tmp_path / "bad.pem").write_text("no certificate")
    assert levels(HttpSettings(ca_file=str(tmp_path / "bad.pem")))["http certificates"] == "error"
    assert levels(HttpSettings(proxy="http://me:s3cr3t@proxy.test:1"))["http proxy"] == "ok"


async def test_a_ca_file_that_cannot_be_read_is_an_error_of_the_call(world: Any) -> None:
    world.change(ca_file="/nonexistent/ca.pem")
    assert "settings.http.ca_file" in await world.error({"url": "https://server.test/"})


# -- connections ----------------------------------------------------------------------------------


def test_a_session_ends_with_its_loop_and_is_forgotten() -> None:
    sessions = [asyncio.run(session_for(HttpSettings())) for _ in range(5)]
    assert all(each.closed for each in sessions)
    assert len({id(each) for each in sessions}) == 5
    assert sum(pool.loop.is_closed() for pool in session._pools.values()) <= 1


async def test_one_session_for_each_policy() -> None:
    first, same, other = await asyncio.gather(
        session_for(HttpSettings()), session_for(HttpSettings()), session_for(HttpSettings(timeout=3))
    )
    assert first is same and first is not other


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_process_does_not_use_its_parents_connections() -> None:
    with asyncio.Runner() as runner:
        ours = runner.run(session_for(HttpSettings()))
        child = os.fork()
        if child == 0:
            status = 1
            try:
                theirs = runner.run(session_for(HttpSettings()))
                status = 0 if theirs is not ours and not ours.closed else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert runner.run(session_for(HttpSettings())) is ours


# -- the README -----------------------------------------------------------------------------------

README = Path(__file__).parents[1] / "README.md"


def test_the_readme_lists_every_setting_with_its_default() -> None:
    rows = [
        line.split(" | ")
        for line in README.read_text().split("## Settings")[1].splitlines()
        if line.startswith("| `")
    ]
    listed = {row[0].strip("| `"): json.loads(row[1].strip("`")) for row in rows}
    assert listed == {
        setting.key: json.loads(msgspec.json.encode(setting.default))
        for setting in describe("http", HttpSettings)
    }


def test_the_readmes_profile_is_valid() -> None:
    [block] = re.findall(r"```toml\n(.*?)```", README.read_text(), re.DOTALL)
    settings, _ = fill("http", HttpSettings, [("README", tomllib.loads(block)["settings"]["http"])], {}, {})
    assert settings.proxy and settings.policy().allow


def test_the_readme_names_every_key_of_a_request() -> None:
    table = README.read_text().split("## The request")[1].split("##")[0]
    named = set(
        re.findall(
            r"`(\w+)`", " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|"))
        )
    )
    assert named >= set(HttpRequest.__struct_fields__)
