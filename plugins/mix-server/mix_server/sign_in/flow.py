"""A sign-in from its begin to its end: the browser goes to the provider and comes back with a code.

`begin` keeps what belongs to it in the vault of the workspace, under an id that nobody can guess, and gives the
browser a `state`, sealed by the key ring, and a cookie. `finish` takes a callback that has both: the state is not
too old and is of that provider and that cookie; what was kept is taken out by exactly one of all who come with it,
in all processes, before the code goes anywhere. The rest is what RFC 9700 asks for: PKCE, a nonce, the issuer in
the callback (RFC 9207), a redirect URI that no other provider has.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from mix_server.caller import Caller
from mix_server.sign_in.account import ACCOUNT, account_of
from mix_server.sign_in.client import ask_tokens
from mix_server.sign_in.errors import Denied, SignInFailed
from mix_server.sign_in.identity import identity
from mix_server.sign_in.store import Configured, Providers
from mixkit.errors import KeyRingError, NotFound
from mixkit.vault import Label

if TYPE_CHECKING:
    from mix_server.sign_in.refresh import Tokens
    from mixkit.keyring import KeyRing
    from mixkit.vault import Vault

__all__ = ["LIFETIME", "Begun", "Finished", "Kept", "State", "Where", "begin", "finish", "opened", "take"]

_log = logging.getLogger("mixkit.server.sign_in")

LIFETIME: Final = 600
"""Seconds that somebody has for it at the provider."""

_KIND: Final = "sign-in"
_PURPOSE: Final = "sign-in state"
_MOST: Final = 20
"""Of one user that have not come to their end; the oldest go."""
_WAIT: Final = 30.0
_LONGEST_STATE: Final = 2_048
_LONGEST_CODE: Final = 8_192


class Where(NamedTuple):
    """A provider of a workspace."""

    root: Path
    workspace: str
    name: str


class Begun(NamedTuple):
    """What the browser gets: where to go, and the secret of its cookie, whose name ends in `flow`."""

    url: str
    flow: str
    cookie: str


class Finished(NamedTuple):
    """What is known of the account that is connected now, and the path to which the browser goes, if one was
    wanted."""

    identity: dict[str, Any]
    then: str | None


class Kept(msgspec.Struct, frozen=True):
    """What is kept of a sign-in that was begun.

    Attributes:
        caller: who began it.
        mark: of the configuration by then.
        verifier: of PKCE (RFC 7636), whose hash the provider was given.
    """

    caller: Caller
    mark: str
    verifier: str
    nonce: str
    redirect_uri: str
    then: str | None


class State(msgspec.Struct, frozen=True):
    """What is sealed in `state`.

    Attributes:
        flow: what is kept of the sign-in stands under this.
        user: whose it is.
        cookie: digest of the secret that the browser has.
        until: Unix second at which it ends.
    """

    flow: str
    user: str
    cookie: str
    until: float

    @property
    def short(self) -> str:
        """What the name of the browser's cookie ends in."""
        return self.flow[:16]


async def begin(
    tokens: Tokens, ring: KeyRing, where: Where, caller: Caller, redirect_uri: str, then: str | None
) -> Begun:
    """Begin a sign-in for somebody.

    Args:
        redirect_uri: to which the provider sends the browser back.
        then: path of this server to which the browser goes in the end.

    Raises:
        NotFound: there is no such provider.
        ProviderFailed, EgressDenied, Unanswered: it cannot be used now.
    """
    vault = tokens.vault(where.root, where.workspace)
    known = await asyncio.to_thread(Providers(vault).get, where.name)
    if known is None:
        raise NotFound(f"no provider {where.name!r:.80}")
    endpoints = await tokens.metadata.endpoints(known.provider)
    flow, cookie, verifier, nonce = (secrets.token_urlsafe(32) for _ in range(4))
    user = caller.user or ""
    kept = Kept(
        caller=caller,
        mark=known.provider.mark,
        verifier=verifier,
        nonce=nonce,
        redirect_uri=redirect_uri,
        then=then,
    )
    await asyncio.to_thread(_keep, vault, Label(_KIND, user, flow), kept)
    state = State(flow, user, _digest(cookie), time.time() + LIFETIME)
    provider = known.provider
    query = {
        **provider.authorization_parameters,
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": redirect_uri,
        "state": _sealed(ring, where.workspace, where.name, state),
        "code_challenge": _challenge(verifier),
        "code_challenge_method": "S256",
    }
    if provider.scopes:
        query["scope"] = " ".join(provider.scopes)
    if provider.kind == "oidc":
        query["nonce"] = nonce
    joint = "&" if "?" in endpoints.authorization else "?"
    return Begun(f"{endpoints.authorization}{joint}{urlencode(query)}", state.short, cookie)


