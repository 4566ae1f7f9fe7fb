"""Which vault a run has, and what is its own in it."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mix_secrets.names import ACCOUNT, Kind, Name
from mixkit.errors import FFIError

if TYPE_CHECKING:
    from mix_secrets.vault import Vault
    from mixkit.keyring import KeyRing
    from mixkit.state import State
    from mixkit.storage import Place

__all__ = ["FOLDER", "account_of", "found_in", "name_of", "vault_of"]

FOLDER: Final = ".secrets"
"""Of a workspace, or of the home of an app that has none."""

_MOST: Final = 256
"""Vaults of one key ring that are kept open."""


class _Vaults:
    """The vaults that are open. Those that were not asked for in the longest time are closed."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, Vault] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, folder: Path, workspace: str, ring: KeyRing) -> Vault:
        found = self._open.get(folder)
        if found is not None:
            return found
        from mix_secrets.vault import Vault

        with self._lock:
            found = self._open.setdefault(folder, Vault(folder, workspace, ring))
            if len(self._open) > _MOST:
                # Whoever uses it at this moment opens it again.
                self._open.popitem(last=False)[1].close()
        return found


_of_rings: weakref.WeakKeyDictionary[KeyRing, _Vaults] = weakref.WeakKeyDictionary()


def found_in(folder: Path, workspace: str, ring: KeyRing) -> Vault:
    """The vault in a folder, the same one for all who ask with that key ring. Needs the package cryptography."""
    known = _of_rings.get(ring)
    if known is None:
        known = _of_rings.setdefault(ring, _Vaults())
    return known.of(folder, workspace, ring)


def account_of(state: State, name: str) -> Name | None:
    """What an account of that name is called that the user has connected for whom a run is; None where there can be
    none."""
    own = _own(state)
    return Name("", state.env.user or "", ACCOUNT, name) if _place(state).workspace and own.app else None


class _Own:
    """What a run has in its vault, worked out once."""

    __slots__ = ("app", "folder", "home")

    def __init__(self, place: Place) -> None:
        from mixkit.package.book import root_of

        self.app = app_of(place)
        self.folder = (root_of(place) if place.workspace else place.home) / FOLDER
        self.home = str(place.home.parent)


def vault_of(state: State) -> Vault:
    """The vault of the workspace whose app runs.

    Raises:
        FFIError: the run belongs to no app.
        NotFound: the app was deleted.
        KeyRingError: there is no master key that fits.
    """
    place, own = _place(state), _own(state)
    if not os.path.isdir(own.home):  # noqa: PTH112 - at every call of an agent
        from mixkit.databases import gone

        raise gone(place)
    return found_in(own.folder, place.workspace, state.services.keyring)


def name_of(state: State, kind: Kind, name: str) -> Name:
    """What a secret of that name is called that belongs to the run's app and user."""
    user = state.env.user or ""
    if not user.isprintable():
        raise FFIError("expected a user whose name can be printed, found one that has other characters")
    return Name(_own(state).app, user, kind, name)


def app_of(place: Place) -> str:
    """What an app is called in its vault: its folder, which no app that is made anew has."""
    return place.home.parent.name if place.workspace else ""


def _own(state: State) -> _Own:
    return state.get(_Own) or state.put(_Own(_place(state)))


def _place(state: State) -> Place:
    if state.place is None:
        raise FFIError(
            "expected a run of an app, found code that belongs to none; install it in a workspace, or give the run a "
            "folder with --database"
        )
    return state.place
