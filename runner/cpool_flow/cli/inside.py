"""Whether a command is called by a step of the very run that it is about, or of a run inside of that one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cpool_flow.errors import InvalidInput

if TYPE_CHECKING:
    from cpool_flow.run_folder import RunFolder


def is_inside(folder: RunFolder) -> bool:
    from cpool_flow.family import around

    if os.environ.get("CPOOL_RUN_ID") == folder.run_id:
        return True
    return bool(os.environ.get("CPOOL_RUN_DIR")) and folder.path in around(os.environ)


def refuse_from_inside(folder: RunFolder, command: str, why: str, *, allowed: bool) -> None:
    """Raises InvalidInput from inside the same run, unless `--self` says that this is meant."""
    if is_inside(folder) and not allowed:
        raise InvalidInput(f"this is called from inside the same run: {why}", help=f"cpool-flow {command} {folder.run_id} --self")
