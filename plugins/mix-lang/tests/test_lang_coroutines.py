"""Coroutines of agents in the kernel: calls at the same time, limits, errors, what is left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mixkit.errors import CancelledRun, RunError
from mixkit.kernel import Kernel
from mixkit.limits import Limits
from mixkit.value import Case
from mixkit.vm.program import Program

MANY = 6
AGENT = """\
module agent(p: data)
  import co
  import array
  import stream
  foreign def fetch : data -> data = "$http_do"
  def status(url) = fetch({url}).status
  def all(urls) {
    let answers = co.channelCreate();
    for (let url in urls[]) { co.create(() -> co.channelEmit(status(url), answers)) }
    return co.channelToStream(answers) |> stream.firstn(array.length(urls)) |> stream.toArray
  }
  def spin(n) { var i = 0; while (i >= 0) { i = i + 1 } return i }
  def wrong(x) = let [a] = x; a
  def behind(f) { co.create(f); co.sleep(60); return null }
  def busy() { while (true) { co.yield() } }
  def what =
    { all: (x -> all(x)),
      spin: (x -> behind(() -> spin(x))),
      busy: (x -> behind(busy)),
      sleep: (x -> co.sleep(x)),
      wrong: (x -> behind(() -> wrong(x))),
      stuck: (x -> stream.first(co.channelToStream(co.channelCreate()))),
      timeout: (x -> co.applyWithTimeout(0.02, co.sleep, x)),
      soon: (x -> co.applyWithTimeout(50, (y -> y), x)),
      after: (x -> do { co.create(() -> debug("after " + x)); return x }),
      left: (x -> do { co.create(() -> co.channelEmit(1, co.channelCreate())); co.yield(); return x }) }
  cell output = what.(p.do)(p.with)
module end
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    profile = tmp_path_factory.mktemp("profile") / "mix.toml"
    profile.write_text(
        'plugins = ["wasmtime", "rt", "lang", "http"]\nengines = ["wasmtime"]\n'
        "[settings.http]\ndangerous_http_mode = true\n"
    )
    with Kernel(profile, environ={}) as kernel:
        yield kernel


@pytest.fixture(scope="module")
def program(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Program:
    path = tmp_path_factory.mktemp("agent") / "agent.mix"
    path.write_text(AGENT)
    return kernel.load(path)


def _run(kernel: Kernel, program: Program, do: str, with_: Any = None, **limits: Any) -> Any:
    params = {"do": do, "with": with_}
    return kernel.run_sync(program, "agent", params, limits=Limits(**limits) if limits else None).value


@pytest.fixture
def meeting() -> Iterator[str]:
    """A server whose answers wait for each other: none comes before all are asked for."""
    together = threading.Barrier(MANY)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            together.wait(30)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_calls_of_several_coroutines_are_made_at_the_same_time(
    kernel: Kernel, program: Program, meeting: str
) -> None:
    assert _run(kernel, program, "all", [meeting] * MANY) == [200] * MANY


@pytest.mark.parametrize(("do", "with_"), [("spin", 1), ("busy", 1), ("sleep", 60)])
def test_a_coroutine_keeps_to_the_limits_of_the_run(
    kernel: Kernel, program: Program, do: str, with_: Any
) -> None:
    with pytest.raises(RunError, match="wall_time"):
        _run(kernel, program, do, with_, wall_time=0.3)
    assert _run(kernel, program, "left", 5) == 5


def test_an_error_of_a_coroutine_has_its_own_calls(kernel: Kernel, program: Program) -> None:
    with pytest.raises(RunError, match="no pattern matches the int") as caught:
        _run(kernel, program, "wrong", 3)
    line = AGENT.splitlines().index("  def wrong(x) = let [a] = x; a") + 1
    assert any(f"agent.mix:{line}:" in frame for frame in caught.value.backtrace)


def test_waiting_for_nobody_is_said(kernel: Kernel, program: Program) -> None:
    with pytest.raises(RunError, match="waits for ever"):
        _run(kernel, program, "stuck")


def test_what_is_left_behind_does_not_keep_the_run(kernel: Kernel, program: Program) -> None:
    for number in range(3):
        assert _run(kernel, program, "left", number) == number


def test_a_function_is_ended_after_its_time(kernel: Kernel, program: Program) -> None:
    assert _run(kernel, program, "timeout", 50) == Case("timeout")


def test_a_time_that_is_not_used_up_is_not_waited_for(kernel: Kernel, program: Program) -> None:
    assert _run(kernel, program, "soon", 3) == Case("ok", 3)


def test_what_can_run_does_so_behind_the_result(
    kernel: Kernel, program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    assert _run(kernel, program, "after", 3) == 3
    assert "after 3" in caplog.text


def test_a_run_is_cancelled_while_its_coroutines_wait(kernel: Kernel, program: Program) -> None:
    import asyncio

    async def cancelled() -> None:
        task = asyncio.create_task(kernel.run(program, "agent", {"do": "busy", "with": 1}))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, CancelledRun)):
            await task

    asyncio.run(cancelled())
    assert _run(kernel, program, "left", 1) == 1
