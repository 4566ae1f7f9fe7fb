"""The example apps, built from source and run by the kernel."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mix_wasm.build import build
from mix_wasm.inspect import inspect

from mixkit import Kernel, MixError
from mixkit.grants import Grants
from mixkit.package import build as package_build
from mixkit.schema_text import parse_params
from mixkit.vm.program import Program

EXAMPLES = Path(__file__).parents[1] / "examples"
PROFILE = """
plugins = ["wasmtime", "http", "crypto"]
engines = ["wasmtime"]
[settings.http]
dangerous_http_mode = true
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    profile = tmp_path_factory.mktemp("profile") / "examples.toml"
    profile.write_text(PROFILE)
    with Kernel(profile) as kernel:
        yield kernel


def program_of(name: str, kernel: Kernel, folder: Path) -> Program:
    return kernel.load(build(EXAMPLES / name, folder / f"{name}.wasm"))


@pytest.fixture(scope="module")
def textstats(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Program:
    return program_of("textstats", kernel, tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def linkcheck(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Program:
    return program_of("linkcheck", kernel, tmp_path_factory.mktemp("build"))


# -- textstats ----------------------------------------------------------------------------------------------

SEPARATOR = re.compile("[\\x00-/:-@\\[-`{-\x7f\u00a0\u2000-\u206f\u3000-\u303f]+")
UPPER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def reference(text: str, top: int) -> dict[str, Any]:
    """The same counts, the slow way."""
    words = [word for word in SEPARATOR.split(text.translate(UPPER)) if word]
    counts = Counter(words)
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    lines = [line.removesuffix("\r") for line in lines]
    longest = max(lines, key=len, default="")
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0].encode()))
    return {
        "bytes": len(text.encode()),
        "codePoints": len(text),
        "lines": len(lines),
        "words": len(words),
        "distinctWords": len(counts),
        "averageWordLength": sum(map(len, words)) / len(words) if words else 0.0,
        "longestLine": {
            "number": lines.index(longest) + 1 if lines else 0,
            "codePoints": len(longest),
            "start": longest[:80],
        },
        "top": [{"word": word, "count": count} for word, count in ranked[:top]],
    }


TEXTS = st.text(
    st.sampled_from(
        "aAbB z9'-\n\r\t.é\u00a0\u00a1\u00ff\u1fff\u2000\u2013\u206f\u2070\u2fff\u3000\u303f\u3040€😀"
    ),
    max_size=120,
)


@settings(max_examples=300, deadline=None)
@given(TEXTS | st.text(max_size=200), st.integers(0, 12))
def test_textstats_counts_as_the_reference_does(
    kernel: Kernel, textstats: Program, text: str, top: int
) -> None:
    answer = kernel.run_sync(textstats, "stats", {"text": text, "top": top}).value
    assert answer == reference(text, top)


def test_textstats_of_a_large_text(kernel: Kernel, textstats: Program) -> None:
    text = "".join(f"word{i * i % 30_011} und {i % 7}, Straße {i}\n" for i in range(100_000))
    answer = kernel.run_sync(textstats, "stats", {"text": text, "top": 1000}).value
    assert answer == reference(text, 1000)


@pytest.mark.parametrize("top", [-1, 1001])
def test_textstats_refuses_a_silly_top(kernel: Kernel, textstats: Program, top: int) -> None:
    with pytest.raises(MixError, match="top: expected 0 to 1000"):
        kernel.run_sync(textstats, "stats", {"text": "a", "top": top})


def test_guests_are_small(tmp_path: Path) -> None:
    for name in ("textstats", "linkcheck"):
        assert build(EXAMPLES / name, tmp_path / name).stat().st_size < 32 * 1024


# -- linkcheck ----------------------------------------------------------------------------------------------

