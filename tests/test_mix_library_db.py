"""The module db of the library against a real database: what the compiler makes of functions, and every way to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from mix_lang.errors import CompileError

from mixkit.errors import MixError
from mixkit.kernel import Kernel
from mixkit.storage import Place

Run: TypeAlias = Callable[..., Any]

PEOPLE = """\
import db
import array
import string
import map
import stream
def people = [
  {_rmx_id: "ada", name: "Ada_", age: 36, tags: ["math", "poet"], home: {city: "London"}, boss: db.makeRef("cy")},
  {_rmx_id: "ben", name: "Ben%", age: 17, tags: [], home: {city: "Rome"}, banned: true, boss: db.makeRef("ada")},
  {_rmx_id: "cy", name: "C\\\\y", age: 80, home: {city: "Rome"}, pets: [{kind: "cat", n: 1}, {kind: "dog", n: 90}], x: null},
  {_rmx_id: "dan", name: "Dan", tags: ["math"], pets: [{kind: "dog", n: 2}], age: 17.5}
]
def names(q) = q |> db.inDB(db.session) |> db.sort("name") |> db.toArray |> array.map(.name)
cell saved = db.saveArray(db.session, people)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs the cell `output` of a text, below the people."""
    folder = tmp_path_factory.mktemp("agents")
    profile = folder / "mix.toml"
    profile.write_text(
        'plugins = ["wasmtime", "rt", "lang", "db"]\nengines = ["wasmtime"]\nstorage = "memory"\n'
    )
    with Kernel(profile, environ={}) as kernel:

        def one(text: str, params: Any = None, head: str = PEOPLE) -> Any:
            path = folder / "agent.mix"
            path.write_text(f"module agent(p: data)\n{head}{text}\nmodule end\n")
            return kernel.run_sync(
                kernel.load(path), "agent", params, place=Place("office", "notes", Path(folder) / "notes")
            ).value

        yield one


@pytest.mark.parametrize(
    "test",
    [
        "r.age == 17", "r.age != 17", "r.age < 36", "r.age <= 36", "17 < r.age", "36 >= r.age && r.banned",
        "r.age === 17", "r.age !== 17", "not (r.banned === true)", '"Rome" == r.home.city', "r.x?", "not r.tags?",
        "r.x == null", "r.home.city?", 'map.contains("banned", r)', 'r.home? && map.contains("city", r.home)',
        'string.hasPrefix("Ada_", r.name)', 'string.startsWith(r.name, "C\\\\")', 'string.hasSuffix("%", r.name)',
        'string.contains("_", r.name)', 'string.contains("a", r.name) || r.age > 70', 'r.("age") > p.least',
        "r.(p.field) == 17", 'r.(p.field) == 17 && r.("banned")', 'array.contains(r.age, [17, 80])',
        'r.tags? && array.contains("math", r.tags)',
        'r.pets? && array.exists(x -> x.kind == "dog" && x.n > 50, r.pets)',
        "r.pets? && array.exists(x -> x.n > r.age, r.pets)", "r.pets? && array.exists(x -> let n = x.n; n + 0 == p.least - 19, r.pets)",
        "let old = p.least; r.age > old", "r.age + 1 > p.least * 2", "true", "false", "p.least == 20", "not not (r.age > 20)",
    ],
)  # fmt: skip
def test_the_database_filters_as_the_function_does(run: Run, test: str) -> None:
    text = f"""
cell output = let _all = saved;
  [names(db.head() |> db.filter(r -> {test})), names(db.head() |> db.filterWithFallback(r -> ({test}) === true))]
"""
    found, expected = run(text, {"least": 20, "field": "age"})
    assert found == expected
    if test not in ("false", "p.least == 20"):
        assert found


@pytest.mark.parametrize(
    ("test", "names"),
    [
        ('string.like(r.name, "%da%")', ["Ada_"]),
        ('string.rlike("%a_", r.name)', ["Ada_"]),
        ('string.like(r.name, "Ben%%")', ["Ben%"]),
        ('string.like(r.name, "C\\\\y")', ["C\\y"]),
        ('r.boss.home.city == "Rome"', ["Ada_"]),
        ('db.deref(r.boss).name == "Ada_"', ["Ben%"]),
        ('db.deref(db.deref(r.boss).boss).age == 80', ["Ben%"]),
        ("r.boss == p", ["Ada_"]),
        ("r.boss._rmx_id == p && not r.boss.boss?", ["Ada_"]),
    ],
)  # fmt: skip
def test_patterns_and_refs(run: Run, test: str, names: list[str]) -> None:
    people = "cell output = let all = saved; names(db.head() |> db.filter(r -> let p = p; "
    text = people.replace("let p = p; ", "") + test.replace("== p", "== all[2]._rmx_id") + "))"
    assert run(text) == names


def test_stages(run: Run) -> None:
    text = """
