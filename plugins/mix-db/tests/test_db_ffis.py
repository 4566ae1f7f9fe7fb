"""The FFIs of the db group, called as an agent's calls go, and agents that reach for more than they have."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mix_db.ffis import group
from mix_db.testing.plain import PlainStorage

from mixkit import codec
from mixkit.databases import Apps, Databases
from mixkit.errors import CancelledRun, FFIError, GrantError, LimitExceeded, MixError, NotFound
from mixkit.ffi import FFITable
from mixkit.grants import ALL, Grants
from mixkit.limits import Budget, Limits
from mixkit.state import NoServices, State
from mixkit.storage import Place
from mixkit.value import Case, Ref, Token

ALL_APPS = Grants(["*"], {"db.apps": "*"})
GLOBAL = {"type": "rmx", "scope": "global", "db": "crm"}
SESSION = {"type": "rmx", "scope": "session"}


class Services(NoServices):
    """A kernel that has databases and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self._databases = Databases(PlainStorage)

    @property
    def databases(self) -> Databases:
        return self._databases


class House:
    """A workspace with the apps notes and crm, and one of another workspace beside it."""

    def __init__(self, root: Path) -> None:
        self.services = Services()
        self.table = FFITable([group])
        self.places = {
            name: Place("office", name, root / "office" / name) for name in ("notes", "crm", "CRM2")
        }
        self.places["secret"] = Place("other", "secret", root / "other" / "secret")
        for place in self.places.values():
            place.home.mkdir(parents=True)
        self.states: list[State] = []

    def state(self, app: str | None = "notes", grants: Grants = ALL, limits: Limits | None = None) -> State:
        state = State(
            grants=grants,
            budget=Budget(limits or Limits()),
            services=self.services,
            place=self.places[app] if app else None,
        )
        state.put(Apps(self._resolve))
        self.states.append(state)
        return state

    def _resolve(self, name: str) -> Place:
        if name not in ("notes", "crm", "CRM2"):
            raise NotFound(f"no app {name!r:.80}")
        return self.places[name]

    def call(self, state: State, name: str, *args: Any) -> Any:
        """As a guest calls: only codec words go in and come out."""
        words = codec.encode(list(args), token=state.token_to_handle)
        _, answer = self.table.dispatch(state, name.encode(), words)
        state.budget.check_call(answer)
        return codec.decode(answer, token=state.token_from_handle)

    def close(self) -> None:
        for state in self.states:
            assert state.close() == []
        self.services.databases.close()


Call = Callable[..., Any]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


@pytest.fixture
def state(house: House) -> State:
    return house.state()


@pytest.fixture
def call(house: House, state: State) -> Call:
    return lambda name, *args: house.call(state, name, *args)


def rows_of(call: Call, db: Any, query: Any = "true", params: Any = None) -> list[Any]:
    handle = call("$db_execute", db, query, params or {})
    rows = []
    while batch := call("$db_execute_next", handle):
        assert len(batch) <= 100
        rows += batch
    assert call("$db_execute_next", handle) == []
    call("$db_execute_close", handle)
    return rows


# -- what they do -----------------------------------------------------------------------------------


def test_all_of_the_group_are_there() -> None:
    assert {ffi.name for ffi in group} == {
        "$db_get_one", "$db_get_a",
        "$db_save_one", "$db_save_a", "$db_save_ar",
        "$db_upsert_one", "$db_upsert_a", "$db_upsert_ar",
        "$db_delete_one", "$db_delete_a", "$db_delete_ar",
        "$db_execute", "$db_execute_next", "$db_execute_close",
        "$db_getWatermark", "$db_flush", "db_flush", "$db_parse", "$db_parse_result", "$db_fromAST_result",
    }  # fmt: skip


