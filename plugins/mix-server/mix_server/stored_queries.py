"""Stored queries: named, with parameters that have types, kept as records of the app's own database.

So they go where the app's data go, and have a history. An agent of the app that may save records may save one of
these too. That gives it no power: a stored query reads the database in which it lies, for a caller who may read that
database, and agents may write what such a caller reads in any case. Nothing else is ever taken from such a record.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mix_server.errors import BadRequest
from mixkit import tagged_json
from mixkit.converter import converter
from mixkit.errors import NotFound, TaggedJSONError
from mixkit.fields import valid
from mixkit.schema import ANY, Field, Mismatch, RecordType, Type
from mixkit.schema_text import TypeTextError, parse
from mixkit.value import Ref

if TYPE_CHECKING:
    from mixkit.storage import Database, Record

__all__ = [
    "TYPE",
    "Definition",
    "StoredQuery",
    "check_name",
    "find",
    "find_record",
    "from_record",
    "names",
    "record_id",
    "to_record",
]

TYPE: Final = "mixkit.query"
"""`_rmx_type` of their records."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}", re.ASCII)
_DIGITS: Final = string.digits + string.ascii_letters
_MOST_PARAMS: Final = 100


class Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A parameter of a stored query.

    Attributes:
        type: as in a package's `inParams`, `"int"` or `array(string)`.
        default: taken where a caller gives no value.
    """

    type: str = "data"
    description: str = ""
    default: Any = msgspec.UNSET


class Definition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is registered: the query as text or in its JSON form, and what its parameters are."""

    query: str | None = None
    ast: list[Any] | None = None
    params: dict[str, str | Parameter] = {}
    description: str = ""


class StoredQuery:
    """A definition that was checked.

    Raises:
        BadRequest: it is malformed; the message says where.
    """

    def __init__(self, definition: Any) -> None:
        try:
            given = msgspec.convert(definition, Definition)
        except msgspec.ValidationError as exc:
            raise BadRequest(f"malformed definition of a query: {exc}{valid(exc, Definition)}") from None
        if (given.query is None) is (given.ast is None):
            raise BadRequest("expected a query, as text in query or in its JSON form in ast; one of the two")
        if len(given.params) > _MOST_PARAMS:
            raise BadRequest(f"expected at most {_MOST_PARAMS} parameters, found {len(given.params)}")
        self.definition = given
        self.params: dict[str, Parameter] = {
            name: Parameter(param) if isinstance(param, str) else param
            for name, param in given.params.items()
        }
        self.types: dict[str, Type] = {name: _type(name, param) for name, param in self.params.items()}
        for name, param in self.params.items():
            if param.default is not msgspec.UNSET:
                self._check(name, param.default)

    @property
    def record_type(self) -> RecordType:
        """The types of all parameters, to read texts by."""
        has_default = {name for name, param in self.params.items() if param.default is not msgspec.UNSET}
        return RecordType({name: Field(type, name in has_default) for name, type in self.types.items()})

    def bind(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values to run with: those given, checked, and defaults. `Mismatch` if one is not of its type.

        Names that were not declared are kept: whether the query has such parameters only the storage knows.
        """
        defaults = {
            name: param.default for name, param in self.params.items() if param.default is not msgspec.UNSET
        }
        checked = {name: self._check(name, value) for name, value in given.items()}
        return defaults | checked

    def _check(self, name: str, value: Any) -> Any:
        try:
            return converter(self.types.get(name, ANY))(value)
        except Mismatch as exc:
            raise exc.under(f".{name}") from None

    def to_dict(self, name: str) -> dict[str, Any]:
        """What a caller sees of it, as a Value."""
        found: dict[str, Any] = {"name": name, "description": self.definition.description}
        if self.definition.query is not None:
            found["query"] = self.definition.query
        else:
            found["ast"] = self.definition.ast
        return found | {"params": {name: _param_value(param) for name, param in self.params.items()}}


def _param_value(param: Parameter) -> dict[str, Any]:
    found = {"type": param.type, "description": param.description}
    return found if param.default is msgspec.UNSET else found | {"default": param.default}


def _type(name: str, param: Parameter) -> Type:
    try:
        return parse(param.type)
    except TypeTextError as exc:
        raise BadRequest(f"the type of the parameter {name[:80]!r} is wrong: {exc}") from None


def check_name(name: str) -> str:
    """The name, if a stored query can have it; else `BadRequest`."""
    if not _NAME.fullmatch(name):
        raise BadRequest(
            f"expected a name of up to 100 letters, digits and _.-, beginning with a letter or _, found {name[:80]!r}"
        )
    return name


def record_id(name: str) -> str:
    """The id of the record that holds the query of that name, so that there is never more than one."""
    number = int.from_bytes(hashlib.sha256(f"{TYPE}/{name}".encode()).digest())
    digits = []
    for _ in range(32):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(digits)


def to_record(name: str, stored: StoredQuery) -> Record:
    """The record that keeps a definition. The JSON form is kept as text: it may hold tags of tagged JSON."""
    found = stored.to_dict(name)
    if "ast" in found:
        found["ast"] = tagged_json.dumps(found["ast"])
    return {"_rmx_id": Ref(record_id(name)), "_rmx_type": TYPE, **found}


def find(database: Database, name: str) -> StoredQuery:
    """The stored query of that name. Errors as those of `find_record` and `from_record`."""
    return from_record(name, find_record(database, name))


def find_record(database: Database, name: str) -> Record:
    """The record of the stored query of that name. `NotFound` if there is none."""
    record = database.get(record_id(name)) if _NAME.fullmatch(name) else None
    if record is None or record.get("_rmx_type") != TYPE or record.get("name") != name:
        raise NotFound(f"no stored query {name!r:.80}")
    return record


def from_record(name: str, record: Record) -> StoredQuery:
    """The stored query that a record keeps. `BadRequest`: it was changed by hand, and keeps none any more."""
    known = ("query", "ast", "params", "description")
    definition = {key: record[key] for key in known if key in record}
    try:
        if type(definition.get("ast")) is str:
            definition["ast"] = tagged_json.loads(definition["ast"])
        return StoredQuery(definition)
    except (BadRequest, Mismatch, TaggedJSONError) as exc:
        raise BadRequest(
            f"the record of the stored query {name!r} is damaged, register it anew: {exc}"
        ) from None


def names(database: Database) -> list[dict[str, str]]:
    """Name and description of each stored query, sorted by name."""
    with database.query("_rmx_type == $type | orderAsc(name)", {"type": TYPE}) as rows:
        found = [(row.get("name"), row.get("description")) for row in rows]
    return [
        {"name": name, "description": text if isinstance(text, str) else ""}
        for name, text in found
        if isinstance(name, str)
    ]