async def take(tokens: Tokens, where: Where, state: State, cookie: str | None) -> Kept:
    """What was kept of the sign-in that a callback ends; nobody else gets it, and the callback never again.

    Args:
        state: what `opened` answered for the callback.
        cookie: the secret of the browser.

    Raises:
        SignInFailed: it is not of this browser, or has been ended.
    """
    if cookie is None or not hmac.compare_digest(_digest(cookie), state.cookie):
        raise SignInFailed(
            "this sign-in was begun in another browser, or its cookies are gone; begin it again"
        )
    vault = tokens.vault(where.root, where.workspace)
    found = await asyncio.to_thread(vault.take, Label(_KIND, state.user, state.flow))
    if found is None:
        raise SignInFailed("this sign-in has been ended already; begin it again if it should not have")
    return msgspec.json.decode(found.value, type=Kept)


async def finish(tokens: Tokens, where: Where, kept: Kept, given: dict[str, str]) -> Finished:
    """End a sign-in with what the callback says: the account is connected, and its tokens are on the disk.

    Args:
        kept: what `take` answered for it.

    Raises:
        SignInFailed: it is not from that provider, or not a callback. Denied: the user or the provider did not want
        it. ProviderRefused, ProviderFailed, EgressDenied, Unanswered: the code is not taken, or it is not shown who
        it is.
    """
    vault = tokens.vault(where.root, where.workspace)
    known = await asyncio.to_thread(Providers(vault).get, where.name)
    if known is None or known.provider.mark != kept.mark:
        raise SignInFailed("the provider is configured otherwise by now; begin again")
    endpoints = await tokens.metadata.endpoints(known.provider)
    issuer = given.get("iss")
    # NOTE: else a code could be had to be sent to another provider than the one that made it.
    if (issuer is None and endpoints.names_itself) or (
        issuer is not None and endpoints.issuer is not None and issuer != endpoints.issuer
    ):
        raise SignInFailed("the answer is not from the provider that was asked")
    error, code = given.get("error"), given.get("code")
    if error is not None:
        raise Denied(f"the provider answers {_shown(error)}; nothing was connected")
    if not code or len(code) > _LONGEST_CODE:
        raise SignInFailed("expected a code in the callback, found none")
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": kept.redirect_uri,
        "code_verifier": kept.verifier,
    }
    answer = await ask_tokens(tokens.web, known, endpoints, form)
    account = account_of(answer, known.provider.mark)
    said = await identity(tokens.web, tokens.metadata, known.provider, endpoints, answer, kept.nonce)
    user = kept.caller.user or ""
    label = Label(ACCOUNT, user, where.name)
    async with vault.locked(label, _WAIT):
        _still(vault, known)
        await asyncio.to_thread(vault.write, label, account.encode(), {**said, "expires": account.expires})
    _log.info("%r connected an account of %r in workspace %r", user, where.name, where.workspace)
    return Finished(said, kept.then)


def _still(vault: Vault, known: Configured) -> None:
    """An account must not come back that went with its provider a moment ago."""
    found = Providers(vault).get(known.name)
    if found is None or found.provider.mark != known.provider.mark:
        raise SignInFailed("the provider is configured otherwise by now; begin again")


def _keep(vault: Vault, label: Label, kept: Kept) -> None:
    began = sorted(vault.labels(_KIND), key=lambda each: each[1])
    oldest = (time.time() - LIFETIME) * 1000
    own = [other for other, _ in began if other.user == label.user]
    gone = {other for other, changed in began if changed < oldest} | set(own[: max(0, len(own) - _MOST + 1)])
    for other in gone:
        vault.take(other)
    vault.write(label, msgspec.json.encode(kept), {})


def _sealed(ring: KeyRing, workspace: str, name: str, state: State) -> str:
    sealed = ring.seal(_PURPOSE, msgspec.json.encode(state), _bound(workspace, name))
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def opened(ring: KeyRing, workspace: str, name: str, text: str) -> State:
    """What is in the `state` of a callback for a provider; neither needs to be there.

    Raises:
        SignInFailed: it was not made here for that one, or too long ago.
    """
    unknown = SignInFailed("expected the state of a sign-in that was begun here; begin again")
    if not text or len(text) > _LONGEST_STATE or not text.isascii():
        raise unknown
    try:
        sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        state = msgspec.json.decode(ring.open(_PURPOSE, sealed, _bound(workspace, name)), type=State)
    except (ValueError, KeyRingError):
        raise unknown from None
    if time.time() > state.until:
        raise SignInFailed(f"this sign-in was begun more than {LIFETIME // 60} minutes ago; begin again")
    return state


def _bound(workspace: str, name: str) -> bytes:
    """What a state is of: neither name has a slash."""
    return f"{workspace}/{name}".encode("utf-8", "surrogatepass")


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).hexdigest()


def _challenge(verifier: str) -> str:
    """S256 (RFC 7636, 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _shown(error: str) -> str:
    return error[:100] if error.isascii() and error.isprintable() else "an error"