@pytest.mark.parametrize("db", [None, {}, {"type": "rmx"}, {"type": "rmx", "scope": "main"}, SESSION])
def test_records_are_stored_read_changed_and_deleted(call: Call, db: Any) -> None:
    one = call("$db_save_one", db, {"_rmx_type": "note", "text": "a", "n": 1})
    assert one["text"] == "a"
    assert call("$db_get_one", db, one["_rmx_id"]) == one
    assert call("$db_get_one", db, one["_rmx_id"].id) == one
    two, three = call("$db_save_a", db, [{"_rmx_id": "t", "n": 2}, {"to": Ref("t")}])
    assert three["to"] == two["_rmx_id"]
    [four] = call("$db_save_ar", db, [{"n": 4}])
    assert isinstance(four, Ref)
    changed = call("$db_upsert_one", db, {"_rmx_id": one["_rmx_id"], "n": 10})
    assert (changed["text"], changed["n"]) == ("a", 10)
    assert [row["n"] for row in call("$db_upsert_a", db, [{"_rmx_id": four, "n": 40}])] == [40]
    assert call("$db_upsert_ar", db, [{"_rmx_id": four, "m": 1}]) == [four]
    assert call("$db_delete_one", db, two["_rmx_id"])["_rmx_deleted"] is True
    assert call("$db_delete_one", db, two["_rmx_id"]) == {}
    assert call("$db_delete_ar", db, [three["_rmx_id"], "nobody"]) == [three["_rmx_id"], None]
    assert [bool(row) for row in call("$db_delete_a", db, ["nobody", four])] == [False, True]
    assert call("$db_get_a", db, [one["_rmx_id"], "nobody", four]) == [changed, None, None]
    assert call("$db_getWatermark", db) >= changed["_rmx_rev"]
    assert call("db_flush", db) is None
    assert call("$db_flush", db) is None
    assert rows_of(call, db) == [changed]


def test_queries_in_both_spellings_with_parameters(call: Call) -> None:
    call("$db_save_ar", None, [{"n": number} for number in range(250)])
    assert [row["n"] for row in rows_of(call, None, "n >= $least", {"least": 10})] == list(range(10, 250))
    tree = ["comparison", "<", ["token", "n"], ["param", "most"]]
    assert [row["n"] for row in rows_of(call, None, tree, {"most": 2})] == [0, 1]
    assert rows_of(call, None, "true | count()") == [{"count": 250}]
    assert rows_of(call, None, "n == $n", {"n": '0" or true'}) == []


def test_spellings_are_turned_into_each_other(call: Call) -> None:
    text = 'kind == "person" and age >= $age | orderAsc(name) | limit(3)'
    tree = call("$db_parse", text)
    answer = call("$db_fromAST_result", tree)
    assert answer.name == "ok"
    assert call("$db_parse", answer.arg) == tree
    with pytest.raises(FFIError, match="line 1, column 6"):
        call("$db_parse", "n == ")
    refused = call("$db_fromAST_result", ["nonsense"])
    assert (refused.name, type(refused.arg)) == ("error", str)
    ref = call("$db_parse", 'owner == ref("x")')
    assert call("$db_fromAST_result", ref) == Case("ok", 'owner == ref("x")')


def test_save_options_stand_beside_the_name(call: Call) -> None:
    [old] = call("$db_save_a", {"OriginalIdAlways": True}, [{"_rmx_id": "rome", "n": 1}])
    assert old["_rmx_id"] == Ref("rome")
    kept = call("$db_save_one", {"OriginalIdAlways": True, "KeepOriginal": True}, {"_rmx_id": "rome", "n": 2})
    assert kept == old
    both = call("$db_save_one", {"OriginalIdAlways": True, "Upsert": True}, {"_rmx_id": "rome", "m": 3})
    assert (both["n"], both["m"]) == (1, 3)
    new = call("$db_save_one", {"DontUseId": True}, {"_rmx_id": "rome", "n": 4})
    assert new["_rmx_id"] != Ref("rome")


