"""Whose files say what runs: on a pull request those of the branch that it goes to, never its own.

Pure. Reads an event of GitHub Actions; does not know git, nor which files these are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput

# These run with the secrets and the write token of the repository, whoever has written the pull request.
PRIVILEGED = ("pull_request_target", "workflow_run")
# What GitHub gives a job to act with. An agent gets it only from a step that names it in `secrets`.
_WRITE_TOKEN = re.compile(r"(?:GITHUB|GH)(?:_ENTERPRISE)?_(?:TOKEN|PAT)|ACTIONS_\w+")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Trust:
    """Where the trusted files come from. `commit`: a full id; `refs`: names, of which the first that exists counts, only where no id is
    known: a pull request chooses names of branches. `merge`: the commit that GitHub made of this pull request, and the head in it:
    its other parent will do as well. `why`: who says so, for people."""

    why: str
    commit: str | None = None
    refs: tuple[str, ...] = ()
    merge: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """What an event means for trust. `trust`: None where nobody from outside has a say. `foreign`: who has written the head may not
    write to the repository, while this job may. `own`: commits of the repository itself. `fork`: the head is in another repository."""

    name: str
    trust: Trust | None = None
    foreign: bool = False
    own: tuple[str, ...] = ()
    fork: bool = False


def read_event(name: str, payload: Mapping[str, Any], sha: str = "", base_ref: str = "") -> Event:
    """What the event says. `sha` and `base_ref`: `$GITHUB_SHA`, `$GITHUB_BASE_REF`. Raises InvalidInput where it does not say enough."""
    if name.startswith("pull_request"):
        return _pull_request(name, payload, sha, base_ref)
    if name == "workflow_run":
        return _workflow_run(name, payload, sha)
    return Event(name)


def is_write_token(name: str) -> bool:
    """Whether an environment variable of this name may hold a token that can write to the repository."""
    return _WRITE_TOKEN.fullmatch(name) is not None


def by_hand(ref: str) -> Trust:
    """What `--trust REF` means."""
    return Trust(f"--trust {ref}", refs=(ref,))


def _pull_request(name: str, payload: Mapping[str, Any], sha: str, base_ref: str) -> Event:
    base, head = _object(payload, "pull_request", "base"), _object(payload, "pull_request", "head")
    commit = _commit(base.get("sha"))
    branch = _text(base.get("ref")) or base_ref
    if commit is None and not branch:
        raise InvalidInput(
            f"the event `{name}` does not say which commit the pull request goes to: `pull_request.base` is missing",
            help="is $GITHUB_EVENT_PATH the file of this event? `--trust REF` says by hand what is trusted",
        )
    refs = (f"refs/remotes/origin/{branch}", f"refs/heads/{branch}") if branch else ()
    head_commit = _commit(head.get("sha"))
    merge = (sha, head_commit) if name == "pull_request" and _commit(sha) is not None and head_commit is not None else None
    trust = Trust(f"the base of the pull request ({name})", commit, refs, merge)
    own = tuple(each for each in (commit, _commit(sha) if name == "pull_request_target" else None) if each is not None)
    fork = not _same(head.get("repo"), base.get("repo") or payload.get("repository"))
    return Event(name, trust, name in PRIVILEGED and fork, own, fork)


def _workflow_run(name: str, payload: Mapping[str, Any], sha: str) -> Event:
    """A run that followed another: what it was started for came perhaps from a fork."""
    run = _object(payload, "workflow_run")
    if _same(run.get("head_repository"), payload.get("repository") or run.get("repository")):
        return Event(name)
    commit = _commit(sha)
    trust = Trust(f"the default branch ({name})", commit) if commit is not None else None
    return Event(name, trust, foreign=True, own=() if commit is None else (commit,), fork=True)


def _same(one: object, other: object) -> bool:
    """Whether both are known, and the same repository. That of a head is null when the fork was deleted."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return False
    for key in ("id", "full_name"):
        if one.get(key) is not None and other.get(key) is not None:
            return str(one[key]).lower() == str(other[key]).lower()
    return False


def _object(payload: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    found: Any = payload
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _commit(value: object) -> str | None:
    return value if isinstance(value, str) and _COMMIT.fullmatch(value) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
