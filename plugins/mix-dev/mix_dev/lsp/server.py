"""Answers an editor: messages in, messages out. One thing is done at a time, and requests come before diagnostics."""

from __future__ import annotations

import gc
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, Final

from mix_lang.diagnostic import Diagnostic
from mix_lang.errors import CompileError
from mix_lang.format import formatted

from mix_dev.lsp.completion import completions
from mix_dev.lsp.document import ENCODINGS, Document
from mix_dev.lsp.edits import definition, references, rename, renamed_name, symbols
from mix_dev.lsp.failure import Failure
from mix_dev.lsp.fixes import fixes
from mix_dev.lsp.hover import hover
from mix_dev.lsp.wire import Malformed, Wire
from mix_dev.lsp.workspace import Workspace

__all__ = ["Server"]

_log = logging.getLogger("mixkit.lsp")

_PARSE, _INVALID, _NO_METHOD, _PARAMS, _INTERNAL = -32700, -32600, -32601, -32602, -32603
_NOT_READY, _CANCELLED, _FAILED = -32002, -32800, -32803
_PAUSE: Final = 0.005
"""Seconds after a keystroke in which what is asked comes first."""
_COLLECT: Final = 50
"""Checks after which circles of objects are looked for. PERF: there are few; the search takes as long as a check."""
_SEVERITY: Final = {"error": 1, "warning": 2, "info": 3}


