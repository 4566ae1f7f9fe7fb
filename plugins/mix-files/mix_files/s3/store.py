"""What obstore is told of the store, and what its errors mean."""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mix_files.s3.gate import Gate
from mix_files.settings import FilesSettings
from mixkit.errors import FileError, PluginError, ProfileError

if TYPE_CHECKING:
    from obstore.store import S3Store

__all__ = ["Refused", "Store"]

_STATUS: Final = re.compile(r"non-2xx status code: (\d{3})")
_PART: Final = 8 << 20
_PROBE: Final = "probe/"


_began: set[int] = set()
"""The process that began to use obstore. Its threads do not survive a fork, and a child would wait for them."""


class Refused(Exception):
    """The store did not find the object to be as a condition says."""


class Store:
    """A connection to the store; of one process."""

    def __init__(self, settings: FilesSettings) -> None:
        try:
            import obstore
            from obstore.store import S3Store
        except ImportError as exc:
            raise PluginError(
                f"the file system s3 needs obstore ({exc}); install mix-files[s3]", "files"
            ) from None
        settings.s3_credentials()
        self.process = os.getpid()
        if _began - {self.process}:
            raise FileError(
                "the file system s3 was used before this process was forked, and cannot be used in it; start workers "
                "before anything is done with files"
            )
        _began.add(self.process)
        self._settings = settings
        self._obstore = obstore
        target = settings.s3_target()
        hosts = {(target.host, target.port), (f"{settings.s3_bucket}.{target.host}", target.port)}
        self._where = target.netloc
        self._gate = Gate(frozenset(hosts), target.scheme, settings.s3_policy(), settings.s3_timeout)
        weakref.finalize(self, self._gate.close)
        seconds = f"{round(settings.s3_timeout * 1000)}ms"
        # Whatever is not said here, and below, obstore takes from variables of the environment.
        options: dict[str, Any] = {
            "proxy_url": self._gate.url,
            "proxy_excludes": "",
            "allow_invalid_certificates": False,
            "allow_http": target.scheme == "http",
            "connect_timeout": seconds,
            "read_timeout": seconds,
            # Of a request as a whole: no part of a file is larger than `_PART`.
            "timeout": f"{round(settings.s3_timeout * 4000)}ms",
        }
        if settings.s3_ca_file:
            try:
                options["root_certificate"] = Path(settings.s3_ca_file).read_bytes()
            except OSError as exc:
                raise ProfileError(f"cannot be read: {exc.strerror}", "settings.files.s3_ca_file") from None
        host = f"{settings.s3_bucket}.{target.netloc}" if settings.s3_virtual_hosts else target.netloc
        self.objects: S3Store = S3Store(
            settings.s3_bucket,
            endpoint=f"{target.scheme}://{host}",
            aws_endpoint_url_s3=f"{target.scheme}://{host}",
            region=settings.s3_region,
            virtual_hosted_style_request=settings.s3_virtual_hosts,
            conditional_put="etag",
            s3_express=False,
            skip_signature=False,
            unsigned_payload=False,
            client_options=options,  # type: ignore[arg-type]
            # Given so that obstore asks neither its own variables nor a metadata service for others.
            credential_provider=_Credentials(settings),
            retry_config={
                "max_retries": 2,
                "retry_timeout": timedelta(seconds=settings.s3_timeout),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=50),
                    "max_backoff": timedelta(seconds=1),
                    "base": 2,
                },
            },
        )
        self._conditions: bool | None = None

    # -- objects --------------------------------------------------------------------------------

    async def head(self, key: str) -> Any | None:
        """What the store says of an object, None if there is none."""
        try:
            with self.explained("look at", key):
                return await self._obstore.head_async(self.objects, key)
        except FileNotFoundError:
            return None

    async def tail(self, key: str, size: int) -> tuple[Any, bytes] | None:
        """What the store says of an object, and its last bytes; None if there is none."""
        try:
            with self.explained("read", key):
                found = await self._obstore.get_async(self.objects, key, options={"range": {"suffix": size}})
                return found.meta, bytes(await found.bytes_async())
        except FileNotFoundError:
            return None

    async def part(self, key: str, etag: str, start: int, stop: int) -> bytes:
        """A part of that version. `Refused` if there is another, or none any more."""
        try:
            with self.explained("read", key):
                options: Any = {"if_match": f'"{etag}"', "range": (start, stop)}
                found = await self._obstore.get_async(self.objects, key, options=options)
                return bytes(await found.bytes_async())
        except FileNotFoundError:
            raise Refused from None

    async def put(self, key: str, body: Any, *, only_if: str | None, multipart: bool = False) -> str:
        """Store an object, and answer its ETag. `Refused` if the store heeds the condition and it does not hold."""
        mode: Any = "overwrite"
        if only_if is not None and not multipart and await self.heeds_conditions():
            mode = {"e_tag": f'"{only_if}"'} if only_if else "create"
        with self.explained("write", key), self._in_bucket():
            stored = await self._obstore.put_async(
                self.objects,
                key,
                body,
                mode=mode,
                use_multipart=multipart,
                chunk_size=_PART,
                max_concurrency=2,
            )
        etag = stored["e_tag"]
        if not etag:
            raise FileError(
                f"the store {self._where} does not say the ETag of what it stored; it cannot be used"
            )
        return etag.strip('"')

    async def delete(self, key: str) -> None:
        """Delete an object, for good when it answers."""
        with self.explained("delete", key):
            await self._obstore.delete_async(self.objects, key)

    def list(self, folder: str, after: str | None = None, chunk: int = 1_000) -> Any:
        """Chunks of what the store says of the objects in a folder, behind a key: an iterator of both kinds."""
        return self._obstore.list(self.objects, folder, offset=after, chunk_size=chunk)

    def remove(self, folder: str) -> None:
        """Delete all objects in a folder. Blocks."""
        with self.explained("delete", folder):
            for chunk in self.list(folder):
                self._obstore.delete(self.objects, [found["path"] for found in chunk])

    async def heeds_conditions(self) -> bool:
        """Whether a put under `If-None-Match: *` is refused where there is an object: tried once in a process."""
        if self._conditions is None:
            key = f"{self._settings.s3_prefix}{_PROBE}{os.urandom(12).hex()}"
            with self.explained("write", key), self._in_bucket():
                self._conditions = await self._heeds(key)
            await self.delete(key)
        return self._conditions

    async def _heeds(self, key: str) -> bool:
        put = self._obstore.put_async
        try:
            await put(self.objects, key, b"1", mode="create", use_multipart=False)
            await put(self.objects, key, b"2", mode="create", use_multipart=False)
        except self._obstore.exceptions.AlreadyExistsError:
            return True
        except self._obstore.exceptions.BaseError as exc:
            if _status(exc) not in (400, 501):
                raise
        return False

    # -- errors ---------------------------------------------------------------------------------

    @contextmanager
    def explained(self, what: str, key: str) -> Iterator[None]:
        """What obstore says, as `FileError`, without its words: they have addresses and what the store sent."""
        errors = self._obstore.exceptions
        try:
            yield
        except FileNotFoundError:
            raise
        except (errors.AlreadyExistsError, errors.PreconditionError):
            raise Refused from None
        except errors.BaseError as exc:
            raise FileError(f"cannot {what} a file in the store {self._where}: {self._reason(exc)}") from None

    @contextmanager
    def _in_bucket(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise FileError(f"cannot use the store {self._where}: {self._no_bucket}") from None

    @property
    def _no_bucket(self) -> str:
        return (
            f"there is no bucket {self._settings.s3_bucket!r}; make it, or look at settings.files.s3_bucket"
        )

    def _reason(self, exc: Exception) -> str:
        refused = self._gate.refused
        status = _status(exc)
        if refused:
            return f"{refused}; look at settings.files.s3_endpoint and s3_allow_private"
        if status == 403 or status == 401:
            return (
                f"it refuses the credentials ({status}); look at settings.files.s3_access_key and its secret"
            )
        if status == 404:
            return self._no_bucket
        if status is not None:
            return f"it answered {status}; try again later"
        if "InvalidCertificate" in str(exc):
            return "its TLS certificate is not valid; look at settings.files.s3_endpoint and s3_ca_file"
        return f"it is not to be reached, or has not answered within {self._settings.s3_timeout:g} s; try again later"


class _Credentials:
    """What requests are signed with. Says nothing of itself."""

    def __init__(self, settings: FilesSettings) -> None:
        self._settings = settings

    def __call__(self) -> Any:
        access, secret, session = self._settings.s3_credentials()
        return {
            "access_key_id": access,
            "secret_access_key": secret,
            "token": session or None,
            "expires_at": None,
        }


def _status(exc: Exception) -> int | None:
    found = _STATUS.search(str(exc))
    return int(found[1]) if found else None