@pytest.mark.parametrize("scope", ["main", "session"])
def test_what_somebody_else_changed_is_neither_saved_nor_deleted(call: Call, scope: str) -> None:
    db = {"scope": scope, "Unchanged": True}
    stale, other = call("$db_save_a", db, [{"n": 1}, {"n": 2}])
    newest = call("$db_upsert_one", db, stale | {"n": 10})
    for name, given in (
        ("$db_save_one", stale),
        ("$db_upsert_one", stale),
        ("$db_save_ar", [other, stale]),
        ("$db_delete_one", stale),
        ("$db_delete_a", [other, stale]),
    ):
        with pytest.raises(FFIError, match=rf"{newest['_rmx_rev']} at \$\[\d\].*read it again"):
            call(name, db, given)
    with pytest.raises(FFIError, match="_rmx_rev"):
        call("$db_save_one", db, {"_rmx_id": stale["_rmx_id"]})
    for given in (stale["_rmx_id"], stale["_rmx_id"].id):
        with pytest.raises(FFIError, match="Unchanged"):
            call("$db_delete_one", db, given)
    assert rows_of(call, {"scope": scope}) == [other, newest]
    assert call("$db_delete_ar", {"scope": scope}, [newest, other]) == [newest["_rmx_id"], other["_rmx_id"]]


def test_what_the_database_refuses_is_told_in_its_words(call: Call) -> None:
    with pytest.raises(FFIError, match=r"\$\[1\]\._rmx_id"):
        call("$db_save_a", None, [{"n": 1}, {"_rmx_id": 5}])
    with pytest.raises(FFIError, match="line 1, column 3"):
        call("$db_execute", None, "n = 1", {})
    with pytest.raises(FFIError, match=r"\$n"):
        call("$db_execute", None, "n == $n", {})
    assert rows_of(call, None) == []


@pytest.mark.parametrize(
    ("db", "message"),
    [
        ({"type": "sqlite"}, "sqlite"),
        ({"scope": "everything"}, "everything"),
        ({"scope": "global"}, "a name as db"),
        ({"scope": "main", "db": "crm"}, "db with the scope global alone"),
        ({"scope": "session", "db": "crm"}, "db with the scope global alone"),
        ({"scope": "global", "db": 5}, "str"),
        ({"scope": "global", "db": None}, "a name as db"),
        ({"keepOriginal": True}, "keepOriginal"),
        ({"Upsert": 1}, "bool"),
        ({"place": "/etc"}, "place"),
        ({"scope": "main\nERROR"}, "Invalid enum"),
        ({"type": "rmx_remote", "url": "https://example.com"}, "not supported yet"),
        ("main", "argument 1"),
        (["main"], "argument 1"),
    ],
)
@pytest.mark.parametrize("name", ["$db_get_one", "$db_save_one", "$db_delete_one", "$db_execute"])
def test_what_names_no_database_is_refused(call: Call, name: str, db: Any, message: str) -> None:
    thing = {"n": 1} if name == "$db_save_one" else "true"
    with pytest.raises(FFIError, match=message) as caught:
        call(name, db, thing)
    assert "\n" not in str(caught.value)


def test_a_run_without_an_app_has_no_database_but_its_session(house: House) -> None:
    state = house.state(app=None)
    with pytest.raises(FFIError, match="no database of its own"):
        house.call(state, "$db_save_one", None, {"n": 1})
    assert house.call(state, "$db_save_one", SESSION, {"n": 1})["n"] == 1


def test_a_state_of_no_kernel_has_no_storage(house: House) -> None:
    state = State(place=house.places["notes"])
    with pytest.raises(FFIError, match="expected a storage"):
        house.call(state, "$db_get_one", None, "x")


