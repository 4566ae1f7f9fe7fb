"""An editor's half of the language server protocol, over the pipes of a real process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["Client"]

MIXKIT = str(Path(sys.executable).with_name("mixkit"))


class Client:
    """Starts `mixkit lsp`, and talks to it.

    Attributes:
        diagnostics: what was published, by URI: the latest.
    """

    def __init__(self, *encodings: str, ready: bool = True) -> None:
        self.process = subprocess.Popen([MIXKIT, "lsp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.diagnostics: dict[str, dict[str, Any]] = {}
        self.answers: dict[Any, dict[str, Any]] = {}
        self._number = 0
        if ready:
            general = {"positionEncodings": list(encodings)} if encodings else {}
            self.capabilities = self.ask("initialize", {"capabilities": {"general": general}})["capabilities"]
            self.tell("initialized", {})

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        self.process.stdin.flush()

    def send(self, message: dict[str, Any]) -> None:
        self.write(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def tell(self, method: str, params: Any) -> None:
        self.send({"method": method, "params": params})

    def begin(self, method: str, params: Any) -> int:
        self._number += 1
        self.send({"id": self._number, "method": method, "params": params})
        return self._number

    def read(self) -> dict[str, Any]:
        """The next message."""
        assert self.process.stdout is not None
        header = self.process.stdout.readline()
        assert header.startswith(b"Content-Length: "), header
        assert self.process.stdout.readline() == b"\r\n"
        message: dict[str, Any] = json.loads(self.process.stdout.read(int(header[16:])))
        if message.get("method") == "textDocument/publishDiagnostics":
            self.diagnostics[message["params"]["uri"]] = message["params"]
        elif "id" in message:
            self.answers[message["id"]] = message
        return message

    def answer(self, number: Any) -> dict[str, Any]:
        """The answer to a request, an error too."""
        while number not in self.answers:
            self.read()
        return self.answers.pop(number)

    def ask(self, method: str, params: Any) -> Any:
        """The result of a request."""
        answer = self.answer(self.begin(method, params))
        assert "error" not in answer, answer
        return answer["result"]

    # Texts

    def open(self, uri: str, text: str, version: int = 1) -> list[dict[str, Any]]:
        """Open a text. Answers what is wrong in it."""
        item = {"uri": uri, "languageId": "mix", "version": version, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": item})
        return self.checked(uri, version)

    def change(self, uri: str, version: int, *changes: dict[str, Any]) -> None:
        self.tell(
            "textDocument/didChange",
            {"textDocument": {"uri": uri, "version": version}, "contentChanges": list(changes)},
        )

    def checked(self, uri: str, version: int) -> list[dict[str, Any]]:
        """What is wrong in a version of a text."""
        while self.diagnostics.get(uri, {}).get("version") != version:
            self.read()
        found: list[dict[str, Any]] = self.diagnostics[uri]["diagnostics"]
        return found
