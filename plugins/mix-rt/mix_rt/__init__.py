"""MixRT, the virtual machine of Mix."""

from __future__ import annotations

__all__: list[str] = []
