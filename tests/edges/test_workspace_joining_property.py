"""No order of edits, joins, hand-overs and interruptions loses what somebody has written into a place: it is in a commit that has a name,
or still in a file."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from cpool_flow.errors import InvalidInput
from cpool_flow.workspace.joining import hand_over, item_record, join
from cpool_flow.workspace.opening import reattach_worktree
from cpool_flow.workspace.worktree import Worktree
from edges.git_runner import Scratch, git, nobody, write

ITEMS = (1, 2)
# Of place 0, the run's own, and of the items: the same few files, so that they meet. The last is ignored by git.
IGNORED = "build/out.txt"
NAMES = ("shared.txt", "dir/deep.txt", "dir", IGNORED)


class Story:
    """A run's place and those of its items. `written` has what stands in a file and was not committed since, `owed` what was."""

    def __init__(self, root: Path) -> None:
        self.scratch = Scratch(root)
        self.scratch.commit({"shared.txt": "".join(f"line {number}\n" for number in range(9))}, "shared")
        self.places: list[Worktree] = [asyncio.run(self.scratch.open())]
        self.numbers = itertools.count(1000)
        self.written: dict[tuple[int, str], str] = {}
        self.owed: set[str] = set()
        for item in ITEMS:
            self.places.append(asyncio.run(self.begun(item)))

    async def begun(self, item: int) -> Worktree:
        run = self.places[0]
        record = item_record(run.record, f"fix.{item}", await run.tip())
        return await reattach_worktree(self.scratch.git, record)

    def write(self, place: int, name: str) -> None:
        """Somebody writes a new line into a file, or a file where a folder was: what he takes away himself is his business."""
        path = self.places[place].directory / name
        text = f"written {next(self.numbers)}"
        if any(above.is_file() for above in path.parents) or path.is_dir():
            return
        lines = path.read_text().splitlines() if path.is_file() and name == "shared.txt" else []
        lines = [line for line in lines if line != self.written.get((place, name))]
        write(self.places[place].directory, {name: "\n".join([*lines, text]) + "\n"})
        self.written[place, name] = text

    def remove(self, place: int, name: str) -> None:
        path = self.places[place].directory / name
        if path.is_file():
            path.unlink()
            self.written.pop((place, name), None)

    def agent_commits(self, place: int) -> None:
        if (self.places[place].directory / "build").is_dir():
            git(self.places[place].directory, "add", "-f", "build")
        git(self.places[place].directory, "add", "-A")
        git(self.places[place].directory, "commit", "-q", "--allow-empty", "-m", "agent")

    def commit(self, place: int) -> None:
        asyncio.run(self.places[place].commit("step"))
        self.settle(place)

    def settle(self, place: int) -> None:
        """What stands in the commit is owed from now on."""
        for (where, name), text in list(self.written.items()):
            if where == place and text in self.read(place, name):
                self.owed.add(self.written.pop((where, name)))

    def read(self, place: int, name: str) -> str:
        ended = subprocess.run(
            ["git", "show", f"{self.places[place].branch}:{name}"],
            cwd=self.scratch.repo, env=nobody(self.scratch.home), capture_output=True, check=False,
        )  # fmt: skip
        return ended.stdout.decode()

    def join(self, item: int) -> None:
        self.commit(item)
        self.merged(item, join(self.places[item], self.places[0], "merge"))

    def hand_over(self, item: int) -> None:
        self.commit(item)
        self.merged(item, hand_over(self.places[item], self.places[0]))

    def merged(self, item: int, doing: object) -> None:
        try:
            asyncio.run(doing)  # type: ignore[arg-type]
        except InvalidInput:
            return  # a file is in the way: it stays
        self.settle(item)

    def work(self, item: int, name: str) -> None:
        """An item does something, and that is merged."""
        self.write(item, name)
        if name == IGNORED and (self.places[item].directory / name).is_file():
            self.agent_commits(item)
        self.join(item)
        self.hand_over(item)

    def conflict(self, item: int) -> None:
        """A conflict is laid out, and whoever mends it takes one side or does nothing."""
        self.commit(item)
        found = asyncio.run(join(self.places[item], self.places[0], "merge"))
        if found is not None:
            asyncio.run(self.places[item].lay_out(found.onto, "work", lambda name: name in found.files))

    def checkout_is_cut_off(self, item: int) -> None:
        """git was killed while it wrote the files of a hand-over: some are new, and nothing knows of it."""
        self.commit(item)
        self.commit(0)
        top = self.places[0].directory
        text = self.read(item, "shared.txt")
        if text and not (top / "shared.txt").is_dir():
            (top / "shared.txt").write_text(text)
        (self.scratch.repo / ".git/worktrees/r1/index.lock").touch()
        self.crash(0)

    def crash(self, place: int) -> None:
        self.places[place] = asyncio.run(reattach_worktree(self.scratch.git, self.places[place].record))

    def close(self, item: int) -> None:
        """The item ends, and another begins in its place."""
        self.commit(item)
        self.written = {key: text for key, text in self.written.items() if key != (item, IGNORED)}  # it goes, and is told
        asyncio.run(self.places[item].close("none"))
        self.places[item] = asyncio.run(self.begun(item))

    def check(self) -> None:
        listing = git(self.scratch.repo, "rev-list", "--objects", "--branches")
        names = "\n".join(line.split(" ")[0] for line in listing.splitlines())
        everything = subprocess.run(
            ["git", "cat-file", "--batch"], cwd=self.scratch.repo, input=names.encode(), capture_output=True, check=True
        ).stdout.decode("utf-8", "replace")
        assert [text for text in sorted(self.owed) if text not in everything] == []
        for (place, name), text in self.written.items():
            path = self.places[place].directory / name
            assert text in everything or (path.is_file() and text in path.read_text()), f"{text} of {name} in place {place} is lost"


PLACES, FILES, EACH = st.sampled_from((0, *ITEMS)), st.sampled_from(NAMES), st.sampled_from(ITEMS)
# The first two make up most of what happens.
ACTIONS = [
    st.tuples(st.just(Story.write), PLACES, FILES),
    st.tuples(st.just(Story.work), EACH, FILES),
    st.tuples(st.just(Story.remove), PLACES, FILES),
    st.tuples(st.sampled_from([Story.commit, Story.agent_commits, Story.crash]), PLACES),
    st.tuples(st.sampled_from([Story.join, Story.hand_over, Story.conflict, Story.checkout_is_cut_off, Story.close]), EACH),
]


@settings(max_examples=12, deadline=None, phases=(Phase.explicit, Phase.generate), suppress_health_check=[HealthCheck.too_slow])
@example([(Story.write, 0, IGNORED), (Story.work, 1, IGNORED)])
@example([(Story.write, 0, "shared.txt"), (Story.work, 1, "shared.txt")])
@example([(Story.work, 1, "shared.txt"), (Story.write, 2, "shared.txt"), (Story.conflict, 2), (Story.crash, 2), (Story.close, 2)])
@given(st.lists(st.one_of(*ACTIONS[:2], *ACTIONS), min_size=4, max_size=10))
def test_nothing_that_was_written_is_ever_lost(actions: list[tuple[Callable[..., None], *tuple[object, ...]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Path(folder).resolve())
        for action, *arguments in actions:
            action(story, *arguments)
            story.check()
