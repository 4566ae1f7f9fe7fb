"""Compiling for others: code or what is wrong, within time and memory, here or on another server."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import copy_context
from pathlib import Path
from typing import Any

import httpx
import pytest
from mix_server.admission import Admission
from mix_server.compiling.compiling import CompilerEnded, CompileTimeout, Here
from mix_server.errors import Overloaded
from mix_server.server import Server
from mix_server.shares import ASKING

from mixkit.errors import ProfileError
from mixkit.remote_compile import Compilation, Task, check_server

MIXKIT = str(Path(sys.executable).with_name("mixkit"))
MAIN = "module main(p)\n\nimport helper\n\ncell output = helper.twice(p.n)\n"
HELPER = "module helper\n\ndef twice(n) = n * 2\n"
Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

COMPILERS = """
import os, time
from mixkit.errors import MixError

class Odd:
    name, suffixes, target = "odd", (".odd",), ".done"

    def compile(self, sources):
        [text] = sources.values()
        print("this is no answer")
        match text.split():
            case ["sleep"]:
                time.sleep(600)
            case ["grow"]:
                return bytes(8 << 30)
            case ["end"]:
                os._exit(3)
            case ["pid"]:
                return str(os.getpid()).encode()
            case ["secret"]:
                return str(sorted(os.environ)).encode()
        raise MixError(f"no such thing: {text}")
