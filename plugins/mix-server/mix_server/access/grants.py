"""The grants of one workspace, arranged for the question that every request asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from mix_server.access.grant import Grant, resource_text
from mix_server.access.machine import Machine
from mix_server.access.role import PERMISSIONS, roles_with
from mix_server.access.subject import agent_of
from mix_server.caller import Permission, Resource

__all__ = ["Grants"]


@dataclass(frozen=True, slots=True)
class _Rights:
    """What one subject was granted: permissions by resource, and which resources there are on the way to one."""

    by_resource: dict[Resource, frozenset[Permission]] = field(default_factory=dict)
    on_the_way: set[Resource] = field(default_factory=set)


class Grants:
    """All grants of one workspace at one moment; never changed.

    Args:
        workspace: its name.
        grants: in the order in which they were given.
        owner: the subject that made the workspace, which may do everything in it, or None.
        machines: its tokens for machines, by id.
    """

    def __init__(
        self,
        workspace: str,
        grants: Iterable[Grant],
        owner: str | None = None,
        machines: Mapping[str, Machine] = MappingProxyType({}),
    ) -> None:
        self.workspace = workspace
        self.machines = machines
        self.owner = owner
        self._all = {grant.id: grant for grant in grants}
        self._rights: dict[str, _Rights] = {}
        for grant in self._all.values():
            rights = self._rights.setdefault(grant.subject, _Rights())
            allowed = rights.by_resource.get(grant.resource, frozenset())
            rights.by_resource[grant.resource] = allowed | PERMISSIONS[grant.role]
            rights.on_the_way.update(_outer(grant.resource))

    def __iter__(self) -> Iterator[Grant]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, id: str) -> bool:
        return id in self._all

    def get(self, id: str) -> Grant | None:
        """The grant with that id."""
        return self._all.get(id)

    def may(self, subjects: Sequence[str], permission: Permission, resource: Resource) -> bool:
        """Whether one who is all of these subjects may do something with a resource of this workspace.

        Who may do something with a part of a resource may know that the resource is there, and no more of it.
        """
        for subject in subjects:
            if subject == self.owner:
                return True
            rights = self._rights.get(subject)
            if rights is None:
                continue
            for outer in _outer(resource):
                allowed = rights.by_resource.get(outer)
                if allowed is not None and permission in allowed:
                    return True
            if permission is Permission.SEE and resource in rights.on_the_way:
                return True
        return False

    def explain_call(self, subjects: Sequence[str], via: Sequence[str], resource: Resource) -> dict[str, Any]:
        """Why an agent may call another one, or not, for somebody: it may if one of the two may run it.

        Args:
            subjects: all that who asked is.
            via: all that the agent is that calls.
        """
        chain = [self.explain(each, Permission.RUN, resource) for each in (subjects, via)]
        because = next((each["because"] for each in chain if each["allowed"]), None)
        return {
            **chain[0],
            "allowed": because is not None,
            "because": because,
            "needed": None if because is not None else chain[0]["needed"],
            "via": chain[1],
        }

    def explain(self, subjects: Sequence[str], permission: Permission, resource: Resource) -> dict[str, Any]:
        """Why `may` answers what it does: what was looked for, what decides, and what would be needed.

        Answers `{allowed, permission, resource, subjects, tried, because, needed}`: `tried` has each resource that was
        looked at from the inside out with the grants of the subjects for it, `because` what allows it, `needed` what
        would if nothing does.
        """
        tried = {
            resource_text(outer): [
                {**grant.public(), "allows": permission in PERMISSIONS[grant.role]}
                for grant in self
                if grant.resource == outer and grant.subject in subjects
            ]
            for outer in _outer(resource)
        }
        because: dict[str, Any] | None
        own = _own(subjects, permission, resource)
        if self.owner in subjects:
            because = {"owner": self.owner}
        elif own is not None:
            because = {"same_app": own}
        else:
            because = next((grant for found in tried.values() for grant in found if grant["allows"]), None)
        allowed = own is not None or self.may(subjects, permission, resource)
        if allowed and because is None:
            inside = next(g for g in self if g.subject in subjects and resource in _outer(g.resource))
            because = {**inside.public(), "inside": True}
        return {
            "allowed": allowed,
            "permission": permission.value,
            "resource": resource_text(resource),
            "subjects": list(subjects),
            "tried": [{"resource": text, "grants": found} for text, found in tried.items()],
            "because": because,
            "needed": None
            if allowed
            else {
                "roles": [role.value for role in roles_with(permission)],
                "resources": [resource_text(outer) for outer in _outer(resource)],
            },
        }


def _own(subjects: Sequence[str], permission: Permission, resource: Resource) -> str | None:
    """The app of the agent that these are, if it is that of the agent that it wants to run; else None."""
    of = [agent_of(subject, str(resource.workspace)) for subject in subjects]
    apps = {found[0] for found in of if found is not None}
    return resource.app if permission is Permission.RUN and resource.agent and resource.app in apps else None


def _outer(resource: Resource) -> list[Resource]:
    """A resource and all that it is in, from the inside out."""
    found = [resource]
    if resource.agent is not None:
        found.append(Resource(resource.workspace, resource.app))
    if resource.app is not None:
        found.append(Resource(resource.workspace))
    return found
