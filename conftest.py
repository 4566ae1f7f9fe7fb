"""What holds for all tests of the house."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long an example takes says something of the machine that is busy, and nothing of the code: benchmarks measure.
settings.register_profile(
    "house", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")
