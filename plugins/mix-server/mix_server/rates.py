"""How often each caller may ask: a bucket of tokens for each, shared by all workers that were forked from one process.

What is kept of a caller is one moment, at which the bucket is full again (GCRA), so a look is a few bytes of shared
memory. Nothing locks: two workers that look at once may let one request more through. Callers beyond those that there
is room for push out the one whose bucket is full first.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import mmap
import secrets
import struct
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from mix_server.errors import Refusal

if TYPE_CHECKING:
    from mix_server.caller import Caller
    from mix_server.request import Request

__all__ = ["Rates", "TooOften", "bucket_of"]

_SLOT: Final = struct.Struct("<Qd")
_SLOTS: Final = 1 << 16
_PROBES: Final = 8
_LONGEST: Final = 86_400.0
"""Seconds that a bucket may take to be full: what is later was written by nobody here."""


class TooOften(Refusal):
    """The caller has asked too often."""

    status = 429

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__(f"too many requests; try again in {headers['Retry-After']} s")
        self.headers = headers  # type: ignore[misc]


class Left(NamedTuple):
    """Requests that are left, and seconds until all are again; `wait` is how long until there is one."""

    requests: int
    seconds: float
    wait: float = 0.0


class Rates:
    """All buckets. Made before a fork.

    Args:
        rate: requests a second.
        burst: requests at once.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._each = 1 / rate
        self._most = burst * self._each
        self._burst = burst
        self._memory = mmap.mmap(-1, _SLOTS * _SLOT.size)
        # So that nobody can choose a name that falls into somebody else's place.
        self._key = secrets.token_bytes(16)
        self._policy = f'"caller";q={burst};w={math.ceil(self._most)}'

    def take(self, bucket: str) -> dict[str, str]:
        """Take a token from a bucket; the headers that tell what is left (draft-ietf-httpapi-ratelimit-headers-10).

        Raises:
            TooOften: there is none.
        """
        left = self.look(bucket, time.monotonic())
        headers = {
            "RateLimit-Policy": self._policy,
            "RateLimit": f'"caller";r={left.requests};t={math.ceil(left.seconds)}',
        }
        if left.wait:
            raise TooOften({**headers, "Retry-After": str(math.ceil(left.wait))})
        return headers

    def look(self, bucket: str, now: float) -> Left:
        """The same at that moment of the monotonic clock, which all processes of a machine share."""
        tag = (
            int.from_bytes(hashlib.blake2b(bucket.encode(), digest_size=8, key=self._key).digest(), "little")
            | 1
        )
        at, full = self._find(tag, now)
        full = max(full, now) + self._each
        if full - now > self._most + 1e-9:
            return Left(0, full - now - self._each, full - now - self._most)
        _SLOT.pack_into(self._memory, at, tag, full)
        return Left(int((self._most - (full - now)) / self._each + 1e-9), full - now)

    def _find(self, tag: int, now: float) -> tuple[int, float]:
        """Where a bucket is or will be, and when it is full."""
        best, earliest = 0, math.inf
        for probe in range(_PROBES):
            at = (tag + probe) % _SLOTS * _SLOT.size
            found, full = _SLOT.unpack_from(self._memory, at)
            if found == tag and full <= now + max(_LONGEST, self._most):
                return at, full
            if full < earliest:
                best, earliest = at, full
        return best, 0.0


def bucket_of(req: Request, caller: Caller | None) -> str | None:
    """Whose bucket a request takes from: a caller's who is known, else that of the address it comes from. None for the
    operator's, which has no end."""
    if caller is not None:
        if caller.operator:
            return None
        # Not by the subject: all users without an address are the same one.
        if caller.named != "anonymous":
            return caller.named
    client = req.scope.get("client")
    return _bucket_at(client[0] if client else "")


@lru_cache(1024)
def _bucket_at(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"address/{host}"
    if address.version == 6:
        # Whoever has one of them has all of a network.
        address = ipaddress.ip_network((address, 64), strict=False).network_address
    return f"address/{address}"
