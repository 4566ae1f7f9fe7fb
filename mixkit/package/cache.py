"""The apps that were looked up last. An open app costs a file descriptor, so only so many are kept."""

from __future__ import annotations

import threading

from mixkit.package.app import InstalledApp

__all__ = ["AppCache"]


class AppCache:
    """Apps by workspace and name, the least recently used dropped first. An app in use lives on without the cache."""

    def __init__(self, size: int = 256) -> None:
        self._size = size
        self._apps: dict[tuple[str, str], InstalledApp] = {}
        self._lock = threading.Lock()

    def get(self, workspace: str, app: str, generation: str) -> InstalledApp | None:
        """The app, if it is here and still of that generation."""
        key = (workspace, app)
        with self._lock:
            found = self._apps.get(key)
            if found is None or found.generation != generation:
                return None
            self._apps[key] = self._apps.pop(key)
            return found

    def put(self, app: InstalledApp) -> None:
        """Keep the app, in the place of any of that name."""
        key = (app.workspace, app.name)
        with self._lock:
            self._apps.pop(key, None)
            self._apps[key] = app
            if len(self._apps) > self._size:
                del self._apps[next(iter(self._apps))]

    def forget(self, workspace: str, app: str | None = None) -> None:
        """Drop one app, or all of a workspace, so that what nobody else uses can be removed."""
        with self._lock:
            for key in [key for key in self._apps if key[0] == workspace and app in (None, key[1])]:
                del self._apps[key]
