"""Where `mixkit logs` reads: the files of workspaces on this machine, or a server that is asked."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlencode, urlsplit

import click

from mixkit.activities import Activities, Position, Wanted, described
from mixkit.errors import MixError, NotFound
from mixkit.near import meant

if TYPE_CHECKING:
    from mixkit.activities import Following, Output
    from mixkit.activities.kept import Tailing
    from mixkit.package import WorkspaceStore

__all__ = ["Here", "Server", "Source"]

_MOST: Final = 1_000
_SECONDS: Final = 30.0
_LONGEST: Final = 64 << 20


class Source(Protocol):
    """Activities and lines of output, as objects; a line has `text`. The oldest first."""

    def past(self, most: int) -> list[dict[str, Any]]:
        """The newest of each workspace, at most so many activities and so many lines, and begin to follow them."""
        ...

    def more(self) -> list[dict[str, Any]]:
        """What has come since the last call."""
        ...

    def near(self, app: str, agent: str | None) -> str:
        """What to say of names of which there is nothing: those that may have been meant."""
        ...


def _sorted(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda each: str(each["time"]))


class Here:
    """The files of a directory of workspaces, whether a server runs or not.

    Args:
        workspace: None for all, with what was done in none.
    """

    def __init__(
        self, store: WorkspaceStore, activities: Activities, workspace: str | None, wanted: Wanted
    ) -> None:
        self._store = store
        self._activities = activities
        self._workspace = workspace
        self._wanted = wanted
        self._followed: dict[str | None, tuple[Following, Tailing[Output]]] = {}

    def _names(self) -> list[str | None]:
        return [None, *self._store.list()] if self._workspace is None else [self._workspace]

    def past(self, most: int) -> list[dict[str, Any]]:
        """See `Source`."""
        found: list[dict[str, Any]] = []
        kept, wanted = self._activities, self._wanted
        for name in self._names():
            latest, last_line = kept.latest(name), kept.output.latest(name)
            self._follow(name, latest, last_line)
            # None that is noted meanwhile, which is answered next.
            before = Position(*(number + 1 for number in latest))
            if most:
                activities, _ = kept.find(name, wanted, before=before, most=most)
                found += map(described, activities)
                for count, (_, line) in enumerate(kept.output.backwards(name, wanted, last_line + 1), 1):
                    found.append({"workspace": name, **described(line)})
                    if count == most:
                        break
        return _sorted(found)

    def more(self) -> list[dict[str, Any]]:
        """See `Source`. Workspaces that are new are followed too, and those that are gone no more."""
        found: list[dict[str, Any]] = []
        names = self._names()
        for name in names:
            if name not in self._followed:
                self._follow(name, Position(), -1)
        for name in self._followed.keys() - set(names):
            del self._followed[name]
        for name, (activities, output) in self._followed.items():
            found += map(described, activities.next())
            found += ({"workspace": name, **described(line)} for _, line in output.next())
        return _sorted(found)

    def near(self, app: str, agent: str | None) -> str:
        """See `Source`."""
        assert self._workspace is not None
        workspace = self._store.workspace(self._workspace)
        known = workspace.apps()
        if app not in known:
            return f" of an app {app!r}{meant(app, known)}"
        with closing(workspace.app(app)) as found:
            agents = [*found.agents]
        return (
            f" of an agent {agent!r}{meant(agent, agents)}"
            if agent is not None and agent not in agents
            else ""
        )

    def _follow(self, name: str | None, after: Position, last_line: int) -> None:
        try:
            self._followed[name] = (
                self._activities.follow(name, self._wanted, after),
                self._activities.output.follow(name, self._wanted, last_line),
            )
        except NotFound:
            # Deleted just now.
            if self._workspace is not None:
                raise


class Server:
    """A server, which is asked again and again. It is asked itself, never where it sends one, nor through a proxy.

    Args:
        url: of the server.
        token: for `Authorization`.
        workspace: None for all that the token may see.
        options: the filter, as the server's paths take it.
    """

    def __init__(
        self, url: str, token: str | None, workspace: str | None, options: Mapping[str, str]
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise click.BadParameter(
                f"expected the URL of a server, as https://agents.example.org; found {url!r}",
                param_hint="--server",
            )
        self._secure = parts.scheme == "https"
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path.rstrip("/")
        self._headers = {"Accept": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._workspace = workspace
        self._options = dict(options)
        self._latest: dict[tuple[str, str], str] = {}
        self._connection: http.client.HTTPConnection | None = None

    def past(self, most: int) -> list[dict[str, Any]]:
        """See `Source`. Raises `MixError` if the server cannot be asked, or refuses."""
        found: list[dict[str, Any]] = []
        for name in self._names():
            for kind in ("activities", "output"):
                options = self._of(kind) | {"limit": str(min(max(most, 1), _MOST))}
                page = self._page(name, kind, options)
                found += page[:most]
        return _sorted(found)

    def near(self, app: str, agent: str | None) -> str:
        """See `Source`. A server tells who may see what of it."""
        return ""

    def more(self) -> list[dict[str, Any]]:
        """See `Source`."""
        found: list[dict[str, Any]] = []
        for name in self._names():
            for kind in ("activities", "output"):
                after = self._latest.get((name, kind))
                options = {"limit": str(_MOST)} | ({"after": after} if after is not None else {})
                found += self._page(name, kind, self._of(kind) | options)
        return _sorted(found)

    def _names(self) -> list[str]:
        if self._workspace is not None:
            return [self._workspace]
        names: list[str] = self._get("/v1/ws")["workspaces"]
        return names

    def _of(self, kind: str) -> dict[str, str]:
        return {
            name: text
            for name, text in self._options.items()
            if kind == "activities" or name not in ("kind", "result")
        }

    def _page(self, name: str, kind: str, options: dict[str, str]) -> list[dict[str, Any]]:
        answer = self._get(f"/v1/ws/{quote(name, safe='')}/{kind}?{urlencode(options)}")
        self._latest[name, kind] = answer["latest"]
        return [{"workspace": name, **each} for each in answer[kind]]

    def _get(self, path: str) -> dict[str, Any]:
        for attempt in (1, 2):
            is_new = self._connection is None
            try:
                connection = self._connection = self._connection or self._connected()
                connection.request("GET", self._path + path, headers=self._headers)
                answer = connection.getresponse()
                body = answer.read(_LONGEST)
                break
            except (OSError, http.client.HTTPException) as exc:
                self.close()
                # A connection that was kept may have been closed meanwhile.
                if is_new or attempt == 2:
                    raise MixError(
                        f"the server at {self._host} cannot be asked: {exc or type(exc).__name__}"
                    ) from exc
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if answer.status != 200 or not isinstance(found, dict):
            said = found.get("message") if isinstance(found, dict) else None
            raise MixError(
                f"the server at {self._host} answered {answer.status}: {said or answer.reason!s:.300}"
            )
        return found

    def _connected(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(self._host, self._port, timeout=_SECONDS)
        return http.client.HTTPConnection(self._host, self._port, timeout=_SECONDS)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
