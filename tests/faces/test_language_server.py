"""The schema in a real editor's language server: it completes keys, shows their help, and marks what is wrong.

The server is installed by `npm ci --prefix tests/editor --ignore-scripts`; without node or without it these tests are skipped.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from session import ROOT

PROGRAM = ROOT / "tests" / "editor" / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
SETTINGS = {
    "yaml": {
        "schemas": {(ROOT / "schemas" / "workflow.schema.json").as_uri(): "*.yaml"},
        "schemaStore": {"enable": False},
        "completion": True,
        "hover": True,
        "validate": True,
    }
}

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(not PROGRAM.exists(), reason="npm ci --prefix tests/editor --ignore-scripts installs the language server"),
]


class Editor:
    """One client of the server: requests are answered in order, notifications are kept. Source: Language Server Protocol 3.17."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            ["node", str(PROGRAM), "--stdio"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._number = 0
        capabilities = {"workspace": {"configuration": True, "didChangeConfiguration": {"dynamicRegistration": True}}}
        self.ask("initialize", {"processId": None, "rootUri": folder.as_uri(), "capabilities": capabilities})
        self._tell("initialized", {})
        self._tell("workspace/didChangeConfiguration", {"settings": None})
        while self._read().get("method") != "workspace/configuration":
            pass

    def open(self, text: str) -> str:
        """The address of a new file with this text."""
        self._number += 1
        uri = (self._folder / f"flow{self._number}.yaml").as_uri()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._tell("textDocument/didOpen", {"textDocument": document})
        return uri

    def complaints(self, text: str) -> list[tuple[int, str]]:
        """What is marked in a file: line, from 1, and text."""
        uri = self.open(text)
        while True:
            message = self._read()
            if message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == uri:
                found = message["params"]["diagnostics"]
                return [(each["range"]["start"]["line"] + 1, each["message"]) for each in found]

    def keys(self, text: str) -> dict[str, str]:
        """What is offered where `|` stands, each with its help."""
        place, text = self._cursor(text)
        found = self.ask("textDocument/completion", {"textDocument": {"uri": self.open(text)}, "position": place})
        items = found["items"] if isinstance(found, dict) else found
        return {item["label"]: _plain(item.get("documentation")) for item in items}

    def help(self, text: str) -> str:
        """What is shown of the word at `|`."""
        place, text = self._cursor(text)
        found = self.ask("textDocument/hover", {"textDocument": {"uri": self.open(text)}, "position": place})
        return _plain(found["contents"]) if found else ""

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, method: str, parameters: dict[str, Any]) -> Any:
        self._number += 1
        number = self._number
        self._write({"jsonrpc": "2.0", "id": number, "method": method, "params": parameters})
        while True:
            message = self._read()
            if message.get("id") == number and "method" not in message:
                assert "error" not in message, message
                return message["result"]

    def _tell(self, method: str, parameters: dict[str, Any]) -> None:
        self._write({"jsonrpc": "2.0", "method": method, "params": parameters})

    def _write(self, message: dict[str, Any]) -> None:
        body = json.dumps(message).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        """The next message of the server; when it asks for its settings it gets them."""
        assert self._process.stdout is not None
        length = 0
        while line := self._process.stdout.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        assert length, "the language server has ended"
        message: dict[str, Any] = json.loads(self._process.stdout.read(length))
        if "method" in message and "id" in message:
            asked = message["params"]["items"] if message["method"] == "workspace/configuration" else None
            answer = [SETTINGS.get(item["section"]) for item in asked] if asked is not None else None
            self._write({"jsonrpc": "2.0", "id": message["id"], "result": answer})
        return message

    @staticmethod
    def _cursor(text: str) -> tuple[dict[str, int], str]:
        before, _, after = text.partition("|")
        return {"line": before.count("\n"), "character": len(before) - before.rfind("\n") - 1}, before + after


def _plain(content: Any) -> str:
    return content["value"] if isinstance(content, dict) else str(content or "")


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    opened = Editor(tmp_path_factory.mktemp("editor"))
    yield opened
    opened.close()


def test_a_good_file_has_no_marks(editor: Editor) -> None:
    assert editor.complaints((ROOT / "examples" / "first.yaml").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("steps:\n  - run: echo hi\n    retires: 2\n", 3, "retires"),
        ("steps:\n  - run: echo hi\n    retries: many\n", 3, "integer"),
        ("slots: 0\nsteps:\n  - run: echo hi\n", 1, "minimum"),
        ("steps:\n  - name: a\n    steps:\n      - {run: echo hi, isolation: clone}\n", 4, "worktree"),
    ],
)
def test_a_mistake_is_marked_in_its_line(editor: Editor, text: str, line: int, word: str) -> None:
    found = editor.complaints(text)
    assert [where for where, _ in found] == [line], found
    assert word in found[0][1]


def test_the_keys_of_a_step_are_offered_with_their_help(editor: Editor) -> None:
    offered = editor.keys("steps:\n  - run: echo hi\n    |\n")
    assert {"needs", "when", "foreach", "retries", "verify", "output_schema"} <= set(offered)
    assert "Up to this many more attempts" in offered["retries"]


def test_the_keys_of_a_file_and_of_steps_in_a_group_are_offered(editor: Editor) -> None:
    assert {"args", "secrets", "finally", "outputs"} <= set(editor.keys("steps:\n  - run: echo hi\n|\n"))
    assert {"needs", "verify"} <= set(editor.keys("steps:\n  - name: a\n    steps:\n      - run: echo hi\n        |\n"))


def test_the_values_of_a_key_are_offered(editor: Editor) -> None:
    assert {"fail", "continue", "stop"} <= set(editor.keys("steps:\n  - run: echo hi\n    on_failure: |\n"))


def test_the_help_of_a_key_is_shown(editor: Editor) -> None:
    assert "Steps run at the end whatever happened" in editor.help("steps:\n  - run: echo hi\nfin|ally:\n  - run: echo bye\n")
