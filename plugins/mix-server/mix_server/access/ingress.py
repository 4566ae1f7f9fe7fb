"""Who asks, as the ingress of Snowflake's container services says it: `auth = "spcs"`.

The ingress signs people in, takes from their requests what looks like its own headers, and says in one of those who
they are. Nobody else can be told from a liar by a header, so it is believed only where the server was told to, and only
inside such a service, as its surroundings show.

A name becomes an address, which grants know a user by: one that has the form of an address is that address, and any
other is one at the account, `ADA` of the account `XY12345` for example ada@xy12345.snowflakecomputing.com. A name with
lower-case letters is another user than the same in upper case, and addresses know no case: it has none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mix_server.access.subject import subjects_of
from mix_server.auth import is_of_another_site
from mix_server.caller import Caller
from mix_server.errors import Forbidden, Unauthorized
from mixkit.errors import ProfileError

if TYPE_CHECKING:
    from mix_server.request import Request

__all__ = ["USER", "Ingress", "SessionToken", "account_of"]

USER: Final = "Sf-Context-Current-User"
"""The header with the user's name. There is one with an address as well, which users write into their own profile: that
nobody has verified, so it says nothing here."""

_USER: Final = USER.lower().encode()
_CONTEXT: Final = "sf-context-"
_LONGEST: Final = 255
"""Characters of a name (Snowflake's identifiers)."""
_MAX_TOKEN: Final = 64 << 10
_PLACES: Final = ("SNOWFLAKE_ACCOUNT", "SNOWFLAKE_SERVICE_NAME")
"""Variables that each container of a service has."""
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
_NAME: Final = re.compile(r"[A-Z0-9_$.+-]+(?:@[A-Z0-9-]+(?:\.[A-Z0-9-]+)+)?")


class SessionToken:
    """The token by which the service itself is known to Snowflake, in a file that Snowflake writes anew now and then.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def read(self) -> str:
        """The token of this moment.

        Raises:
            ProfileError: there is none, or what is there is none.
        """
        where = "settings.server.spcs_token_file"
        try:
            with self._path.open("rb") as file:
                data = file.read(_MAX_TOKEN + 1).strip()
        except OSError as exc:
            raise ProfileError(
                f"expected the session token of a Snowflake service in {str(self._path)!r}: {exc.strerror}",
                where,
            ) from None
        if not data or len(data) > _MAX_TOKEN or not data.isascii() or len(data.split()) != 1:
            # Nothing of it is said: it is a secret.
            raise ProfileError(
                f"expected one word of ASCII in {str(self._path)!r}, found {len(data)} bytes of something else",
                where,
            )
        return data.decode()


def account_of(environ: Mapping[str, str] = os.environ) -> str:
    """The Snowflake account in which this process runs as a container of a service, in lower case.

    Raises:
        ProfileError: it does not, as far as its variables say.
    """
    for name in _PLACES:
        if not environ.get(name):
            raise ProfileError(
                f'expected to run in a container of a Snowflake service, which has {name}, with auth = "spcs"; found '
                "no such variable: anybody could say there to be anybody. Choose another profile, as agent_server",
                "settings.server.auth",
            )
    account = environ[_PLACES[0]]
    if not _ACCOUNT.fullmatch(account):
        raise ProfileError(
            f"expected the name of an account in {_PLACES[0]}, found {account[:80]!r}", "settings.server.auth"
        )
    return account.lower()


class Ingress:
    """Knows whom the ingress has signed in.

    Args:
        account: in which it runs.
        base_url: under which browsers know the server; None for the host that they ask.
    """

    def __init__(self, account: str, base_url: str | None = None) -> None:
        self._host = f"{account.replace('_', '-')}.snowflakecomputing.com"
        self._here = () if base_url is None else (urlsplit(base_url).netloc,)

    def user(self, request: Request) -> Caller:
        """Whom the ingress says to have signed in.

        Raises:
            Unauthorized: it says nobody, or somebody else says so.
            Forbidden: another web site had the browser ask.
        """
        name = user_of(request.scope["headers"])
        if name is None:
            raise Unauthorized(f"expected the header {USER}, which Snowflake's ingress sends")
        # NOTE: a browser that is signed in at the ingress is so whoever makes it send something.
        if is_of_another_site(request, self._here):
            raise Forbidden(
                "what is signed in at the ingress is for the pages of this server, not for other web sites"
            )
        address = None
        if _NAME.fullmatch(name):
            address = name if "@" in name else f"{name}@{self._host}"
        by_name = Caller(f"sub/{name}", subjects_of(address, True))
        return by_name if by_name.email is None else Caller(by_name.email, by_name.subjects)


def user_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The name that the ingress says; None if it says none.

    Raises:
        Unauthorized: it is not said in the one way in which the ingress says it.
    """
    found: str | None = None
    seen: set[bytes] = set()
    for key, value in headers:
        name = key.decode("latin-1").lower()
        # NOTE: a proxy that takes away a header by its name may leave one that others read as the same.
        spelling = re.sub("[^a-z0-9]", "-", name)
        if not spelling.startswith(_CONTEXT):
            continue
        if spelling != name:
            raise Unauthorized(
                f"expected the headers of Snowflake's ingress, found another spelling: {name[:80]!r}"
            )
        if key in seen:
            raise Unauthorized(f"expected the header {name[:80]} once, found it twice")
        seen.add(key)
        if key == _USER:
            found = _checked(value)
    return found


def _checked(value: bytes) -> str:
    name = value.decode("latin-1")
    if (
        not name
        or len(name) > _LONGEST
        or not name.isascii()
        or not name.isprintable()
        or name != name.strip()
    ):
        raise Unauthorized(f"expected 1 to {_LONGEST} printable ASCII characters in the header {USER}")
    return name
