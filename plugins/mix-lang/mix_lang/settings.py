"""Settings of the Mix compiler."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["LangSettings"]


class LangSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the compiler keeps what it compiled."""

    cache_dir: Annotated[
        str,
        Meta(
            extra={"names": "folder"},
            description="Directory of the compiled programs, writable by its owner only. Empty: `mixkit/lang` under "
            "XDG_CACHE_HOME or ~/.cache. `off`: nothing is kept on disk.",
        ),
    ] = ""
    cache_bytes: Annotated[
        int, Meta(ge=0, description="Bytes that the directory may hold; oldest use goes first.")
    ] = 64 * 1024 * 1024
