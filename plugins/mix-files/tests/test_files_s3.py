"""Files in a bucket: the contract over moto's server, a process on loopback."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from mix_files.s3.doctor import checks
from mix_files.s3.files import S3FileSystem
from mix_files.settings import FilesSettings

from mixkit import egress
from mixkit.errors import FileConflict, FileError, NotFound, PathError, ProfileError
from mixkit.filesystem import ABSENT, FileSystem
from mixkit.storage import Place
from mixkit.testing.filesystem_suite import FileSystemQuotaSuite, FileSystemSuite, content

KEY, SECRET = "AKIAOFTHETESTS", "hidden/secret+of=tests"


class Moto:
    """A store on a free port of loopback, with the bucket `shelf`; it may be killed and started again, empty."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        self.client().create_bucket(Bucket="shelf")

    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )

    def settings(self, **more: Any) -> FilesSettings:
        """For a part of the bucket that nobody else has."""
        given = {
            "s3_bucket": "shelf",
            "s3_prefix": f"{secrets.token_hex(6)}/",
            "s3_endpoint": f"http://127.0.0.1:{self.port}",
            "s3_access_key": KEY,
            "s3_secret_key": SECRET,
            "dangerous_s3_mode": True,
        }
        return FilesSettings(**{**given, **more})

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    moto = Moto()
    yield moto
    moto.kill()


class TestS3(FileSystemSuite, FileSystemQuotaSuite):
    @pytest.fixture
    def make_filesystem(self, moto: Moto) -> Callable[[], FileSystem]:
        settings = moto.settings()
        return lambda: S3FileSystem(settings)

    @pytest.fixture
    def make_bounded(self, moto: Moto) -> Callable[[int, int], FileSystem]:
        return lambda files, bytes: S3FileSystem(moto.settings(max_files=files, max_bytes=bytes))


# -- what only a store does -------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Place:
    home = tmp_path / "notes.0123abcd" / "data"
    home.mkdir(parents=True)
    return Place("office", "notes", home)


async def test_keys_are_the_paths(moto: Moto, place: Place) -> None:
    settings = moto.settings()
    files = S3FileSystem(settings).open(place)
    for path in ("/a", "/a/b", "/å b/%2F"):
        await files.put(path, b"x")
    for path in ("/a//b", "/a/", "/../a"):
        with pytest.raises(PathError):
            await files.put(path, b"x")
    found = moto.client().list_objects_v2(Bucket="shelf", Prefix=settings.s3_prefix)["Contents"]
    root = f"{settings.s3_prefix}office/notes.0123abcd"
    assert [entry["Key"] for entry in found] == [f"{root}/a", f"{root}/a/b", f"{root}/å b/%2F"]


async def test_a_long_file_goes_in_parts_that_nobody_sees(moto: Moto, place: Place) -> None:
    settings = moto.settings()
    files = S3FileSystem(settings).open(place)
    data = os.urandom(1 << 20)
    upload = await files.begin("/a", only_if=ABSENT)
    for _ in range(20):
        await upload.write(data)
    assert (await files.list("/")).files == []
    info = await upload.commit()
    assert info.size == 20 << 20 and info == await files.stat("/a")
    reading = await files.read("/a", start=(9 << 20) + 5, stop=(9 << 20) + 10)
    assert await reading.read() == data[5:10]
    await reading.close()
    copy = await files.copy("/a", "/b", content_type="text/plain")
    assert copy.sha256 == info.sha256
    moved = await files.rename("/b", "/c/d")
    assert (moved.sha256, moved.content_type) == (info.sha256, "text/plain")
    assert [found.path for found in (await files.list("/")).files] == ["/a", "/c/d"]
    assert (await files.usage()).bytes == 40 << 20
    # Its condition is judged at the end, and what is not stored leaves no parts.
    late = await files.begin("/e", only_if=ABSENT)
    await late.write(data * 9)
    await files.put("/e", b"first")
    with pytest.raises(FileConflict):
        await late.commit()
    left = await files.begin("/f")
    await left.write(data * 9)
    await left.abort()
    assert await content(files, "/e") == b"first"
    assert not moto.client().list_multipart_uploads(Bucket="shelf").get("Uploads")
    usage = await files.usage()
    assert (usage.files, usage.bytes) == (3, (40 << 20) + 5)