def ages(q) = q |> db.inDB(db.session) |> db.map(r -> r.age)
def all = db.head() |> db.inDB(db.session)
cell output = let _all = saved; [
  ages(db.head()) |> db.sort(null) |> db.toArray,
  ages(db.head()) |> db.dirSort(true, null) |> db.skip |> db.firstn(2) |> db.toArray,
  ages(db.head()) |> db.mapWithFallback(n -> 0 - n) |> db.sort(null) |> db.lastn(2) |> db.toArray,
  all |> db.filterWithFallback(r -> r.home?) |> db.dirSort(true, "home.city") |> db.toArray |> array.map(.name),
  all |> db.filterWithFallback(r -> true) |> db.sort("home.city") |> db.toArray |> array.map(.name),
  (all |> db.sort("name") |> db.first).name, (all |> db.sort("name") |> db.last).name,
  all |> db.count, all |> db.filter(r -> r.age > 30) |> db.length, ages(db.head()) |> db.firstn(3) |> db.count,
  all |> db.filterWithFallback(r -> r.banned === true) |> db.count, all |> db.exists, all |> db.isEmpty,
  all |> db.sort("name") |> db.skipn(1) |> db.lastn(2) |> db.toStream |> stream.map(.name) |> stream.toArray,
  db.query("age > $age and home.city == $city") |> db.bind({age: 20, city: "Rome"}) |> names,
  db.query("age > 20 | orderAsc(age) | {name} | limit(1)") |> db.inDB(db.session) |> db.toArray,
  db.query("tags contains $t") |> db.bind({t: "math"}) |> db.filter(r -> r.age < 20) |> names,
  db.process(db.session, ["query", ["nullFilter"], [["count"]]]) |> stream.toArray,
  db.processPipeline(db.session, [["exists", ["token", "pets"]], ["count"]]) |> stream.toArray,
  db.processPipeline(db.session, []) |> stream.length,
  db.parseQueryString("a ==") |> (global.error(e) -> "wrong" | _ -> "right")
]
"""
    assert run(text) == [
        [17, 17.5, 36, 80], [36, 17.5], [-17.5, -17], ["Ben%", "C\\y", "Ada_"], ["Dan", "Ada_", "Ben%", "C\\y"], "Ada_", "Dan", 4, 2, 3,
        1, True, False, ["C\\y", "Dan"], ["C\\y"], [{"name": "Ada_"}], ["Dan"], [{"count": 4}], [{"count": 2}], 4, "wrong",
    ]  # fmt: skip


def test_ways_to_write(run: Run) -> None:
    text = """
