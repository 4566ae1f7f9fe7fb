"""What others do to the folder meanwhile: links, pipes, kills, races, other processes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mix_files import trailer
from mix_files.backends import StdFileSystem
from mix_files.folder import Folder
from mix_files.settings import FilesSettings

from mixkit.errors import FileConflict, FileError, FilesFull, NotFound, PathError
from mixkit.filesystem import ABSENT, Files
from mixkit.storage import Place
from mixkit.testing.descriptors import descriptors
from mixkit.testing.filesystem_suite import content

SECRET = b"nobody's"


@pytest.fixture
def files(place: Place) -> Files:
    return StdFileSystem().open(place)


@pytest.fixture
def names(place: Place) -> Path:
    """The folder with the names; what it is in is there already."""
    folder = place.home / "files" / "names"
    folder.mkdir(parents=True)
    (place.home / "files" / "new").mkdir()
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that no app may see, with a file as mixkit makes them."""
    asyncio.run(StdFileSystem().open(Place("x", "y", tmp_path / "other")).put("/a/secret", SECRET))
    return tmp_path / "other" / "files" / "names" / "a.d"


def _bytes_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


async def _refused(files: Files, path: str) -> None:
    for call in (
        files.stat(path), files.read(path), files.copy(path, "/copy"), files.put(path, b"x"),
        files.put(path, b"x", only_if=ABSENT),
        files.delete(path), files.rename(path, "/renamed"),
    ):  # fmt: skip
        with pytest.raises(FileError):
            await call


# -- what is planted ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["link", "hard link", "dangling", "folder", "pipe", "loop"])
async def test_what_is_no_file_of_ours(files: Files, names: Path, outside: Path, kind: str) -> None:
    there = names / "a.f"
    match kind:
        case "link":
            there.symlink_to(outside / "secret.f")
        case "hard link":
            there.hardlink_to(outside / "secret.f")
        case "dangling":
            there.symlink_to(outside / "none")
        case "folder":
            there.mkdir()
        case "pipe":
            os.mkfifo(there)
        case "loop":
            there.symlink_to(there)
    before = _bytes_below(outside)
    await asyncio.wait_for(_refused(files, "/a"), 30)
    assert [info.path for info in (await files.list()).files] == []
    await files.put("/b", b"x")
    with pytest.raises(FileError):
        await files.rename("/b", "/a")
    assert _bytes_below(outside) == before
    assert (await files.usage()).files == 1


@pytest.mark.parametrize("level", ["names", "files", "folder", "deep", "new"])
async def test_links_in_place_of_folders(
    files: Files, place: Place, names: Path, outside: Path, level: str
) -> None:
    await files.put("/f/g/secret", b"x")
    there = {
        "names": names, "files": place.home / "files", "folder": names / "f.d", "deep": names / "f.d" / "g.d",
        "new": place.home / "files" / "new",
    }[level]  # fmt: skip
    os.rename(there, there.with_name("moved"))  # noqa: PTH104
    there.symlink_to({"names": outside.parent, "files": outside.parent.parent}.get(level, outside))
    before = _bytes_below(outside.parent)
    for path in ("/a/secret", "/f/secret", "/f/g/secret"):
        calls = (files.put(path, b"x"), files.delete(path), files.rename(path, "/x"), content(files, path))
        for found in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(found, BaseException):
                assert isinstance(found, FileError | NotFound)
            else:
                assert found != SECRET
    assert _bytes_below(outside.parent) == before
    # And where the link is, nothing goes on.
    with pytest.raises(FileError):
        await files.put("/f/g/secret", b"x")


async def test_what_an_operator_puts_there_is_not_served(files: Files, names: Path) -> None:
    (names / "a.f").write_bytes(SECRET)
    (names / "b.f").write_bytes(SECRET * 10_000)
    (names / "c.f").write_bytes(bytes(trailer.SIZE))
    (names / "plain").write_bytes(SECRET)
    for path in ("/a", "/b", "/c"):
        with pytest.raises(FileError, match="expected a file of mixkit's"):
            await files.read(path)
    with pytest.raises(NotFound):
        await files.read("/plain")


