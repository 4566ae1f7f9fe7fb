"""The README as a newcomer reads it: an empty clone, and its commands one after the other in one shell.

Then the page on the first agent, in the same shell. What is checked out is the last commit. Nothing is left behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mixkit.testing.snippets import Session, read_snippets

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/first-agent.md")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="mixkit-newcomer-") as scratch:
        clone = Path(scratch) / "mixkit"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        with Session(clone, environment()) as session:
            for page in PAGES:
                for snippet in read_snippets(clone / page, clone=True):
                    started = time.monotonic()
                    session.run(snippet)
                    print(f"{snippet.place}: ok, {time.monotonic() - started:.0f} s", flush=True)
    return 0


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
