"""What differs between two commits, as a patch, as a table, as numbers. Starts nothing that the repository names."""

from __future__ import annotations

from cpool_flow.dataclass import dataclass

from .view import View

_QUIET = ("--no-ext-diff", "--no-textconv", "--no-color", "-M", "-r")


@dataclass(frozen=True)
class ChangedFile:
    """`added` and `removed` count lines, None for a binary file. `before`: its earlier path, where it was renamed."""

    path: str
    added: int | None
    removed: int | None
    before: str | None = None


async def patch(view: View, old: str, new: str) -> bytes:
    """The change as `git apply` takes it."""
    return await view.git.output("diff-tree", "-p", *_QUIET, old, new)


async def table(view: View, old: str, new: str, columns: int) -> bytes:
    """A line for each file, and one of totals."""
    return await view.git.output("diff-tree", f"--stat={columns}", *_QUIET, old, new)


async def changed(view: View, old: str, new: str) -> list[ChangedFile]:
    fields = iter((await view.git.output("diff-tree", "--numstat", "-z", *_QUIET, old, new)).split(b"\0"))
    found = []
    for field in fields:
        if field:
            added, removed, path = field.split(b"\t", 2)
            before = None if path else _text(next(fields))
            found.append(ChangedFile(_text(path or next(fields)), _count(added), _count(removed), before))
    return found


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _count(number: bytes) -> int | None:
    return None if number == b"-" else int(number)
