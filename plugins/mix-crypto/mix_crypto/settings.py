"""Settings of mix-crypto."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

MIB = 1024 * 1024


class CryptoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Bounds on what one call may be given: nothing can interrupt a hash that is being computed."""

    of_project: ClassVar = (
        "data_size",
        "jwt_size",
    )

    data_size: Annotated[
        int, Meta(ge=0, description="Bytes that one call hashes, signs, encrypts or decrypts.")
    ] = 16 * MIB
    jwt_size: Annotated[int, Meta(ge=0, description="Bytes of a JWT, signed or verified.")] = 64 * 1024
