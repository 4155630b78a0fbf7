"""What tests of templates share: a host that keeps what it is given, and a scope like that of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from cpool_flow.template import parse, parse_expression
from cpool_flow.values import Absent, Lazy, Record


@dataclass
class KeepingHost:
    files: list[str] = field(default_factory=list)

    def write_file(self, text: str) -> str:
        self.files.append(text)
        return f"/run/values/{len(self.files)}"

    def nonce(self) -> str:
        return "n0nce"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)

SCOPE: dict[str, object] = {
    "args": Record({"pr": 7, "items": ["x", "y"], "v": "value", "keys": {"get": 1}}),
    "steps": Record(
        {
            "review": Record(
                {
                    "output": "looks good",
                    "items": [
                        Record({"item": "security", "status": "success", "findings": [{"file": "a.py"}, {"file": "b.py"}]}),
                        Record({"item": "style", "status": "success", "findings": []}),
                        Record({"item": "speed", "status": "success", "findings": [{"file": "a.py"}]}),
                    ],
                }
            ),
            "fetch-data": Record({"output": "fetched", "json": {"rows": [{"id": 1, "name": "b"}, {"id": 2, "name": "A"}], "total": 2}}),
            "skipped": Record({"status": "skipped", "output": Absent("step `skipped` was skipped")}),
        }
    ),
    "previous": Lazy(lambda: Record({"output": "before"})),
    "error": None,
}


def render(text: str, host: KeepingHost | None = None, /, **names: object) -> str:
    return parse(text).render({**SCOPE, **names}, host or KeepingHost())


def evaluate(text: str, /, **names: object) -> Any:
    return parse_expression(text).evaluate({**SCOPE, **names}, KeepingHost())
