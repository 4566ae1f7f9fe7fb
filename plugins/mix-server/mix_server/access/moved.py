"""Grants that come with a workspace from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from mix_server.access.grant import Grant
from mix_server.access.store import MAX_GRANTS, identified, record_of
from mix_server.access.subject import moved
from mix_server.errors import BadRequest
from mixkit.storage import Record

__all__ = ["grants"]


def grants(records: Sequence[Record], before: str, now: str) -> list[Record]:
    """Those that mean something here too, as they are kept; see the hook `mix_belongings`.

    Tokens of machines stay behind, since they hold a secret, and with them what was granted to them. Agents of the
    workspace are those of the same names under its new name.

    Raises:
        BadRequest: one is no grant, or there are too many.
    """
    if len(records) > MAX_GRANTS:
        raise BadRequest(f"expected at most {MAX_GRANTS} grants in a workspace, found {len(records)}")
    found = {}
    for record in records:
        texts = [record.get(name) for name in ("subject", "role", "resource")]
        if not all(isinstance(text, str) for text in texts):
            raise BadRequest(f"expected subject, role and resource of a grant as texts, found {texts!r:.200}")
        subject, role, resource = map(str, texts)
        if subject.startswith("machine/"):
            continue
        grant = identified(Grant.checked("", moved(subject, before, now), role, resource, now))
        by = record.get("by")
        found[grant.id] = record_of(grant, by if isinstance(by, str) else None)
    return list(found.values())
