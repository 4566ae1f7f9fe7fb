"""Packages with random bytes changed: what is not a package is refused, and nothing else happens."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from mixkit.errors import PackageError
from mixkit.package import ArchiveLimits, Manifest, Package
from mixkit.package.build import pack
from mixkit.package.powers import compare

FUZZ = Path(__file__).parent / "fuzz" / "fuzz_package.py"
LIMITS = ArchiveLimits(packed=1 << 20, entries=50, entry=1 << 20, total=2 << 20)
MANIFEST = {
    "format": 3,
    "name": "demo",
    "version": "1",
    "kind": "app",
    "apps": {"demo": {"agents": {"main": {"code": "code/demo/x"}}}},
}
VALID = pack({"manifest.json": json.dumps(MANIFEST).encode, "code/demo/x": partial(bytes, b"code" * 100)})

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
patterns = st.lists(st.from_regex(r"\$[ab]{1,3}\*?|\*", fullmatch=True), max_size=4)


def is_package(data: bytes) -> bool:
    try:
        package = Package.open(data, LIMITS)
        return bool(package.digests and package.release("demo").entries is not None)
    except PackageError:
        return False


@given(at=st.integers(0, len(VALID)), removed=st.integers(0, 60), put=st.binary(max_size=60))
@example(at=0, removed=0, put=b"")
def test_changed_bytes(at: int, removed: int, put: bytes) -> None:
    changed = VALID[:at] + put + VALID[at + removed :]
    assert is_package(VALID)
    # A change that is not seen is one of what means nothing: times, versions of zip, attributes.
    if is_package(changed):
        assert len(changed) == len(VALID)
        assert Package.open(changed).digest == Package.open(VALID).digest


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    assert not is_package(data)


@given(key=st.sampled_from([*MANIFEST, "grants", "limits", "setup", "save_options", "?"]), value=json_values)
def test_changed_manifests(key: str, value: object) -> None:
    try:
        manifest = Manifest.decode(json.dumps({**MANIFEST, key: value}).encode())
    except PackageError as exc:
        assert str(exc).startswith("manifest.json: ")
    else:
        assert Manifest.decode(manifest.encode()) == manifest


@given(old=patterns, new=patterns, name=st.from_regex(r"\$[ab]{1,4}", fullmatch=True))
def test_a_name_that_becomes_allowed_is_in_a_widened_pattern(
    old: list[str], new: list[str], name: str
) -> None:
    from mixkit.grants import Grants
    from mixkit.package.manifest import GrantsSpec

    change = compare(GrantsSpec(ffis=old), GrantsSpec(ffis=new))
    if Grants(new).allows(name) and not Grants(old).allows(name):
        assert Grants(change.widened).allows(name)
    if Grants(old).allows(name) and not Grants(new).allows(name):
        assert Grants(change.narrowed).allows(name)


def test_the_fuzz_target_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(FUZZ), "--seconds", "2", "--seed", "1"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert first == "seed 1"
    assert int(last.split()[0]) > 50
