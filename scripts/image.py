"""Goes through deploy/Dockerfile without Docker: its steps, in a folder instead of an image's root.

What is copied is what deploy/Dockerfile.dockerignore lets through. Each absolute path of the image stands for one in
the folder. What only root of the image may do (packages of the system, its user) is named and left out. At the end the
server is started as the image starts it, asked by the image's health check, and stopped. Usage:
`python scripts/image.py [FOLDER]`, by default a temporary one.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
IGNORE = ROOT / "deploy" / "Dockerfile.dockerignore"

PATHS = ("/src", "/venv", "/build", "/wheels", "/data")
"""Folders of the image that are ours; all others are the base image's."""
ROOTS_OWN = re.compile(r"apt-get|useradd")
"""In steps that change the system of the image."""

DEADLINE = 60.0


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Dockerfile and what stands behind each, lines that go on joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), rest.strip()


def let_through(files: list[str], ignore: str) -> list[str]:
    """The files that a .dockerignore lets through, of those of the tree; the last line that fits one decides."""
    rules = [line.strip() for line in ignore.splitlines() if line.strip() and not line.startswith("#")]
    kept = []
    for name in files:
        out = False
        for rule in rules:
            if _fits(name, rule.removeprefix("!")):
                out = not rule.startswith("!")
        if not out:
            kept.append(name)
    return kept


def _fits(name: str, rule: str) -> bool:
    parts = name.split("/")
    if rule.startswith("**/"):
        return any(fnmatch.fnmatchcase(part, rule[3:]) for part in parts)
    depth = rule.count("/") + 1
    return len(parts) >= depth and all(map(fnmatch.fnmatchcase, parts, rule.split("/")))


def tracked() -> list[str]:
    """The files of the tree that git knows, or would."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


class Image:
    """The steps, done one after the other.

    Args:
        folder: that stands for the root of all stages.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env: dict[str, str] = {}
        self.args: dict[str, str] = {}
        self.workdir = folder
        self.entrypoint: list[str] = []
        self.command: list[str] = []
        self.health: list[str] = []

    def moved(self, text: str) -> str:
        """Absolute paths of the image as they are in the folder."""
        for path in PATHS:
            text = re.sub(rf"(?<![\w.-]){path}(?![\w-])", f"{self.folder}{path}", text)
        return text

    def do(self, name: str, rest: str) -> None:
        """One instruction."""
        match name:
            case "FROM" | "USER" | "VOLUME" | "EXPOSE" | "STOPSIGNAL":
                pass
            case "ARG":
                key, _, value = rest.partition("=")
                self.args.setdefault(key, value)
            case "ENV":
                for pair in shlex.split(rest):
                    key, _, value = pair.partition("=")
                    self.env[key] = self.moved(self._filled(value))
            case "WORKDIR":
                self.workdir = Path(self.moved(rest))
                self.workdir.mkdir(parents=True, exist_ok=True)
            case "COPY":
                self._copy(rest.split())
            case "RUN":
                self._run(rest)
            case "HEALTHCHECK":
                self.health = json.loads(rest.partition(" CMD ")[2])
            case "ENTRYPOINT":
                self.entrypoint = json.loads(rest)
            case "CMD":
                self.command = json.loads(rest)
            case _:
                raise SystemExit(f"expected an instruction that is known here, found {name} {rest}")

    def _filled(self, text: str) -> str:
        return re.sub(r"\$\{(\w+)\}", lambda found: self.args[found[1]], text)

    def _copy(self, words: list[str]) -> None:
        if words[0].startswith("--from="):
            # Of another stage, which has the same root here.
            assert Path(self.moved(words[1])).exists(), words
            return
        if words != [".", "."]:
            raise SystemExit(f"expected COPY . ., found {words}")
        for name in let_through(tracked(), IGNORE.read_text()):
            target = self.workdir / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)

    def _run(self, command: str) -> None:
        if ROOTS_OWN.search(command):
            print(f"left out, for root of the image: {command}")
            return
        print(f"RUN {command}", flush=True)
        env = {**self.plain(), **self.args, **self.env}
        subprocess.run(["sh", "-euc", self.moved(command)], cwd=self.workdir, env=env, check=True)

    def plain(self) -> dict[str, str]:
        """What of this process's variables the image's would have as well, and where packages come from here."""
        names = [
            name
            for name in os.environ
            if name.startswith(("PIP_", "UV_", "SSL_", "http", "HTTP", "no_", "NO_"))
        ]
        return {name: os.environ[name] for name in ("PATH", "LANG", *names) if name in os.environ}

    def serve(self) -> None:
        """Start it as the image does, ask as its health check does, and stop it."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        own = {"MIXKIT_SERVER_PORT": port, "MIXKIT_SERVER_TOKEN": "a-token-for-the-image-0123456789"}
        env = {**self.plain(), **self.env, **own}
        env["PATH"] = self.env["PATH"].replace("$PATH", os.environ["PATH"])
        Path(self.moved("/data")).mkdir(mode=0o700, exist_ok=True)
        child = subprocess.Popen(
            [str(Path(self.moved("/venv/bin"), self.entrypoint[0])), *self.entrypoint[1:], *self.command],
            cwd=self.workdir,
            env=env,
        )
        try:
            python = Path(self.moved("/venv/bin/python"))
            end = time.monotonic() + DEADLINE
            while subprocess.run(
                [python, *self.health[1:]], env=env, stderr=subprocess.DEVNULL, check=False
            ).returncode:
                if child.poll() is not None or time.monotonic() > end:
                    raise SystemExit("the server of the image does not become healthy")
                time.sleep(0.2)
            child.send_signal(signal.SIGTERM)
            status = child.wait(DEADLINE)
            if status:
                raise SystemExit(f"expected the server of the image to end with 0, found {status}")
        finally:
            child.kill()
            child.wait()


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="mixkit-image-") as scratch:
        image = Image(Path(sys.argv[1] if len(sys.argv) > 1 else scratch).resolve())
        for name, rest in instructions(DOCKERFILE.read_text()):
            image.do(name, rest)
        image.serve()
    print("the image's steps are done, and its server was healthy")
    return 0


if __name__ == "__main__":
    sys.exit(main())
