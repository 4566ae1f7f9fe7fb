"""The extension for Visual Studio Code: what it names is there, and its grammar knows the words of the language."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mix_lang.lexer import KEYWORDS

FOLDER = Path(__file__).parents[3] / "editors" / "vscode"
GRAMMAR = json.loads((FOLDER / "syntaxes/mix.tmLanguage.json").read_text())


def rules(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    for part in node if isinstance(node, list) else ():
        yield from rules(part)


def test_the_manifest_names_what_is_there() -> None:
    manifest = json.loads((FOLDER / "package.json").read_text())
    brings = manifest["contributes"]
    paths = [manifest["main"], brings["languages"][0]["configuration"], brings["grammars"][0]["path"]]
    assert all((FOLDER / path).is_file() for path in paths)
    assert brings["grammars"][0]["scopeName"] == GRAMMAR["scopeName"]
    assert brings["configuration"]["properties"]["mix.command"]["default"] == ["mixkit", "lsp"]


def test_each_rule_is_there_and_can_be_read() -> None:
    for rule in rules(GRAMMAR):
        for key in ("match", "begin", "end"):
            if isinstance(rule.get(key), str):
                re.compile(rule[key])
        if "include" in rule:
            assert rule["include"].removeprefix("#") in GRAMMAR["repository"]


def test_each_keyword_has_a_colour() -> None:
    names = ("constant", "operator-word", "self", "storage", "control")
    known = [re.compile(GRAMMAR["repository"][name]["match"]) for name in names]
    assert [word for word in sorted(KEYWORDS) if not any(rule.fullmatch(word) for rule in known)] == []
