"""Which paths files can have: by the rule, by examples, and by a disk that is asked."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mixkit.errors import FileError, PathError
from mixkit.file_fields import check_fields
from mixkit.paths import MAX_DEPTH, MAX_NAME, MAX_PATH, check_folder, check_path
from mixkit.testing.filesystem_suite import BAD_PATHS, ODD_PATHS

_NAMES = st.text(st.sampled_from("ab./\\%2eE \x00\n\u2028åA~-"), max_size=12) | st.text(max_size=8)
_PATHS = st.lists(_NAMES, max_size=6).map("/".join) | st.lists(_NAMES, max_size=6).map(
    lambda n: "/" + "/".join(n)
)


def _allowed(path: str) -> bool:
    try:
        return check_path(path) == path
    except PathError:
        return False


@pytest.mark.parametrize("path", BAD_PATHS)
def test_bad_paths(path: str) -> None:
    with pytest.raises(PathError):
        check_path(path)


@pytest.mark.parametrize("path", ODD_PATHS)
def test_odd_paths(path: str) -> None:
    assert check_path(path) == path
    assert check_folder(path) == check_folder(path + "/") == path + "/"


@pytest.mark.parametrize("path", [None, 1, b"/a", ["/a"], Path("/a")])
def test_what_is_no_text(path: object) -> None:
    for check in (check_path, check_folder):
        with pytest.raises(PathError, match="expected a path, a string"):
            check(path)  # type: ignore[arg-type]


@settings(max_examples=500)
@given(_PATHS)
@example("/a/../b")
@example("/a%2f..")
def test_what_may_be_a_path_means_one_file_to_everybody(path: str) -> None:
    if not _allowed(path):
        return
    # Nothing that looks at paths sees another one in it: POSIX, Windows, or an XML listing.
    assert posixpath.normpath(path) == path
    names = path[1:].split("/")
    for name in names:
        assert name == name.rstrip(". \t")
        assert "\\" not in name
        assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name)
        assert 0 < len(name.encode()) <= MAX_NAME
    assert len(path.encode()) <= MAX_PATH
    assert len(names) <= MAX_DEPTH
    # It is not decoded again, however often it was encoded.
    assert check_path(quote(path)) == quote(path)
    assert unquote(quote(path)) == path


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_PATHS)
def test_what_may_be_a_path_stays_inside_on_a_disk(tmp_path: Path, path: str) -> None:
    if _allowed(path):
        found = os.path.normpath(f"{tmp_path}/{path}")
        assert found.startswith(f"{tmp_path}/")


@given(_PATHS)
def test_a_path_and_its_folders_agree(path: str) -> None:
    if _allowed(path):
        prefix = "/"
        for name in path[1:].split("/")[:-1]:
            prefix = check_folder(prefix + name)
            assert path.startswith(prefix)


@pytest.mark.parametrize("kind", ["text/plain", "image/svg+xml", 'a/b; charset="utf-8"; q=0.1', "a/b ;c=d"])
def test_content_types(kind: str) -> None:
    check_fields(kind, {})


@settings(max_examples=300)
@given(st.text(st.sampled_from('ab/;= "\r\n,é'), max_size=30))
def test_no_content_type_is_another_header(kind: str) -> None:
    try:
        check_fields(kind, {})
    except FileError:
        return
    assert kind.isascii()
    assert kind.isprintable()
    assert kind.partition("/")[0].isalnum()
