"""examples/crm: an app of several agents in Mix, over one database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mixkit import Kernel, MixError
from mixkit.action import Invocation, Invoke, parse
from mixkit.storage import Place

CRM = Path(__file__).parents[1] / "examples" / "crm"
PROFILE = """
plugins = ["wasmtime", "db", "http", "rt", "lang"]
engines = ["wasmtime"]
storage = "mixquery"
[settings.http]
dangerous_http_mode = true
"""
TABLE = 'name,email\r\n Ben ,BEN@example.com\r\nnobody,none\r\n"C, D",cd@example.com\r\n'

pytestmark = pytest.mark.slow

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    profile = tmp_path_factory.mktemp("profile") / "crm.toml"
    profile.write_text(PROFILE)
    with Kernel(profile) as kernel:
        yield kernel


@pytest.fixture(scope="module")
def load(kernel: Kernel) -> Callable[[str], Any]:
    programs: dict[str, Any] = {}

    def load(agent: str) -> Any:
        if agent not in programs:
            programs[agent] = kernel.load(CRM / f"{agent}.mix")
        return programs[agent]

    return load


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place("first", "crm", tmp_path)


@pytest.fixture
def call(kernel: Kernel, load: Callable[[str], Any], place: Place) -> Call:
    def call(agent: str, **params: Any) -> Any:
        return kernel.run_sync(load(agent), agent, params, place=place).value

    return call


@pytest.fixture
def act(kernel: Kernel, load: Callable[[str], Any], place: Place) -> Call:
    def act(action: dict[str, Any], *args: Any) -> Any:
        found = parse({**action, "args": list(args)})
        assert isinstance(found, Invoke)
        return kernel.run_sync(load("board"), "board", Invocation((found,)), place=place).value

    return act


def test_a_deal_goes_its_way(call: Call, act: Call) -> None:
    ada = call("add", name=" Ada ", email="Ada@example.com")
    assert call("add", name="Ada L.", email="ada@example.com ")["id"] == ada["id"]
    call("add", name="Ben", email="ben@example.com")
    for email, title, more in (
        ("ada@example.com", "Engine", {"cents": 5000}),
        ("ada@example.com", "Loom", {}),
        ("ben@example.com", "Wheel", {"cents": 700}),
    ):
        call("deal", email=email, title=title, **more)
    board = call("board")
    engine, loom, wheel = board["deals"]
    assert [(deal["title"], deal["person"], deal["stage"], deal["cents"]) for deal in board["deals"]] == [
        ("Engine", "Ada L.", "offered", 5000), ("Loom", "Ada L.", "lead", 0), ("Wheel", "Ben", "offered", 700),
    ]  # fmt: skip
    board = act(loom["offer"], 300)
    assert (board["said"], board["deals"][1]["cents"]) == ("Loom: offered", 300)
    # The action was made when the deal was worth nothing: what it does, it does with the deal as it is.
    board = act(loom["win"])
    assert [deal["title"] for deal in board["deals"]] == ["Engine", "Wheel"]
    act(engine["win"])
    act(wheel["lose"], "too dear")
    with pytest.raises(MixError, match="the deal is closed"):
        act(wheel["win"])
    assert call("report") == {
        "stages": {"won": {"deals": 2, "cents": 5300}, "lost": {"deals": 1, "cents": 0}},
        "best": [{"name": "Ada L.", "cents": 5300}],
        "reasons": {"too dear": 1},
    }


def test_what_is_wrong_is_said(call: Call, act: Call) -> None:
    with pytest.raises(MixError, match="expected an address of mail, found none"):
        call("add", name="A", email="none")
    with pytest.raises(MixError, match=r"nobody has the address ada@example\.com"):
        call("deal", email="ada@example.com", title="Engine")
    call("add", name="Ada", email="ada@example.com")
    call("deal", email="ada@example.com", title="Engine")
    with pytest.raises(MixError, match="expected number"):
        act(call("board")["deals"][0]["offer"], "much")
    assert call("report")["stages"] == {"lead": {"deals": 1, "cents": 0}}


class Table(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        data = TABLE.encode()
        self.send_response(200 if self.path == "/people.csv" else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_people_come_from_a_table(call: Call) -> None:
    call("add", name="Benjamin", email="ben@example.com")
    with ThreadingHTTPServer(("127.0.0.1", 0), Table) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            said = call("bring", url=f"{url}/people.csv")
            with pytest.raises(MixError, match="expected the status 200, found 404"):
                call("bring", url=f"{url}/none")
        finally:
            server.shutdown()
            thread.join()
    assert said == {"people": 2, "wrong": ["expected an address of mail, found none"]}
    call("deal", email="cd@example.com", title="Engine")
    call("deal", email="ben@example.com", title="Loom")
    assert [deal["person"] for deal in call("board")["deals"]] == ["C, D", "Ben"]