class Server:
    """One editor's server.

    Args:
        wire: the connection.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._workspace = Workspace()
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._cancelled: set[Any] = set()
        self._unchecked: dict[str, None] = {}
        self._ready = self._over = False
        self._checks = 0
        self._requests: dict[str, Callable[[dict[str, Any]], Any]] = {
            "initialize": self._initialize,
            "shutdown": self._shutdown,
            "textDocument/hover": self._hover,
            "textDocument/completion": self._completion,
            "textDocument/definition": self._definition,
            "textDocument/references": self._references,
            "textDocument/prepareRename": self._prepare_rename,
            "textDocument/rename": self._rename,
            "textDocument/formatting": self._formatting,
            "textDocument/codeAction": self._code_action,
            "textDocument/documentSymbol": self._symbols,
        }
        self._notices: dict[str, Callable[[dict[str, Any]], None]] = {
            "textDocument/didOpen": self._opened,
            "textDocument/didChange": self._changed,
            "textDocument/didClose": self._closed,
            "textDocument/didSave": self._saved,
            "workspace/didChangeWatchedFiles": self._saved,
        }

    def run(self) -> int:
        """Answer until the editor ends it. Answers the exit status: 0 if it said so before."""
        reader = threading.Thread(target=self._read, name="mixkit-lsp", daemon=True)
        reader.start()
        while True:
            try:
                message = self._queue.get(timeout=_PAUSE if self._unchecked else None)
            except queue.Empty:
                self._check_one()
                continue
            if message is None or (isinstance(message, dict) and message.get("method") == "exit"):
                reader.join()
                return 0 if self._over else 1
            self._handle(message)

    def _read(self) -> None:
        """Take messages as they come, so that a request that waits can be cancelled."""
        while True:
            try:
                message = self._wire.read()
            except Malformed as exc:
                message = exc
            if isinstance(message, dict) and message.get("method") == "$/cancelRequest":
                params = message.get("params")
                if isinstance(params, dict) and isinstance(params.get("id"), int | str):
                    self._cancelled.add(params["id"])
                continue
            self._queue.put(message)
            if message is None or (isinstance(message, dict) and message.get("method") == "exit"):
                # Nobody may read from standard input when the process ends.
                return

    def _handle(self, message: Any) -> None:
        if isinstance(message, Malformed):
            self._failed(None, _PARSE, f"this is no JSON: {message}")
            return
        if not isinstance(message, dict) or not isinstance(message.get("method", ""), str):
            self._failed(None, _INVALID, "expected a request: an object with a method")
            return
        if "method" not in message:
            # An answer; nothing was asked.
            return
        method, params, number = message["method"], message.get("params"), message.get("id")
        params = params if isinstance(params, dict) else {}
        if "id" not in message:
            self._notice(method, params)
            return
        if not isinstance(number, int | str):
            self._failed(None, _INVALID, "expected the id of a request: a number or a string")
        elif number in self._cancelled:
            self._cancelled.discard(number)
            self._failed(number, _CANCELLED, "cancelled")
        else:
            self._request(method, params, number)
            self._cancelled.discard(number)

    def _notice(self, method: str, params: dict[str, Any]) -> None:
        answer = self._notices.get(method)
        if answer is None or not self._ready or self._over:
            return
        try:
            answer(params)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            _log.warning("%s was malformed: %s: %s", method, type(exc).__name__, exc)

    def _request(self, method: str, params: dict[str, Any], number: int | str) -> None:
        answer = self._requests.get(method)
        if self._over:
            self._failed(number, _INVALID, "the server was shut down")
        elif not self._ready and method != "initialize":
            self._failed(number, _NOT_READY, "expected initialize first")
        elif answer is None:
            self._failed(number, _NO_METHOD, f"there is no method {method!r:.100}")
        else:
            try:
                found = answer(params)
            except Failure as exc:
                self._failed(number, exc.code, str(exc))
            except (KeyError, TypeError, ValueError, AttributeError) as exc:
                _log.warning("%s failed", method, exc_info=True)
                self._failed(number, _PARAMS, f"{method}: {type(exc).__name__}: {exc}")
            except Exception as exc:
                _log.exception("%s failed", method)
                self._failed(number, _INTERNAL, f"{method}: {type(exc).__name__}: {exc}")
            else:
                self._wire.write({"id": number, "result": found})

    def _failed(self, number: int | str | None, code: int, message: str) -> None:
        self._wire.write({"id": number, "error": {"code": code, "message": message}})

    # The server itself

    def _initialize(self, params: dict[str, Any]) -> dict[str, Any]:
        if self._ready:
            raise Failure(_INVALID, "initialize was sent before")
        general = (params.get("capabilities") or {}).get("general") or {}
        offered = general.get("positionEncodings") or ["utf-16"]
        self._workspace.encoding = next((each for each in ENCODINGS if each in offered), "utf-16")
        self._ready = True
        return {
            "serverInfo": {"name": "mixkit"},
            "capabilities": {
                "positionEncoding": self._workspace.encoding,
                "textDocumentSync": {"openClose": True, "change": 2, "save": True},
                "hoverProvider": True,
                "completionProvider": {"triggerCharacters": ["."]},
                "definitionProvider": True,
                "referencesProvider": True,
                "renameProvider": {"prepareProvider": True},
                "documentFormattingProvider": True,
                "documentSymbolProvider": True,
                "codeActionProvider": {"codeActionKinds": ["quickfix"]},
            },
        }

    def _shutdown(self, params: dict[str, Any]) -> None:
        self._over = True
        self._unchecked.clear()

    # Texts

    def _opened(self, params: dict[str, Any]) -> None:
        item = params["textDocument"]
        uri = str(item["uri"])
        document = Document(uri, int(item["version"]), str(item["text"]), self._workspace.encoding)
        self._workspace.documents[uri] = document
        self._touch()

    def _changed(self, params: dict[str, Any]) -> None:
        item = params["textDocument"]
        self._workspace.documents[item["uri"]].change(int(item["version"]), params["contentChanges"])
        self._touch(item["uri"])

    def _closed(self, params: dict[str, Any]) -> None:
        uri = params["textDocument"]["uri"]
        self._workspace.close(uri)
        self._unchecked.pop(uri, None)
        self._publish(uri, None, [])
        self._touch()

    def _saved(self, params: dict[str, Any]) -> None:
        self._touch()

    def _touch(self, first: str | None = None) -> None:
        """Whatever is open may be another thing now; the one that was changed is looked at first."""
        order = [first] if first is not None else []
        self._unchecked = dict.fromkeys([*order, *self._unchecked, *self._workspace.documents])

    def _check_one(self) -> None:
        uri = next(iter(self._unchecked))
        del self._unchecked[uri]
        document = self._workspace.documents.get(uri)
        if document is None:
            return
        try:
            name = self._workspace.name(document)
            found = [
                item for item in self._workspace.checked(document).diagnostics if item.source.file == name
            ]
        except Exception:
            _log.exception("%s cannot be checked", uri)
            return
        self._publish(uri, document, found)
        self._workspace.program(document)
        self._checks += 1
        if self._checks % _COLLECT == 0:
            gc.collect()

    def _publish(self, uri: str, document: Document | None, found: list[Diagnostic]) -> None:
        params: dict[str, Any] = {"uri": uri, "diagnostics": []}
        if document is not None:
            params["version"] = document.version
            params["diagnostics"] = [
                {
                    "range": document.range(item.span),
                    "severity": _SEVERITY[item.cls],
                    "code": item.code,
                    "source": "mix",
                    "message": item.message + (f"\n{item.hint}" if item.hint else ""),
                }
                for item in found
            ]
        self._wire.write({"method": "textDocument/publishDiagnostics", "params": params})

    # Requests

    def _document(self, params: dict[str, Any]) -> Document:
        uri = params["textDocument"]["uri"]
        document = self._workspace.documents.get(uri)
        if document is None:
            raise Failure(_PARAMS, f"{uri!r:.200} is not open")
        return document

    def _at(self, params: dict[str, Any]) -> tuple[Document, int]:
        document = self._document(params)
        return document, document.offset(params["position"])

    def _hover(self, params: dict[str, Any]) -> Any:
        return hover(self._workspace, *self._at(params))

    def _completion(self, params: dict[str, Any]) -> Any:
        return completions(self._workspace, *self._at(params))

    def _definition(self, params: dict[str, Any]) -> Any:
        return definition(self._workspace, *self._at(params))

    def _references(self, params: dict[str, Any]) -> Any:
        declared = (params.get("context") or {}).get("includeDeclaration", True) is True
        return references(self._workspace, *self._at(params), declared)

    def _prepare_rename(self, params: dict[str, Any]) -> Any:
        return renamed_name(self._workspace, *self._at(params))

    def _rename(self, params: dict[str, Any]) -> Any:
        try:
            return rename(self._workspace, *self._at(params), str(params["newName"]))
        except ValueError as exc:
            raise Failure(_PARAMS, str(exc)) from None

    def _formatting(self, params: dict[str, Any]) -> Any:
        document = self._document(params)
        try:
            text = formatted(document.text, self._workspace.name(document))
        except CompileError:
            raise Failure(_FAILED, "this is no Mix yet: see its errors") from None
        if text == document.text:
            return []
        whole = {"start": document.position(0), "end": document.position(len(document.text))}
        return [{"range": whole, "newText": text}]

    def _code_action(self, params: dict[str, Any]) -> Any:
        document = self._document(params)
        start, end = (document.offset(params["range"][key]) for key in ("start", "end"))
        return fixes(self._workspace, document, start, end)

    def _symbols(self, params: dict[str, Any]) -> Any:
        return symbols(self._workspace, self._document(params))