async def test_a_store_that_does_not_heed_conditions(moto: Moto, place: Place) -> None:
    """The locks decide, in this process as in others."""
    one, other = (S3FileSystem(moto.settings(s3_prefix="heedless/")) for _ in range(2))
    for filesystem in (one, other):
        filesystem.store()._conditions = False
    for turn in range(3):
        found = await asyncio.gather(
            *(
                filesystem.open(place).put("/a", f"{turn}-{number}".encode(), only_if=ABSENT)
                for number in range(4)
                for filesystem in (one, other)
            ),
            return_exceptions=True,
        )
        assert sum(not isinstance(answer, FileConflict) for answer in found) == 1, found
        await one.open(place).delete("/a")


@pytest.mark.parametrize(("second", "heeds"), [(412, True), (200, False), (501, False)])
async def test_whether_a_store_heeds_conditions_is_tried(second: int, heeds: bool) -> None:
    asked: list[str] = []

    def answer(method: str, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str]]:
        asked.append(f"{method} {headers.get('if-none-match', '')}".strip())
        if method == "PUT":
            return (200 if len(asked) == 1 and second != 501 else second), {"etag": '"1"'}
        return 200, {}

    with _store(answer) as settings:
        assert await S3FileSystem(settings).store().heeds_conditions() is heeds
    # What failed inside the store is tried again.
    assert asked == ["PUT *"] * (3 if second == 501 else 2) + ["POST"]


async def test_writes_of_a_killed_process_are_counted_anew(moto: Moto, place: Place) -> None:
    filesystem = S3FileSystem(moto.settings())
    files = filesystem.open(place)
    await files.put("/a", bytes(100))
    # It stored a file and was killed before it could say so.
    claim = files.shelf.book.claim(70, new=True, freed=0)
    stranger = S3FileSystem(msgspec.structs.replace(filesystem._settings))
    await stranger.open(Place("office", "notes", place.home)).put("/b", bytes(70))
    os.truncate(place.home / "s3" / "state", 0)
    claim.leave()
    usage = await files.usage()
    assert (usage.files, usage.bytes) == (2, 170)
    assert list((place.home / "s3" / "new").iterdir()) == []


async def test_what_others_put_into_the_bucket(moto: Moto, place: Place) -> None:
    settings = moto.settings()
    files = S3FileSystem(settings).open(place)
    await files.put("/a", b"x")
    root = f"{settings.s3_prefix}office/notes.0123abcd"
    for key in (f"{root}/short", f"{root}/a/"):
        moto.client().put_object(Bucket="shelf", Key=key, Body=b"x")
    moto.client().put_object(Bucket="shelf", Key=f"{root}/long", Body=bytes(5_000))
    assert [info.path for info in (await files.list("/")).files] == ["/a", "/long"]
    for path in ("/short", "/long"):
        with pytest.raises(FileError, match="not one of mixkit's"):
            await files.stat(path)
    await files.delete("/long")


# -- the store fails --------------------------------------------------------------------------------


async def test_a_store_that_is_killed(place: Place) -> None:
    moto = Moto()
    try:
        filesystem = S3FileSystem(moto.settings(s3_timeout=2))
        files = filesystem.open(place)
        await files.put("/a", b"x" * 300_000)
        upload = await files.begin("/b")
        await upload.write(bytes(9 << 20))
        reading = await files.read("/a")
        moto.kill()
        calls: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: files.stat("/a"),
            lambda: files.put("/c", b"x"),
            lambda: files.list("/"),
            lambda: files.delete("/a"),
            reading.read,
            upload.commit,
        )
        for call in calls:
            began = time.monotonic()
            with pytest.raises(FileError, match="not to be reached") as caught:
                await call()
            assert time.monotonic() - began < 30
            assert SECRET not in str(caught.value) and KEY not in str(caught.value)
        await upload.abort()
        moto.start()
        await files.put("/a", b"again")
        assert await content(files, "/a") == b"again"
    finally:
        moto.kill()


