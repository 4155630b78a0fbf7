"""Values for declared arguments: read by the declared type, completed by defaults, checked by their JSON Schemas.

Pure: files are read by a function of the caller. All that is wrong is told at once. The same declarations serve workflows and skills.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

from cpool_flow.errors import InvalidInput, Problem, did_you_mean, nearest, printable
from cpool_flow.json_value import BadJson, JsonValue, NotJson, check_value, read_json, shown
from cpool_flow.schema import InvalidSchema, Schema, SchemaProblem, compile_schema

Declaration = Mapping[str, JsonValue]
Declared = Mapping[str, Declaration]
# What is wrong, with the name of the argument that it is about.
Complaint = tuple[str, Problem]


def read_arguments(declared: Declared, given: Sequence[str], from_file: JsonValue, read_file: Callable[[str], str]) -> dict[str, JsonValue]:
    """The arguments of a run. Raises InvalidInput with everything that is wrong.

    `given`: what `--arg` was given: `K=TEXT`, `K=@FILE` (its text less one last newline) or `K:=JSON`; of one name given twice, the
    last wins. `from_file`: what the file of `--args-file` holds, or None. `read_file`: the text of a file; raises InvalidInput.
    """
    if from_file is not None and not isinstance(from_file, dict):
        raise InvalidInput(f"the file of `--args-file` must hold a mapping of arguments, not {shown(from_file)}")
    values = dict(from_file or {})
    problems: dict[str, list[Problem]] = {}
    for text in given:
        name, form, rest = _split(text)
        values.pop(name, None)
        problems.pop(name, None)
        try:
            values[name] = _read(name, form, rest, declared.get(name), read_file)
        except InvalidInput as error:
            problems[name] = list(error.problems)
    completed, complaints = complete(declared, values, how="--arg {}=…", skip=problems)
    found = [*(problem for some in problems.values() for problem in some), *(problem for _, problem in complaints)]
    if found:
        raise InvalidInput(found)
    return completed


def complete(
    declared: Declared, values: Mapping[str, JsonValue], *, how: str = "", skip: Container[str] = ()
) -> tuple[dict[str, JsonValue], list[Complaint]]:
    """All declared arguments, from `values`, defaults and null for what is optional; and what is wrong with `values`.

    `how`: how a missing one is given, with `{}` for its name. `skip`: names of which all has been said.
    """
    complaints = [*unknown(declared, values), *((name, problem) for name, problem in missing(declared, values, how) if name not in skip)]
    completed: dict[str, JsonValue] = {}
    for name, declaration in declared.items():
        value = completed[name] = _whole(values.get(name, declaration.get("default")), declaration)
        if name in values:
            complaints += [(name, problem) for problem in mismatches(name, value, declaration)]
    return completed, complaints


def unknown(declared: Declared, names: Iterable[str]) -> Iterator[Complaint]:
    """The names that are not declared, with the nearest one."""
    listed = ", ".join(f"`{name}`" for name in declared) or "no arguments"
    for name in sorted(set(names) - set(declared)):
        yield name, Problem(f"unknown argument `{printable(name[:80])}`", hint=did_you_mean(name, declared), help=f"declared: {listed}")


def missing(declared: Declared, names: Iterable[str], how: str = "") -> Iterator[Complaint]:
    """The required arguments that are not among `names`."""
    for name in [name for name in declared if is_required(declared[name]) and name not in set(names)]:
        about = declared[name].get("description")
        help = f"{f'`{how.format(name)}`, ' if how else ''}{allowed(declared[name])}{f': {about}' if isinstance(about, str) else ''}"
        yield name, Problem(f"argument `{name}` is missing", help=help)


def mismatches(name: str, value: JsonValue, declaration: Declaration) -> Iterator[Problem]:
    """Why a value is not what the argument is declared as."""
    if value is None and _may_be_null(declaration):
        return
    try:
        check_value(value)
        errors = _schema(declaration).errors(value)
    except (BadJson, InvalidSchema) as problem:
        errors = [str(problem)]
    for error in errors:
        yield Problem(f"argument `{name}`: {error}", help=f"allowed: {allowed(declaration)}")


def is_required(declaration: Declaration) -> bool:
    """Whether the argument must be given: it has no default and does not say `required: false`."""
    return "default" not in declaration and declaration.get("required") is not False


def allowed(declaration: Declaration) -> str:
    """What the argument may be, in a few words."""
    kinds, members = declaration.get("type"), declaration.get("enum")
    if isinstance(members, list):
        return f"one of {', '.join(shown(member) for member in members[:20])}"
    names = [str(kind) for kind in (kinds if isinstance(kinds, list) else [kinds]) if kind]
    return " or ".join("true or false" if name == "boolean" else name for name in names) or "any value that matches its schema"


def declaration_problems(declaration: Declaration) -> tuple[SchemaProblem, ...]:
    """What is wrong with a declaration itself, its default included."""
    required = declaration.get("required", [])
    if not isinstance(required, (bool, list)):
        return (SchemaProblem(f"`required` is true or false, not {shown(required)}", ("required",)),)
    try:
        schema = _schema(declaration)
    except InvalidSchema as error:
        return error.problems
    if "default" not in declaration or (declaration["default"] is None and declaration.get("required") is False):
        return ()
    errors = schema.errors(declaration["default"])
    if not errors:
        return ()
    way_out = "; for an argument that may be left out, write `required: false`" if declaration["default"] is None else ""
    return (SchemaProblem(f"the default does not match the schema: {'; '.join(errors)}{way_out}", ("default",)),)


def misspelt_keyword(keyword: str) -> str | None:
    """What is meant by a keyword that means nothing: JSON Schema lets those be. None where it is known, or may be a note."""
    if keyword in _KEYWORDS or keyword.startswith("x-"):
        return None
    return _OTHER_WORDS.get(keyword.lower()) or nearest(keyword, _KEYWORDS)


_KEYWORDS = frozenset(
    {"type", "enum", "const", "default", "required", "title", "description", "examples", "format", "pattern", "deprecated", "readOnly"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "writeOnly"}
    | {"items", "prefixItems", "contains", "minContains", "maxContains", "minItems", "maxItems", "uniqueItems", "unevaluatedItems"}
    | {"properties", "patternProperties", "additionalProperties", "propertyNames", "minProperties", "maxProperties"}
    | {"dependentRequired", "dependentSchemas", "unevaluatedProperties", "allOf", "anyOf", "oneOf", "not", "if", "then", "else"}
    | {"$id", "$schema", "$ref", "$defs", "$anchor", "$dynamicRef", "$dynamicAnchor", "$comment", "definitions"}
    | {"contentEncoding", "contentMediaType", "contentSchema"}
)
_OTHER_WORDS = {"choices": "enum", "options": "enum", "values": "enum", "help": "description", "min": "minimum", "max": "maximum"}


# ---- one argument as given ----

_FORM = re.compile(r"(?P<name>[^=]*?)(?P<form>:=|=@|=)(?P<rest>.*)", re.DOTALL)


def _split(text: str) -> tuple[str, str, str]:
    found = _FORM.fullmatch(text)
    return (found["name"], found["form"], found["rest"]) if found else (text, "", "")


def _read(name: str, form: str, text: str, declaration: Declaration | None, read_file: Callable[[str], str]) -> JsonValue:
    if not form or not name:
        given = printable(f"{name}{form}{text}"[:80])
        raise InvalidInput(f"`--arg {given}`: expected NAME=VALUE", help="NAME=TEXT, NAME=@FILE, or NAME:=JSON")
    if declaration is None:
        return text  # complained of later
    if form == "=@":
        text = _file_text(name, text, read_file)
    if _is_no_text(text):
        raise InvalidInput(f"argument `{name}` holds bytes that are not UTF-8 text")
    try:
        return _json(text) if form == ":=" else _by_type(text, declaration)
    except BadJson as problem:
        as_json = ', written as JSON: ["a", 1]' if declaration.get("type") == "array" else ""
        raise InvalidInput(f"argument `{name}`: {problem}", help=f"allowed: {allowed(declaration)}{as_json}") from None


def _file_text(name: str, path: str, read_file: Callable[[str], str]) -> str:
    if not path or _is_no_text(path):
        raise InvalidInput(
            f"argument `{name}`: `{name}=@` needs the path of a file", help=f"for text that begins with @: `{name}:='\"@…\"'`"
        )
    try:
        return read_file(path).removesuffix("\n")
    except InvalidInput as error:
        raise InvalidInput(
            [Problem(f"argument `{name}`: {problem.message}", hint=problem.hint, help=problem.help) for problem in error.problems]
        ) from None


def _by_type(text: str, declaration: Declaration) -> JsonValue:
    """One type: text for `string`, else JSON. Several or none: JSON if that is valid there, else text."""
    kind = declaration.get("type")
    if kind == "string":
        return text
    if kind in ("array", "object"):
        return _json(text)
    try:
        value = read_json(text)
    except NotJson:
        return text  # refused by the schema if it must not be text
    if isinstance(kind, str):
        return value
    schema = _schema(declaration)
    return value if not schema.errors(_whole(value, declaration)) or schema.errors(text) else text


def _json(text: str) -> JsonValue:
    try:
        return read_json(text)
    except NotJson as problem:
        raise BadJson(f"not JSON: {problem.within(text)}") from None


def _is_no_text(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text) if not text.isascii() else False


# ---- checking ----


def _schema(declaration: Declaration) -> Schema:
    ours = isinstance(declaration.get("required"), bool)
    return compile_schema({key: value for key, value in declaration.items() if not (ours and key == "required")})


def _whole(value: JsonValue, declaration: Declaration) -> JsonValue:
    """`1e3` and `3.0` are integers for JSON Schema: then they are for everybody."""
    return int(value) if declaration.get("type") == "integer" and isinstance(value, float) and value.is_integer() else value


def _may_be_null(declaration: Declaration) -> bool:
    return declaration.get("required") is False and "default" not in declaration