# -- other apps -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "grants",
    [
        ALL,
        Grants(["$db_*"]),
        Grants(["$db_*"], {"db.apps": []}),
        Grants(["$db_*"], {"db.apps": ["notes", "CRM", "crm ", "*", "c*"]}),
        # Each layer must open it: neither a request nor a consent alone is enough.
        Grants(["$db_*"], {"db.apps": ["crm"]}) & Grants(["$db_*"]),
        Grants(["$db_*"]) & Grants(["$db_*"], {"db.apps": "*"}),
        Grants(["$db_*"], {"db.apps": ["crm"]}) & Grants(["$db_*"], {"db.apps": ["tasks"]}),
    ],
)
def test_another_app_is_closed_unless_all_grants_open_it(house: House, grants: Grants) -> None:
    owner = house.state("crm")
    house.call(owner, "$db_save_one", None, {"n": 1})
    state = house.state(grants=grants)
    for name, *args in (
        ("$db_get_one", GLOBAL, "x"),
        ("$db_save_one", GLOBAL, {"n": 2}),
        ("$db_delete_one", GLOBAL, "x"),
        ("$db_execute", GLOBAL, "true"),
        ("$db_getWatermark", GLOBAL),
        ("$db_flush", GLOBAL),
    ):
        with pytest.raises(GrantError, match=r"crm|db\.apps"):
            house.call(state, name, *args)
    assert [row["n"] for row in rows_of(lambda *args: house.call(owner, *args), None)] == [1]


@pytest.mark.parametrize("apps", ["*", ["crm"], ["tasks", "crm"]])
def test_another_app_is_open_when_granted(house: House, apps: Any) -> None:
    owner, state = house.state("crm"), house.state(grants=Grants(["$db_*"], {"db.apps": apps}))
    record = house.call(owner, "$db_save_one", None, {"n": 1})
    assert house.call(state, "$db_get_one", GLOBAL, record["_rmx_id"]) == record
    # A ref means nothing in another database.
    assert house.call(state, "$db_get_one", None, record["_rmx_id"]) is None
    assert house.call(state, "$db_delete_one", None, record["_rmx_id"]) == {}
    house.call(state, "$db_save_one", None, {"owner": record["_rmx_id"]})
    assert rows_of(lambda *args: house.call(state, *args), None, "owner.n == 1") == []
    assert rows_of(lambda *args: house.call(state, *args), None, "exists owner | { +owner }") == [
        {"owner": record["_rmx_id"]}
    ]


@pytest.mark.parametrize("apps", ["crm", 5, [5], {"crm": True}, True])
def test_a_malformed_option_opens_nothing(house: House, apps: Any) -> None:
    state = house.state(grants=Grants(["$db_*"], {"db.apps": apps}))
    with pytest.raises(GrantError, match=r"db\.apps"):
        house.call(state, "$db_get_one", GLOBAL, "x")


@pytest.mark.parametrize(
    "name",
    [
        "secret", "other/secret", "../other/secret", "office/crm", "./crm", "crm/", "/crm", "crm/../crm", "CRM",
        "crm\0", "", ".", "..", "*", "crm\n", "сrm", "%63rm", "crm/v2", "notes/../crm", "x" * 100_000,
    ],
)  # fmt: skip
def test_only_the_exact_names_of_the_workspace_lead_anywhere(house: House, name: str) -> None:
    house.call(house.state("secret"), "$db_save_one", None, {"n": 1})
    state = house.state(grants=ALL_APPS)
    before = sorted(house.places["crm"].home.parent.rglob("*"))
    with pytest.raises(FFIError) as caught:
        house.call(state, "$db_execute", {"scope": "global", "db": name}, "true")
    assert len(str(caught.value)) < 1_000
    assert sorted(house.places["crm"].home.parent.rglob("*")) == before
    with pytest.raises(MixError):
        house.call(house.state(grants=Grants(["$db_*"], {"db.apps": ["crm"]})), "$db_getWatermark",
                   {"scope": "global", "db": name})  # fmt: skip


def test_apps_of_one_name_in_two_workspaces_are_two(house: House, tmp_path: Path) -> None:
    house.places["twin"] = Place("other", "notes", tmp_path / "other" / "notes")
    house.places["twin"].home.mkdir(parents=True)
    record = house.call(house.state("twin"), "$db_save_one", None, {"n": 1})
    assert house.call(house.state("notes"), "$db_get_one", None, record["_rmx_id"]) is None


