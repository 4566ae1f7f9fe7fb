"""What may be configured."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["GreetingSettings"]

Words = Annotated[str, Meta(min_length=1, description="What comes before the name.")]
Most = Annotated[int, Meta(ge=1, description="How many people one run may greet.")]


class GreetingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of mix-greeting, `[settings.greeting]`."""

    greeting: Words = "Hello"
    most: Most = 100
