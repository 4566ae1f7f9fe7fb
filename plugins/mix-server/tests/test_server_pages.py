"""The page that shows the API: from this server alone, under a strict policy, and of what the document has."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx
from mix_server.server import Server

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


class Reader(HTMLParser):
    """What a page refers to, and what of it would run or look like something inside of it."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.inline: list[str] = []
        self.ids: set[str] = set()
        self._inside: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag if tag in ("script", "style") else None
        for name, value in attrs:
            if name in ("src", "href"):
                self.links.append(str(value))
            if name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}")
            if name == "id":
                self.ids.add(str(value))

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside and data.strip():
            self.inline.append(data)


async def test_the_page_needs_nothing_from_elsewhere(make_server: Make, connect: Connect) -> None:
    async with connect(make_server(), None) as stranger:
        page = await stranger.get("/swagger/")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
        found = Reader()
        found.feed(page.text)
        assert found.inline == []
        assert len(found.links) == 3
        texts = {}
        for link in found.links:
            url = urljoin("/swagger/", link)
            answer = await stranger.get(url)
            assert answer.status_code == (401 if url == "/openapi.json" else 200), url
            assert answer.headers.get("content-security-policy", policy) == policy
            texts[url] = answer.text
        script, style = texts["/swagger/swagger.js"], texts["/swagger/swagger.css"]
        assert "://" not in script + style + page.text and "url(" not in style and "@import" not in style
        # What comes from documents and answers is never markup, and a token is kept nowhere.
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|localStorage|cookie", script
        )
        assert set(re.findall(r'byId\("([a-z]+)"\)', script)) <= found.ids
        known = await stranger.get("/swagger/", headers={"If-None-Match": page.headers["etag"]})
        assert (known.status_code, known.content) == (304, b"")