PAGES: dict[str, tuple[int, bytes]] = {
    "/plain": (200, b"<html><head><TITLE lang=en>\n  Fish &amp; Chips\t&#x2014; &quot;best&quot; </TITLE>"),
    "/comment": (200, b"<!-- <title>not this</title> --><title>this</title>"),
    "/none": (200, b"<titles>no</titles> <title>never closed"),
    "/latin": (200, b"<title>caf\xe9 &unknown; &#0; &#xD800; &amp</title>"),
    "/long": (200, b"<title>" + "é".encode() * 500 + b"</title>"),
    "/deep": (200, b" " * 70_000 + b"<title>too far</title>"),
    "/binary": (200, bytes(range(256)) * 10),
    "/empty": (200, b""),
    "/gone": (404, b"<title>Gone</title>"),
}


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """A real web server on loopback."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/plain")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            status, body = PAGES[self.path]
            self.send_response(status)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


TITLES = {
    "/plain": 'Fish & Chips — "best"',
    "/comment": "this",
    "/none": None,
    "/latin": "caf\ufffd &unknown; &#0; &#xD800; &amp",
    "/long": "é" * 100,
    "/deep": None,
    "/binary": None,
    "/empty": None,
    "/gone": "Gone",
}


def test_linkcheck_looks_at_every_page(kernel: Kernel, linkcheck: Program, site: str) -> None:
    answer = kernel.run_sync(linkcheck, "check", {"urls": [site + path for path in PAGES]}).value
    assert (answer["ok"], answer["failed"]) == (len(PAGES) - 1, 1)
    for link, (path, (status, body)) in zip(answer["links"], PAGES.items(), strict=True):
        assert link == {
            "url": site + path,
            "status": status,
            "size": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "title": TITLES[path],
        }


def test_linkcheck_follows_redirects(kernel: Kernel, linkcheck: Program, site: str) -> None:
    (link,) = kernel.run_sync(linkcheck, "check", {"urls": [f"{site}/moved"]}).value["links"]
    assert (link["status"], link["title"]) == (200, TITLES["/plain"])


def test_linkcheck_reports_a_link_that_does_not_answer(kernel: Kernel, linkcheck: Program, site: str) -> None:
    urls = ["http://127.0.0.1:1/", "not a url", f"{site}/plain"]
    answer = kernel.run_sync(linkcheck, "check", {"urls": urls, "timeout": 5}).value
    assert (answer["ok"], answer["failed"]) == (1, 2)
    for link in answer["links"][:2]:
        assert link["error"] and link["status"] is link["size"] is link["sha256"] is link["title"] is None


def test_linkcheck_summary(kernel: Kernel, linkcheck: Program, site: str) -> None:
    urls = [f"{site}/plain", f"{site}/gone", f"{site}/none", "http://127.0.0.1:1/"]
    checked = kernel.run_sync(linkcheck, "check", {"urls": urls}).value
    summary = kernel.run_sync(linkcheck, "summary", {"links": checked["links"]}).value
    size = sum(len(PAGES[path][1]) for path in ("/plain", "/gone", "/none"))
    assert summary == {"total": 4, "bytes": size, "statuses": {"200": 2, "404": 1, "none": 1}}


def test_linkcheck_has_only_the_powers_that_it_asks_for(
    kernel: Kernel, linkcheck: Program, site: str
) -> None:
    with pytest.raises(MixError, match=r"\$http_do"):
        kernel.run_sync(linkcheck, "check", {"urls": [site]}, grants=Grants(["$crypto_sha256"]))


# -- packages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["textstats", "linkcheck"])
def test_example_makes_a_package(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "manifest.json").write_bytes((EXAMPLES / name / "manifest.json").read_bytes())
    build(EXAMPLES / name, folder / "build" / f"{name}.wasm")
    packed = package_build.build(folder)
    assert packed == package_build.build(folder)
    assert packed.startswith(b"PK")


@pytest.mark.parametrize("name", ["textstats", "linkcheck"])
def test_manifests_of_guest_and_package_agree(name: str, tmp_path: Path) -> None:
    guest = inspect(build(EXAMPLES / name, tmp_path / "guest.wasm").read_bytes()).manifest
    package = json.loads((EXAMPLES / name / "manifest.json").read_text())
    assert guest is not None and guest.grants.patterns() == [sorted(package["grants"]["ffis"])]
    agents = package["apps"][name]["agents"]
    assert {agent: parse_params(spec["inParams"]) for agent, spec in agents.items()} == {
        entry.name: entry.params for entry in guest.entries.values()
    }
