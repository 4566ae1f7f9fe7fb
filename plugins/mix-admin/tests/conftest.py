"""A real server with something in it, and a real Chromium that looks at its page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey
from mix_secrets.names import Name
from mix_secrets.vaults import FOLDER, app_of, found_in
from mix_server.access.server_key import ServerKey
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright
from wasmtime import wat2wasm

from mixkit import Kernel
from mixkit.package import Package, WorkspaceStore
from mixkit.package.build import pack

TOKEN = "a-token-for-tests-0123456789"
KEY = ECKey.generate_key("P-256").as_pem(private=True).decode()
"""By which the server signs tokens of users."""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

GUEST = r"""
(module
  (import "mix" "panic" (func $panic (param i32 i32)))
  (import "mix" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 16384))
  (data (i32.const 64) "no such <b>customer</b>")
  (func (export "mix_alloc") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap
      (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.get $at))
  (func (export "mix_entry_echo") (param $p i32) (param $n i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $p)) (i64.const 32)) (i64.extend_i32_u (local.get $n))))
  (func (export "mix_entry_break") (param i32 i32) (result i64)
    (call $log (i32.const 2) (i32.const 64) (i32.const 7))
    (call $panic (i32.const 64) (i32.const 23)) (unreachable))
)
"""

AGENTS = {
    "welcome": {
        "entry": "echo",
        "description": "Writes a welcome to a new customer",
        "inParams": {
            "name": "string",
            "visits": "int",
            "discount?": "number",
            "formal": "bool",
            "tone?": '"warm" | "plain"',
            "tags?": "array(string)",
            "address?": "{street: string, city: string}",
        },
        "outParams": "map(data)",
    },
    "break": {"entry": "break", "description": "Fails, as an example", "inParams": {}},
}


def make_package(version: str = "1.0.0", **changes: Any) -> bytes:
    """A package of the app `contacts`, with the agents above."""
    agents = {name: {"code": "code/contacts/guest.wasm", **agent} for name, agent in AGENTS.items()}
    manifest = {
        "format": 3,
        "name": "contacts",
        "version": version,
        "kind": "app",
        "description": "Keeps contacts",
        "apps": {"contacts": {"agents": agents}},
        "grants": {"ffis": ["$core_*"]},
    } | changes
    return pack(
        {
            "manifest.json": lambda: json.dumps(manifest).encode(),
            "code/contacts/guest.wasm": partial(bytes, wat2wasm(GUEST)),
        }
    )


@dataclass
class Site:
    """A server that runs. `lines` is what it wrote to stderr; `url` where it serves, `page` where its page is."""

    url: str = ""
    page: str = ""
    lines: list[str] = field(default_factory=list)

    def client(self) -> httpx.Client:
        """A client that is the operator."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)


def token_of(user: str | None) -> str:
    """A token of the user with that address, or the operator's."""
    return TOKEN if user is None else ServerKey(KEY, _no_ring).token(user, user, 600)[0]


def _no_ring() -> Any:
    raise AssertionError("the key is given")


