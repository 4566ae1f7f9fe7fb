"""Workspaces behind a server's URL, as commands see them."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from mixkit.cli.desk import CHUNK, MOST, counted, described

if TYPE_CHECKING:
    from mixkit.cli.progress import Progress
    from mixkit.moving.remote import Remote

__all__ = ["Served"]


class Served:
    """Those behind a URL."""

    def __init__(self, remote: Remote, url: str, token: str | None) -> None:
        self._remote = remote
        self._url = f"{url}/v1"
        self._token = token

    def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        return self._remote.call(method, self._url + quote(path), body, token=self._token) or {}

    def workspaces(self) -> list[tuple[str, list[str]]]:
        return [(name, self.apps(name)) for name in self._call("GET", "/ws")["workspaces"]]

    def create(self, ws: str) -> dict[str, Any]:
        made = self._call("POST", "/ws", {"name": ws})
        return {"workspace": made["name"], "path": f"{self._url}/ws/{ws}"}

    def apps(self, ws: str) -> list[str]:
        found: list[str] = self._call("GET", f"/ws/{ws}")["apps"]
        return found

    def installed(self, ws: str) -> list[dict[str, Any]]:
        found = []
        for name in self.apps(ws):
            said = self._call("GET", f"/ws/{ws}/app/{name}")
            agents = [agent["name"] for agent in said["agents"]]
            descriptions = {agent["name"]: agent.get("description", "") for agent in said["agents"]}
            # What package it is of, and who signed it, a server tells nobody.
            about = {"package": None, "version": said["version"] or None, "signer": None}
            found.append({"app": name, **about, "agents": agents, "descriptions": descriptions})
        return found

    def shown(self, ws: str, app: str) -> dict[str, Any]:
        from mixkit.moving.errors import RemoteRefused

        said = self._call("GET", f"/ws/{ws}/app/{app}")
        agents = []
        for agent in said["agents"]:
            found = self._call("GET", f"/ws/{ws}/app/{app}/agent/{agent['name']}")
            # A server says types as schemas, which programs read.
            agents.append(
                {
                    "agent": agent["name"],
                    "params": found["inParams"],
                    "result": found["outParams"],
                    "description": found["description"],
                }
            )
        about: dict[str, Any] = {"package": None, "version": said["version"] or None, "signer": None}
        granted = None
        # Only who may install is told what an app may do, and of what package it is.
        try:
            powers = self._call("GET", f"/ws/{ws}/powers/{app}")
        except RemoteRefused as exc:
            if exc.status not in (403, 404):
                raise
        else:
            about["package"] = powers["package"]
            granted = [{"ffis": powers["allowed"], "options": {}}]
        return {
            "app": f"{ws}/{app}",
            **about,
            "database": f"{self._url}/ws/{ws}/app/{app}",
            "limits": None,
            "granted": granted,
            "agents": agents,
        }

    def remove(self, ws: str) -> None:
        self._call("DELETE", f"/ws/{ws}")

    def create_app(self, ws: str, app: str) -> dict[str, Any]:
        self._call("PUT", f"/ws/{ws}/app/{app}")
        return {"app": f"{ws}/{app}", "database": f"{self._url}/ws/{ws}/app/{app}"}

    def remove_app(self, ws: str, app: str) -> None:
        self._call("DELETE", f"/ws/{ws}/app/{app}")

    def powers(self, ws: str, app: str) -> dict[str, Any]:
        return self._powers(self._call("GET", f"/ws/{ws}/powers/{app}"))

    def agree(self, ws: str, app: str, powers: list[str] | None) -> dict[str, Any]:
        body = {"all": True} if powers is None else {"agree": powers}
        return self._powers(self._call("POST", f"/ws/{ws}/powers/{app}", body))

    def _powers(self, found: dict[str, Any]) -> dict[str, Any]:
        return {"allowed": found["allowed"], "withheld": found["withheld"]}

    def export(
        self, ws: str, app: str | None, file: IO[bytes], history: bool, grants: bool, progress: Progress
    ) -> None:
        of = f"/ws/{ws}" if app is None else f"/ws/{ws}/app/{app}"
        options = {"history": "true"} if history else {}
        if not grants:
            options["grants"] = "false"
        url = f"{self._url}{quote(of)}/export{'?' if options else ''}{urlencode(options)}"
        self._remote.fetch(url, file, MOST, token=self._token, watch=counted(progress))

    def look(self, file: IO[bytes]) -> dict[str, Any]:
        return described(file)

    def bring(
        self, file: IO[bytes], ws: str | None, into: bool, grants: bool, progress: Progress
    ) -> dict[str, Any]:
        options = {} if grants else {"grants": "false"}
        if ws is not None and not into:
            options["ws"] = ws
        path = f"/ws/{ws}/import" if into else "/ws-import"
        url = f"{self._url}{quote(path)}{'?' if options else ''}{urlencode(options)}"
        watch = counted(progress)

        async def pieces() -> Any:
            file.seek(0)
            while piece := file.read(CHUNK):
                yield piece
                watch(len(piece))

        return self._remote.send(url, pieces, token=self._token)
