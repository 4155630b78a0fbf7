"""What is no workflow file gets one clear error from every command, in bounded time and memory; nothing is started or written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from session import TIMEOUT_SECONDS, Ended, Session

KILOBYTES = 700_000  # of address space: the interpreter with all that is imported takes half of it
STEP = b"version: 1\nsteps:\n  - run: touch PWNED\n"
COMMANDS = ("validate", "plan", "run")


def bomb() -> bytes:
    """Ten aliases of ten aliases of …: ten billion values."""
    levels = [b"b0: &b0 [x]\n", *(b"b%d: &b%d [%s]\n" % (n, n, b",".join([b"*b%d" % (n - 1)] * 10)) for n in range(1, 11))]
    return b"context:\n" + b"".join(b"  " + level for level in levels) + STEP


def merge_bomb() -> bytes:
    merges = [b"m%d: &m%d {<<: [%s], k%d: 1}\n" % (n, n, b",".join([b"*m%d" % (n - 1)] * 100), n) for n in range(1, 60)]
    return b"context:\n  m0: &m0 {k: 1}\n" + b"".join(b"  " + merge for merge in merges) + STEP


CONTENTS: dict[str, tuple[bytes | Callable[[], bytes], str]] = {
    "empty": (b"", "flow.yaml:1:1: the file holds nothing"),
    "blank": (b"\n \n", "flow.yaml:1:1: the file holds nothing"),
    "comment": (b"# nothing\n", "flow.yaml:1:1: the file holds nothing"),
    "zeros": (bytes(4096), "flow.yaml:1:1: the character U+0000 cannot stand in YAML"),
    "binary": (bytes(range(256)) * 16, "flow.yaml:2:118: the file is not UTF-8: byte 0x80 at offset 128"),
    "latin 1": ("description: café\n".encode("latin-1") + STEP, "flow.yaml:1:17: the file is not UTF-8: byte 0xe9 at offset 16"),
    "utf 16": (STEP.decode().encode("utf-16"), "flow.yaml:1:1: the file is UTF-16"),
    "utf 16 without a mark": (STEP.decode().encode("utf-16-le"), "flow.yaml:1:1: the file is UTF-16"),
    "half of a character": (STEP + b"description: \xe2\x82\n", "flow.yaml:4:14: the file is not UTF-8: byte 0xe2 at offset 52"),
    "tab": (b"version: 1\nsteps:\n\t- run: touch PWNED\n", "flow.yaml:3:1: a tab cannot indent YAML"),
    "list at the top": (b"- run: touch PWNED\n", "flow.yaml:1:1: a workflow is a mapping with `steps`, and this is a list"),
    "text at the top": (b"hello\n", "flow.yaml:1:1: a workflow is a mapping with `steps`, and this is text"),
    "two documents": (STEP + b"---\n" + STEP, "flow.yaml:4:1: a second document begins here"),
    "bomb of aliases": (bomb, "flow.yaml:8:16: the file holds more than 500,000 values, aliases counted in full"),
    "bomb of merges": (merge_bomb, "flow.yaml:5:77: the file holds more than 500,000 values, aliases counted in full"),
    "deep lists": (b"context: " + b"[" * 50_000 + b"\n" + STEP, "flow.yaml:1:109: values are nested deeper than 100 levels"),
    "deep mappings": (b"".join(b" " * n + b"a:\n" for n in range(2000)), "flow.yaml:101:101: values are nested deeper than 100 levels"),
    "quote without end": (STEP + b'description: "' + b"x\n" * 100_000, "flow.yaml:4:14: this quote is never closed"),
    "20 MB": (lambda: STEP + b"#" * 20 * 2**20, "cannot read `flow.yaml`: it is larger than 16777216 bytes"),
    "10 MB": (lambda: STEP + b"#" * 10 * 2**20, "flow.yaml:1:1: the file has 10,485,799 bytes; at most 8,388,608 are read"),
    "a million steps": (
        lambda: b"steps:\n" + b"- {}\n" * 1_000_000,
        "flow.yaml:499999:3: the file holds more than 500,000 values, aliases counted in full",
    ),
    "endless loop": (
        STEP + b'    stdin: "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"\n',
        "flow.yaml:4:52: the template does too much work (more than 1,000,000 steps)",
    ),
    "giant range": (STEP + b"    foreach: range(10**9)\n", "flow.yaml:4:15: the range is too long (more than 100,000)"),
    "giant text": (STEP + b"    stdin: \"{{ 'a' * 10**10 }}\"\n", "flow.yaml:4:16: the template makes too much text (more than 16 MiB)"),
    "broken template": (STEP + b'    stdin: "{{ 1 + }}"\n', "flow.yaml:4:20: unexpected `}}`"),
    "a million braces": (STEP + b'    stdin: "' + b"{{ 1 }}" * 300_000 + b'"\n', "flow.yaml:4:14015: the template has too many parts"),
}


def limited(session: Session, *arguments: str) -> subprocess.Popen[bytes]:
    """A command that may not take much memory."""
    return subprocess.Popen(
        ["sh", "-c", f'ulimit -v {KILOBYTES}; exec "$@"', "sh", *session.command(*arguments)],
        cwd=session.path,
        env=session.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def told(session: Session, *arguments: str) -> list[Ended]:
    """What each command says, all at once."""
    processes = [limited(session, command, *arguments) for command in COMMANDS]
    ended = []
    for process in processes:
        try:
            out, err = process.communicate(timeout=TIMEOUT_SECONDS)
        finally:
            process.kill()
        ended.append(Ended(process.returncode, out.decode(), err.decode()))
    return ended


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def assert_one_error(session: Session, expected: str, *arguments: str) -> None:
    before = everything(session.path.parent)
    for ended in told(session, *arguments):
        assert (ended.code, ended.out) == (2, ""), ended.err
        errors = [line.removeprefix("error: ") for line in ended.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, ended.err
        place = [line.removeprefix("  --> ") for line in ended.err.splitlines() if line.startswith("  --> ")]
        shown = ": ".join([*place, *errors])
        assert shown == expected or (expected.endswith("…") and shown.startswith(expected[:-1])), shown
        assert len(ended.err) < 2000
        assert ended.err.replace("\n", "").isprintable()
    assert everything(session.path.parent) == before


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_that_is_no_workflow_gets_one_error(session: Session, name: str) -> None:
    content, expected = CONTENTS[name]
    (session.path / "flow.yaml").write_bytes(content if isinstance(content, bytes) else content())
    assert_one_error(session, expected, "flow.yaml")


def test_a_byte_order_mark_is_no_mistake(session: Session) -> None:
    (session.path / "flow.yaml").write_bytes(b"\xef\xbb\xbf" + b"steps: [{run: 'true'}]\n")
    assert [ended.code for ended in told(session, "flow.yaml")] == [0, 0, 0]


PLACES: dict[str, tuple[str, str]] = {
    "missing": ("nope.yaml", "cannot read `nope.yaml`: no such file or directory"),
    "missing folder": ("a/b/flow.yaml", "cannot read `a/b/flow.yaml`: no such file or directory"),
    "folder": ("folder.yaml", "cannot read `folder.yaml`: is a directory"),
    "this folder": ("./", "cannot read `./`: is a directory"),
    "pipe": ("pipe.yaml", "cannot read `pipe.yaml`: it is no regular file"),
    "endless device": ("/dev/zero", "cannot read `/dev/zero`: it is no regular file"),
    "standard input": ("/dev/stdin", "cannot read `/dev/stdin`: it is no regular file"),
    "loop of links": ("loop.yaml", "cannot read `loop.yaml`: too many levels of symbolic links"),
    "link to nothing": ("link.yaml", "cannot read `link.yaml`: no such file or directory"),
    "too long": (f"{'x' * 300}.yaml", "cannot read `xxxxxxxxxx…"),
    "URL": ("https://127.0.0.1/flow.yaml", "`https://127.0.0.1/flow.yaml` is a URL: workflows are files, and nothing is fetched"),
    "file as a folder": ("file.yaml/flow.yaml", "cannot read `file.yaml/flow.yaml`: not a directory"),
    "unknown name": ("helo", "no workflow `helo`"),
    "nothing": ("", "no workflow ``"),
    "control characters": ("\x1b[31m.yaml", "cannot read `\\x1b[31m.yaml`: no such file or directory"),
}


@pytest.mark.parametrize("name", PLACES)
def test_what_cannot_be_read_gets_one_error(session: Session, name: str) -> None:
    (session.path / "folder.yaml").mkdir()
    os.mkfifo(session.path / "pipe.yaml")
    (session.path / "loop.yaml").symlink_to("loop.yaml")
    (session.path / "link.yaml").symlink_to("nowhere.yaml")
    (session.path / "file.yaml").write_bytes(STEP)
    given, expected = PLACES[name]
    assert_one_error(session, expected, given)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_gets_one_error(session: Session) -> None:
    (session.path / "flow.yaml").write_bytes(STEP)
    (session.path / "flow.yaml").chmod(0)
    assert_one_error(session, "cannot read `flow.yaml`: permission denied", "flow.yaml")


ARGUMENT_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "arguments.yaml:1:1: the file holds nothing"),
    "list": (b"[1]", "the file of `--args-file` must hold a mapping of arguments, not [1]"),
    "no YAML": (b"v: [1", "arguments.yaml:1:4: this `[` is not closed, or a `,` is missing in it"),
    "no text": (b"v: \xff", "arguments.yaml:1:4: the file is not UTF-8: byte 0xff at offset 3"),
    "bomb": (bomb(), "arguments.yaml:8:16: the file holds more than 500,000 values, aliases counted in full"),
    "twice": (b"v: a\nv: b\n", "arguments.yaml:2:1: `v` stands twice, first in line 1"),
}


def test_arguments_may_come_from_a_pipe_of_the_shell_and_from_stdin(session: Session) -> None:
    session.file("flow.yaml", 'version: 1\nargs: {v: {type: integer}}\nsteps:\n  - run: "true"\noutputs: {v: "{{ args.v }}"}\n')
    flow = " ".join(session.command("run", "flow.yaml", "--quiet"))
    for arguments, given in (
        ("--args-file <(echo v: 1)", "1"),
        ("-a v=@<(echo 2)", "2"),
        ("-a v=@- <<< 3", "3"),
        ("-a v=@/dev/stdin < <(echo 4)", "4"),
    ):
        ended = session.program("bash", "-c", f"{flow} {arguments}")
        assert (ended.code, ended.out) == (0, f"v = {given}\n"), ended.err
    endless = session.program("bash", "-c", f"{flow} -a v=@<(yes)")
    assert (endless.code, "holds more than 16777216 bytes of arguments" in endless.err) == (2, True), endless.err


@pytest.mark.parametrize("name", ARGUMENT_FILES)
def test_a_file_of_arguments_that_is_none_gets_one_error(session: Session, name: str) -> None:
    session.file("flow.yaml", "version: 1\nargs: {v: {type: string}}\nsteps:\n  - run: echo {{ args.v }}\n")
    content, expected = ARGUMENT_FILES[name]
    (session.path / "arguments.yaml").write_bytes(content)
    before = everything(session.path.parent)
    for command in ("plan", "run"):
        ended = session.flow(command, "flow.yaml", "--args-file", "arguments.yaml")
        assert (ended.code, ended.out) == (2, ""), ended.err
        lines = ended.err.splitlines()
        assert ": ".join([*(line[6:] for line in lines if line.startswith("  --> ")), lines[0].removeprefix("error: ")]) == expected
    assert everything(session.path.parent) == before


def test_arguments_on_stdin_that_never_end_are_refused(session: Session) -> None:
    session.file("flow.yaml", "version: 1\nargs: {v: {type: string}}\nsteps:\n  - run: echo {{ args.v }}\n")
    with open("/dev/zero", "rb") as endless:
        process = subprocess.run(
            ["sh", "-c", f'ulimit -v {KILOBYTES}; exec "$@"', "sh", *session.command("run", "flow.yaml", "--args-file", "-")],
            cwd=session.path,
            env=session.environment,
            stdin=endless,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    assert (process.returncode, process.stderr) == (2, b"error: stdin holds more than 16777216 bytes of arguments\n")


def test_a_time_limit_of_nothing_is_refused(session: Session) -> None:
    session.file("flow.yaml", "version: 1\nsteps:\n  - run: touch PWNED\n")
    ended = session.flow("run", "flow.yaml", "--timeout", "0s")
    assert ended.code == 2
    assert "this duration must be longer than zero" in ended.err
    assert not (session.path / ".cpool").exists()
