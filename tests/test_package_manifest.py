"""What a package may say of itself: every wrong manifest and layout is refused, with the place."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from mixkit.errors import PackageError
from mixkit.package import Manifest, Package
from mixkit.package.build import pack
from mixkit.package.document import MAX_DOCUMENT
from mixkit.package.document import parse as parse_document
from mixkit.package.manifest import version_key

AGENT = {"code": "code/demo/x.wasm"}


def manifest(**changes: Any) -> dict[str, Any]:
    whole = {"format": 3, "name": "demo", "version": "1.2", "kind": "app"}
    return {**whole, "apps": {"demo": {"agents": {"main": AGENT}}}, **changes}


def agent(**changes: Any) -> dict[str, Any]:
    return manifest(apps={"demo": {"agents": {"main": {**AGENT, **changes}}}})


def widget(name: str = "main", **changes: Any) -> dict[str, Any]:
    widgets = {name: {"sizes": ["small"], **changes}}
    return manifest(apps={"demo": {"agents": {"main": AGENT}, "widgets": widgets}})


def opened(document: Any = None, **entries: bytes) -> Package:
    content = {"manifest.json": json.dumps(manifest() if document is None else document).encode()}
    content |= {"code/demo/x.wasm": b"x"} | {name.replace("__", "/"): data for name, data in entries.items()}
    return Package.open(pack({path: partial(bytes, data) for path, data in content.items()}))


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in manifest().items() if name != key}


def test_a_small_manifest() -> None:
    package = opened()
    assert (package.name, package.version, package.manifest.kind) == ("demo", "1.2", "app")
    assert not package.grants.allows("$core_log")
    assert Manifest.decode(package.manifest.encode()) == package.manifest
    assert b"widgets" not in package.manifest.encode()


def test_widgets() -> None:
    sizes = ["extraLarge", "4x2", "12x1"]
    package = opened(widget("sun", agent="main", sizes=sizes, database="sky-2", tags=["Sonne heute"]))
    found = package.manifest.apps["demo"].widgets["sun"]
    assert (found.agent, found.sizes, found.database, found.tags) == ("main", sizes, "sky-2", ["Sonne heute"])
    assert Manifest.decode(package.manifest.encode()) == package.manifest
    assert package.release("demo").widgets == {"sun": found}
    assert opened(widget()).manifest.apps["demo"].widgets["main"].agent is None, "the agent of that name"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (without("format"), r"expected format 3, found None.* at \$\.format"),
        (manifest(format=2), r"expected format 3, found 2"),
        (manifest(format=3.0), r"expected format 3, found 3\.0"),
        ([], "expected format 3"),
        (without("name"), "missing required field `name`"),
        (without("version"), "missing required field `version`"),
        (without("apps"), "missing required field `apps`"),
        (manifest(author="me"), r"unknown field `author`.* at \$$"),
        (manifest(kind="plugin"), r"at \$\.kind"),
        (manifest(name="../x"), r"package names .* at \$\.name"),
        (manifest(version="1.2-beta"), r"found '1\.2-beta' at \$\.version"),
        (manifest(version="1.2.3.4.5"), r"at \$\.version"),
        (manifest(version="٣"), r"at \$\.version"),
        (manifest(apps={}), r"expected one app .* found 0 at \$\.apps"),
        (manifest(apps={"a/b": {"agents": {}}}), r"app names .* at \$\.apps"),
        (manifest(apps={"demo": {"agents": {"a b": AGENT}}}), r"agent names .* at \$\.apps\.demo\.agents"),
        (agent(coed="x"), r"unknown field `coed`.* at \$\.apps\.demo\.agents\.main$"),
        (agent(code=5), r"got `int` at \$\.apps\.demo\.agents\.main\.code"),
        (agent(code="code/other/x.wasm"), r"expected a path in code/demo/.* at \$\.apps\.demo\.agents\.main\.code"),
        (agent(code="files/demo/x"), "expected a path in code/demo/"),
        (agent(entry=""), r"at \$\.apps\.demo\.agents\.main\.entry"),
        (agent(entry="a\u202eb"), "printable"),
        (agent(inParams={"n": "integer"}), r"unknown type 'integer'.* at \$\.apps\.demo\.agents\.main\.inParams"),
        (agent(inParams="int"), r"parameters are a record"),
        (agent(outParams="array("), r"at \$\.apps\.demo\.agents\.main\.outParams"),
        (agent(outParams="array(" * 5_000), "characters|nesting"),
        (widget("a b"), r"widget names .* at \$\.apps\.demo\.widgets"),
        (widget("other"), r"expected an agent of the app \(main\), found 'other' at \$\.apps\.demo\.widgets\.other\.agent"),
        (widget(agent="mian"), r"did you mean 'main'\? at \$\.apps\.demo\.widgets\.main\.agent"),
        (widget(size="small"), r"unknown field `size`.* at \$\.apps\.demo\.widgets\.main$"),
        (widget(sizes="small"), r"at \$\.apps\.demo\.widgets\.main\.sizes"),
        (widget(sizes=[]), r"expected 1 to 32 sizes, found 0 at \$\.apps\.demo\.widgets\.main\.sizes"),
        (widget(sizes=[f"{n}x1" for n in range(1, 34)]), "found 33"),
        (widget(sizes=["small", "lage"]), r"did you mean 'large'\? at \$\.apps\.demo\.widgets\.main\.sizes\[1\]"),
        (widget(sizes=["0x2"]), "cells as 4x2, found '0x2'"),
        (widget(sizes=["4x2\n"]), "cells as 4x2"),
        (widget(sizes=["٤x2"]), "cells as 4x2"),
        (widget(sizes=["4x2", "small", "4x2"]), "expected each once, found '4x2' twice"),
        (widget(database="../x"), r"found '../x' at \$\.apps\.demo\.widgets\.main\.database"),
        (widget(tags=["a", ""]), r"at \$\.apps\.demo\.widgets\.main\.tags\[1\]"),
        (widget(tags=["a\u202eb"]), "printable"),
        (widget(tags=["a", "a"]), "expected each once"),
        (widget(tags=[str(n) for n in range(33)]), "expected at most 32 tags"),
        (manifest(grants={"ffis": ["$http_*", "$a b"]}), r"at \$\.grants\.ffis\[1\]"),
        (manifest(grants={"ffis": "*"}), r"at \$\.grants\.ffis"),
        (manifest(grants={"fffis": []}), "unknown field `fffis`"),
        (manifest(grants={"options": {"hosts": []}}), r"dotted key.* at \$\.grants\.options"),
        (manifest(limits={"wall_tim": 1}), r"found 'wall_tim'.* at \$\.limits"),
        (manifest(limits={"wall_time": -1}), r"at \$\.limits\.wall_time"),
        (manifest(limits={"memory": 1.5}), r"at \$\.limits\.memory"),
        (manifest(limits={"depth": True}), r"at \$\.limits"),
        (manifest(setup="other"), r"found 'other' at \$\.setup"),
        (manifest(setup="other/main"), r"at \$\.setup"),
        (manifest(description="\ud800"), r"surrogate.* at \$\.description"),
        (manifest(save_options={"n": 2**64}), r"at \$\.save_options\.n"),
    ],
)  # fmt: skip
def test_manifests_that_are_refused(document: Any, message: str) -> None:
    with pytest.raises(PackageError, match=message) as caught:
        opened(document)
    assert caught.value.entry == "manifest.json"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected JSON"),
        (b"\xff{}", "expected UTF-8, found byte 0xff at 0"),
        (b'{"format": 3, "format": 3}', "the key 'format' stands twice"),
        (b'{"a": NaN}', "NaN is no JSON"),
        (b'{"a": 1e999}', "the number 1e999 is too large"),
        (b"[" * 200_000, "nested more than 256"),
        (b"9" * 10_000, "expected JSON"),
        (random.Random(1).randbytes(MAX_DOCUMENT + 1), "expected at most"),
    ],
)
def test_documents_that_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(PackageError, match=message):
        Package.open(pack({"manifest.json": partial(bytes, data)}))


@pytest.mark.parametrize(
    ("entries", "entry", "message"),
    [
        ({"evil.sh": b""}, "evil.sh", "unknown entry"),
        ({"code__x": b""}, "code/x", "unknown entry"),
        ({"code__other__x": b""}, "code/other/x", "unknown entry"),
        ({"records__demo.json": b""}, "records/demo.json", "unknown entry"),
        ({"records__other.ndjson": b""}, "records/other.ndjson", "unknown entry"),
        ({"files__other__x": b""}, "files/other/x", "unknown entry"),
        ({"runtime.json": b"[]"}, "runtime.json", "expected an object"),
        ({"runtime.json": b"{"}, "runtime.json", "expected JSON"),
        ({"SIGNATURE": b"{}"}, "SIGNATURE", "missing required field"),
    ],
)
def test_layouts_that_are_refused(entries: dict[str, bytes], entry: str, message: str) -> None:
    with pytest.raises(PackageError, match=message) as caught:
        opened(**entries)
    assert caught.value.entry == entry


def test_what_must_be_there() -> None:
    with pytest.raises(PackageError, match=r"manifest\.json: the package has no such entry"):
        Package.open(pack({}))
    with pytest.raises(PackageError, match=r"code/demo/y: the package lacks the entry"):
        opened(agent(code="code/demo/y"))


def test_settings_of_a_workspace_are_by_app() -> None:
    both = manifest(kind="workspace", apps={app: {"agents": {}} for app in ("demo", "two")})
    assert opened(both, **{"runtime.json": b'{"two": {"a": 1}}'}).settings == {"two": {"a": 1}}
    for wrong in (b'{"three": {}}', b'{"two": 1}'):
        with pytest.raises(PackageError, match="app names"):
            opened(both, **{"runtime.json": wrong})


def test_setup_of_a_workspace_names_its_app() -> None:
    apps = {app: {"agents": {"main": {"code": f"code/{app}/x.wasm"}}} for app in ("demo", "two")}
    decode: Callable[[Any], Manifest] = lambda document: Manifest.decode(json.dumps(document).encode())  # noqa: E731
    assert decode(manifest(kind="workspace", apps=apps, setup="two/main")).setup_agent() == ("two", "main")
    with pytest.raises(PackageError, match="expected APP/AGENT"):
        decode(manifest(kind="workspace", apps=apps, setup="main"))


def test_versions() -> None:
    ordered = ["0", "0.0.1", "1", "1.0.1", "1.2", "1.10", "2.0.0.1"]
    assert sorted(ordered, key=version_key) == ordered
    assert version_key("1.2") == version_key("1.2.0.0")


def test_a_byte_order_mark_is_not_part_of_a_document() -> None:
    assert parse_document('{"a": "é"}'.encode("utf-8-sig"), "manifest.json") == {"a": "é"}
    with pytest.raises(PackageError, match="expected UTF-8, found byte 0xff at 0"):
        parse_document(b"\xef\xbb\xbf\xff", "manifest.json")