async def test_a_store_that_says_nothing(place: Place) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(16)
        settings = _settings(mute.getsockname()[1], s3_timeout=0.3)
        files = S3FileSystem(settings).open(place)
        with pytest.raises(FileError, match=r"has not answered within 0\.3 s"):
            await asyncio.wait_for(files.stat("/a"), 30)


@pytest.mark.parametrize(
    ("status", "said"),
    [(403, "refuses the credentials"), (500, "it answered 500"), (404, "no bucket 'shelf'")],
)
async def test_what_a_store_answers(place: Place, status: int, said: str) -> None:
    def answer(method: str, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str]]:
        return (404, {}) if method == "HEAD" else (status, {})

    with _store(answer) as settings:
        files = S3FileSystem(settings).open(place)
        with pytest.raises(FileError, match=said) as caught:
            await files.put("/a", b"x")
        assert SECRET not in str(caught.value) and "AWSAccess" not in str(caught.value)


# -- where it connects to ---------------------------------------------------------------------------


async def test_redirects_are_not_followed(place: Place) -> None:
    reached: list[str] = []

    def elsewhere(method: str, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str]]:
        reached.append(path)
        return 404, {}

    with _store(elsewhere) as other:

        def answer(method: str, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str]]:
            return 307, {"location": f"{other.s3_endpoint}{path}"}

        with _store(answer) as settings, pytest.raises(FileError, match="answered 307"):
            await S3FileSystem(settings).open(place).stat("/a")
    assert reached == []


async def test_over_tls_too(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate is verified, for the name that was asked for; a redirect leads nowhere."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("shelf.store.test", "store.test").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    location = ""

    async def resolve(host: str) -> list[str]:
        return ["127.0.0.1"]

    def answer(method: str, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str]]:
        seen.append((headers["host"], path.rpartition("/")[2]))
        return (307, {"location": location}) if location else (404, {})

    monkeypatch.setattr(egress, "system_resolver", resolve)
    monkeypatch.setenv("AWS_ALLOW_INVALID_CERTIFICATES", "true")
    monkeypatch.setenv("AWS_PROXY_EXCLUDES", "store.test")
    monkeypatch.setenv("NO_PROXY", "*")
    with _store(answer, context) as plain:
        port = int(plain.s3_endpoint.rpartition(":")[2])
        trusted = msgspec.structs.replace(
            plain,
            s3_endpoint=f"https://store.test:{port}",
            s3_ca_file=str(tmp_path / "ca.pem"),
            s3_timeout=3,
            dangerous_s3_mode=False,
            s3_allow_private=(f"127.0.0.1:{port}",),
        )
        for virtual, host in ((False, "store.test"), (True, "shelf.store.test")):
            seen: list[tuple[str, str]] = []
            settings = msgspec.structs.replace(trusted, s3_virtual_hosts=virtual)
            with pytest.raises(NotFound):
                await S3FileSystem(settings).open(place).stat("/a")
            assert seen == [(f"{host}:{port}", "a")]
        location = f"https://elsewhere.test:{port}/"
        with pytest.raises(FileError, match="redirect to another host"):
            await S3FileSystem(trusted).open(place).stat("/a")
        location, seen = "", []
        for other in (
            msgspec.structs.replace(trusted, s3_endpoint=f"https://other.test:{port}"),
            msgspec.structs.replace(trusted, s3_ca_file=""),
        ):
            with pytest.raises(FileError, match="certificate"):
                await S3FileSystem(other).open(place).stat("/a")
        assert seen == []


