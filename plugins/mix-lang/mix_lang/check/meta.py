"""What `_meta_` says of members: uses of what is deprecated or renamed; and what pragmas and `_meta_` may say."""

from __future__ import annotations

from typing import Any, Final

from mix_lang import syntax as s
from mix_lang.check.hints import near
from mix_lang.diagnostic import Report
from mix_lang.program import Member, Program, Unit
from mix_lang.source import Span
from mix_lang.walk import every
from mixkit.errors import MixError
from mixkit.schema_text import parse as parse_type
from mixkit.schema_text import parse_params

__all__ = ["MetaChecker", "module_meta"]


_PRAGMAS: Final = ("strictTyping",)


def module_meta(module: s.Module) -> dict[str, Any]:
    """What `_meta_` says of a module, behind its head or as an item."""
    found: dict[str, Any] = module.meta if isinstance(module.meta, dict) else {}
    for item in module.items:
        if isinstance(item, s.Meta) and isinstance(item.value, dict):
            found = found | item.value
    return found


class MetaChecker:
    """Reports what metadata and pragmas say wrong, and warns at uses of members of this module and of others."""

    def __init__(self, program: Program, unit: Unit, report: Report) -> None:
        self._program, self._unit, self._report = program, unit, report

    def module(self) -> None:
        """What is said of the module."""
        _check_types(self._unit, self._report)

    def item(self, item: s.Item) -> None:
        """What is said in a definition, and of what it uses."""
        report = self._report
        if isinstance(item, s.Pragma):
            _pragma(item, report)
        if isinstance(item, s.Import) and item.module in self._program.units:
            meta = module_meta(self._program.units[item.module].module)
            _warn(report, meta, f"the module '{item.module}'", item.module_span)
        for node in every(item):
            if isinstance(node, s.Field) and isinstance(node.object, s.Name):
                imported = self._unit.members.get(node.object.name)
                if imported is not None and isinstance(imported.item, s.Import):
                    other = self._program.units.get(imported.item.module)
                    member = other.members.get(node.name) if other else None
                    _member(report, member, node.name_span)
            elif isinstance(node, s.Name | s.Qualified):
                member = self._unit.members.get(node.name)
                if member is not None and member.item is not item:
                    _member(report, member, node.span)


def _pragma(item: s.Pragma, report: Report) -> None:
    values = item.values if isinstance(item.values, dict) else {}
    if not values:
        report.add(
            "M0803", item.span, "expected a map of pragmas", hint="write _pragma_ {strictTyping: false}"
        )
    for name, value in values.items():
        if name not in _PRAGMAS:
            hint = near(name, _PRAGMAS) or f"there is {', '.join(_PRAGMAS)}"
            report.add("M0803", item.span, f"there is no pragma '{name}'", hint=hint, name=name)
        elif type(value) is not bool:
            report.add("M0803", item.span, f"the pragma '{name}' is true or false", name=name)


def _check_types(unit: Unit, report: Report) -> None:
    """The types of `inParams` and `outParams` are those that callers read."""
    module = unit.module
    metas = [(item.value, item.span) for item in module.items if isinstance(item, s.Meta)]
    for meta, span in [(module.meta, Span(module.span.start, module.span.start + len("module"))), *metas]:
        for key in ("inParams", "outParams"):
            of = meta.get(key) if isinstance(meta, dict) else None
            if of is None:
                continue
            try:
                if isinstance(of, str) and key == "outParams":
                    parse_type(of)
                else:
                    parse_params(of)
            except MixError as exc:
                report.add("M0805", span, f"{key} of _meta_: {exc}", key=key)


def _member(report: Report, member: Member | None, span: Span) -> None:
    if member is None:
        return
    for item in (member.item, member.declared):
        meta = getattr(item, "meta", None)
        if isinstance(meta, dict):
            _warn(report, meta, f"'{member.name}'", span)


def _warn(report: Report, meta: dict[str, Any], what: str, span: Span) -> None:
    until = f", and is gone from {meta['expires']} on" if isinstance(meta.get("expires"), str) else ""
    if meta.get("renamed") is True:
        new = meta.get("replacement")
        hint = f"write {new}" if isinstance(new, str) else ""
        report.warn("M0802", span, f"{what} was renamed{until}", hint=hint, replacement=new)
    elif meta.get("deprecated") is True:
        others = meta.get("alternatives")
        names = [name for name in others if isinstance(name, str)] if isinstance(others, list) else []
        hint = f"take {' or '.join(names)} instead" if names else ""
        report.warn("M0801", span, f"{what} is deprecated{until}", hint=hint, alternatives=names)