"""


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """A compiler that does what its source says."""
    (tmp_path / "odd_compiler.py").write_text(COMPILERS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("MIXKIT_SERVER_TOKEN", "secret")
    return [("odd_compiler:Odd", None)]


def place() -> Admission:
    """Room for one that compiles and eight that wait."""
    return Admission(1, 1, 8, 30.0, 0.5, lambda *_: None, "compilation")


@pytest.fixture
async def here(odd: list[tuple[str, Any]]) -> AsyncIterator[Here]:
    made = Here(odd, 30.0, place())
    yield made
    await made.stop()


def task(text: str) -> Task:
    return Task({"a.odd": text})


async def test_code_or_what_is_wrong(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/compile", json={"sources": {"main.mix": MAIN, "helper.mix": HELPER}})
    found = answer.json()
    assert (answer.status_code, found["ok"], found["name"]) == (200, True, "main.mixexe"), found
    code = base64.b64decode(found["code"])
    assert code and "message" not in found
    other_order = {"sources": {"helper.mix": HELPER, "main.mix": MAIN}, "first": "main.mix"}
    assert (await client.post("/v1/compile", json=other_order)).json() == found

    wrong = (await client.post("/v1/compile", json={"sources": {"main.mix": MAIN}})).json()
    assert (wrong["ok"], "helper" in wrong["message"]) == (False, True)
    assert all(
        each["code"].startswith("M") and each["location"][0] == "main.mix" for each in wrong["diagnostics"]
    )
    assert wrong["diagnostics"]
    for name, said in (("main.rs", ".mix"), ("main.c", "C is compiled where its files are")):
        other = (await client.post("/v1/compile", json={"sources": {name: "int x;"}})).json()
        assert (other["ok"], said in other["message"]) == (False, True)
    for body in (
        {}, {"sources": {}}, {"sources": {"../a.mix": ""}}, {"sources": {"a.mix": 1}}, {"sources": {"": ""}},
        {"sources": {"a.mix": ""}, "first": "b.mix"}, {"sources": {"a.mix": ""}, "other": 1}, [],
    ):  # fmt: skip
        assert (await client.post("/v1/compile", json=body)).status_code == 400, body


async def test_the_process_ends_with_its_time_and_the_next_one_begins(odd: list[tuple[str, Any]]) -> None:
    here = Here(odd, 1.5, place())
    try:
        with pytest.raises(CompileTimeout):
            await here.compile(task("sleep"))
        with pytest.raises(CompilerEnded):
            await here.compile(task("end"))
        found = await here.compile(task("nothing"))
        assert (found.ok, found.message) == (False, "no such thing: nothing")
    finally:
        await here.stop()


async def test_memory_is_bounded(here: Here) -> None:
    with pytest.raises(CompilerEnded):
        await here.compile(task("grow"))
    assert not (await here.compile(task("nothing"))).ok


async def test_a_process_is_kept_and_is_ended_with_who_asked(here: Here) -> None:
    first = (await here.compile(task("pid"))).code
    assert first == (await here.compile(task("pid"))).code is not None
    names = (await here.compile(task("secret"))).code
    assert names is not None and b"MIXKIT" not in names

    asking = asyncio.create_task(here.compile(task("sleep")))
    await asyncio.sleep(0.2)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert (await here.compile(task("pid"))).code != first


async def test_a_killed_process_is_replaced(here: Here) -> None:
    code = (await here.compile(task("pid"))).code
    assert code is not None
    os.kill(int(code), signal.SIGKILL)
    for _ in range(2):
        try:
            found = await here.compile(task("pid"))
            break
        except CompilerEnded:
            continue
    assert found.code not in (None, code)


async def test_few_wait_and_not_all_of_one_caller(here: Here) -> None:
    context = copy_context()
    context.run(ASKING.set, "user/ada@example.org")

    def of_ada() -> asyncio.Task[Compilation]:
        return asyncio.get_running_loop().create_task(here.compile(task("sleep")), context=context)

    asked = [of_ada() for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="4 compilations of yours are waiting"):
        await of_ada()
    asked += [asyncio.create_task(here.compile(task("sleep"))) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="8 compilations are waiting"):
        await here.compile(task("nothing"))
    for each in asked:
        each.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    assert (await here.compile(task("pid"))).code


@pytest.mark.slow
async def test_another_server_and_the_command(
    make_server: Make, served: Connect, connect: Connect, token: str, tmp_path: Path
) -> None:
    (tmp_path / "main.mix").write_text(MAIN)
    (tmp_path / "helper.mix").write_text(HELPER)

    async def command(*arguments: str, key: str = token) -> tuple[int, str, str]:
        child = await asyncio.create_subprocess_exec(
            MIXKIT, "compile", str(tmp_path / "main.mix"), *arguments,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "MIXKIT_COMPILE_TOKEN": key},
        )  # fmt: skip
        out, err = await child.communicate()
        return child.returncode or 0, out.decode(), err.decode()

    async with served(make_server()) as compiler:
        url = str(compiler.base_url)
        sources = {"sources": {"main.mix": MAIN, "helper.mix": HELPER}}
        direct = (await compiler.post("/v1/compile", json=sources)).json()
        settings = {"remote_compile_server": url, "remote_compile_token": token}
        async with connect(make_server(**settings)) as client:
            assert (await client.post("/v1/compile", json=sources)).json() == direct
            wrong = (await client.post("/v1/compile", json={"sources": {"main.mix": MAIN}})).json()
            assert (wrong["ok"], bool(wrong["diagnostics"])) == (False, True)
        async with connect(make_server(remote_compile_server=url, remote_compile_token="x" * 20)) as client:
            refused = await client.post("/v1/compile", json=sources)
            assert (refused.status_code, "401" in refused.text) == (503, True)

        status, out, err = await command("--remote", url, "--json")
        assert (status, json.loads(out)["bytes"]) == (0, len(base64.b64decode(direct["code"]))), err
        assert (tmp_path / "main.mixexe").read_bytes() == base64.b64decode(direct["code"])
        status, _, err = await command("--remote", url, key="x" * 20)
        assert (status, "401" in err) == (1, True)
        (tmp_path / "helper.mix").write_text("module helper\n\ndef once(n) = n\n")
        status, _, err = await command("--remote", url, "--check")
        assert (status, "twice" in err) == (1, True)
    status, _, err = await command("--remote", url)
    assert (status, "cannot be reached" in err) == (1, True)


@pytest.mark.parametrize(
    "url",
    ["a.org", "ftp://a.org", "http://a.org", "https://u:p@a.org", "https://a.org?x=1", "https://a.org:x"],
)
def test_what_is_no_server_is_refused(make_server: Make, url: str) -> None:
    with pytest.raises(ValueError, match="expected the URL"):
        check_server(url)
    with pytest.raises(ProfileError, match="expected the URL"):
        make_server(remote_compile_server=url)
    assert check_server("https://a.org/mix/") == "https://a.org/mix"