async def test_the_environment_changes_nothing(
    moto: Moto, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """obstore reads some variables by itself: proxies, whom not to ask, and what else AWS's tools know."""
    asked: list[str] = []

    async def resolve(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    monkeypatch.setattr(egress, "system_resolver", resolve)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy", "AWS_PROXY_EXCLUDES"):
        monkeypatch.setenv(name, "*,localhost,127.0.0.1")
    for name, text in {
        "AWS_ACCESS_KEY_ID": "other",
        "AWS_SECRET_ACCESS_KEY": "other",
        "AWS_SESSION_TOKEN": "other",
        "AWS_ENDPOINT": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_REGION": "nowhere-1",
        "AWS_BUCKET": "other",
        "AWS_PROXY_URL": "http://127.0.0.1:1",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
        "AWS_CONDITIONAL_PUT": "disabled",
        "AWS_ALLOW_INVALID_CERTIFICATES": "true",
        "AWS_S3_EXPRESS": "true",
        "AWS_UNSIGNED_PAYLOAD": "true",
        "AWS_DEFAULT_CONTENT_TYPE": "text/other",
    }.items():
        monkeypatch.setenv(name, text)
    filesystem = S3FileSystem(moto.settings(s3_endpoint=f"http://localhost:{moto.port}"))
    files = filesystem.open(place)
    await files.put("/a", b"x", only_if=ABSENT)
    assert await content(files, "/a") == b"x"
    assert await filesystem.store().heeds_conditions()
    assert asked and set(asked) == {"localhost"}

    def answer(method: str, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str]]:
        signed.append(headers)
        return 404, {}

    signed: list[Mapping[str, str]] = []
    with _store(answer) as settings, pytest.raises(NotFound):
        await S3FileSystem(settings).open(place).stat("/a")
    assert f"Credential={KEY}/" in signed[0]["authorization"]
    assert "/us-east-1/s3/" in signed[0]["authorization"]
    assert "x-amz-security-token" not in signed[0]
    assert signed[0]["x-amz-content-sha256"] != "UNSIGNED-PAYLOAD"


async def test_names_are_resolved_and_checked_by_us(
    moto: Moto, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    address = "127.0.0.1"

    async def resolve(host: str) -> list[str]:
        asked.append(host)
        return [address]

    monkeypatch.setattr(egress, "system_resolver", resolve)
    named = moto.settings(s3_endpoint=f"http://localhost:{moto.port}")
    await S3FileSystem(named).open(place).put("/a", b"x")
    assert set(asked) == {"localhost"}
    address = "10.1.2.3"
    closed = moto.settings(s3_endpoint="https://store.test", dangerous_s3_mode=False)
    with pytest.raises(FileError, match=r"private address.*s3_allow_private"):
        await S3FileSystem(closed).open(place).stat("/a")


async def test_nobody_else_gets_through_the_gate(moto: Moto) -> None:
    store = S3FileSystem(moto.settings()).store()
    gate = store._gate
    password = base64.b64encode(gate.url.removeprefix("http://").partition("@")[0].encode()).decode()
    known = f"Proxy-Authorization: Basic {password}\r\n"
    here = f"http://127.0.0.1:{moto.port}/"
    for line, header, status in [
        (f"GET {here} HTTP/1.1", known, b"200"),
        (f"GET {here} HTTP/1.1", "", b"403"),
        (f"GET {here} HTTP/1.1", known * 2, b"403"),
        (f"GET {here} HTTP/1.1", "Proxy-Authorization: Basic x\r\n", b"403"),
        (f"GET http://127.0.0.1:{moto.port + 1}/ HTTP/1.1", known, b"403"),
        (f"GET http://localhost:{moto.port}/ HTTP/1.1", known, b"403"),
        ("CONNECT example.com:443 HTTP/1.1", known, b"403"),
        ("CONNECT 169.254.169.254:80 HTTP/1.1", known, b"403"),
        ("nonsense", known, b"403"),
    ]:
        reader, writer = await asyncio.open_connection("127.0.0.1", gate._port)
        writer.write(f"{line}\r\n{header}\r\n".encode())
        assert (await reader.readline()).split()[1] == status, line
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"s3_endpoint": "http://example.com"}, "expected https"),
        ({"s3_endpoint": "https://10.0.0.1"}, "a private address"),
        ({"s3_endpoint": "https://169.254.169.254"}, "metadata"),
        ({"s3_endpoint": "https://u:p@example.com"}, "user name"),
        ({"s3_endpoint": "https://example.com/path"}, "no path"),
        ({"s3_bucket": "a/b"}, "bucket's name"),
        ({"s3_bucket": "A"}, "bucket's name"),
        ({"s3_prefix": "a"}, "slash behind"),
        ({"s3_prefix": "/"}, "slash behind"),
        ({"s3_prefix": "../"}, "slash behind"),
        ({"s3_access_key": "x"}, "both or none"),
        ({"s3_allow_private": ("x",)}, "address"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        FilesSettings(**settings)


def test_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    settings = FilesSettings(s3_bucket="shelf")
    with pytest.raises(ProfileError, match="AWS_ACCESS_KEY_ID"):
        S3FileSystem(settings).store()
    with pytest.raises(ProfileError, match="bucket"):
        S3FileSystem(FilesSettings())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    assert settings.s3_credentials() == ("a", "b", "")
    hidden = FilesSettings(s3_access_key=KEY, s3_secret_key=SECRET, s3_session_token="session")
    for text in (KEY, SECRET, "session'"):
        assert text not in repr(hidden) and text not in str(hidden)
    store = S3FileSystem(msgspec.structs.replace(hidden, s3_bucket="shelf")).store()
    assert SECRET not in repr(vars(store)) and KEY not in repr(store.objects)


async def test_a_fork_after_the_first_use_is_said(moto: Moto, place: Place) -> None:
    filesystem = S3FileSystem(moto.settings())
    await filesystem.open(place).put("/a", b"x")

    def forked() -> int:
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(filesystem.open(place).stat("/a"))
            except FileError as exc:
                os._exit(7 if "forked" in str(exc) else 1)
            finally:
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert await asyncio.to_thread(forked) == 7


def test_doctor(moto: Moto) -> None:
    assert checks(FilesSettings())[0].level == "error"
    found = checks(moto.settings())
    assert [check.level for check in found] == ["warning", "ok"]
    assert "heeds" in found[1].message
    refused = checks(moto.settings(s3_bucket="none"))
    assert refused[0].level == "error" and "no bucket 'none'" in refused[0].message
    assert SECRET not in str(found + refused)


Answer = Callable[[str, str, Mapping[str, str]], tuple[int, dict[str, str]]]


def _settings(port: int, **more: Any) -> FilesSettings:
    return FilesSettings(
        s3_bucket="shelf",
        s3_endpoint=f"http://127.0.0.1:{port}",
        s3_access_key=KEY,
        s3_secret_key=SECRET,
        dangerous_s3_mode=True,
        **more,
    )


@contextmanager
def _store(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[FilesSettings]:
    """Something on loopback that answers so, and says who asked."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            asked = self.rfile.read(int(self.headers.get("content-length", 0))).decode(errors="replace")
            headers = {name.lower(): text for name, text in self.headers.items()}
            status, more = answer(self.command, self.path, headers)
            silent = self.command == "HEAD" or status == 204
            text = f"<Error><AWSAccessKeyId>{KEY}</AWSAccessKeyId></Error>"
            if status == 200 and self.command == "POST":
                keys = asked[asked.index("<Key>") : asked.rindex("</Key>") + 6]
                text = f"<DeleteResult><Deleted>{keys}</Deleted></DeleteResult>"
            body = b"" if silent else text.encode()
            self.send_response(status)
            for name, text in {"content-length": str(len(body)), **more}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield _settings(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
