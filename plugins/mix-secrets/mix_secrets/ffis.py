"""`$secrets_*`, `$token_of_string`, `$token_reveal`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final

from mix_secrets.names import ACCOUNT, Kind, Name, check_name
from mix_secrets.settings import SecretsSettings
from mix_secrets.vaults import account_of, name_of, vault_of
from mixkit.errors import FFIError, GrantError, NotFound
from mixkit.ffi import FFIGroup
from mixkit.grants import check_true
from mixkit.state import State
from mixkit.value import Result, Token, kind_of

__all__ = ["group"]

NAMES: Final = "secrets.names"
ACCOUNTS: Final = "secrets.accounts"
REVEAL: Final = "secrets.reveal"


def _check_names(option: str, value: object) -> None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise GrantError(
            f'grant option {option}: expected a list of names, as ["github"], found {value!r:.80}'
        )


group = FFIGroup(
    "secrets",
    options={
        NAMES: "names of the secrets and tokens that it may use, store and delete; all of its app if not set",
        ACCOUNTS: "names of the accounts that the user has connected whose tokens it may use; none if not set",
        REVEAL: "true: it may read the content of tokens with $token_reveal; nobody may if it is not set",
    },
    checks={
        NAMES: partial(_check_names, NAMES),
        ACCOUNTS: partial(_check_names, ACCOUNTS),
        REVEAL: lambda value: check_true(REVEAL, value),
    },
)

SecretName = Annotated[str, "1 to 200 printable characters"]


@group.register("$secrets_set")
async def secrets_set(
    state: State, name: SecretName, value: Annotated[Any, "a string, binary, or token"]
) -> Result[None]:
    """Keep a secret for the user who runs the app, in place of the one that has that name: only runs of this app for
    this user get it. It is on the disk when this answers.

    Example:
        $secrets_set("stripe", "sk_live_…")
    """
    # Not by annotation: what a message says of a value that does not fit would show it.
    if isinstance(value, Token):
        data = value.reveal()
    elif isinstance(value, str):
        data = value.encode()
    elif isinstance(value, bytes):
        data = value
    else:
        raise FFIError(f"expected a string, binary or token as the secret, found {kind_of(value)}")
    settings: SecretsSettings = state.services.settings("secrets")
    if len(data) > settings.max_bytes:
        raise FFIError(
            f"the secret has {len(data)} bytes, at most {settings.max_bytes} are kept; "
            "the setting secrets.max_bytes raises it"
        )
    called = name_of(state, "secret", _granted(state, name))
    import asyncio

    vault = vault_of(state)
    await asyncio.to_thread(vault.put, called, data, most=settings.most)


@group.register("$secrets_get")
def secrets_get(state: State, name: SecretName) -> Result[Token]:
    """A secret of the user who runs the app, as a token: a credential for `$http_do`, `$ws_connect` and others, which
    cannot be printed or stored elsewhere.

    Example:
        $secrets_get("stripe") answers ok(token), for {"url": "https://…", "oauthToken": token}
    """
    return _token(state, "secret", name)


@group.register("$secrets_getToken")
async def secrets_get_token(state: State, name: SecretName) -> Result[Token]:
    """A token for the user who runs the app: the one that `mixkit secrets set --token` stored for this app, else the
    access token of the account of that name that the user has connected, if the grant option `secrets.accounts` names
    it. An access token that is about to expire is refreshed first.

    Example:
        $secrets_getToken("github") answers ok(token)
    """
    for called in _tokens(state, name):
        if called.kind == ACCOUNT:
            token = await state.services.account_token(state, name)
        else:
            kept = vault_of(state).kept(called)
            token = None if kept is None else Token(kept[0])
        if token is not None:
            return token
    raise _no_token(name)


@group.register("$secrets_tokenExtra")
def secrets_token_extra(state: State, name: SecretName) -> Result[dict[str, Any]]:
    """What was stored with a token that is no secret, as the scopes, or the address that it is for; of an account
    `{subject, email, name, scopes, expires}`, as far as its provider says it (`expires` in seconds since 1970).

    Example:
        $secrets_tokenExtra("github") answers ok({"scope": "repo"})
    """
    vault = vault_of(state)
    for called in _tokens(state, name):
        kept = vault.kept(called)
        if kept is not None:
            return kept[1]
    raise _no_token(name)


@group.register("$secrets_list")
def secrets_list(state: State) -> Result[list[dict[str, Any]]]:
    """What is kept for the user who runs the app, sorted by name: `{name, kind: "secret" or "token", version, changed
    (milliseconds since 1970)}`. Versions only grow.

    Example:
        $secrets_list() answers ok([{"name": "stripe", "kind": "secret", "version": 3, "changed": 1764201600000}])
    """
    own = name_of(state, "secret", "")
    return [
        {
            "name": entry.name.name,
            "kind": entry.name.kind,
            "version": entry.version,
            "changed": entry.changed,
        }
        for entry in vault_of(state).entries(own.app, own.user)
        if _is_granted(state, entry.name.name)
    ]


@group.register("$secrets_delete")
async def secrets_delete(state: State, name: SecretName) -> Result[bool]:
    """Delete a secret. Answers whether there was one."""
    return await _delete(state, "secret", name)


@group.register("$secrets_deleteToken")
async def secrets_delete_token(state: State, name: SecretName) -> Result[bool]:
    """Delete a token that was stored, or else disconnect the account of that name. Answers whether there was one."""
    import asyncio

    vault = vault_of(state)
    for called in _tokens(state, name):
        if await asyncio.to_thread(vault.delete, called):
            return True
    return False


@group.register("$token_of_string")
def token_of_string(text: str) -> Token:
    """A token with that content, to be used as a credential.

    Example:
        $token_of_string("hunter2")
    """
    return Token(text)


@group.register("$token_reveal")
def token_reveal(state: State, token: Token) -> str | bytes:
    """The content of a token: a string if it is UTF-8, else binary. Only with the grant option `secrets.reveal`."""
    for layer in state.grants.opened(REVEAL):
        if layer is not True:
            raise GrantError(
                f"reading tokens is not granted to {state.code or 'this code'}; its manifest must set the option "
                f"{REVEAL} to true and the installation must grant it"
            )
    content = token.reveal()
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _token(state: State, kind: Kind, name: str) -> Token:
    return Token(vault_of(state).get(name_of(state, kind, _granted(state, name))))


async def _delete(state: State, kind: Kind, name: str) -> bool:
    called = name_of(state, kind, _granted(state, name))
    import asyncio

    vault = vault_of(state)
    return await asyncio.to_thread(vault.delete, called)


def _account(state: State, name: str) -> Name | None:
    """The account of that name that the user has connected, if the run may use it."""
    if all(isinstance(names, list) and name in names for names in state.grants.opened(ACCOUNTS)):
        return account_of(state, name)
    return None


def _tokens(state: State, name: str) -> list[Name]:
    """What `$secrets_getToken` may answer, in this order. `GrantError` if nothing of it is granted."""
    found = []
    if _is_granted(state, name):
        found.append(name_of(state, "token", check_name(name)))
    account = _account(state, name)
    if account is not None:
        found.append(account)
    if not found:
        raise GrantError(
            f"the token {name!r:.80} is not granted; the grant option {NAMES} must list it, or {ACCOUNTS} if it is of "
            "an account of the user"
        )
    return found


def _no_token(name: str) -> NotFound:
    return NotFound(
        f"no token {name!r:.80} of this user; an account must be connected first, and granted by {ACCOUNTS}"
    )


def _granted(state: State, name: str) -> str:
    if not _is_granted(state, name):
        raise GrantError(f"the secret {name!r:.80} is not granted; the grant option {NAMES} must list it")
    return check_name(name)


def _is_granted(state: State, name: str) -> bool:
    return all(name in names for names in state.grants.option(NAMES))
