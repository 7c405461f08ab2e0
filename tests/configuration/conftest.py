"""Properties of the core are looked at without a clock, however loaded the machine is."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("without a clock", settings.get_profile(settings.get_current_profile_name()), deadline=None)
settings.load_profile("without a clock")
