"""HTML in which text is only text: whatever is not `Markup` is escaped, with control and bidi characters shown."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup, escape

from cpool_flow.errors import printable_lines

Content = Markup | str | int | None


def element(name: str, /, *children: Content, **attributes: Content) -> Markup:
    """`<name attributes>children</name>`. A name that Python does not take ends in `_`; an attribute that is None is left out."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items() if value is not None)
    return Markup(f"<{name}{given}>{''.join([text(child) for child in children if child is not None])}</{name}>")


def joined(*parts: Content) -> Markup:
    """The parts one after the other; None is nothing."""
    return Markup("".join([text(part) for part in parts if part is not None]))


def text(value: Content) -> Markup:
    """Text as HTML; markup as it is."""
    return value if isinstance(value, Markup) else escape(printable_lines(str(value)))


def island(data: Any) -> Markup:
    """JSON for a `<script type="application/json">`: nothing in it ends the element, or opens a comment."""
    return Markup(json.dumps(data).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
