"""Profiles of hypothesis: `make fuzz` asks for many examples, everything else for few and steady ones."""

from hypothesis import settings

settings.register_profile("steady", deadline=None)  # a shared machine stalls; time is measured elsewhere
settings.register_profile("fuzz", deadline=None, max_examples=20_000, print_blob=True)
settings.load_profile("steady")
