"""Which version of a file a request is to replace or remove: its conditions, and `force`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mix_server.errors import BadRequest, PreconditionFailed, Refusal
from mix_server.match import tags_of
from mixkit.errors import FileConflict, NotFound
from mixkit.filesystem import ABSENT

if TYPE_CHECKING:
    from mix_server.request import Request
    from mixkit.filesystem import FileInfo, Files

__all__ = ["There", "Wanted", "condition_of", "flag"]


class There(Refusal):
    """There is a file of that path, which the request does not say to replace."""

    status = 409

    def __init__(self, path: str) -> None:
        super().__init__(
            f"there is a file {path!r:.200} already; force=true replaces it, If-Match one version"
        )


class Wanted:
    """What a request says of the file that is there.

    Attributes:
        only_if: as `Files` take it.
        found: the file that was there when it was judged; None if there was none.
    """

    def __init__(self, only_if: str | None, found: FileInfo | None, *, conditional: bool) -> None:
        self.only_if = only_if
        self.found = found
        self._conditional = conditional

    def refusal(self, path: str, exc: FileConflict) -> Exception:
        """What to answer if it is not so any more."""
        if self._conditional:
            return PreconditionFailed(f"If-Match and If-None-Match do not hold any more: {exc}")
        return There(path)


async def condition_of(req: Request, files: Files, path: str, *, force: bool) -> Wanted:
    """What a request says of the file of a path that it would replace or remove.

    Args:
        force: any version will do where the request has no condition; there must be no file without it.

    Raises:
        PreconditionFailed: it does not hold, or is none that is done here.
        There: there is a file, which is not to be replaced.
        BadRequest: it is one too many.
    """
    wanted, unwanted = req.get_header("If-Match"), req.get_header("If-None-Match")
    conditional = wanted is not None or unwanted is not None
    if not conditional and req.get_header("If-Unmodified-Since") is not None:
        # Seconds do not tell the versions of a file apart.
        raise PreconditionFailed("If-Unmodified-Since is not done here; send If-Match with the ETag")
    if conditional and force and req.method != "DELETE":
        raise BadRequest(
            "expected force or If-Match, found both: one replaces whatever there is, one a version"
        )
    required = None if wanted is None else tags_of("If-Match", wanted)
    refused = None if unwanted is None else tags_of("If-None-Match", unwanted)
    try:
        found = await files.stat(path)
    except NotFound:
        found = None
    tags: Final = {"*", f'"{found.etag}"'} if found is not None else set()
    if required is not None and tags.isdisjoint(required):
        raise PreconditionFailed(
            "expected the version of the file that If-Match names, found another one, or none"
        )
    if refused is not None and not tags.isdisjoint(tag.removeprefix("W/") for tag in refused):
        raise PreconditionFailed(
            "expected no file, or none of the versions that If-None-Match names; found one"
        )
    if conditional:
        only_if: str | None = ABSENT if found is None else found.etag
    else:
        if found is not None and not force:
            raise There(path)
        only_if = None if force else ABSENT
    return Wanted(only_if, found, conditional=conditional)


def flag(req: Request, name: str) -> bool:
    """An option of the query string that is true or false. `BadRequest` for others."""
    text = req.get_param(name)
    if text in (None, "false", "true"):
        return text == "true"
    raise BadRequest(f"expected {name}=true or {name}=false, found {text!r:.40}")
