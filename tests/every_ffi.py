"""Calls every FFI of the profile `all`: `python no_network.py every_ffi.py FOLDER`, in a process that has no network.

Some in an order that gets them to do their work, and those that take a place outside with one that the egress check refuses;
then each with arguments made from its signature, that name places outside wherever a text goes. Writes what was called, as
JSON. Whoever reaches for the network is killed; a process that an FFI keeps is killed too, and its answer is missing.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mixkit import codec
from mixkit.errors import MixError
from mixkit.kernel import Kernel
from mixkit.limits import Budget, Limits
from mixkit.schema import ArrayType, LiteralType, MapType, RecordType, ScalarType, Type, UnionType
from mixkit.state import State
from mixkit.storage import Place
from mixkit.value import Case, Ref, Token

PLACES = ("https://93.184.216.34/x", "tcp://example.com:80", "example.com")
"""Texts that a library might go to by itself. None is asked of `$http_do` and the like, which may go there."""
REFUSED = "https://127.0.0.1:8443/x"
MODULE = bytes.fromhex("0061736d010000000105016000017f030201000707010373697800000a06010400412a0b")
"""`(module (func (export "six") (result i32) (i32.const 42)))`"""
PROGRAM = bytes.fromhex(
    "0061736d01000000010401600000030201000503010001071302066d656d6f72790200065f737461727400000a040102000b"
)
"""`(module (memory (export "memory") 1) (func (export "_start")))`"""


class Agent:
    """A run that calls FFIs."""

    def __init__(self, kernel: Kernel, home: Path) -> None:
        self.kernel = kernel
        self.called: set[str] = set()
        self.state = State(
            services=kernel, budget=Budget(Limits()), place=Place("workspace", "app", home), code="every"
        )
        kernel.open_state(self.state)

    async def call(self, name: str, *args: Any) -> Any:
        """What it answers, or the error that it raises."""
        self.called.add(name)
        try:
            words = codec.encode(list(args), token=self.state.token_to_handle)
            ffi, answer = self.kernel.ffis.dispatch(self.state, name.encode(), words)
            if ffi.is_async:
                answer = await asyncio.wait_for(answer, 30)
            return codec.decode(answer, token=self.state.token_from_handle)
        except MixError as exc:
            return exc

    async def ok(self, name: str, *args: Any) -> Any:
        """What it answers, which has to be no error."""
        answer = await self.call(name, *args)
        if isinstance(answer, Case) and answer.name in ("ok", "error"):
            assert answer.name == "ok", f"{name}: {answer}"
            return answer.arg
        assert not isinstance(answer, MixError), f"{name}: {answer}"
        return answer

    async def refused(self, name: str, said: str, *args: Any) -> None:
        """It has to answer an error that says that."""
        answer = await self.call(name, *args)
        assert said in str(answer), f"{name}{args}: {answer}"


async def work(agent: Agent) -> None:
    """What FFIs do when they do their work."""
    for name in "$http_do", "$http_do_server":
        await agent.refused(name, "refused", {"url": REFUSED})
    await agent.refused("$ws_connect", "refused", {"url": REFUSED.replace("https", "wss")})
    subscription = await agent.ok("$mqtt_subscribe", "a/#")
    await agent.ok("$mqtt_publish", "a/b", "hello")
    await agent.ok("$mqtt_next", subscription, 5_000)
    rows = await agent.ok("$duckdb_query", None, "select range as n from range(3)")
    await agent.ok("$duckdb_next", rows["next"]) if rows.get("next") else None
    for sql in (
        "select * from 'https://example.com/x.parquet'",
        "install httpfs",
        "load httpfs",
        "attach 'https://example.com/x.db'",
        "copy (select 1) to 's3://bucket/x'",
        "select * from read_csv('http://93.184.216.34/x.csv')",
    ):
        answer = str(await agent.call("$duckdb_query", None, sql))
        assert "error" in answer.lower() and "ended" not in answer and "gone" not in answer, (
            f"{sql}: {answer}"
        )
    await agent.ok("$duckdb_execute", "mine", "create table t (n int)")
    module = (await agent.ok("$wasm_load", MODULE))["module"]
    assert await agent.ok("$wasm_call", module, "six", []) == 42
    await agent.ok("$wasm_shutdown", module)
    program = (await agent.ok("$wasm_wasi_load", PROGRAM))["module"]
    assert (await agent.ok("$wasm_wasi_call", program))["exit_code"] == 0
    record = await agent.ok("$db_save_one", None, {"_rmx_type": "note", "text": PLACES[0]})
    assert await agent.ok("$db_get_one", None, record["_rmx_id"])


def samples(type: Type, token: Token) -> Iterator[Any]:
    """Some values of a type."""
    match type:
        case LiteralType(values):
            yield values[0]
        case ArrayType(item):
            yield list(samples(item, token))
        case MapType(item):
            yield {str(number): value for number, value in enumerate(samples(item, token))}
        case RecordType(fields):
            yield {
                name: next(samples(field.type, token)) for name, field in fields.items() if not field.optional
            }
        case UnionType(options):
            for option in options:
                yield from samples(option, token)
        case ScalarType("token"):
            yield token
        case ScalarType(name):
            yield from {
                "null": [None], "bool": [True], "int": [1], "number": [1.5], "string": PLACES,
                "binary": [PLACES[0].encode(), MODULE], "ref": [Ref("x")], "case": [Case("ok", 1)], "data": [{}, *PLACES],
            }[name]  # fmt: skip


OUTSIDE = {"$http_do", "$http_do_server", "$ws_connect"}
"""What takes a URL and goes there if that is public."""


async def everything(agent: Agent) -> None:
    """Each FFI with arguments made from its signature: all first samples, then one other at a time."""
    token = Token(b"https://93.184.216.34/x")
    for ffi in agent.kernel.ffis:
        if ffi.name in OUTSIDE:
            continue
        choices = [list(samples(param.type, token)) for param in ffi.params if not param.optional]
        first = [choice[0] for choice in choices]
        await agent.call(ffi.name, *first)
        for index, choice in enumerate(choices):
            for other in choice[1:4]:
                await agent.call(ffi.name, *first[:index], other, *first[index + 1 :])


async def main(home: Path) -> None:
    overrides = {"limits.wall_time": 120, "limits.host_calls": 100_000}
    with Kernel("all", environ={}, overrides=overrides) as kernel:
        agent = Agent(kernel, home)
        try:
            await work(agent)
            await everything(agent)
        finally:
            kernel.close_state(agent.state)
        json.dump(sorted(agent.called), sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
