"""The JSON Schema of `cpool.yaml`, made from the classes of `pool_file.py`."""

from __future__ import annotations

from typing import Any

from cpool_flow.pool_file import PoolFile
from cpool_flow.workflow_schema import made_from

ID = "urn:cpool-flow:schema:pool:1"


def pool_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of a pool file."""
    return made_from(PoolFile, ID, "A cpool-flow pool", "The `cpool.yaml` of a project: what all its workflows share.")
