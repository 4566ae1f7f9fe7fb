"""Access tokens of accounts that users have connected, refreshed when they are about to end.

Many providers give a new refresh token with each answer and take the use of an old one for theft: then all is
revoked. So of all tasks in all processes one refreshes an account, with its lock held: what is kept is read again
behind the lock, the new pair is on the disk before it is let go, and the refresh token before stays for a grace
time. Whatever passes (no connection, no answer, status 5xx) changes nothing. Only `invalid_grant`, said of the very
token that is kept, ends an account.

A process that is killed between the provider's answer and the disk leaves the token that was used. A provider with a
grace time of its own takes it once more; another one ends the account, and the user connects it again.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import msgspec

from mix_server.sign_in.account import ACCOUNT, Account, refreshed
from mix_server.sign_in.client import ask_tokens, revoke
from mix_server.sign_in.errors import ProviderRefused
from mix_server.sign_in.metadata import Metadata
from mix_server.sign_in.store import Configured, Providers
from mix_server.sign_in.web import Web
from mixkit.errors import FFIError, MixError, StorageError
from mixkit.value import Token
from mixkit.vault import Label, Vault

if TYPE_CHECKING:
    from mixkit.resources import Resources
    from mixkit.state import State

__all__ = ["Tokens", "token_for", "tokens_of"]

_log = logging.getLogger("mixkit.server.sign_in")

_WAIT: Final = 30.0
"""Seconds that one waits for another process to refresh."""
_BACK_OFF: Final = 1.0
_MAX_BACK_OFF: Final = 30.0
_MOST: Final = 1_000
"""Accounts of which it is known that their provider fails."""

_TRIES: Final = (0.1, 0.5, 1.0)
"""Seconds after which keeping new tokens is tried again."""

_Key = tuple[Path, str, str]


class Tokens:
    """The access tokens of users. One object a process and kernel, used on its event loop.

    Args:
        kernel: has the vaults and the key ring.
    """

    def __init__(self, kernel: Resources) -> None:
        # NOTE: it is kept by the kernel.
        self._kernel = weakref.ref(kernel)
        self.web = Web(kernel.settings("server"))
        self.metadata = Metadata(self.web)
        # By loop: tasks of one are not awaited in another.
        self._tasks: dict[tuple[int, _Key], asyncio.Task[Account]] = {}
        # By account: how long it is let be, for how many seconds it was, and why.
        self._failing: OrderedDict[_Key, tuple[float, float, str]] = OrderedDict()

    def vault(self, root: Path, workspace: str) -> Vault:
        """The vault of a workspace. Raises as `Resources.vaults` and `keyring` do."""
        kernel = self._kernel()
        assert kernel is not None
        return kernel.vaults.of(root, workspace, kernel.keyring)

    async def token(self, root: Path, workspace: str, user: str, name: str) -> str | None:
        """The access token of the account that a user has connected by a provider, good for now; None if there is
        none.

        Args:
            root: directory of the workspace.

        Raises:
            FFIError: there is one, and its token cannot be had now, or no more.
        """
        vault = self.vault(root, workspace)
        label = Label(ACCOUNT, user, name)
        found = Providers(vault).account(label)
        if found is None:
            return None
        account = found[0]
        known = _configured(vault, name, account)
        if account.is_fresh:
            return account.access
        if account.refresh is None:
            return _last(account, name)
        key = (root, user, name)
        until, _, reason = self._failing.get(key, (0.0, 0.0, ""))
        if time.monotonic() < until:
            return _last(account, name, reason)
        loop = asyncio.get_running_loop()
        here = (id(loop), key)
        task = self._tasks.get(here)
        if task is None:
            task = self._tasks[here] = loop.create_task(self._refresh(vault, label, known, key))
            task.add_done_callback(lambda _: self._tasks.pop(here, None))
        # One refreshes for all who wait, even if the one who asked first goes away.
        return (await asyncio.shield(task)).access

    async def stop(self) -> None:
        """Wait for what was asked of providers: an answer that is not kept may cost the account."""
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=self.web.seconds)

    async def disconnect(self, vault: Vault, label: Label) -> bool | None:
        """Forget an account, and tell its provider, where that wants to know it.

        Returns:
            Whether the provider has been told; None if there is no such account. It is forgotten anyway.
        """
        kept = await asyncio.to_thread(vault.take, label)
        if kept is None:
            return None
        try:
            account = Account.decode(kept.value)
        except msgspec.MsgspecError:
            return False
        return await self._revoke(vault, label, account)

    async def _revoke(self, vault: Vault, label: Label, account: Account) -> bool:
        try:
            known = await asyncio.to_thread(_configured, vault, label.name, account)
            endpoints = await self.metadata.endpoints(known.provider)
            if endpoints.revocation is None:
                return False
            await revoke(self.web, known, endpoints, account.refresh, account.access)
        except (MixError, TimeoutError) as exc:
            _log.warning("cannot revoke the tokens of %r of %r: %s", label.name, label.user, exc)
            return False
        return True

    async def _refresh(self, vault: Vault, label: Label, known: Configured, key: _Key) -> Account:
        """The account with a token that is good, as it is on the disk by then."""
        try:
            async with vault.locked(label, _WAIT):
                account = await self._refreshed(vault, label, known)
        except (FFIError, TimeoutError) as exc:
            if isinstance(exc, _Ended):
                raise
            self._note(key, str(exc))
            _log.warning("cannot refresh the account %r of %r: %s", label.name, label.user, exc)
            found = Providers(vault).account(label)
            if found is not None and found[0].is_good:
                return found[0]
            raise FFIError(f"the account {label.name!r} cannot be refreshed now: {exc}") from None
        self._failing.pop(key, None)
        return account

    async def _refreshed(self, vault: Vault, label: Label, known: Configured) -> Account:
        found = Providers(vault).account(label)
        if found is None:
            raise _Ended(f"the account {label.name!r} is not connected any more")
        account, extra, version = found
        if account.is_fresh or account.refresh is None:
            # Somebody was quicker.
            return account
        endpoints = await self.metadata.endpoints(known.provider)

        async def ask(refresh: str) -> dict[str, Any]:
            grant = {"grant_type": "refresh_token", "refresh_token": refresh}
            return await ask_tokens(self.web, known, endpoints, grant)

        try:
            answer = await ask(account.refresh)
        except ProviderRefused as exc:
            if exc.error != "invalid_grant":
                raise
            previous = account.previous
            if previous is None or time.time() >= previous.until:
                await self._end(vault, label, version)
            try:
                # There is nothing to lose any more, and some providers go on to take it.
                answer = await ask(previous.refresh)
            except ProviderRefused as again:
                if again.error != "invalid_grant":
                    raise
                await self._end(vault, label, version)
        account = refreshed(account, answer)
        scope = answer.get("scope")
        extra = {**extra, "expires": account.expires}
        if isinstance(scope, str):
            extra["scopes"] = scope.split()
        if await _replace(vault, label, account, extra, version) is None:
            # NOTE: whoever has disconnected it in between must not find it connected again.
            await self._revoke(vault, label, account)
            raise _Ended(f"the account {label.name!r} is not connected any more")
        _log.info("refreshed the account %r of %r", label.name, label.user)
        return account

    @staticmethod
    async def _end(vault: Vault, label: Label, version: int) -> NoReturn:
        gone = await asyncio.to_thread(vault.take, label, version)
        if gone is None:
            raise FFIError("it was changed in the meantime")
        _log.warning("the provider has ended the account %r of %r", label.name, label.user)
        raise _Ended(f"the provider has ended the account {label.name!r}; connect it again")

    def _note(self, key: _Key, reason: str) -> None:
        _, seconds, _ = self._failing.pop(key, (0.0, _BACK_OFF / 2, ""))
        seconds = min(seconds * 2, _MAX_BACK_OFF)
        self._failing[key] = time.monotonic() + seconds, seconds, reason
        if len(self._failing) > _MOST:
            self._failing.popitem(last=False)


async def _replace(
    vault: Vault, label: Label, account: Account, extra: dict[str, Any], version: int
) -> int | None:
    """Keep an account in place of that version, and do not give up at once: its tokens are nowhere else."""
    for pause in _TRIES:
        try:
            return await asyncio.to_thread(vault.replace, label, account.encode(), extra, version)
        except StorageError as exc:
            _log.error(
                "cannot keep the new tokens of %r of %r, and try again: %s", label.name, label.user, exc
            )
            await asyncio.sleep(pause)
    return await asyncio.to_thread(vault.replace, label, account.encode(), extra, version)


class _Ended(FFIError):
    """There is no account any more."""


def _configured(vault: Vault, name: str, account: Account) -> Configured:
    known = Providers(vault).get(name)
    # NOTE: a token must not go to whom the configuration names by now, if that is somebody else.
    if known is None or known.provider.mark != account.mark:
        raise FFIError(f"the provider {name!r} is configured otherwise by now; connect the account again")
    return known


def _last(account: Account, name: str, reason: str = "") -> str:
    """The access token, as long as it is good."""
    if account.is_good:
        return account.access
    if reason:
        raise FFIError(f"the account {name!r} cannot be refreshed now: {reason}")
    raise FFIError(
        f"the access token of the account {name!r} has expired, and it has no other; connect it again"
    )


_of_kernels: weakref.WeakKeyDictionary[Any, Tokens] = weakref.WeakKeyDictionary()


def tokens_of(kernel: Resources) -> Tokens:
    """The access tokens of a kernel's users, the same object each time."""
    known = _of_kernels.get(kernel)
    return known or _of_kernels.setdefault(kernel, Tokens(kernel))


async def token_for(state: State, name: str) -> Token | None:
    """The access token of an account that the user has connected for whom a run of an app is.

    Raises:
        FFIError: there is one, and it cannot be had now, or no more.
    """
    from mixkit.package.book import root_of

    place = state.place
    assert place is not None
    tokens = tokens_of(cast("Resources", state.services))
    found = await tokens.token(root_of(place), place.workspace, state.env.user or "", name)
    return None if found is None else Token(found)
