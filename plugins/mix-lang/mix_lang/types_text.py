"""Types as they are written."""

from __future__ import annotations

from mix_lang import syntax as s

__all__ = ["type_text"]


def type_text(of: s.Type) -> str:
    """A type as text that the parser reads back."""
    match of:
        case s.TVar(name=name):
            return "_" if name.startswith("_") else name
        case s.TName(qualifier=qualifier, name=name):
            return f"{qualifier}.{name}" if qualifier else name
        case s.TApply(qualifier=qualifier, name=name, args=args):
            return f"{qualifier + '.' if qualifier else ''}{name}({', '.join(map(type_text, args))})"
        case s.TTuple(items=items):
            return f"[{', '.join(map(type_text, items))}]"
        case s.TLabels(fields=labels):
            return f"[{', '.join(f'#{name}: {type_text(item)}' for name, item in labels)}]"
        case s.TRecord(fields=fields):
            return (
                "{"
                + ", ".join(f"{name}{'?' if opt else ''}: {type_text(t)}" for name, t, opt in fields)
                + "}"
            )
        case s.TArrow(param=param, result=result):
            left = f"({type_text(param)})" if isinstance(param, s.TArrow) else type_text(param)
            return f"{left} -> {type_text(result)}"
        case s.TUnion(options=options):
            return " | ".join(
                f"({type_text(o)})" if isinstance(o, s.TArrow) else type_text(o) for o in options
            )
