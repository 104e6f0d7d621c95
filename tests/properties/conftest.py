"""Properties are tried on the same examples each time: `settings.get_profile("lobes")` above a test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "lobes",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
