"""What holds for all tests: they are those of a developer's machine also in a job of GitHub Actions, and find the same each time."""

from __future__ import annotations

import os

from hypothesis import settings

for name in list(os.environ):
    if name.startswith(("GITHUB_", "ACTIONS_", "RUNNER_", "CPOOL_")) or name in ("CI", "GH_TOKEN"):
        del os.environ[name]

# The same examples each time: what is merged does not depend on luck. `pytest --hypothesis-profile=explore` looks for new ones.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("explore", derandomize=False, deadline=None, print_blob=True)
settings.load_profile("steady")
