"""Where grants are kept: in the workspace's own database, beside the list of its apps, with which they come and go.

    grant:ID        subject, role, resource, and `app`, with which it goes, if it is for one or a part of it, and
                    `subject_app` if it is for an agent of one; when it
                    was given and by whom are the engine's fields and `by`
    machine:ID      name, digest, until, by: see `mix_server.access.machine`
    owner           subject: who made the workspace

A change is one commit, seen by all processes at their next look, which as a rule is one at a mark of the workspace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from mix_server.access.grant import Grant, resource_text
from mix_server.access.grants import Grants
from mix_server.access.machine import Machine
from mix_server.access.subject import agent_of, check_subject
from mix_server.errors import BadRequest
from mixkit.errors import MixError, NotFound, StorageError
from mixkit.storage import SaveOptions

if TYPE_CHECKING:
    from mixkit.package import WorkspaceStore
    from mixkit.package.glance import Glance
    from mixkit.storage import Database

__all__ = ["MAX_GRANTS", "GrantStore", "identified", "owner_record", "record_of"]

T = TypeVar("T")

MAX_GRANTS: Final = 100_000
"""Grants of one workspace: all of them are in memory."""

_ALL: Final = '"_rmx_type" == "grant" || "_rmx_type" == "machine"'
_OWNER: Final = "owner"
_NONE: Final = Grants("", ())
_BY_NAME: Final = SaveOptions(original_id_always=True)


class GrantStore:
    """The grants of all workspaces. Thread-safe; the same in all processes.

    Args:
        store: the workspaces.
    """

    def __init__(self, store: WorkspaceStore) -> None:
        self._store = store
        self._glances: dict[str, Glance[Grants]] = {}

    def of(self, workspace: str) -> Grants:
        """The grants of a workspace as they are now: a microsecond as long as nothing in its database changed.

        Raises:
            NotFound: there is no such workspace.
            StorageError: its database cannot be read, or holds something else.
        """
        # PERF: asked for every request, and as a rule nothing has changed.
        glance = self._glances.get(workspace)
        found = None if glance is None else glance.current()
        return self._glance(workspace).value() if found is None else found

    def look(self, workspace: str) -> Grants:
        """The same; a workspace that is not there has none, and whoever asks must not learn that from the time that it
        took. `StorageError` as `of`."""
        return self._looked(workspace, lambda glance: glance.value())

    def at_hand(self, workspace: str) -> Grants | None:
        """The same, if that is no more than a look; else None. An event loop may ask."""
        return self._looked(workspace, lambda glance: glance.known())

    def _looked(self, workspace: str, ask: Callable[[Glance[Grants]], T]) -> Grants | T:
        glance = self._glances.get(workspace)
        if glance is None:
            if not self._store.has(workspace):
                return _NONE
        elif (found := glance.current()) is not None:
            return found
        try:
            return ask(self._glance(workspace))
        except NotFound:
            return _NONE

    def _glance(self, workspace: str) -> Glance[Grants]:
        try:
            home = self._store.workspace(workspace)
        except NotFound:
            self._glances.pop(workspace, None)
            raise
        found = self._glances.get(workspace)
        if found is None:
            found = self._glances.setdefault(workspace, home.glance(partial(_read_all, workspace)))
        return found

    def add(
        self, workspace: str, subject: str, role: str, resource: str, by: str | None
    ) -> tuple[Grant, bool]:
        """Grant something; answers the grant, and whether it is new: the same triple is one grant.

        Args:
            by: the subject that grants it.

        Raises:
            BadRequest: a text is no subject, role or resource, or there are too many grants.
            NotFound, StorageError: as `of`.
        """
        wanted = identified(Grant.checked("", subject, role, resource, workspace))
        known = self.of(workspace)
        if wanted.id in known:
            return wanted, False
        if len(known) >= MAX_GRANTS:
            raise BadRequest(
                f"expected at most {MAX_GRANTS} grants in a workspace; use domain/HOST or all-users"
            )
        with self._store.workspace(workspace).writing() as database:
            database.save([record_of(wanted, by)], _BY_NAME)
        return wanted, True

    def remove(self, workspace: str, ids: Sequence[str]) -> list[Grant]:
        """Take grants back, in one commit; answers those that there were.

        Raises:
            NotFound: one of them is not there; nothing is taken back then.
        """
        known = self.of(workspace)
        found = []
        for id in dict.fromkeys(ids):
            grant = known.get(id)
            if grant is None:
                raise NotFound(
                    f"no such grant in workspace {workspace!r}, found {id!r:.80}; nothing was taken back"
                )
            found.append(grant)
        with self._store.workspace(workspace).writing() as database:
            database.delete([grant.id for grant in found])
        return found

    def make_machine(
        self,
        workspace: str,
        name: str,
        rights: Iterable[tuple[str, str]],
        seconds: float | None,
        by: str | None,
    ) -> tuple[Machine, str]:
        """Make a token for a machine, with its grants, in one commit; answers the token too, which is kept nowhere.

        Args:
            rights: roles, each with its resource.
            seconds: after which it ends; None is never.
            by: the subject that makes it.

        Raises:
            BadRequest: there are no rights, or a text is no role or resource.
            NotFound, StorageError: as `of`.
        """
        machine, token = Machine.make(workspace, name, seconds, by)
        grants = [identified(Grant.checked("", machine.subject, *right, workspace)) for right in rights]
        if not grants:
            raise BadRequest("expected at least one role and its resource, for a token that may do something")
        record = {**asdict(machine), "_rmx_id": f"machine:{machine.id}", "_rmx_type": "machine"}
        del record["id"]
        records = [record, *(record_of(grant, by) for grant in grants)]
        with self._store.workspace(workspace).writing() as database:
            database.save(records, _BY_NAME)
        return machine, token

    def revoke_machine(self, workspace: str, id: str) -> None:
        """Revoke a token, in one commit with its grants. `NotFound` if there is none."""
        known = self.of(workspace)
        machine = known.machines.get(id)
        if machine is None:
            raise NotFound(f"no such token in workspace {workspace!r}")
        gone = [f"machine:{id}", *(grant.id for grant in known if grant.subject == machine.subject)]
        with self._store.workspace(workspace).writing() as database:
            database.delete(gone)

    def own(self, workspace: str, subject: str) -> None:
        """Write who made a workspace; when it is made, and never again."""
        record = owner_record(subject)
        once = SaveOptions(original_id_always=True, keep_original=True)
        with self._store.workspace(workspace).writing() as database:
            database.save([record], once)


def owner_record(subject: str) -> dict[str, Any]:
    """Who made a workspace, as it is kept."""
    return {"_rmx_id": _OWNER, "_rmx_type": "owner", "subject": check_subject(subject)}


def identified(grant: Grant) -> Grant:
    """With its id: one triple has one, whoever else grants it at the same time."""
    triple = "\0".join((grant.subject, grant.role, resource_text(grant.resource)))
    return replace(grant, id=f"grant:{hashlib.sha256(triple.encode()).hexdigest()[:16]}")


def record_of(grant: Grant, by: str | None) -> dict[str, Any]:
    """A grant as it is kept."""
    record: dict[str, Any] = {"_rmx_id": grant.id, "_rmx_type": "grant", "by": by, **grant.public()}
    if grant.resource.app is not None:
        record["app"] = grant.resource.app
    by_agent = agent_of(grant.subject, str(grant.resource.workspace))
    if by_agent is not None:
        record["subject_app"] = by_agent[0]
    del record["id"]
    return record


def _read_all(workspace: str, database: Database) -> tuple[Grants, str]:
    with database.query(_ALL) as cursor:
        records = {str(record["_rmx_id"].id): record for record in cursor}
        return _read(workspace, records, database.as_of(cursor.watermark).get(_OWNER)), cursor.watermark


def _read(workspace: str, records: Mapping[str, dict[str, Any]], owner: dict[str, Any] | None) -> Grants:
    grants: list[Grant] = []
    machines: dict[str, Machine] = {}
    for id, record in records.items():
        try:
            if record["_rmx_type"] == "grant":
                texts = record["subject"], record["role"], record["resource"]
                grants.append(Grant.checked(id, *texts, workspace))
            else:
                key = id.removeprefix("machine:")
                rest = {name: record.get(name) for name in ("name", "digest", "until", "by")}
                machines[key] = msgspec.convert({"id": key, **rest}, Machine)
        except (KeyError, TypeError, AttributeError, msgspec.ValidationError, MixError) as exc:
            # Whoever revokes must see all that there is.
            raise StorageError(f"workspace {workspace!r}: {id} is not as it is written: {exc}") from None
    return Grants(workspace, grants, None if owner is None else str(owner.get("subject")), machines)
