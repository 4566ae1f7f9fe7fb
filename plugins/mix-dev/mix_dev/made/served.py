"""A server of one's own, while one works on an app."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mix_dev.made.ways import TOKEN
from mixkit.cli.output import safe
from mixkit.errors import MixError

if TYPE_CHECKING:
    from mixkit.cli.session import Session

__all__ = ["Served"]

_LISTENS: Final = "mixkit: listening on "
_PAGE: Final = "mixkit: administration: "
"""It is told in its place, among the ways to ask."""
_PATIENCE: Final = 60.0
"""Seconds in which a server has to listen."""
_END: Final = 10.0


class Served:
    """A server that is a process of its own, and ends with this one.

    Args:
        session: whose profile and settings it has.
        ws_dir: the directory of workspaces.
        port: to listen on; None for that of the profile.

    Attributes:
        url: where it listens.
        token: what callers must send.
    """

    def __init__(self, session: Session, ws_dir: Path, port: int | None) -> None:
        self.token = os.environ.get(TOKEN) or secrets.token_hex(16)
        self.url = ""
        command, environ = session.again()
        command += ["serve", "--ws-dir", str(ws_dir)]
        command += [] if port is None else ["--port", str(port)]
        environ[TOKEN] = self.token
        self._process = subprocess.Popen(
            command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
        self._listens = threading.Event()
        self._reader = threading.Thread(target=self._read, name="mixkit-served", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """Find out where it listens, and hand on what else it says."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.startswith(_LISTENS):
                self.url = line.removeprefix(_LISTENS).strip()
                self._listens.set()
            elif not line.startswith(_PAGE):
                print(safe(line.rstrip("\n")), file=sys.stderr, flush=True)  # noqa: T201 - its words, not ours
        self._listens.set()

    def wait(self) -> str:
        """Wait until it listens, and answer where.

        Raises:
            MixError: it does not; it has said why.
        """
        self._listens.wait(_PATIENCE)
        if not self.url:
            raise MixError(
                "the server did not start; another --port takes another one, --no-serve does without"
            )
        return self.url

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self.status is not None

    @property
    def status(self) -> int | None:
        """What it has ended with; None while it runs."""
        return self._process.poll()

    def close(self) -> None:
        """End it."""
        if not self.ended:
            self._process.terminate()
            try:
                self._process.wait(_END)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._reader.join(_END)
        assert self._process.stderr is not None
        self._process.stderr.close()