def test_ffis_that_are_not_granted_cannot_be_called(house: House) -> None:
    state = house.state(grants=Grants(["$db_get_*"], {"db.apps": "*"}))
    assert house.call(state, "$db_get_one", None, "x") is None
    for name in ("$db_save_one", "$db_execute", "db_flush"):
        with pytest.raises(GrantError):
            house.call(state, name, None, "true")


# -- sessions ---------------------------------------------------------------------------------------


def test_a_session_is_of_one_run(house: House) -> None:
    first, second = house.state(), house.state()
    record = house.call(first, "$db_save_one", SESSION, {"n": 1})
    assert house.call(first, "$db_get_one", SESSION, record["_rmx_id"]) == record
    assert house.call(first, "$db_get_one", None, record["_rmx_id"]) is None
    assert house.call(second, "$db_get_one", SESSION, record["_rmx_id"]) is None
    assert first.close() == []
    with pytest.raises((FFIError, CancelledRun)):
        house.call(first, "$db_get_one", SESSION, record["_rmx_id"])


def test_a_session_is_bounded_by_the_memory_of_the_run(house: House) -> None:
    state = house.state(limits=Limits(memory=1 << 20))
    with pytest.raises(LimitExceeded, match="memory"):
        for _ in range(1_000):
            house.call(state, "$db_save_one", SESSION, {"text": "x" * 10_000})
    state = house.state(limits=Limits(memory=1 << 20))
    record = house.call(state, "$db_save_one", SESSION, {"text": "x" * 50_000})
    with pytest.raises(LimitExceeded, match="memory"):
        # Small upserts of a large record are large.
        for number in range(1_000):
            house.call(state, "$db_upsert_ar", SESSION, [{"_rmx_id": record["_rmx_id"], "n": number}])


@pytest.mark.parametrize(
    "record",
    [
        lambda number: {f"f{number}_{i}": 0 for i in range(100)},
        lambda number: {"a": {f"f{number}_{i}": 0 for i in range(100)}},
        lambda number: {"a": list(range(1_000 * number, 1_000 * number + 1_000))},
    ],
    ids=["fields", "fields of maps", "values"],
)
def test_what_the_index_of_a_session_takes_counts_too(
    house: House, record: Callable[[int], dict[str, Any]]
) -> None:
    # Of these there are a few bytes each; what is kept of them in the index is many times that.
    state = house.state(limits=Limits(memory=1 << 20))
    with pytest.raises(LimitExceeded, match="memory"):
        for number in range(11):
            house.call(state, "$db_save_one", SESSION, record(number))
    # The same fields again cost no more than their values.
    state = house.state(limits=Limits(memory=1 << 20))
    for _ in range(20):
        house.call(state, "$db_save_one", SESSION, {f"f{i}": 0 for i in range(100)})


# -- limits -----------------------------------------------------------------------------------------


def test_rows_read_and_written_are_counted(house: House) -> None:
    state = house.state(limits=Limits(database_rows=10))
    refs = house.call(state, "$db_save_ar", None, [{"n": number} for number in range(6)])
    house.call(state, "$db_get_one", None, refs[0])
    house.call(state, "$db_delete_ar", None, refs[:1])
    handle = house.call(state, "$db_execute", None, "n > 3")
    assert len(house.call(state, "$db_execute_next", handle)) == 2
    assert state.budget.spent("database_rows") == 10
    for name, *args in (
        ("$db_get_one", None, refs[1]),
        ("$db_get_a", None, refs),
        ("$db_save_one", None, {"n": 7}),
        ("$db_upsert_ar", None, [{"n": 7}]),
        ("$db_delete_one", None, refs[1]),
    ):
        with pytest.raises(LimitExceeded, match="database_rows"):
            house.call(state, name, *args)
    other = house.call(state, "$db_execute", None, "true")
    with pytest.raises(LimitExceeded, match="database_rows"):
        house.call(state, "$db_execute_next", other)
    fresh = house.state()
    assert len(rows_of(lambda *args: house.call(fresh, *args), None)) == 5


