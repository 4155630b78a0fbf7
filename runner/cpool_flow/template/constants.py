"""Templates that no value of a run reaches: whatever goes wrong in them goes wrong in every run, so it is found at load.

Knows how much work the loading of one file may spend on that; not where templates stand.
"""

from __future__ import annotations

from cpool_flow.template.limits import OPERATIONS, Meter
from cpool_flow.template.sandbox import execute, write_text
from cpool_flow.template.script import ShellTemplate
from cpool_flow.template.text import Expression, Template, expression_code, text_code
from cpool_flow.values import RenderError

MOST_TRIES = 200


class Constants:
    """Tries the constant templates of one file, until twice the work is done that a single rendering may do."""

    def __init__(self) -> None:
        self._operations = 2 * OPERATIONS
        self._tries = MOST_TRIES

    def error(self, parsed: Template | Expression | ShellTemplate) -> RenderError | None:
        """What goes wrong in a template without references; None where all is well, or too much was tried already."""
        if self._operations <= 0 or self._tries <= 0:
            return None
        self._tries -= 1
        meter = Meter()
        try:
            code = expression_code(parsed.text) if isinstance(parsed, Expression) else text_code(parsed.text)
            execute(code, {}, _NoHost(), write_text, meter)
        except RenderError as error:
            return error
        finally:
            self._operations -= meter.spent
        return None


class _NoHost:
    """Nothing is written at load; what a filter would ask of the outside has some value."""

    def write_file(self, text: str) -> str:
        return "file"

    def nonce(self) -> str:
        return "0"