def until(what: Callable[[], Any], seconds: float = 60) -> Any:
    """What `what` answers as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with the workspace `crm`, in which there are the app `contacts`, records, grants and a secret."""
    ws_dir = tmp_path_factory.mktemp("workspaces")
    with Kernel("agent_server", environ={}) as kernel:
        workspace = WorkspaceStore(ws_dir, kernel.databases).create("crm")
        workspace.install(Package.open(make_package()))
        kernel.keep_keys(ws_dir)
        vault = found_in(workspace.root / FOLDER, workspace.name, kernel.keyring)
        app = app_of(workspace.place("contacts"))
        vault.put(Name(app, "ada@example.org", "secret", "mail-key"), b"a value that nobody sees")
    clean = {name: text for name, text in os.environ.items() if not name.startswith("MIXKIT_")}
    child = subprocess.Popen(
        [sys.executable, "-m", "mixkit", "serve", "--port", "0", "--ws-dir", str(ws_dir)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # It fetches packages and exports from itself.
        env={
            **clean,
            "MIXKIT_SERVER_TOKEN": TOKEN,
            "MIXKIT_SERVER_SERVER_KEY": KEY,
            "MIXKIT_HTTP_DANGEROUS_HTTP_MODE": "true",
            "MIXKIT_SERVER_PROVIDER_PLAIN": "true",
        },
    )
    made = Site()

    def read() -> None:
        assert child.stderr is not None
        with child.stderr as stream:
            made.lines.extend(iter(stream.readline, ""))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()

    def ready() -> bool:
        assert child.poll() is None, made.lines
        said = "".join(made.lines)
        found = (
            re.search(r"listening on (http://\S+)", said),
            re.search(r"administration: (http://\S+)", said),
        )
        if found[0] and found[1]:
            made.url, made.page = found[0][1], found[1][1]
        return bool(made.page)

    try:
        until(ready)
        _fill(made)
        yield made
    finally:
        child.terminate()
        child.wait(60)
        reader.join(60)


def _fill(site: Site) -> None:
    people = [
        {"entity": "person", "name": "Ada Lovelace", "age": 36, "city": "London"},
        {"entity": "person", "name": "Alan Turing", "age": 41, "city": "Wilmslow"},
        {"entity": "person", "name": "Grace Hopper", "age": 85, "city": "Arlington"},
        {"entity": "person", "name": "Katherine Johnson", "age": 101, "city": "Newport News"},
    ]
    with site.client() as client:
        client.post("/v1/ws/crm/app/contacts/save", json=people).raise_for_status()
        for subject, role, resource in (
            ("user/ada@example.org", "runner", "db/contacts"),
            ("domain/example.org", "editor", "db/contacts"),
        ):
            grant = {"subject": subject, "role": role, "resource": resource}
            client.post("/v1/ws/crm/permissions", json=grant).raise_for_status()


class Chromium:
    """The browser of all tests of this folder, as the system has it: it starts when it is first wanted."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._browser: Browser | None = None

    def browser(self) -> Browser:
        """It, running."""
        if CHROMIUM is None:
            pytest.skip("there is no chromium; `apt-get install chromium` brings it (docs/admin.md)")
        if self._browser is None:
            expect.set_options(timeout=30_000)
            playwright = self._open.enter_context(sync_playwright())
            self._browser = self._open.enter_context(
                playwright.chromium.launch(
                    executable_path=CHROMIUM,
                    args=[
                        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
                        "--disable-background-networking", "--disable-component-update",
                    ],
                )
            )  # fmt: skip
        return self._browser

    def close(self) -> None:
        """End it, if it runs. It may be wanted again."""
        self._browser = None
        self._open.close()


_CHROMIUM = Chromium()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """The browser, for a context in each test."""
    yield _CHROMIUM
    _CHROMIUM.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    # NOTE: it holds the event loop of this thread until it ends, so that it must be gone before an async test of
    # another folder, and none may be in this one.
    try:
        yield
    finally:
        if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
            _CHROMIUM.close()


@dataclass
class Faults:
    """What went wrong in a page: errors of scripts, of the content security policy, requests to elsewhere."""

    site: Site
    found: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.on("page", self._watch)

    def _watch(self, page: Page) -> None:
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.found.append(f"error: {error}"))
        page.on("request", lambda request: self._asked(request.url))

    def _said(self, message: ConsoleMessage) -> None:
        # That a request was refused is an answer, which the page shows.
        if (
            message.type in ("error", "warning")
            and "the server responded with a status of" not in message.text
        ):
            self.found.append(f"console: {message.text}")

    def _asked(self, url: str) -> None:
        self.requests.append(url)
        if not url.startswith((self.site.url, "blob:")):
            self.found.append(f"request to {url}")


@pytest.fixture
def faults(site: Site) -> Iterator[Faults]:
    """What went wrong in the pages of a test: nothing."""
    noted = Faults(site)
    yield noted
    assert noted.found == []


Open = Callable[..., Page]


@pytest.fixture
def open_page(site: Site, chromium: Chromium, faults: Faults) -> Iterator[Open]:
    """Opens the page at a place, signed in unless it is said otherwise, as the operator or the user of an address;
    keywords are those of a browser's context."""
    contexts = []

    def make(place: str = "#/", *, signed_in: bool = True, user: str | None = None, **options: Any) -> Page:
        context = chromium.browser().new_context(
            **{"viewport": {"width": 1100, "height": 760}, "locale": "en-GB", **options}
        )
        context.set_default_timeout(30_000)
        contexts.append(context)
        faults.watch(context)
        if signed_in:
            answer = context.request.post(
                f"{site.url}/v1/auth/session", headers={"Authorization": f"Bearer {token_of(user)}"}
            )
            assert answer.ok
        page = context.new_page()
        page.goto(site.page + place)
        # Not while it is loading: what comes then takes the focus.
        page.locator("main:not([aria-busy]) h1").wait_for()
        return page

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def token() -> str:
    """The operator's."""
    return TOKEN


@pytest.fixture
def package() -> Callable[..., bytes]:
    """Makes another version of the package that is installed."""
    return make_package
