"""For all tests: no deadlines of hypothesis, since a busy machine is no failure."""

from hypothesis import settings

settings.register_profile("whetstone", deadline=None)
settings.load_profile("whetstone")
