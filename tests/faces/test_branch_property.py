"""No sequence of run, diff, merge, clean, rerun and resume loses a commit or a changed file, whatever is killed in between.

Each step writes a line that nobody else writes, and tells so in a ledger outside of everything. Each of these lines must be found
ever after: on a branch, or on disk. So must what the user has, committed or not.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from session import Session

from cpool_flow.faults import POINTS, POINTS_OF_BRANCH

# The first step adds a file, the second changes one that all runs and the user change, the third fails until it is mended.
FLOW = """
    version: 1
    isolation: worktree
    keep: {keep}
    steps:
      - name: one
        run: |
          echo "one of $CPOOL_RUN_ID" > "$CPOOL_RUN_ID.txt"
          echo "one of $CPOOL_RUN_ID" >> "$LEDGER"
      - name: two
        run: |
          grep -qx "two of $CPOOL_RUN_ID" shared.txt || echo "two of $CPOOL_RUN_ID" >> shared.txt
          echo "two of $CPOOL_RUN_ID" >> "$LEDGER"
      - name: three
        run: test ! -e "$HOME/broken"
"""


class Story:
    """A project, its user, and what must never be lost."""

    def __init__(self, root: Path, seed: int) -> None:
        self.session = Session(root)
        self.session.repository()
        self.session.environment["LEDGER"] = str(self.session.home / "ledger")
        identity = {f"GIT_{who}_{what}": "you" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        self.session.environment |= identity
        self.numbers = iter(range(1000))
        self.seed = seed
        self.commit("shared.txt", "the first line\n")
        self.mine: dict[str, str] = {}

    def chance(self, count: int) -> int:
        self.seed = (self.seed * 1103515245 + 12345) % 2**31
        return (self.seed >> 8) % count

    # ---- what people do -------------------------------------------------------------------------------------

    def run(self) -> None:
        self.new_run("branch")

    def run_that_keeps_its_worktree(self) -> None:
        self.new_run("worktree")

    def run_that_fails(self) -> None:
        (self.session.home / "broken").touch()
        self.new_run("none")
        (self.session.home / "broken").unlink()

    def run_that_is_killed(self) -> None:
        self.new_run("branch", fault=self.fault(POINTS))

    def rerun(self) -> None:
        self.rerun_of(self.some_run(), "")

    def rerun_that_is_killed(self) -> None:
        self.rerun_of(self.some_run(), self.fault(POINTS))

    def resume(self) -> None:
        self.command("resume", self.some_run())

    def cancel(self) -> None:
        self.command("cancel", self.some_run())

    def diff(self) -> None:
        self.command("diff", self.some_run())

    def merge(self) -> None:
        self.command("merge", self.some_run())

    def merge_that_is_killed(self) -> None:
        self.command("merge", self.some_run(), fault=self.fault(POINTS_OF_BRANCH))

    def clean(self) -> None:
        self.clean_as_it_was_said()

    def clean_all(self) -> None:
        self.clean_as_it_was_said("--older", "1ms")

    def clean_one(self) -> None:
        self.command("clean", self.some_run())

    def clean_that_is_killed(self) -> None:
        self.command("clean", "--older", "1ms", fault=self.fault(POINTS_OF_BRANCH))

    def user_commits(self) -> None:
        if not self.git("status", "--porcelain", "--untracked-files=no"):
            self.commit(f"mine-{next(self.numbers)}.txt", "mine\n")

    def user_commits_what_is_shared(self) -> None:
        if not self.git("status", "--porcelain", "--untracked-files=no"):
            text = (self.session.path / "shared.txt").read_text()
            self.commit("shared.txt", f"user {next(self.numbers)}\n{text}")

    def user_edits_what_is_shared(self) -> None:
        path = self.session.path / "shared.txt"
        path.write_text(f"{path.read_text()}draft {next(self.numbers)}\n")
        self.mine["shared.txt"] = path.read_text()

    def user_has_a_file_in_the_way(self) -> None:
        for run in self.runs():
            path = self.session.path / f"{run}.txt"
            if not path.exists():
                path.write_text("in the way\n")
                self.mine[path.name] = "in the way\n"
                return

    def user_discards_a_draft(self) -> None:
        for name in self.mine:
            if name == "shared.txt":
                self.git("checkout", "-q", "--", name)
            else:
                (self.session.path / name).unlink()
        self.mine.clear()

    def user_squashes(self) -> None:
        branches = self.git("for-each-ref", "--format=%(refname:short)", "refs/heads/cpool").split()
        if branches and not self.mine:
            branch = branches[self.chance(len(branches))]
            ended = self.session.program("git", "merge", "-q", "--squash", branch)
            if ended.code == 0 and self.git("diff", "--cached", "--name-only"):
                self.git("commit", "-q", "-m", "squashed")
            else:
                self.git("reset", "-q", "--hard")

    def user_switches(self) -> None:
        if not self.mine:
            topic = self.git("branch", "--show-current").strip() == "main"
            self.git("switch", "-q", *(["-C", f"topic-{next(self.numbers)}"] if topic else ["main"]))

    # ---- how ------------------------------------------------------------------------------------------------

    def new_run(self, keep: str, fault: str = "") -> None:
        path = self.session.home / "flow.yaml"
        path.write_text("\n".join(line[4:] for line in FLOW.replace("{keep}", keep).splitlines()))
        self.command("run", str(path), "--run-id", f"r{next(self.numbers)}", fault=fault)

    def rerun_of(self, run: str, fault: str) -> None:
        where = (("--from", "two"), ("--from", "three"), ("--failed",), ())[self.chance(4)]
        self.command("rerun", run, *where, "--run-id", f"r{next(self.numbers)}", fault=fault)

    def fault(self, points: tuple[str, ...]) -> str:
        return f"{points[self.chance(len(points))]}:{1 + self.chance(3)}"

    def runs(self) -> list[str]:
        folder = self.session.path / ".cpool" / "runs"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def some_run(self) -> str:
        runs = self.runs()
        return runs[self.chance(len(runs))] if runs else "last"

    def clean_as_it_was_said(self, *options: str) -> None:
        """What `--dry-run` says is what is done."""
        said, done = (self.session.flow("clean", "--json", *options, *more) for more in (["--dry-run"], []))
        outcomes = [[(run["run_id"], run["deleted"], run["reason"]) for run in ended.json()["runs"]] for ended in (said, done)]
        assert outcomes[0] == outcomes[1]

    def command(self, *arguments: str, fault: str = "") -> None:
        """A command that may be refused, or killed, but never breaks."""
        quiet = ("--quiet",) if arguments[0] in ("run", "rerun", "resume") else ()
        fault_at = {"CPOOL_FAULT": fault} if fault else {}
        ended = self.session.flow(*arguments, *quiet, **fault_at)
        assert ended.code in (0, 1, 2, 130, -9), ended.err
        assert "internal error" not in ended.err

    def git(self, *arguments: str) -> str:
        return self.session.git(*arguments)

    def commit(self, name: str, text: str) -> None:
        (self.session.path / name).write_text(text)
        self.git("add", name)
        self.git("commit", "-q", "-m", f"user changes {name}")
        self.commits = {*getattr(self, "commits", ()), self.git("rev-parse", "HEAD").strip()}

    # ---- what must hold -------------------------------------------------------------------------------------

    def check(self) -> None:
        for name, text in self.mine.items():
            assert (self.session.path / name).read_text() == text, f"the user's {name} has changed"
        changed = {line[3:] for line in self.git("status", "--porcelain").splitlines()}
        assert changed <= set(self.mine), "the checkout has changes that nobody made"
        for commit in self.commits:
            assert self.git("for-each-ref", "--contains", commit), "a commit of the user has no name"
        ledger = self.session.home / "ledger"
        wanted = set(ledger.read_text().splitlines()) if ledger.exists() else set()
        lost = wanted - self.on_branches() - self.on_disk()
        assert not lost, lost

    def on_branches(self) -> set[str]:
        heads = self.git("for-each-ref", "--format=%(objectname)", "refs/heads").split()
        found = subprocess.run(["git", "grep", "-h", " of r", *set(heads)], cwd=self.session.path, capture_output=True, check=False)
        return set(found.stdout.decode().splitlines())

    def on_disk(self) -> set[str]:
        worktrees = self.session.home / "state" / "cpool-flow" / "worktrees"
        return {line for path in worktrees.glob("*/r*/*.txt") for line in path.read_text().splitlines()}


ACTIONS: list[Callable[[Story], None]] = [
    *[Story.run, Story.run, Story.run_that_keeps_its_worktree, Story.run_that_fails, Story.run_that_is_killed],
    *[Story.rerun, Story.rerun_that_is_killed, Story.resume, Story.cancel, Story.diff],
    *[Story.merge, Story.merge, Story.merge_that_is_killed, Story.clean, Story.clean_all, Story.clean_one, Story.clean_that_is_killed],
    *[Story.user_commits, Story.user_commits_what_is_shared, Story.user_edits_what_is_shared, Story.user_has_a_file_in_the_way],
    *[Story.user_discards_a_draft, Story.user_squashes, Story.user_switches],
]


# Not shrunk: each look costs seconds, and the whole would end at the time limit of a test instead of with the sequence.
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=(Phase.explicit, Phase.reuse, Phase.generate)
)
@given(st.lists(st.sampled_from(ACTIONS), min_size=4, max_size=9), st.integers(0, 2**31 - 1))
def test_no_sequence_of_commands_loses_a_commit_or_a_changed_file(actions: list[Callable[[Story], None]], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Path(folder).resolve(), seed)
        story.run()
        for action in actions:
            action(story)
            story.check()