def s = db.session
cell output = do {
  let one = db.saveOne(s, {n: 1});
  let id = one._rmx_id;
  let up = db.upsertOne(s, {_rmx_id: id, m: 2});
  let ids = db.saveStreamGetID(s, array.map(n -> {n}, array.enumerate(2500))[]);
  let count = db.count(db.head() |> db.inDB(s));
  let found = array.length(stream.toArray(db.toStream(db.head() |> db.inDB(s))));
  let _gone = [db.deleteOne(s, id), db.saveOneStm(s, {n: -1}), db.upsertArrayStm(s, [{n: -2}, {n: -3}]), db.saveStreamStm(s, [{n: -4}][])];
  let below = db.head() |> db.inDB(s) |> db.filter(r -> r.n < 0) |> db.map(r -> r.n) |> db.sort(null) |> db.toArray;
  return {
    up: [up.n, up.m], ids: stream.length(ids), count, found, below,
    tombs: db.head() |> db.inDB(s) |> db.includeDeleted |> db.filter(r -> r._rmx_deleted) |> db.count,
    old: db.head() |> db.inDB(s) |> db.includeSuperseded |> db.filter(r -> r._rmx_id == id) |> db.count,
    all: db.all() |> db.inDB(s) |> db.filter(r -> r._rmx_id == id) |> db.count,
    now: db.head() |> db.inDB(s) |> db.filter(r -> r._rmx_id == id) |> db.count,
    refs: [datacase(db.saveOneGetID(s, {n: 5})), datacase(db.upsertOneGetID(s, {n: 5})), datacase(db.deleteOneGetID(s, "none"))],
    got: [db.getOne(s, id), db.getArray(s, [id, "none"]), stream.toArray(db.getStream(s, [id][]))],
    one: array.map(.n, db.saveArray(s, [{n: 7}])), id: db.idOfRef(id) == db.idOfRef(up._rmx_id),
    streams: [stream.length(db.deleteStream(s, ["a", "b"][])), stream.toArray(db.deleteStreamGetID(s, ["a"][])), stream.length(db.upsertStream(s, [{a: 1}][]))]
  }
}
"""
    found = run(text, head=PEOPLE.replace("cell saved", "def unsaved()"))
    assert found == {
        "up": [1, 2], "ids": 2500, "count": 2501, "found": 2501, "below": [-4, -3, -2, -1], "tombs": 1, "old": 2, "all": 3,
        "now": 0, "refs": ["ref", "ref", "null"], "got": [None, [None, None], [None]], "one": [7], "id": True,
        "streams": [2, [None], 1],
    }  # fmt: skip


def test_the_apps_own_database(run: Run) -> None:
    text = 'cell output = let r = db.saveOne(null, {name: "kept"}); [db.deref(r._rmx_id).name, db.head() |> db.count]'
    assert run(text) == ["kept", 1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('db.query("a == ") |> db.toArray', "expected"),
        ('db.query("a == $x") |> db.inDB(db.session) |> db.toArray', "x"),
        ("db.head() |> db.inDB(5) |> db.toArray", "expected a designator"),
        ('db.head() |> db.inDB(db.remoteDB("https://example.com", "x")) |> db.toArray', "not supported"),
        ('db.head() |> db.inDB(db.appDB("crm")) |> db.toArray', "crm"),
        ("db.head() |> db.sort(null) |> db.toArray", "expected the name of a field"),
        ("db.head() |> db.sort(5) |> db.toArray", "expected the name of a field"),
        ('db.query("a == 1 | count()") |> db.filter(r -> r.a == 1) |> db.toArray', "filters stand first"),
        ("db.eval(5) |> db.toArray", "array"),
        ("db.saveOne(db.session, 5)", "map"),
        ("db.idOfRef(p)", "expected a ref"),
        ("db.makeRef(p)", "expected a string as text, found null"),
    ],
)
def test_misuse(run: Run, text: str, said: str) -> None:
    with pytest.raises(MixError, match=said):
        run(f"cell output = {text}")


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("array.exists(x -> array.exists(y -> y.n == 1, x.p), r.pets)", "a function in a function"),
        ("array.exists(({n: n}) -> n == 1, r.pets)", "patterns"),
        ("(r.age + 1) === (r.n + 1)", "two that are computed"),
        ("r.(r.field) == 1", "access by what is computed"),
    ],
)
def test_what_the_database_cannot_run(run: Run, test: str, said: str) -> None:
    with pytest.raises(CompileError, match=said):
        run(f"cell output = db.head() |> db.filter(r -> {test}) |> db.toArray")


def test_queries_by_hand(run: Run) -> None:
    """What the module query makes is what the database reads."""
    text = """
import query as q
def filters = [
  q.everything, q.eq("a", 1), q.ne("a", 1), q.lt("a", 1), q.le("a", 1), q.gt("a", 1), q.ge("a", 1), q.contains("a", "b"),
  q.containsFolded("a", "b"), q.like("a", "b%"), q.likeFolded("a", "b"), q.isIn("a", ["param", "x"]), q.allIn(q.root("a"), [1]),
  q.exists(q.member("b", q.field("a"))), q.after(q.param("w")), q.both([q.exists("a"), q.negate(q.exists("b"))]),
  q.either([q.exists("a"), q.exists("b")]), q.subquery("pets", q.eq("kind", "cat")),
  q.calculate("<", q.calculate("+", q.field("a"), 1), q.apply("year", q.trunc(q.field("at"), "month")))
]
def stages = [
  q.object([q.cloneMembers, q.removeMember("a"), q.followRef("b"), q.assign("n", 1), q.assignWithDefault("m", q.field("a"), 0)]),
  q.object([q.cloneMembersWithExpansion]), q.where(q.gt("n", 1)), q.unnest("tags"), q.orderAsc("n"), q.orderDescFolded("n"),
  q.orderAscFolded("n"), q.orderDesc("n"), q.reverse, q.skip(1), q.limit(2), q.group("n"), q.count, q.sum("n"), q.avg("n"),
  q.min("n"), q.max("n"), q.distinct("n")
]
cell output = let _all = saved; let text = q.toText(q.make(q.both(filters), stages)) |> (global.ok(t) -> t | global.error(e) -> fail(e));
  [ text,
    db.eval(q.make(q.ge("age", 18), [q.orderAsc("name"), q.limit(1)])) |> names,
    db.eval(q.isIn("name", ["param", "Dan"])) |> db.filter(r -> r.tags?) |> names ]
"""
    text, one, two = run(text.replace("import query as q", "import q = query"))
    assert text.count(" and ") == 18 + 1 and text.count(" | ") == 12 + 6
    assert (one, two) == (["Ada_"], ["Dan"])
