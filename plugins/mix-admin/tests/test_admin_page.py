"""The files of the page, as anybody gets them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from mix_admin import PATH
from mix_admin.doctor import checks
from mix_admin.page import HEADERS, files

if TYPE_CHECKING:
    from conftest import Site

ASSETS = files()
SCRIPTS = sorted(path for path in ASSETS if path.endswith(".js"))
LOADED = re.compile(r"""(?:import|from|import\() ?["'](\.[^"'`$]+)["']""")


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.url, timeout=60) as made:
        yield made


@pytest.mark.parametrize("path", ["", *sorted(ASSETS)])
def test_each_file_is_there_for_everybody(client: httpx.Client, path: str) -> None:
    answer = client.get(PATH + path)
    asset = ASSETS[path or "index.html"]
    assert (answer.status_code, answer.content) == (200, asset.data)
    assert answer.headers["Content-Type"] == asset.type
    for name, text in HEADERS.items():
        assert answer.headers[name] == text
    known = client.get(PATH + path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert known.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
    other = client.get(PATH + path, headers={"If-None-Match": '"another"'})
    assert other.status_code == 200
    head = client.head(PATH + path)
    assert (head.status_code, head.content) == (200, b"")


def test_without_the_last_slash_it_is_there_too(client: httpx.Client) -> None:
    answer = client.get(PATH.rstrip("/"))
    assert answer.status_code == 308
    assert httpx.URL(f"{client.base_url}{PATH.rstrip('/')}").join(answer.headers["Location"]).path == PATH


@pytest.mark.parametrize(
    "path", ["nothing.js", "views/", "views", "../page.py", "%2e%2e/page.py", "index.html/"]
)
def test_nothing_else_is_there(client: httpx.Client, path: str) -> None:
    request = client.build_request("GET", PATH)
    request.url = request.url.copy_with(raw_path=f"{PATH}{path}".encode())
    answer = client.send(request)
    assert answer.status_code == 404
    assert answer.json()["kind"] == "message"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_is_only_read(site: Site, method: str) -> None:
    with site.client() as client:
        assert client.request(method, PATH).status_code == 405


@pytest.mark.parametrize("path", SCRIPTS)
def test_what_a_script_loads_is_there(path: str) -> None:
    text = ASSETS[path].data.decode()
    base = httpx.URL(f"http://page/{path}")
    for target in LOADED.findall(text):
        assert base.join(target).path.lstrip("/") in ASSETS


@pytest.mark.parametrize("path", sorted(ASSETS))
def test_no_file_makes_markup_of_texts(path: str) -> None:
    """What the content security policy refuses at the latest is not even tried."""
    text = ASSETS[path].data.decode()
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
    ):
        assert word not in text
    assert not re.search(r"\son\w+=|style=|javascript:", text) or path.endswith(".js")
    assert not re.search(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-z0-9-]+\.[a-z]", text)


def test_the_server_says_where_it_is(site: Site) -> None:
    assert site.page == site.url + PATH


def test_doctor_says_that_it_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = checks()
    assert (found.level, found.message) == (
        "ok",
        f"{PATH}: {len(ASSETS)} files, {sum(len(each.data) for each in ASSETS.values()) // 1024} KiB",
    )
    empty: dict[str, Any] = {}
    monkeypatch.setattr("mix_admin.doctor.files", lambda: empty)
    assert checks()[0].level == "error"