def test_a_call_is_for_so_many_records(house: House) -> None:
    state = house.state()
    [ref] = house.call(state, "$db_save_ar", None, [{}])
    watermark = house.call(state, "$db_getWatermark", None)
    for name, item in (
        ("$db_get_a", ref),
        ("$db_save_a", {}),
        ("$db_upsert_ar", {}),
        ("$db_delete_a", ref),
        ("$db_delete_ar", "unknown"),
    ):
        with pytest.raises(
            FFIError, match="at most 10000 records in a call, found 10001; call several times"
        ):
            house.call(state, name, None, [item] * 10_001)
    assert house.call(state, "$db_getWatermark", None) == watermark
    assert state.budget.spent("database_rows") == 1


def test_bytes_that_are_stored_are_counted(house: House) -> None:
    text = "x" * 10_000
    state = house.state(limits=Limits(database_bytes=50_000))
    [ref] = house.call(state, "$db_save_ar", None, [{"text": text}])
    assert 10_000 < state.budget.spent("database_bytes") < 11_000
    house.call(state, "$db_save_one", SESSION, {"text": text})
    house.call(state, "$db_get_one", None, ref)
    assert state.budget.spent("database_bytes") < 11_000, "a session is in memory, and reading stores nothing"
    for _ in range(3):
        # The version is stored whole, however little is given.
        house.call(state, "$db_upsert_one", None, {"_rmx_id": ref, "n": 1})
    watermark = house.call(state, "$db_getWatermark", None)
    with pytest.raises(LimitExceeded, match="database_bytes of 50000 bytes"):
        house.call(state, "$db_save_a", None, [{"text": text}] * 6)
    assert house.call(state, "$db_getWatermark", None) == watermark, (
        "what is known to be too much is not stored"
    )
    house.call(state, "$db_save_one", None, {"text": text * 3})
    for name, *args in (
        ("$db_save_one", None, {"n": 7}),
        ("$db_upsert_ar", None, [{"n": 7}]),
        ("$db_delete_one", None, ref),
    ):
        with pytest.raises(LimitExceeded, match="database_bytes"):
            house.call(state, name, *args)
    house.call(state, "$db_save_one", SESSION, {"text": text})


def test_one_large_record_is_not_answered_a_thousand_times(house: House) -> None:
    state = house.state(limits=Limits(call_size=1 << 20))
    [ref] = house.call(state, "$db_save_ar", None, [{"text": "x" * 100_000}])
    with pytest.raises(LimitExceeded, match="call_size"):
        house.call(state, "$db_get_a", None, [ref] * 1_000)
    watermark = house.call(state, "$db_getWatermark", None)
    with pytest.raises(LimitExceeded, match="call_size"):
        house.call(state, "$db_upsert_ar", None, [{"_rmx_id": ref, "n": n} for n in range(1_000)])
    assert house.call(state, "$db_getWatermark", None) == watermark


def test_open_queries_count_as_handles(house: House) -> None:
    state = house.state(limits=Limits(handles=10))
    with pytest.raises(LimitExceeded, match="handles"):
        for _ in range(100):
            house.call(state, "$db_execute", None, "true")
    state = house.state(limits=Limits(handles=10))
    for _ in range(100):
        house.call(state, "$db_execute_close", house.call(state, "$db_execute", None, "true"))


# -- handles ----------------------------------------------------------------------------------------


def test_a_handle_is_of_one_run_and_one_kind(house: House) -> None:
    first, second = house.state(), house.state()
    handle = house.call(first, "$db_execute", None, "true")
    stolen = first.token_to_handle(handle)
    for name in ("$db_execute_next", "$db_execute_close"):
        with pytest.raises(FFIError):
            house.call(second, name, handle)
        with pytest.raises(FFIError):
            house.call(first, name, Token(stolen))
        with pytest.raises(FFIError):
            house.call(first, name, first.hold(object()))
        for forged in ("x", stolen, 0, None):
            with pytest.raises(FFIError):
                house.call(first, name, forged)
    assert house.call(first, "$db_execute_next", handle) == []
    house.call(first, "$db_execute_close", handle)
    with pytest.raises(FFIError):
        house.call(first, "$db_execute_next", handle)


