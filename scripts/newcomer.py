"""The README as a newcomer reads it: an empty clone, and its commands one after the other in one shell.

Then the page on the first agent, in the same shell, and again with what the README installed from wheels. What is
checked out is the last commit. Nothing is left behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mixkit.testing.snippets import Session, own_port, read_snippets

ROOT = Path(__file__).resolve().parent.parent
FIRST_AGENT = "docs/first-agent.md"
SECONDS = 1200
"""For each command, some of which compile, on a machine that is busy."""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="mixkit-newcomer-") as scratch:
        clone, elsewhere = Path(scratch) / "mixkit", Path(scratch) / "elsewhere"
        elsewhere.mkdir()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        env = environment()
        read(clone, env, clone / "README.md", clone / FIRST_AGENT)
        env["PATH"] = f"{clone}/dist/venv/bin:{env['PATH']}"
        read(elsewhere, env, clone / FIRST_AGENT)
    return 0


def read(folder: Path, env: dict[str, str], *pages: Path) -> None:
    """Do what the pages say, in one shell."""
    variables, replaced = own_port()
    with Session(folder, env | variables, replaced, SECONDS) as session:
        for snippet in (snippet for page in pages for snippet in read_snippets(page, clone=True)):
            started = time.monotonic()
            session.run(snippet)
            print(f"{snippet.place}: ok, {time.monotonic() - started:.0f} s", flush=True)


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
