"""A fuzzer that reads the OpenAPI document of the server: whatever is sent, no fault of the server, and no status or
type that the document does not have."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))
NAMES = """
[parameters]
"path.ws" = "w"
"path.app" = "demo"
"path.agent" = "echo"
"path.name" = "q"
"""
"""Names of what is there, since others all end in the same 404."""
HOOKS = """
import schemathesis
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
"""
"""A type of bytes that it does not know."""
EXPECTED = """
hooks = "fuzz_hooks.py"
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "504"]
"""
"""What is given no time ends with 504, rightly. Where that is no status of the operation it is a failure still."""

LAUNCH = """
import socket
asked = socket.getaddrinfo

def here(host, *more, **options):
    if host not in ("127.0.0.1", "localhost"):
        raise OSError("no name is looked up in tests")
    return asked(host, *more, **options)

socket.getaddrinfo = here
from mixkit.cli import main
main()
"""
CHECKS = ",".join(
    (
        "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
        "response_headers_conformance", "unsupported_method", "allow_header_conformance", "ignored_auth",
    )
)  # fmt: skip
DEADLINE = 240
TOKEN = "a-token-for-the-fuzzer-0123456789"
MOST = os.environ.get("MIXKIT_FUZZ_EXAMPLES", "3")
"""Requests of each operation that are made up, beside those at the edge of what is taken."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, make_package: Callable[..., bytes]) -> Iterator[str]:
    """A server, in which `w` has the app `demo` with agents, a stored query and a file."""
    folder = tmp_path_factory.mktemp("fuzzed")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MIXKIT_")}
    command = [
        sys.executable,
        "-c",
        LAUNCH,
        "serve",
        "--port",
        "0",
        "--ws-dir",
        str(folder),
        "--body-timeout",
        "3",
    ]
    with subprocess.Popen(
        [*command, "--agent-timeout", "10"], stderr=subprocess.PIPE, text=True,
        env={**environ, "MIXKIT_SERVER_TOKEN": TOKEN},
    ) as child:  # fmt: skip
        try:
            assert child.stderr is not None
            found = re.search(r"listening on (\S+)", child.stderr.readline())
            assert found
            # What is logged must not fill the pipe.
            logged: list[str] = []
            reading = threading.Thread(target=lambda: logged.extend(child.stderr or ()), daemon=True)
            reading.start()
            with httpx.Client(
                base_url=found[1], headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60
            ) as client:
                package = {"content": make_package(), "headers": {"Content-Type": "application/octet-stream"}}
                for answer in (
                    client.post("/v1/ws", json={"name": "w"}),
                    client.post("/v1/ws/w/install", **package),  # type: ignore[arg-type]
                    client.put("/v1/ws/w/app/demo/query/q", json={"query": "true"}),
                    client.put("/v1/ws/w/app/demo/files/public/a", content=b"x"),
                ):
                    assert answer.is_success, answer.text
            yield found[1]
        finally:
            child.terminate()
        assert child.wait(60) == 0
        reading.join(60)
        assert not [line for line in logged if "Traceback" in line or "never retrieved" in line], "".join(
            logged
        )


def fuzz(folder: Path, url: str, config: str, *options: str) -> None:
    """Run the fuzzer; what it finds, with the request that shows it, is the test's failure."""
    (folder / "fuzz_hooks.py").write_text(HOOKS)
    (folder / "schemathesis.toml").write_text(EXPECTED + config)
    command = [
        SCHEMATHESIS, "run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {TOKEN}", "--checks", CHECKS,
        "--continue-on-failure", "--request-timeout", "30", "--warnings", "off",
        # Answers without an end.
        "--exclude-path-regex", "/live$|/subscribe/", *options,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=DEADLINE, check=False,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    assert re.search(r"[0-9]{3,} generated", done.stdout), done.stdout[-5_000:]


@pytest.mark.slow
def test_no_request_makes_the_server_fail(url: str, tmp_path: Path) -> None:
    # What deletes the workspace or the app would leave nothing to ask; the next test deletes what is not there.
    fuzz(
        tmp_path,
        url,
        NAMES,
        "--exclude-method",
        "DELETE",
        "--phases",
        "coverage,fuzzing",
        "--max-examples",
        MOST,
    )


@pytest.mark.slow
def test_no_request_that_deletes_makes_the_server_fail(url: str, tmp_path: Path) -> None:
    fuzz(
        tmp_path,
        url,
        "",
        "--include-method",
        "DELETE",
        "--phases",
        "coverage,fuzzing",
        "--max-examples",
        MOST,
    )
