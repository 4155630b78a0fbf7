"""Templates: sandboxed Jinja on our own values, within limits. `format.md` section 4 is what this package does.

`parse`, `parse_expression`, `parse_shell` at load; `render`, `value`, `evaluate` when a step starts. Pure: the outside is a `Host`.
"""

from cpool_flow.template.constants import Constants
from cpool_flow.template.script import ShellScript, ShellTemplate, TemplateWarning, check_argument, parse_shell
from cpool_flow.template.syntax import Reference, TemplateError
from cpool_flow.template.text import Expression, Template, is_template, parse, parse_expression
from cpool_flow.template.work import Host
from cpool_flow.values import RenderError, truth

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