def test_queries_end_with_their_run(house: House) -> None:
    state = house.state()
    house.call(state, "$db_save_ar", None, [{"n": number} for number in range(200)])
    handle = house.call(state, "$db_execute", None, "true")
    assert house.call(state, "$db_execute_next", handle)
    held = [obj for obj, _ in state._objects.values()]
    assert state.close() == []
    for rows in held:
        with pytest.raises(MixError, match=r"cancelled|closed"):
            rows.cursor.next()


SLOW = "items.(a == 1 and .items.(b == 2 and .items.(a == 1 and b == 1)))"


def _slow(house: House, state: State) -> Token:
    items = [{"a": 1, "b": 2}] * 23 + [{"a": 2, "b": 1}]
    house.call(house.state(), "$db_save_ar", None, [{"items": items} for _ in range(400)])
    handle = house.call(state, "$db_execute", None, SLOW)
    assert isinstance(handle, Token)
    return handle


def test_a_query_ends_when_its_run_is_stopped(house: House) -> None:
    state = house.state()
    handle = _slow(house, state)
    timer = threading.Timer(0.05, state.interrupt)
    timer.start()
    with pytest.raises(FFIError, match="cancelled"):
        house.call(state, "$db_execute_next", handle)
    timer.join()
    state = house.state()
    handle = house.call(state, "$db_execute", None, SLOW)
    state.interrupt()
    with pytest.raises(FFIError, match="cancelled"):
        house.call(state, "$db_execute_next", handle)


def test_a_query_has_the_time_that_its_run_has(house: House) -> None:
    state = house.state()
    _slow(house, state)
    short = house.state(limits=Limits(wall_time=0.05))
    handle = house.call(short, "$db_execute", None, SLOW)
    with pytest.raises((LimitExceeded, FFIError), match=r"wall_time|within 0\.0"):
        house.call(short, "$db_execute_next", handle)
    time.sleep(0.05)
    with pytest.raises((LimitExceeded, FFIError)):
        house.call(short, "$db_execute_next", handle)


@pytest.mark.parametrize("db", [None, GLOBAL])
def test_a_query_of_an_app_that_was_deleted_has_no_more_rows(house: House, tmp_path: Path, db: Any) -> None:
    state = house.state(grants=ALL_APPS)
    house.call(state, "$db_save_a", db, [{"n": n} for n in range(300)])
    session = house.call(state, "$db_execute", SESSION, "true", {})
    handle = house.call(state, "$db_execute", db, "true", {})
    assert len(house.call(state, "$db_execute_next", handle)) == 100
    # By another process.
    (tmp_path / "office").rename(tmp_path / "trash")
    for name, *args in [("$db_execute_next", handle), ("$db_getWatermark", db), ("$db_save_one", db, {})]:
        with pytest.raises(FFIError, match="is gone"):
            house.call(state, name, *args)
    assert house.call(state, "$db_execute_next", session) == []
    assert not (tmp_path / "office").exists()


def test_a_run_that_used_another_app_gets_no_other_one_of_its_name(house: House, tmp_path: Path) -> None:
    state = house.state(grants=ALL_APPS)
    house.call(state, "$db_save_one", GLOBAL, {"n": 1})
    (tmp_path / "new").mkdir()
    house.places["crm"] = Place("office", "crm", tmp_path / "new" / "data")
    with pytest.raises(FFIError, match="'crm' of workspace 'office' is gone"):
        house.call(state, "$db_save_one", GLOBAL, {"n": 2})
    house.call(house.state(grants=ALL_APPS), "$db_save_one", GLOBAL, {"n": 3})
