"""examples/digest: many feeds of a real HTTP server on loopback, at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mixkit import Kernel
from mixkit.package import Package
from mixkit.package import build as package_build
from mixkit.vm.program import Program

DIGEST = Path(__file__).parents[1] / "examples" / "digest"
PROFILE = """
plugins = ["wasmtime", "http", "rt", "lang"]
engines = ["wasmtime"]
[settings.http]
dangerous_http_mode = true
"""
RSS = """<?xml version="1.0"?><rss version="2.0"><channel><title>A</title>
<item><title>One &amp; only</title><link>https://a.example/1</link><pubDate>Sat, 7 Sep 2002 09:42:31 GMT</pubDate></item>
<item><title><![CDATA[Two <b>]]></title><pubDate>Sun, 08 Sep 2002 01:00:00 +0200</pubDate></item>
</channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>B</title>
<entry><title type="text">Three</title><link href="https://b.example/3"/><updated>2003-12-13T18:30:02Z</updated></entry>
<entry><title/><updated>yesterday</updated></entry></feed>"""
PAGES = {"/rss": RSS, "/atom": ATOM, "/html": "<html><p>hello", "/other": "<a/>"}

pytestmark = pytest.mark.slow


class Site(BaseHTTPRequestHandler):
    """Answers none of those that come together before all of them are there."""

    together: ClassVar = threading.Barrier(4)
    ended: ClassVar = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/never":
            self.ended.wait(60)
        elif self.path in PAGES:
            self.together.wait(60)
        page = PAGES.get(self.path, "").encode()
        self.send_response(200 if page else 404)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            Site.ended.set()
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    profile = tmp_path_factory.mktemp("profile") / "digest.toml"
    profile.write_text(PROFILE)
    with Kernel(profile) as kernel:
        yield kernel


@pytest.fixture(scope="module")
def program(kernel: Kernel) -> Program:
    return kernel.load(DIGEST / "digest.mix")


def test_feeds_are_read_at_the_same_time(kernel: Kernel, program: Program, site: str) -> None:
    feeds = [site + path for path in ("/rss", "/atom", "/html", "/other")]
    said: Any = kernel.run_sync(program, "digest", {"feeds": feeds, "seconds": 40}).value
    assert said["entries"] == [
        {
            "feed": feeds[1],
            "title": "Three",
            "link": "https://b.example/3",
            "time": "2003-12-13T18:30:02.000Z",
        },
        {"feed": feeds[0], "title": "Two <b>", "link": "", "time": "2002-09-07T23:00:00.000Z"},
        {
            "feed": feeds[0],
            "title": "One & only",
            "link": "https://a.example/1",
            "time": "2002-09-07T09:42:31.000Z",
        },
        {"feed": feeds[1], "title": "", "link": "", "time": ""},
    ]
    assert sorted(said["failed"]) == sorted(feeds[2:])
    assert "xml.parse: " in said["failed"][feeds[2]]
    assert said["failed"][feeds[3]] == "expected a feed, rss or feed, found the element a"


def test_one_that_does_not_answer_is_left_behind(kernel: Kernel, program: Program, site: str) -> None:
    feeds = [f"{site}/never", f"{site}/none", "no address"]
    said: Any = kernel.run_sync(program, "digest", {"feeds": feeds, "seconds": 0.3}).value
    assert said["entries"] == []
    assert said["failed"][feeds[0]] == "no answer within 0.3 seconds"
    assert sorted(said["failed"]) == sorted(feeds)


def test_the_package_asks_for_one_power(kernel: Kernel) -> None:
    package = Package.open(package_build.build(DIGEST, compiled=kernel.compiled, said=kernel.said))
    assert list(package.manifest.grants.ffis) == ["$http_do"]
    agent = package.manifest.apps["digest"].agents["digest"]
    assert agent.in_params == {"feeds": "array(string)", "limit?": "int", "seconds?": "number"}