@pytest.mark.parametrize("at", [-1, -20, -trailer.SIZE, -trailer.SIZE + 10])
async def test_a_file_that_was_cut_or_changed(files: Files, place: Place, at: int) -> None:
    await files.put("/a", b"hello", metadata={"n": "1"})
    there = place.home / "files" / "names" / "a.f"
    whole = there.read_bytes()
    changed = bytearray(whole)
    changed[at] ^= 1
    for broken in (bytes(changed), whole[:at], whole + b"x", whole[1:]):
        there.write_bytes(broken)
        with pytest.raises(FileError, match="expected a file of mixkit's"):
            await files.stat("/a")
    there.write_bytes(whole)
    assert await content(files, "/a") == b"hello"


async def test_a_hash_that_was_lost_is_computed(files: Files, place: Place) -> None:
    info = await files.put("/a", b"x" * 300_000)
    there = place.home / "files" / "names" / "a.f"
    raw = bytearray(there.read_bytes())
    at = 300_000 + trailer.HASH_AT
    for lost in (bytes(32), raw[at : at + 31] + b"x", b"\xff" * 32):
        raw[at : at + 32] = lost
        there.write_bytes(raw)
        assert (await files.stat("/a")).sha256 == info.sha256


async def test_numbers_that_were_lost_are_counted(files: Files, place: Place) -> None:
    await files.put("/a/b", b"123")
    state = place.home / "files" / "state"
    for damage in (b"", b"\xff" * 38, state.read_bytes()[:4] + b"\x01" + state.read_bytes()[5:]):
        state.write_bytes(damage)
        usage = await files.usage()
        assert (usage.files, usage.bytes) == (1, 3)
    await files.put("/c", b"1")
    state.unlink()
    state.symlink_to(place.home / "elsewhere")
    for call in (files.put("/d", b""), files.delete("/c"), files.usage()):
        with pytest.raises(FileError):
            await call
    assert not (place.home / "elsewhere").exists()


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["..", ".", "", "a", "a.f", "a.d", "names", "files", "/", "~", "\\", "%2e%2e", "\x00"]
        ),
        max_size=8,
    )
)
def test_no_spelling_leads_out(place: Place, parts: list[str]) -> None:
    folder = Folder(place, FilesSettings())
    with suppress(PathError):
        folder.put("/" + "/".join(parts), b"x", "text/plain", None, None)
    inside = place.home / "files"
    found = [path for path in place.home.parent.parent.rglob("*") if path.is_file()]
    assert all(path.is_relative_to(inside / "names") or path == inside / "state" for path in found)


# -- races --------------------------------------------------------------------------------------------


