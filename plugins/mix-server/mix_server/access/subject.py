"""Whom a grant is for.

user/EMAIL                  one person, by the address that the identity provider vouches for
domain/HOST                 everybody with an address of that host
agent/SERVER:WS.APP.AGENT   an agent, whoever started it; SERVER is empty for this one
all-users                   everybody who is signed in
machine/ID                  who has that token of the workspace
anonymous                   everybody, signed in or not
"""

from __future__ import annotations

import re
from typing import Final

from mix_server.errors import BadRequest
from mixkit.near import meant

__all__ = [
    "ALL_USERS",
    "ANONYMOUS",
    "agent",
    "agent_of",
    "check_agent",
    "check_subject",
    "moved",
    "subjects_named",
    "subjects_of",
]

ALL_USERS: Final = "all-users"
ANONYMOUS: Final = "anonymous"

_KINDS: Final = ("user", "domain", "agent", "machine", ALL_USERS, ANONYMOUS)
_LONGEST: Final = 320
"""Characters of an address (RFC 3696, erratum 1690)."""
_EMAIL: Final = re.compile(r"[^\s@/\x00-\x1f\x7f]+@(?P<host>[^\s@/\x00-\x1f\x7f]+)")
_MACHINE: Final = re.compile(r"[0-9a-f]{16}")
_HOST: Final = re.compile(r"[^\s@/:\x00-\x1f\x7f]+")
_NAME: Final = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}"
_AGENT: Final = re.compile(rf"[^\s@:\x00-\x1f\x7f]*:{_NAME}\.{_NAME}\.{_NAME}")


def check_subject(text: str) -> str:
    """The subject as it is kept: addresses and hosts without upper case, so that one person is one subject.

    Raises:
        BadRequest: it is none; says what was expected.
    """
    kind, slash, rest = text.partition("/")
    if not slash and kind in (ALL_USERS, ANONYMOUS):
        return kind
    if not slash or len(rest) > _LONGEST or not _is_one(kind, rest):
        near = "" if kind in _KINDS else meant(kind, _KINDS)
        raise BadRequest(
            "expected the subject user/EMAIL, domain/HOST, agent/SERVER:WORKSPACE.APP.AGENT, machine/ID, "
            f"all-users or anonymous, found {text!r:.400}{near}"
        )
    return text if kind == "agent" else f"{kind}/{_folded(rest)}"


def _folded(address: str) -> str:
    """Without upper case of ASCII."""
    # NOTE: `str.lower` makes ASCII letters of some that are none, as the Kelvin sign: another one's address.
    return "".join(char.lower() if char.isascii() else char for char in address)


def _is_one(kind: str, rest: str) -> bool:
    """Whether that can stand behind a kind of subject."""
    match kind:
        case "user":
            return _EMAIL.fullmatch(rest) is not None
        case "domain":
            return _HOST.fullmatch(rest) is not None
        case "agent":
            return _AGENT.fullmatch(rest) is not None
        case "machine":
            return _MACHINE.fullmatch(rest) is not None
    return False


def subjects_of(email: str | None, signed_in: bool) -> tuple[str, ...]:
    """All subjects that somebody is, the narrowest first.

    Args:
        email: the address, if the identity provider says one that it has verified.
        signed_in: whether it is known who it is, by an address or not.
    """
    if not signed_in:
        return (ANONYMOUS,)
    found = None if email is None else _EMAIL.fullmatch(_folded(email))
    if found is None or len(found[0]) > _LONGEST:
        return (ALL_USERS, ANONYMOUS)
    return (f"user/{found[0]}", f"domain/{found['host']}", ALL_USERS, ANONYMOUS)


def subjects_named(subject: str) -> tuple[str, ...]:
    """All subjects that somebody is of whom one is known."""
    kind, _, rest = subject.partition("/")
    if kind == "user":
        return subjects_of(rest, True)
    return tuple(dict.fromkeys((subject, *((ALL_USERS,) if kind == "domain" else ()), ANONYMOUS)))


def moved(subject: str, before: str, now: str) -> str:
    """The subject when its workspace has another name: an agent of it has that too."""
    own = f"agent/:{before}."
    return f"agent/:{now}.{subject.removeprefix(own)}" if subject.startswith(own) else subject


def agent_of(subject: str, workspace: str) -> tuple[str, str] | None:
    """App and name of the agent that a subject is, if it is one of this server's, in that workspace."""
    found = _AGENT.fullmatch(subject.removeprefix("agent/")) if subject.startswith("agent/:") else None
    ws, app, name = found[0].removeprefix(":").split(".") if found else ("", "", "")
    return (app, name) if found and ws == workspace else None


def check_agent(text: str, workspace: str) -> str:
    """The subject, if it is an agent of this server in that workspace. `BadRequest` if not."""
    if agent_of(text, workspace) is None:
        raise BadRequest(
            f"expected an agent of the workspace, as agent/:{workspace}.APP.AGENT, found {text!r:.200}"
        )
    return text


def agent(workspace: str, app: str, name: str) -> str:
    """The subject that an agent of this server is."""
    return f"agent/:{workspace}.{app}.{name}"
