"""Settings of the plugin, `[settings.secrets]` in a profile."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["SecretsSettings"]


class SecretsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much is kept. The master keys are the kernel's: `settings.kernel.key_file`."""

    max_bytes: Annotated[
        int, Meta(ge=1, le=16 << 20, description="Bytes of a secret, and of what a token has with it.")
    ] = 64 << 10
    most: Annotated[
        int, Meta(ge=1, le=100_000, description="Secrets and tokens that one user has in one app.")
    ] = 1_000
