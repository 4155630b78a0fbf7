"""The event for which a job of GitHub Actions runs, from the environment and the file that its runner left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from cpool_flow import library, trust
from cpool_flow.errors import InvalidInput

MAX_EVENT_BYTES = 64 * 1024 * 1024


def current_event(environment: Mapping[str, str]) -> trust.Event | None:
    """None outside of GitHub Actions. Raises InvalidInput where the file is missing or no event."""
    if environment.get("GITHUB_ACTIONS") != "true":
        return None
    name = environment.get("GITHUB_EVENT_NAME", "")
    path = environment.get("GITHUB_EVENT_PATH")
    if not path:
        if name.startswith("pull_request") or name == "workflow_run":
            raise InvalidInput(f"$GITHUB_EVENT_PATH is not set, and on `{name}` it says what is trusted", help=_HELP)
        return trust.Event(name)
    try:
        payload = json.loads(library.read_bytes(Path(path), limit=MAX_EVENT_BYTES))
    except InvalidInput as error:
        raise InvalidInput(f"the event of $GITHUB_EVENT_PATH: {error}", help=_HELP) from None
    except (ValueError, RecursionError):
        raise InvalidInput(f"the event of $GITHUB_EVENT_PATH, `{path}`, is no JSON", help=_HELP) from None
    if not isinstance(payload, dict):
        raise InvalidInput(f"the event of $GITHUB_EVENT_PATH, `{path}`, is no JSON object", help=_HELP)
    return trust.read_event(name, payload, environment.get("GITHUB_SHA", ""), environment.get("GITHUB_BASE_REF", ""))


_HELP = "the runner of GitHub Actions writes it for every job: was it moved or changed?"
