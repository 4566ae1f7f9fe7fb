"""Who may do what: subjects, roles, grants, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mix_server.access.grant import Grant, parse_resource, resource_text
from mix_server.access.grants import Grants
from mix_server.access.role import PERMISSIONS, Role
from mix_server.access.subject import check_subject, subjects_named, subjects_of
from mix_server.caller import Permission, Resource
from mix_server.errors import BadRequest
from mix_server.server import Server

from mixkit.errors import NotFound, StorageError

ADA = subjects_of("Ada@Example.org", signed_in=True)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("user/Ada@Example.org", "user/ada@example.org"),
        ("domain/Example.ORG", "domain/example.org"),
        ("agent/:w.demo.echo", "agent/:w.demo.echo"),
        ("agent/server.example:w.demo.echo", "agent/server.example:w.demo.echo"),
        ("machine/0123456789abcdef", "machine/0123456789abcdef"),
        ("all-users", "all-users"),
        ("anonymous", "anonymous"),
    ],
)
def test_subjects(given: str, kept: str) -> None:
    assert check_subject(given) == kept == check_subject(kept)


@pytest.mark.parametrize(
    "text",
    [
        "", "user", "user/", "user/ada", "user/a@b/c", "user/a@b@c", "user/a b@c", "domain/", "domain/a@b",
        "agent/w.demo.echo", "agent/:w.demo", "agent/:w.demo.echo.more", "all-users/", "everybody", "Anonymous",
        "user/a@b\n", f"user/{'a' * 400}@b",
    ],
)  # fmt: skip
def test_what_is_no_subject(text: str) -> None:
    with pytest.raises(BadRequest, match="expected the subject user/EMAIL"):
        check_subject(text)


def test_who_somebody_is() -> None:
    assert ADA == ("user/ada@example.org", "domain/example.org", "all-users", "anonymous")
    assert subjects_named("user/ada@example.org") == ADA
    # An address that is none names nobody, least of all by its host.
    for address in (None, "ada", "ada@", "@example.org", "a@b@example.org", "a/b@example.org"):
        assert subjects_of(address, signed_in=True) == ("all-users", "anonymous")
    assert subjects_of("ada@example.org", signed_in=False) == ("anonymous",)
    assert subjects_named("all-users") == ("all-users", "anonymous")
    assert subjects_named("anonymous") == ("anonymous",)


@pytest.mark.parametrize("text", ["workspace", "db/demo", "agent/demo/echo"])
def test_resources(text: str) -> None:
    assert resource_text(parse_resource(text, "w")) == text


@pytest.mark.parametrize(
    "text", ["", "db", "db/", "db/..", "agent/demo", "agent/demo/echo/x", "app/demo", "workspace/w"]
)
def test_what_is_no_resource(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_resource(text, "w")


def _grants(*triples: tuple[str, str, str], owner: str | None = None) -> Grants:
    return Grants("w", [Grant.checked(f"g{i}", *triple, "w") for i, triple in enumerate(triples)], owner)


def test_roles_and_what_is_inside() -> None:
    grants = _grants(
        ("user/ada@example.org", "runner", "agent/demo/echo"),
        ("domain/example.org", "editor", "db/notes"),
        ("all-users", "db/creator", "workspace"),
        ("anonymous", "runner", "agent/public/hello"),
    )
    echo, other = Resource("w", "demo", "echo"), Resource("w", "demo", "other")
    assert grants.may(ADA, Permission.RUN, echo)
    assert not grants.may(ADA, Permission.RUN, other)
    assert grants.may(ADA, Permission.WRITE, Resource("w", "notes"))
    assert grants.may(ADA, Permission.RUN, Resource("w", "notes", "any"))
    assert grants.may(ADA, Permission.CREATE, Resource("w", "new"))
    assert not grants.may(ADA, Permission.DELETE, Resource("w", "notes"))
    stranger = ("anonymous",)
    assert grants.may(stranger, Permission.RUN, Resource("w", "public", "hello"))
    # Who may run it may know what it is in, and nothing beside it.
    for seen in (Resource("w", "public"), Resource("w")):
        assert grants.may(stranger, Permission.SEE, seen)
        assert not grants.may(stranger, Permission.READ, seen)
    for hidden in (Resource("w", "demo"), echo, Resource("w", "public", "other")):
        assert not grants.may(stranger, Permission.SEE, hidden)


def test_an_owner_may_do_everything() -> None:
    grants = _grants(owner="user/ada@example.org")
    assert all(grants.may(ADA, permission, Resource("w", "a", "b")) for permission in Permission)
    assert not any(grants.may(ADA[1:], permission, Resource("w")) for permission in Permission)


RESOURCES = ["workspace", "db/a", "db/b", "agent/a/x", "agent/a/y", "agent/b/x"]
SUBJECTS = [*ADA, "user/bob@example.org", "domain/elsewhere.org", "agent/:w.a.x"]
TRIPLES = st.lists(
    st.tuples(
        st.sampled_from(SUBJECTS), st.sampled_from([r.value for r in Role]), st.sampled_from(RESOURCES)
    ),
    max_size=8,
)


@given(TRIPLES, st.sampled_from(list(Permission)), st.sampled_from(RESOURCES), st.booleans())
def test_it_is_what_reading_all_grants_gives(
    triples: list[tuple[str, str, str]], permission: Permission, about: str, signed_in: bool
) -> None:
    subjects = ADA if signed_in else ("anonymous",)
    resource = parse_resource(about, "w")
    expected = False
    for subject, role, text in triples:
        if subject not in subjects:
            continue
        holds = (
            text == "workspace"
            or about == text
            or (text.startswith("db/") and about.startswith(f"agent/{text[3:]}/"))
        )
        expected |= holds and permission in PERMISSIONS[Role(role)]
        on_the_way = about == "workspace" or (
            about.startswith("db/") and text.startswith(f"agent/{about[3:]}/")
        )
        expected |= permission is Permission.SEE and on_the_way
    grants = _grants(*triples)
    assert grants.may(subjects, permission, resource) is expected
    why = grants.explain(subjects, permission, resource)
    assert why["allowed"] is expected
    assert (why["because"] is not None) is expected
    assert (why["needed"] is None) is expected


def test_an_explanation_says_what_was_tried_and_what_is_needed() -> None:
    grants = _grants(("all-users", "runner", "db/demo"))
    why = grants.explain(ADA, Permission.WRITE, Resource("w", "demo", "echo"))
    assert [each["resource"] for each in why["tried"]] == ["agent/demo/echo", "db/demo", "workspace"]
    assert why["tried"][1]["grants"] == [
        {"id": "g0", "subject": "all-users", "role": "runner", "resource": "db/demo", "allows": False}
    ]
    assert why["needed"] == {
        "roles": ["editor", "admin"],
        "resources": ["agent/demo/echo", "db/demo", "workspace"],
    }
    assert grants.explain(ADA, Permission.RUN, Resource("w", "demo"))["because"]["id"] == "g0"


# -- where they are kept -------------------------------------------------------------------------


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    return make_server()


def test_one_triple_is_one_grant(server: Server) -> None:
    first, is_new = server.grants.add("w", "user/Ada@Example.org", "runner", "db/demo", None)
    again, once_more = server.grants.add(
        "w", "user/ada@example.org", "runner", "db/demo", "user/bob@example.org"
    )
    assert (first, is_new, once_more) == (again, True, False)
    assert list(server.grants.of("w")) == [first]
    assert server.grants.remove("w", [first.id]) == [first]
    assert not list(server.grants.of("w"))
    with pytest.raises(NotFound):
        server.grants.remove("w", [first.id])
    assert server.grants.add("w", "user/ada@example.org", "runner", "db/demo", None) == (first, True)


def test_taking_back_is_all_or_nothing(server: Server) -> None:
    grant, _ = server.grants.add("w", "all-users", "runner", "workspace", None)
    with pytest.raises(NotFound):
        server.grants.remove("w", [grant.id, "grant:none"])
    assert list(server.grants.of("w")) == [grant]


def test_they_go_with_the_workspace(server: Server) -> None:
    server.grants.add("w", "all-users", "admin", "workspace", None)
    assert len(server.grants.of("w")) == 1
    server.store.delete("w")
    with pytest.raises(NotFound):
        server.grants.of("w")
    server.store.create("w")
    assert len(server.grants.of("w")) == 0


def test_each_look_sees_what_others_have_written(make_server: Callable[..., Server]) -> None:
    one, other = make_server(), make_server()
    for number in range(5):
        grant, _ = one.grants.add("w", "all-users", "runner", f"db/app{number}", None)
        assert grant.id in other.grants.of("w")
        assert other.grants.at_hand("w") is other.grants.of("w")
        other.grants.remove("w", [grant.id])
        known = one.grants.at_hand("w")
        assert known is None or grant.id not in known
        assert grant.id not in one.grants.of("w")
        machine, _ = other.grants.make_machine("w", "ci", [("runner", "workspace")], None, None)
        assert set(one.grants.of("w").machines) == {machine.id}
        one.grants.revoke_machine("w", machine.id)
        assert not other.grants.of("w").machines
    # Made anew, with as many commits.
    one.store.delete("w")
    gone = other.grants.at_hand("w")
    assert gone is not None and (gone.owner, len(gone)) == (None, 0)
    one.store.create("w")
    one.grants.own("w", "user/ada@example.org")
    assert (other.grants.of("w").owner, len(other.grants.of("w"))) == ("user/ada@example.org", 0)


def test_what_is_written_otherwise_refuses_all(server: Server) -> None:
    record: dict[str, Any] = {
        "_rmx_type": "grant",
        "subject": "all-users",
        "role": "king",
        "resource": "workspace",
    }
    server.store.workspace("w").database().save([record])
    with pytest.raises(StorageError, match="is not as it is written: expected one of the roles"):
        server.grants.of("w")


def test_the_apps_are_not_disturbed(server: Server) -> None:
    before = server.store.workspace("w").generation("demo")
    server.grants.add("w", "all-users", "admin", "workspace", None)
    assert server.store.workspace("w").apps() == ["demo"]
    assert server.store.workspace("w").generation("demo") == before
