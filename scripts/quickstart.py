"""From nothing to agents that run: builds a package, serves it, runs its agents over HTTP and from the command line.

Everything is real: the guests are compiled from examples/, the server is `mixkit serve` on a free loopback port
with a workspace directory of its own, and the pages whose links are checked come from a small HTTPS server in
this script. What one of the agents keeps is asked for by the command line too, beside the server. Each command
is printed as it is run. Nothing is left running; what was made stays in a folder to look at.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import secrets
import shlex
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ("linkcheck", "textstats", "notes")
NOTES = (
    {"title": "Milk", "text": "Buy milk and bread", "tags": ["shop"]},
    {"title": "Bakery", "text": "Their bread is worth the way", "tags": ["food"]},
)
MIXKIT = Path(sys.executable).parent / "mixkit"
START_SECONDS = 30
STOP_SECONDS = 20


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="mixkit-quickstart-"))
    title("1. Compile three guests from C. The first time this builds a C library, half a minute.")
    for name in EXAMPLES:
        run("wasm", "build", f"examples/{name}")
    title("2. Make one package of them. Its manifest asks for the powers that they need.")
    source = write_source(folder / "package")
    package = folder / "quickstart.remix"
    run("remix", "build", str(source), "-o", str(package))
    run("remix", "inspect", str(package))
    with pages(folder) as (site, authority):
        # Agents reach public https addresses only; this opens the one address of our small server to them.
        opened = (
            "--set",
            f"settings.http.allow_private={site}",
            "--set",
            f"settings.http.ca_file={authority}",
        )
        urls = [f"https://{site}/{page}" for page in ("", "write-a-plugin.md", "nowhere")]
        text = folder / "text.json"
        text.write_text(
            json.dumps({"text": (ROOT / "docs" / "index.md").read_text(encoding="utf-8"), "top": 3})
        )
        title("3. Start the server, make a workspace, install the package over HTTP.")
        with server(folder, opened) as call:
            call("POST", "/v1/ws", {"name": "first"})
            call("POST", "/v1/ws/first/install", package.read_bytes())
            call("GET", "/v1/ws/first", None)
            title("4. Run two agents over HTTP, on this repository's own documents.")
            call("POST", "/v1/ws/first/app/textstats/agent/stats", json.loads(text.read_text()))
            call("POST", "/v1/ws/first/app/linkcheck/agent/check", {"urls": urls})
            title("5. Keep notes in the database of their app, and find them: through its agent, ...")
            for note in NOTES:
                call("POST", "/v1/ws/first/app/notes/agent/add", note)
            call("POST", "/v1/ws/first/app/notes/agent/search", {"words": "bread"})
            title("... and beside the running server, by whoever may read its files.")
            asked = ("db", "query", "--ws-dir", str(folder / "workspaces"), "--app", "first/notes")
            run(*asked, "words contains $word | { title, tags }", "-p", "word=bread")
        title("6. The first agents again, from the command line and without a server.")
        run("run", str(package), "textstats/stats", f"@{text}")
        run(*opened, "run", str(package), "linkcheck/check", json.dumps({"urls": urls}))
    how_to_go_on(folder, package)
    return 0


def write_source(folder: Path) -> Path:
    """A source folder of a package with the apps of all examples, put together from their own manifests."""
    manifest: dict[str, Any] = {
        "format": 3, "name": "quickstart", "version": "1.0.0", "kind": "workspace", "apps": {},
        "grants": {"ffis": []},
    }  # fmt: skip
    for name in EXAMPLES:
        example = json.loads((ROOT / "examples" / name / "manifest.json").read_text(encoding="utf-8"))
        manifest["grants"]["ffis"] += example["grants"]["ffis"]
        for app, about in example["apps"].items():
            manifest["apps"][app] = about
            for agent in about["agents"].values():
                code = folder / "guests" / Path(agent["code"]).name
                code.parent.mkdir(parents=True, exist_ok=True)
                code.write_bytes((ROOT / "examples" / name / agent["code"]).read_bytes())
                agent["code"] = f"guests/{code.name}"
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))
    return folder


@contextmanager
def pages(folder: Path) -> Iterator[tuple[str, Path]]:
    """An HTTPS server with the documents of this repository, on a free loopback port: its address, its authority."""
    import trustme

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    file = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    handler = partial(QuietHandler, directory=str(ROOT / "docs"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        site.socket = context.wrap_socket(site.socket, server_side=True)
        thread = threading.Thread(target=site.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{site.server_address[1]}", file
        finally:
            site.shutdown()
            thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


class Caller:
    """Calls the server and prints what it asks and gets."""

    def __init__(self, base: str, token: str) -> None:
        self.base, self.token = base, token

    def __call__(self, method: str, path: str, body: Any) -> Any:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        shown = f"<{len(body)} bytes>" if isinstance(body, bytes) else json.dumps(body) if body else ""
        print(f"$ {method} {self.base}{path} {shortened(shown, 160)}")
        request = urllib.request.Request(self.base + path, data, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        if data is not None:
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as exc:
            fail(f"the server answered {exc.code}: {exc.read().decode()}")
        print(shortened(json.dumps(answer, ensure_ascii=False), 1500))
        return answer


@contextmanager
def server(folder: Path, options: tuple[str, ...]) -> Iterator[Caller]:
    """`mixkit serve` on a free port; stopped by its own process id, and it must end well."""
    token = secrets.token_urlsafe(24)
    command = [str(MIXKIT), *options, "serve", "--port", "0", "--ws-dir", str(folder / "workspaces")]
    print(f"$ MIXKIT_SERVER_TOKEN=… {shown_command(command)} &")
    log = folder / "server.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, env={**environment(), "MIXKIT_SERVER_TOKEN": token}, stderr=stderr
        )
    try:
        yield Caller(wait_until_it_listens(process, log), token)
    finally:
        process.terminate()
        try:
            status = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            fail(f"the server did not stop within {STOP_SECONDS} s of SIGTERM")
    if status != 0:
        fail(f"the server ended with status {status}:\n{log.read_text()}")


def wait_until_it_listens(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        found = re.search(r"listening on (http://\S+)", log.read_text())
        if found:
            print(log.read_text().strip())
            return found[1]
        time.sleep(0.1)
    return fail(f"the server did not start:\n{log.read_text()}")


def run(*args: str) -> None:
    """Run `mixkit` with these arguments, printing both the command and its output."""
    print(f"$ {shown_command([str(MIXKIT), *args])}", flush=True)
    done = subprocess.run(
        [str(MIXKIT), *args], cwd=ROOT, env=environment(), check=False, stdout=subprocess.PIPE, text=True
    )
    print(shortened(done.stdout.rstrip(), 1500), flush=True)
    if done.returncode:
        fail(f"it ended with status {done.returncode}")


def environment() -> dict[str, str]:
    """Ours, without settings that would make this another run than the one described."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MIXKIT_")}


def shown_command(command: list[str]) -> str:
    return shortened(shlex.join(["mixkit", *command[1:]]), 300)


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def title(text: str) -> None:
    print(f"\n== {text}\n", flush=True)


def fail(message: str) -> NoReturn:
    print(f"quickstart: {message}", file=sys.stderr)
    sys.exit(1)


def how_to_go_on(folder: Path, package: Path) -> None:
    title("How to go on")
    print(f"What was made is in {folder}; delete it when you like.\n")
    for command, about in (
        (". .venv/bin/activate", "puts mixkit on your path"),
        (f"mixkit run {package}", "lists the agents of the package"),
        (f"mixkit serve --ws-dir {folder}/workspaces", "serves what was installed; it prints a token"),
        ("mixkit remix install --help", "installs without a server"),
        ("mixkit new app hello", "an agent of your own: docs/ten-minutes.md"),
        ("mixkit plugin new hello", "a power of your own: docs/write-a-plugin.md"),
        ("mixkit doctor", "what is installed and in force"),
    ):
        print(f"  {command}\n      {about}")


if __name__ == "__main__":
    sys.exit(main())
