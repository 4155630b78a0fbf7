"""Named points at which a test may kill the coordinator, as `kill -9` would: `CPOOL_FAULT=after-spawn:3`.

The crash test arms each of them in turn; without the variable a point costs one comparison.
"""

from __future__ import annotations

import os
import signal

POINTS = (
    "before-create",
    "after-create",
    "before-place",
    "after-place",
    "after-setup",
    "before-append",
    "after-append",
    "before-spawn",
    "after-spawn",
    "after-exit",
    "before-result",
    "before-commit",
    "after-commit",
    "before-close",
    "after-close",
    "before-finish",
    "after-finish",
)
# Those of items with places of their own.
POINTS_OF_ITEMS = (
    "before-item-place",
    "after-item-place",
    "before-item-merge",
    "after-item-merge",
    "before-item-close",
    "after-item-close",
)
# Those of the commands on a run's branch.
POINTS_OF_BRANCH = (
    "before-hand-over",
    "after-hand-over",
    "before-tidy",
    "after-place-tidied",
    "after-branch-tidied",
    "after-folder-set-aside",
)

_name, _, _count = os.environ.get("CPOOL_FAULT", "").partition(":")
_left = int(_count or 1) if _name else 0


def point(name: str) -> None:
    """Die here, if this point is armed and its count has come."""
    global _left
    if _name != name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
