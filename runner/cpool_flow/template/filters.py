"""Which filters and tests there are, by the names that Jinja gives them where Jinja has them.

Left out on purpose: what is random, what reaches into Python, what makes HTML.
"""

from __future__ import annotations

from collections.abc import Mapping

from cpool_flow.template import list_filters, text_filters
from cpool_flow.template.operations import compare, formatted, written
from cpool_flow.template.work import Function
from cpool_flow.values import Absent

FILTERS: Mapping[str, Function] = {
    "abs": lambda work, value: abs(value),
    "batch": list_filters.batch,
    "capitalize": text_filters.of_text("capitalize"),
    "count": list_filters.length,
    "d": list_filters.default,
    "default": list_filters.default,
    "dictsort": list_filters.sorted_pairs,
    "file": text_filters.file,
    "first": list_filters.first,
    "float": text_filters.to_float,
    "format": lambda work, value, *arguments: formatted(work.meter, written(work.meter, value), list(arguments)),
    "fromjson": text_filters.fromjson,
    "groupby": list_filters.group_by,
    "indent": text_filters.indent,
    "int": text_filters.to_int,
    "items": list_filters.pairs,
    "join": list_filters.join,
    "last": list_filters.last,
    "length": list_filters.length,
    "lines": text_filters.lines,
    "list": list_filters.as_list,
    "lower": text_filters.of_text("lower"),
    "map": list_filters.map_items,
    "max": list_filters.extreme_of(max),
    "min": list_filters.extreme_of(min),
    "raw": lambda work, value: written(work.meter, value),
    "reject": list_filters.selecting(keep=False, by_attribute=False),
    "rejectattr": list_filters.selecting(keep=False, by_attribute=True),
    "replace": text_filters.replace,
    "reverse": list_filters.reverse,
    "round": text_filters.round_number,
    "safe": lambda work, value: written(work.meter, value),
    "select": list_filters.selecting(keep=True, by_attribute=False),
    "selectattr": list_filters.selecting(keep=True, by_attribute=True),
    "sort": list_filters.sort,
    "split": text_filters.of_text("split"),
    "string": lambda work, value: written(work.meter, value),
    "sum": list_filters.sum_up,
    "title": text_filters.of_text("title"),
    "tojson": text_filters.tojson,
    "trim": text_filters.of_text("strip"),
    "truncate": text_filters.truncate,
    "unique": list_filters.unique,
    "untrusted": text_filters.untrusted,
    "upper": text_filters.of_text("upper"),
    "urlencode": text_filters.urlencode,
}


def _compared(comparison: str) -> Function:
    return lambda work, value, other: compare(work.meter, value, comparison, other)


TESTS: Mapping[str, Function] = {
    "defined": lambda work, value: not isinstance(value, Absent),
    "undefined": lambda work, value: isinstance(value, Absent),
    "none": lambda work, value: value is None,
    "boolean": lambda work, value: isinstance(value, bool),
    "true": lambda work, value: value is True,
    "false": lambda work, value: value is False,
    "number": lambda work, value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda work, value: isinstance(value, int) and not isinstance(value, bool),
    "float": lambda work, value: isinstance(value, float),
    "string": lambda work, value: isinstance(value, str),
    "mapping": lambda work, value: isinstance(value, Mapping),
    "sequence": lambda work, value: isinstance(value, (list, tuple)),
    "iterable": lambda work, value: isinstance(value, (list, tuple, Mapping)),
    "odd": lambda work, value: value % 2 == 1,
    "even": lambda work, value: value % 2 == 0,
    "divisibleby": lambda work, value, number: value % number == 0,
    "lower": lambda work, value: value.islower(),
    "upper": lambda work, value: value.isupper(),
    **{
        name: _compared(comparison)
        for comparison, names in {
            "eq": ("eq", "==", "equalto"),
            "ne": ("ne", "!="),
            "lt": ("lt", "<", "lessthan"),
            "lteq": ("le", "<="),
            "gt": ("gt", ">", "greaterthan"),
            "gteq": ("ge", ">="),
            "in": ("in",),
        }.items()
        for name in names
    },
}

INSTEAD: Mapping[str, str] = dict.fromkeys(("quote", "shellquote", "q"), "values in shell text are quoted for you") | {
    "attr": "write `x['name']`",
    "pprint": "write `tojson(indent=2)`",
    "center": "there is `indent`",
    "wordwrap": "there is `indent`",
    "from_json": "write `fromjson`",
    "to_json": "write `tojson`",
    "splitlines": "write `lines`",
}
