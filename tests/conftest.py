"""The tests are those of a developer's machine also where they run in a job of GitHub Actions."""

from __future__ import annotations

import os

for name in list(os.environ):
    if name.startswith(("GITHUB_", "ACTIONS_", "RUNNER_", "CPOOL_")) or name in ("CI", "GH_TOKEN"):
        del os.environ[name]
