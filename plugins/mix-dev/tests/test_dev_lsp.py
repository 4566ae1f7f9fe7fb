"""`mixkit lsp`: a real process over pipes, asked as an editor asks it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mix_dev.lsp.document import Document, Text
from mix_dev.lsp.wire import Wire
from mix_dev.testing import Client

SHOP = """module shop(p: data)
  import array
  import prices
  case paid
  /// Twice as much.
  def twice(n) = n + n
  var cell count = 1
  cell item = {name: "tea", inside: {weight: 2}}
  cell output = array.map(x -> twice(x) + prices.of(x), [count])
  on count do { let n = twice(count); debug(n) }
module end
"""
PRICES = """module prices
  /// What one costs.
  def of(n: number): number = n * 2
  private def hidden(n) = n
module end
"""


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client() as made:
        yield made


class Opened:
    """A text in the client, in which places are named by what stands there."""

    count = 0

    def __init__(self, client: Client, folder: Path, text: str = SHOP, name: str = "shop.mix") -> None:
        self.client, self.text, self.version = client, text, 1
        self.uri = f"file://{folder / name}"
        self.found = client.open(self.uri, text)

    def at(self, mark: str, number: int = 0, after: int = 0) -> dict[str, Any]:
        """The position of the so many-th place where the mark stands."""
        offset = [match.start() for match in re.finditer(re.escape(mark), self.text)][number] + after
        return Text(self.text).position(offset)

    def params(self, mark: str, number: int = 0, after: int = 0, **more: Any) -> dict[str, Any]:
        return {"textDocument": {"uri": self.uri}, "position": self.at(mark, number, after), **more}

    def ask(self, method: str, mark: str, number: int = 0, after: int = 0, **more: Any) -> Any:
        return self.client.ask(f"textDocument/{method}", self.params(mark, number, after, **more))

    def shown(self, place: dict[str, Any]) -> str:
        """What stands in a range."""
        text = Text(self.text)
        return self.text[text.offset(place["start"]) : text.offset(place["end"])]

    def labels(self, before: str, typed: str) -> set[str]:
        """What is offered behind something that is typed in place of `before`."""
        text = self.text.replace(before, typed, 1)
        self.version += 1
        self.client.change(self.uri, self.version, {"text": text})
        position = Text(text).position(self.text.index(before) + len(typed))
        params = {"textDocument": {"uri": self.uri}, "position": position}
        return {item["label"] for item in self.client.ask("textDocument/completion", params)}


@pytest.fixture
def shop(client: Client, tmp_path: Path) -> Opened:
    (tmp_path / "prices.mix").write_text(PRICES)
    return Opened(client, tmp_path)


def test_diagnostics(client: Client, tmp_path: Path) -> None:
    text = "module m(p: data)\n  cell output = lenth(p)\nmodule end\n"
    opened = Opened(client, tmp_path, text, "m.mix")
    (found,) = opened.found
    assert (found["code"], found["severity"], opened.shown(found["range"])) == ("M0301", 1, "lenth")
    where = {"start": opened.at("lenth"), "end": opened.at("(p)\n")}
    at = {"line": 1, "character": 18}
    more = {"range": {"start": at, "end": at}, "text": "o"}
    client.change(opened.uri, 2, {"range": where, "text": "fo"}, more)
    assert "'foo'" in client.checked(opened.uri, 2)[0]["message"]
    client.change(opened.uri, 3, {"text": "module m(p: data)\n  cell output = p\nmodule end\n"})
    assert client.checked(opened.uri, 3) == []
    client.tell("textDocument/didClose", {"textDocument": {"uri": opened.uri}})
    client.ask("textDocument/hover", Opened(client, tmp_path, text, "other.mix").params("lenth"))
    assert client.diagnostics[opened.uri]["diagnostics"] == []


def test_a_change_elsewhere_is_seen(client: Client, shop: Opened, tmp_path: Path) -> None:
    assert shop.found == []
    prices = Opened(client, tmp_path, PRICES, "prices.mix")
    client.change(prices.uri, 2, {"text": PRICES.replace("def of", "def off")})
    client.checked(prices.uri, 2)
    while not client.diagnostics[shop.uri]["diagnostics"]:
        client.read()
    assert client.diagnostics[shop.uri]["diagnostics"][0]["code"] == "M0308"


def test_hover(shop: Opened) -> None:
    def said(mark: str, number: int = 0, after: int = 0) -> str:
        return str(shop.ask("hover", mark, number, after)["contents"]["value"])

    assert all(part in said("of(x)") for part in ("def prices.of(n)", "number -> number", "What one costs."))
    assert "Twice as much." in said("twice", 1)
    assert "array.map" in said("map(x")
    assert "module array" in said("array.map")
    assert "debug" in said("debug")
    assert shop.ask("hover", "+ n", 0, 1) is None


def test_definitions(shop: Opened, tmp_path: Path) -> None:
    here = shop.ask("definition", "twice(x)")
    assert (here["uri"], shop.shown(here["range"]), here["range"]["start"]["line"]) == (shop.uri, "twice", 5)
    local = shop.ask("definition", "debug(n)", 0, 6)
    assert local["range"]["start"] == shop.at("let n", 0, 4)
    other = shop.ask("definition", "of(x)")
    assert (other["uri"], other["range"]["start"]) == (
        f"file://{tmp_path}/prices.mix",
        {"line": 2, "character": 6},
    )
    library = shop.ask("definition", "map(x")
    path = Path(library["uri"].removeprefix("file://"))
    assert "def map" in path.read_text().splitlines()[library["range"]["start"]["line"]]
    assert shop.ask("definition", "tea") is None


def test_references_and_new_names(client: Client, shop: Opened, tmp_path: Path) -> None:
    found = shop.ask("references", "twice(n)", context={"includeDeclaration": True})
    assert [place["range"]["start"]["line"] for place in found] == [5, 8, 9]
    assert len(shop.ask("references", "twice(n)", context={"includeDeclaration": False})) == 2
    changes = shop.ask("rename", "of(x)", newName="cost")["changes"]
    assert {uri.rsplit("/", 1)[1]: len(edits) for uri, edits in changes.items()} == {
        "shop.mix": 1,
        "prices.mix": 1,
    }
    assert shop.ask("prepareRename", "map(x") is None
    assert shop.ask("rename", "array.map", newName="x") is None
    failed = client.answer(client.begin("textDocument/rename", shop.params("twice", newName="2 x")))
    assert failed["error"]["code"] == -32602
    text = "module m\n  def f(a) = {a, b: a} |> ({a: x, b} -> [x, b, a])\nmodule end\n"
    opened = Opened(client, tmp_path, text, "m.mix")
    changes = opened.ask("rename", "a)", newName="c")["changes"]
    changed = applied(text, changes[opened.uri])
    assert changed == "module m\n  def f(c) = {a: c, b: c} |> ({a: x, b} -> [x, b, c])\nmodule end\n"
    changes = opened.ask("rename", "b, a]", newName="d")["changes"]
    changed = applied(text, changes[opened.uri])
    assert changed == "module m\n  def f(a) = {a, b: a} |> ({a: x, b: d} -> [x, d, a])\nmodule end\n"
    text = "module m\n  def f(a) {\n    let x = a\n    let y = x\n    let x = y + x\n    return x\n  }\nmodule end\n"
    opened = Opened(client, tmp_path, text, "m.mix")
    changes = opened.ask("rename", "return x", after=7, newName="z")["changes"]
    changed = applied(text, changes[opened.uri])
    assert changed.split("\n")[2:6] == ["    let x = a", "    let y = x", "    let z = y + x", "    return z"]


def applied(text: str, edits: list[dict[str, Any]], encoding: str = "utf-16") -> str:
    """The text with edits made, from the end on."""
    where = Text(text, encoding)
    for edit in sorted(edits, key=lambda edit: where.offset(edit["range"]["start"]), reverse=True):
        start, end = (where.offset(edit["range"][key]) for key in ("start", "end"))
        text = text[:start] + edit["newText"] + text[end:]
    return text


def test_completion(client: Client, shop: Opened, tmp_path: Path) -> None:
    assert {"of"} == shop.labels("prices.of(x)", "prices.")
    assert {"map", "filter"} <= shop.labels("array.map(", "array.ma")
    found = shop.labels("debug(n)", "t")
    assert {"n", "twice", "count", "array", "paid", "fail", "let"} <= found and "x" not in found
    assert {"name", "inside"} == shop.labels("debug(n)", "let z = item.")
    assert {"weight"} == shop.labels("debug(n)", "let z = item.inside.w")
    assert {"prices", "string", "array"} <= shop.labels("import prices", "import pr")
    assert shop.labels("/// Twice", "/// t") == set()
    assert {"twice"} <= shop.labels("= n + n", "= self.tw")
    text = "module m\n  type point = {x: number, y: number}\n  def f(p: point) = p.x\nmodule end\n"
    assert {"x", "y"} == Opened(client, tmp_path, text, "m.mix").labels("p.x", "p.")


def test_formatting_and_fixes(client: Client, tmp_path: Path) -> None:
    text = (
        "module m(p: data)\nimport array\ncell output=[array.lengt(p), strin, string.length(p)]\nmodule end\n"
    )
    opened = Opened(client, tmp_path, text, "m.mix")
    whole = {"start": {"line": 0, "character": 0}, "end": {"line": 9, "character": 0}}
    params = {"textDocument": {"uri": opened.uri}, "range": whole, "context": {"diagnostics": []}}
    found = client.ask("textDocument/codeAction", params)
    assert [action["title"] for action in found] == ["write length", "add import string"]
    edited = [applied(text, action["edit"]["changes"][opened.uri]) for action in found]
    assert any("array.length(p)" in each for each in edited)
    assert any("import array\nimport string\n" in each for each in edited)
    (edit,) = client.ask("textDocument/formatting", {**params, "options": {}})
    assert edit["newText"].splitlines()[2] == "  cell output = [array.lengt(p), strin, string.length(p)]"
    client.change(opened.uri, 2, {"text": "module m(\n"})
    failed = client.answer(client.begin("textDocument/formatting", {**params, "options": {}}))
    assert failed["error"]["code"] == -32803


def test_symbols(client: Client, shop: Opened) -> None:
    found = client.ask("textDocument/documentSymbol", {"textDocument": {"uri": shop.uri}})
    assert [item["name"] for item in found] == ["paid", "twice", "count", "item", "output"]


@pytest.mark.parametrize(
    ("offered", "chosen"), [((), "utf-16"), (("utf-16", "utf-8"), "utf-8"), (("utf-16",), "utf-16")]
)
def test_encodings(tmp_path: Path, offered: tuple[str, ...], chosen: str) -> None:
    with Client(*offered) as client:
        assert client.capabilities["positionEncoding"] == chosen
        line = '  cell output = ["🙂ä", nothing]'
        (found,) = client.open(f"file://{tmp_path}/m.mix", f"module m\n{line}\nmodule end\n")
        before = line[: line.index("nothing")]
        units = {"utf-8": len(before.encode()), "utf-16": len(before.encode("utf-16-le")) // 2}
        assert found["range"]["start"] == {"line": 1, "character": units[chosen]}


def test_the_protocol(tmp_path: Path) -> None:
    with Client(ready=False) as client:
        uri = f"file://{tmp_path}/m.mix"
        params = {"textDocument": {"uri": uri}, "position": {"line": 0, "character": 0}}
        assert client.answer(client.begin("textDocument/hover", params))["error"]["code"] == -32002
        client.ask("initialize", {"capabilities": {}})
        assert client.answer(client.begin("initialize", {}))["error"]["code"] == -32600
        assert client.answer(client.begin("workspace/unheardOf", {}))["error"]["code"] == -32601
        client.tell("$/unheardOf", {})
        assert client.answer(client.begin("textDocument/hover", params))["error"]["code"] == -32602
        client.write(b"{no json")
        assert client.answer(None)["error"]["code"] == -32700
        client.write(b"[1]")
        assert client.answer(None)["error"]["code"] == -32600
        client.tell("textDocument/didChange", {"textDocument": {}})
        # What waits behind a long one can be cancelled.
        client.open(
            uri, "module m\n" + "".join(f"  def f{n}(x) = x + {n}\n" for n in range(2000)) + "module end\n"
        )
        first = client.begin("textDocument/documentSymbol", {"textDocument": {"uri": uri}})
        where = {**params, "position": {"line": 5, "character": 7}}
        slow = [client.begin("textDocument/references", where) for _ in range(9)]
        waits = client.begin("textDocument/hover", params)
        client.tell("$/cancelRequest", {"id": waits})
        assert client.answer(waits)["error"]["code"] == -32800
        assert all(len(client.answer(number)["result"]) == 1 for number in slow)
        assert len(client.answer(first)["result"]) == 2000
        client.ask("shutdown", None)
        assert client.answer(client.begin("textDocument/hover", params))["error"]["code"] == -32600
        client.tell("exit", None)
        assert client.process.wait(30) == 0


def test_the_end_without_a_word() -> None:
    with Client() as client:
        assert client.process.stdin is not None
        client.process.stdin.close()
        assert client.process.wait(30) == 1


def test_positions() -> None:
    text = Text("a🙂b\r\nä\n", "utf-16")
    assert [text.position(offset) for offset in (2, 5, 6)] == [
        {"line": 0, "character": 3}, {"line": 1, "character": 0}, {"line": 1, "character": 1},
    ]  # fmt: skip
    for offset in range(len(text.text) + 1):
        if text.text[offset - 1 : offset + 1] != "\r\n":
            assert text.offset(text.position(offset)) == offset
    assert text.offset({"line": 0, "character": 99}) == 3
    assert text.offset({"line": 99, "character": 0}) == len(text.text)
    document = Document("untitled:1", 1, "one\ntwo\n", "utf-8")
    place = {"start": {"line": 0, "character": 3}, "end": {"line": 1, "character": 0}}
    first = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 1}}
    document.change(2, [{"range": place, "text": ""}, {"range": first, "text": "x"}])
    assert (document.text, document.version) == ("xnetwo\n", 2)


LENGTH = b"Content-Length: "


@pytest.mark.parametrize(
    "sent", [b"", LENGTH + b"x\r\n\r\n", LENGTH + b"9" * 12 + b"\r\n\r\n", b"none", LENGTH + b"9\r\n\r\n{}"]
)
def test_what_is_no_message_ends_it(sent: bytes) -> None:
    import io

    assert Wire(io.BytesIO(sent), io.BytesIO()).read() is None
