"""Templates: sandboxed Jinja on our own values, within limits. `format.md` section 4 is what this package does.

`parse`, `parse_expression`, `parse_shell` at load; `render`, `value`, `evaluate` when a step starts. Pure: the outside is a `Host`.
Jinja is imported by the first text that is a template.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cpool_flow.template.marks import check_argument, is_template
from cpool_flow.values import RenderError, truth

if TYPE_CHECKING:
    from cpool_flow.template.constants import Constants
    from cpool_flow.template.script import ShellScript, ShellTemplate, TemplateWarning, parse_shell
    from cpool_flow.template.syntax import Reference, TemplateError
    from cpool_flow.template.text import Expression, Template, parse, parse_expression
    from cpool_flow.template.work import Host

_HOMES = {
    "constants": ("Constants",),
    "script": ("ShellScript", "ShellTemplate", "TemplateWarning", "parse_shell"),
    "syntax": ("Reference", "TemplateError"),
    "text": ("Expression", "Template", "parse", "parse_expression"),
    "work": ("Host",),
}

__all__ = [
    "Constants",
    "Expression",
    "Host",
    "Reference",
    "RenderError",
    "ShellScript",
    "ShellTemplate",
    "Template",
    "TemplateError",
    "TemplateWarning",
    "check_argument",
    "is_template",
    "parse",
    "parse_expression",
    "parse_shell",
    "truth",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for home, names in _HOMES.items():
        if name in names:
            module = import_module(f"{__name__}.{home}")
            globals().update({each: getattr(module, each) for each in names})
            return globals()[name]
    raise AttributeError(name)
