"""What readline offers: commands, and whatever an editor would."""

from __future__ import annotations

from pathlib import Path

from mix_dev.lsp.completion import completions
from mix_dev.lsp.document import Document
from mix_dev.lsp.workspace import Workspace
from mix_dev.repl.program import Typed
from mix_dev.repl.session import COMMANDS

__all__ = ["Completer"]


class Completer:
    """Completes words of a line of a conversation."""

    def __init__(self, typed: Typed) -> None:
        self._typed = typed
        self._found: list[str] = []

    def complete(self, word: str, state: int) -> str | None:
        """The so many-th word that begins so; None if there are no more. What readline asks for."""
        if state == 0:
            try:
                self._found = self.words(word)
            except Exception:
                # A completion that fails must not end the conversation.
                self._found = []
        return self._found[state] if state < len(self._found) else None

    def words(self, word: str) -> list[str]:
        """The words that begin so, in order."""
        if word.startswith(":"):
            return [name for name in COMMANDS if name.startswith(word)]
        if "/" in word or word.endswith(".mix"):
            folder = Path(word).parent
            return sorted(str(path) for path in folder.glob("*.mix") if str(path).startswith(word))
        before, dot, begun = word.rpartition(".")
        text = self._typed.text(word)
        offset = text.rindex(f"(\n{word}\n)") + 2 + len(word)
        workspace = Workspace()
        document = Document("untitled:repl", 1, text, "utf-32")
        workspace.documents[document.uri] = document
        labels = {item["label"] for item in completions(workspace, document, offset)}
        return sorted(
            f"{before}{dot}{label}"
            for label in labels
            if label.startswith(begun) and not label.endswith("OfTheRepl") and not label.endswith("ByTheRepl")
        )
