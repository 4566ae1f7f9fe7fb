"""One grant: a subject may act in a role on a resource of a workspace."""

from __future__ import annotations

from dataclasses import dataclass

from mix_server.access.role import Role
from mix_server.access.subject import check_subject
from mix_server.caller import Permission, Resource
from mix_server.errors import BadRequest
from mixkit.near import meant
from mixkit.package.errors import BadName
from mixkit.package.names import check_name

__all__ = ["Grant", "check_permission", "check_role", "parse_resource", "resource_text"]


@dataclass(frozen=True, slots=True)
class Grant:
    """A triple, and the id that it has in its workspace.

    Attributes:
        resource: what it is for; it holds for all that is in there too.
    """

    id: str
    subject: str
    role: Role
    resource: Resource

    def public(self) -> dict[str, str]:
        """As people and clients see it."""
        return {
            "id": self.id,
            "subject": self.subject,
            "role": self.role.value,
            "resource": resource_text(self.resource),
        }

    @classmethod
    def checked(cls, id: str, subject: str, role: str, resource: str, workspace: str) -> Grant:
        """A grant of these texts.

        Raises:
            BadRequest: one of them is none; says which, and what was expected.
        """
        return cls(id, check_subject(subject), check_role(role), parse_resource(resource, workspace))


def check_role(text: str) -> Role:
    """The role of that name. `BadRequest` if there is none."""
    try:
        return Role(text)
    except ValueError:
        roles = [role.value for role in Role]
        raise BadRequest(
            f"expected one of the roles {', '.join(roles)}, found {text!r:.80}{meant(text, roles)}"
        ) from None


def check_permission(text: str) -> Permission:
    """The permission of that name. `BadRequest` if there is none."""
    known = [each.value for each in Permission]
    if text not in known:
        raise BadRequest(f"expected one of {', '.join(known)}, found {text!r:.40}{meant(text, known)}")
    return Permission(text)


def parse_resource(text: str, workspace: str) -> Resource:
    """What `workspace`, `db/APP` or `agent/APP/AGENT` names in a workspace, which need not be there (yet).

    Raises:
        BadRequest: it is none of these.
    """
    parts = text.split("/")
    try:
        match parts:
            case ["workspace"]:
                return Resource(workspace)
            case ["db", app]:
                return Resource(workspace, check_name("app", app))
            case ["agent", app, agent]:
                return Resource(workspace, check_name("app", app), check_name("agent", agent))
    except BadName as exc:
        raise BadRequest(str(exc)) from None
    near = meant(parts[0], ("workspace", "db", "agent"))
    raise BadRequest(f"expected the resource workspace, db/APP or agent/APP/AGENT, found {text!r:.300}{near}")


def resource_text(resource: Resource) -> str:
    """The text of a resource of a workspace."""
    if resource.agent is not None:
        return f"agent/{resource.app}/{resource.agent}"
    return "workspace" if resource.app is None else f"db/{resource.app}"
