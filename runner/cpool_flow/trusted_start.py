"""A start that takes what runs, and what agents are told, from a commit that is trusted, and refuses a checkout that nobody trusts.

Imported only where another commit than the checkout is trusted, or where the checkout must be looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cpool_flow.errors import InvalidInput, OperationFailed
from cpool_flow.run_folder import RunFolder
from cpool_flow.run_place import our_git
from cpool_flow.trust import Event, Trust
from cpool_flow.trusted import INCLUDE, Trusted, read_trusted, refuse_committed, refuse_foreign, unpacked
from cpool_flow.workspace.agent_files import save_agent_files
from cpool_flow.workspace.repository import survey


@contextmanager
def trusted_files(trust: Trust | None, foreign: Event | None, environment: Mapping[str, str], *, fetch: bool) -> Iterator[Trusted | None]:
    """The files of the commit that is trusted; None where the checkout is only looked at, for a `foreign` event. What is wrong with
    them is told with the paths that people know. Raises InvalidInput for a checkout that nobody trusts."""
    with unpacked() as tree:
        trusted = asyncio.run(_files(trust, foreign, environment, tree, fetch=fetch))
        try:
            yield trusted
        except InvalidInput as error:
            raise (error if trusted is None else trusted.told(error)) from None


def save(folder: RunFolder, trusted: Trusted) -> None:
    """Keep the trusted files with the run. Raises OperationFailed."""
    try:
        folder.trusted.mkdir()
        save_agent_files(trusted.agent_files, folder.trusted / "agents")
        (folder.trusted / INCLUDE).write_bytes(trusted.include_text)
    except OSError as error:
        raise OperationFailed(f"cannot write `{folder.trusted}`: {error.strerror}") from error


def check_resumed(folder: RunFolder, event: Event | None, environment: Mapping[str, str]) -> None:
    """Raises InvalidInput for a run that a pull request may have brought along."""
    if event is not None and (event.trust is not None or event.foreign):
        asyncio.run(refuse_committed(our_git(environment), folder.path))


async def _files(trust: Trust | None, foreign: Event | None, environment: Mapping[str, str], tree: Path, *, fetch: bool) -> Trusted | None:
    """The files of the commit that is trusted. Raises InvalidInput for a checkout that nobody trusts."""
    git = our_git(environment)
    directory = Path.cwd()
    repository = await survey(git, directory)
    if foreign is not None:
        await refuse_foreign(git, repository, foreign)
    return await read_trusted(git, repository, trust, tree, directory, fetch=fetch) if trust is not None else None