def test_folders_that_become_links_and_back(place: Place, outside: Path) -> None:
    folder = Folder(place, FilesSettings())
    folder.put("/a/secret", b"mine", "text/plain", None, None)
    names = place.home / "files" / "names"
    before = _bytes_below(outside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(names / "a.d", names / "moved")  # noqa: PTH104
            (names / "a.d").symlink_to(outside)
            (names / "a.d").unlink()
            os.rename(names / "moved", names / "a.d")  # noqa: PTH104

    thread = threading.Thread(target=swap)
    thread.start()
    seen = set()
    try:
        until = time.monotonic() + 0.4
        while time.monotonic() < until:
            try:
                reading = folder.read("/a/secret", 0, None, None)
            except (FileError, NotFound):
                continue
            seen.add(reading.at_hand(100))
            reading.close()
    finally:
        stop.set()
        thread.join()
    assert seen <= {b"mine"}
    assert _bytes_below(outside) == before


def test_threads_that_do_everything_at_once_leave_right_numbers(place: Place) -> None:
    paths = ["/a", "/a/b", "/a/b/c", "/d/e"]
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        folder, chance = Folder(place, FilesSettings(max_bytes=20_000)), random.Random(seed)
        for _ in range(60):
            one, other = chance.sample(paths, 2)
            try:
                match chance.randrange(5):
                    case 0 | 1:
                        folder.put(one, bytes(chance.randrange(9_000)), "text/plain", None, None)
                    case 2:
                        folder.delete(one, None)
                    case 3:
                        folder.rename(one, other, chance.choice([None, ABSENT]))
                    case 4:
                        folder.copy(one, other, None, None, chance.choice([None, ABSENT]))
            except (NotFound, FileConflict, FilesFull):
                continue
            except BaseException as exc:
                failures.append(exc)
                return

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    folder = Folder(place, FilesSettings())
    found = folder.list("/", None, 100).files
    usage = folder.usage()
    (place.home / "files" / "state").unlink()
    assert (usage.files, usage.bytes) == (len(found), sum(info.size for info in found))
    assert folder.usage().bytes == usage.bytes <= 20_000
    for info in found:
        folder.delete(info.path, None)
    assert list((place.home / "files" / "names").iterdir()) == []
    assert list((place.home / "files" / "new").iterdir()) == []


# -- other processes ----------------------------------------------------------------------------------

_COMMON = """
import os, sys
from pathlib import Path
from mix_files.folder import Folder
from mix_files.settings import FilesSettings
from mixkit.errors import FileConflict, FilesFull
from mixkit.storage import Place
folder = Folder(Place("office", "notes", Path(sys.argv[1])), FilesSettings(max_bytes=int(sys.argv[2])))
print("ready", flush=True)
sys.stdin.readline()
"""

_CREATE = (
    _COMMON
    + """
won = []
for number in range(20):
    try:
        folder.put(f"/{number}", str(os.getpid()).encode(), "text/plain", None, "")
        won.append(number)
    except FileConflict:
        pass
print(*won)
"""
)

_FILL = (
    _COMMON
    + """
stored = 0
for number in range(40):
    try:
        folder.put(f"/{os.getpid()}-{number}", bytes(97), "text/plain", None, None)
        stored += 1
    except FilesFull:
        pass
print(stored)
"""
)

_WRITE = (
    _COMMON
    + """
for number in range(100_000):
    data = (b"%08d" % number) * 40_000
    folder.put("/a", data, "text/plain", None, None)
    print(number, flush=True)
"""
)


def _start(script: str, home: Path, bytes: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(home), str(bytes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _together(script: str, home: Path, bytes: int = 0) -> list[str]:
    """What four processes print that begin at once."""
    started = [_start(script, home, bytes) for _ in range(4)]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    found = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0] * 4
    return found


def test_of_four_processes_one_creates_a_file(place: Place) -> None:
    won = [line.split() for line in _together(_CREATE, place.home)]
    assert sorted(int(number) for numbers in won for number in numbers) == list(range(20))
    usage = Folder(place, FilesSettings()).usage()
    assert usage.files == 20


def test_four_processes_do_not_get_more_than_the_quota(place: Place) -> None:
    stored = sum(int(line) for line in _together(_FILL, place.home, 10_000))
    usage = Folder(place, FilesSettings()).usage()
    assert (usage.files, usage.bytes) == (stored, stored * 97)
    # Each of what was under way when somebody was refused may have been taken; no more than that is left over.
    assert 10_000 - 4 * 97 - 97 < usage.bytes <= 10_000


def _kill_while_writing(place: Place, seconds: float) -> int:
    """Kill a process that replaces a file again and again. Answers the number that was acknowledged last."""
    process = _start(_WRITE, place.home)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()
    lines = [process.stdout.readline()]
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    lines += process.stdout.read().splitlines()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    return int([line for line in lines if line.strip()][-1])


def test_processes_that_are_killed_lose_nothing_and_leave_nothing(place: Place) -> None:
    folder = Folder(place, FilesSettings())
    for attempt in range(3):
        last = _kill_while_writing(place, 0.006 * attempt)
        reading = folder.read("/a", 0, None, None)
        data = reading.at_hand(1 << 20)
        reading.close()
        assert data is not None
        number = int(data[:8])
        # What was not acknowledged may be there, whole.
        assert number in (last, last + 1)
        assert data == (b"%08d" % number) * 40_000
        folder.put("/b", b"x", "text/plain", None, None)
        assert list((place.home / "files" / "new").iterdir()) == [], "leftovers are swept"
        usage = folder.usage()
        assert (usage.files, usage.bytes) == (2, 320_001)


def test_what_somebody_still_writes_is_not_swept(place: Place) -> None:
    folder = Folder(place, FilesSettings())
    written = folder.begin("/a", "text/plain", None, None)
    written.write(b"hello")
    leftover = place.home / "files" / "new" / "0123456789abcdef01234567"
    leftover.write_bytes(b"half")
    done = subprocess.run(
        [sys.executable, "-c", _COMMON + 'folder.put("/b", b"x", "text/plain", None, None)', str(place.home), "0"],
        input="\n", text=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not leftover.exists()
    assert written.commit().size == 5
    written.abort()


def test_a_disk_that_fails_leaves_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(place, FilesSettings())
    folder.put("/a", b"old", "text/plain", None, None)
    real: dict[str, Callable[..., object]] = {}

    def fail(name: str) -> None:
        def failing(*args: object, **options: object) -> object:
            raise OSError(28, "No space left on device")

        real[name] = getattr(os, name)
        monkeypatch.setattr(os, name, failing)

    for name in ("pwrite", "fsync", "rename", "ftruncate"):
        fail(name)
        with pytest.raises(FileError, match="the disk of the server is full"):
            folder.put("/a", b"new" * 200_000, "text/plain", None, None)
        monkeypatch.setattr(os, name, real[name])
        reading = folder.read("/a", 0, None, None)
        assert reading.at_hand(100) == b"old"
        reading.close()
        assert list((place.home / "files" / "new").iterdir()) == []
        assert folder.usage().bytes == 3


def test_descriptors_are_given_back(place: Place) -> None:
    folder = Folder(place, FilesSettings(max_files=3))

    def rounds() -> None:
        for number in range(30):
            for call in (
                partial(folder.put, f"/a/{number}", b"x", "text/plain", None, None),
                lambda: folder.put("/a/b", b"x", "text/plain", None, "none"),
                lambda: folder.read("/a/b", 0, None, "none"),
                lambda: folder.stat("/none/none"),
                lambda: folder.delete("/a/0", None),
                lambda: folder.rename("/a/b", "/x/y", None),
                lambda: folder.copy("/x/y", "/a/b", None, None, "none"),
                lambda: folder.begin("/u", "text/plain", None, None).abort(),
                lambda: folder.begin("/a/b/c", "text/plain", None, "none"),
                lambda: folder.list("/a", None, 1),
            ):
                try:
                    call()
                except (FileError, NotFound):
                    continue

    rounds()
    before = len(descriptors(str(place.home)))
    rounds()
    assert len(descriptors(str(place.home))) <= before


_CALLS = (
    "open",
    "pwrite",
    "fsync",
    "ftruncate",
    "utime",
    "rename",
    "unlink",
    "mkdir",
    "rmdir",
    "copy_file_range",
)


def _killed_at(number: int, work: Callable[[], object]) -> bool:
    """Do something in a process that kills itself before its call of that number to the system. Whether it did."""
    child = os.fork()
    if child == 0:
        count = 0

        def counted(real: Callable[..., object]) -> Callable[..., object]:
            def call(*args: object, **options: object) -> object:
                nonlocal count
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **options)

            return call

        for name in _CALLS:
            setattr(os, name, counted(getattr(os, name)))
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("what", ["new", "replaced", "deleted", "renamed", "copied", "long"])
def test_killed_at_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    # Who is killed takes nothing from the disk; this is not about the loss of power.
    monkeypatch.setattr(os, "fsync", lambda file: None)
    old, new = b"old" * 100, b"new" * 200_000

    def long(folder: Folder) -> None:
        written = folder.begin("/x/y", "text/plain", None, None)
        for start in range(0, len(new), 100_000):
            written.write(new[start : start + 100_000])
        written.commit()

    works: dict[str, Callable[[Folder], object]] = {
        "new": lambda folder: folder.put("/x/y", new, "text/plain", None, ABSENT),
        "replaced": lambda folder: folder.put("/a/b", new, "text/plain", None, None),
        "deleted": lambda folder: folder.delete("/a/b", None),
        "renamed": lambda folder: folder.rename("/a/b", "/x/y", None),
        "copied": lambda folder: folder.copy("/a/b", "/x/y", None, None, None),
        "long": long,
    }
    before = {"/a/b": old}
    after = {
        "new": before | {"/x/y": new}, "replaced": {"/a/b": new}, "deleted": {}, "renamed": {"/x/y": old},
        "copied": before | {"/x/y": old}, "long": before | {"/x/y": new},
    }[what]  # fmt: skip
    seen = []
    for number in range(1, 200):
        home = tmp_path / f"app.{number}" / "data"
        home.mkdir(parents=True)
        folder = Folder(Place("office", "app", home), FilesSettings())
        folder.put("/a/b", old, "text/plain", None, None)
        if not _killed_at(number, partial(works[what], folder)):
            break
        found = {}
        for info in folder.list("/", None, 10).files:
            reading = folder.read(info.path, 0, None, None)
            found[info.path] = reading.at_hand(1 << 20)
            reading.close()
        assert found in (before, after), number
        usage = folder.usage()
        assert (usage.files, usage.bytes) == (len(found), sum(len(data or b"") for data in found.values()))
        folder.put("/next", b"", "text/plain", None, ABSENT)
        assert list((home / "files" / "new").iterdir()) == [], number
        seen.append(found == after)
    assert len(seen) > 5
    # Once it has happened, it stays so.
    assert seen == sorted(seen)
    assert seen[-1]
