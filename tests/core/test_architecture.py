"""`ARCHITECTURE.md` shows the house as it is: its layers are those of `test_layers.py`, and what it names exists."""

from __future__ import annotations

import os
import re
from pathlib import Path

from test_layers import LAYERS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "ARCHITECTURE.md"
TABLE = re.compile(r"(?<=<!-- layers -->\n)(.*?)(?=<!-- end of the layers -->)", re.DOTALL)


def layers_table() -> str:
    rows = [("layer", "modules"), ("---", "---")]
    rows += [(name, " ".join(f"`{module}`" for module in modules.split())) for name, modules in LAYERS.items()]
    return "".join(f"| {layer} | {modules} |\n" for layer, modules in rows)


def test_the_layers_are_those_that_the_imports_are_held_to() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    made = TABLE.sub(lambda _: layers_table(), text)
    if os.environ.get("UPDATE_GOLDEN") == "1":
        DOCUMENT.write_text(made, encoding="utf-8")
    assert made == DOCUMENT.read_text(encoding="utf-8")
    assert layers_table() in made


def test_every_guarantee_names_tests_that_exist() -> None:
    guarantees = DOCUMENT.read_text(encoding="utf-8").partition("## Guarantees\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| \d\. .*$", guarantees, re.MULTILINE)
    assert len(rows) == 8
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)`", row)
        assert named, row
        for test in named:
            assert (ROOT / test).exists(), test


def test_every_module_that_is_named_exists() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    package = ROOT / "runner" / "cpool_flow"
    named = set(re.findall(r"`((?:\w+/)*\w+\.py)`", text)) - set(re.findall(r"`(tests/[\w/]+\.py)`", text))
    known = {str(path.relative_to(package)) for path in package.rglob("*.py")} | {"agents/NAME.py", "test_layers.py"}
    known |= {path.name for path in package.rglob("*.py")}
    assert named <= known
