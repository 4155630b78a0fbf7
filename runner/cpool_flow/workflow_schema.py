"""The JSON Schema of a workflow file, made from the classes of `model.py`.

Says what the model says, no more and no less: names, templates and files are for `validate.py` alone.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from cpool_flow import model

JsonObject = dict[str, Any]

ID = "urn:cpool-flow:schema:workflow:1"


def workflow_schema() -> JsonObject:
    """The schema (draft 2020-12) of a workflow file."""
    description = "A workflow file of `cpool-flow`: what each step does, in which order, and what its success is."
    return made_from(model.Workflow, ID, "A cpool-flow workflow", description)


def made_from(kind: type[BaseModel], id: str, title: str, description: str) -> JsonObject:
    """The schema of a file that holds one of these."""
    made = _plain(kind.model_json_schema(by_alias=True, schema_generator=_Generator))
    definitions = made.pop("$defs")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": id, "title": title, "description": description}
    return head | {key: value for key, value in made.items() if key not in head} | {"$defs": definitions}


class _Generator(GenerateJsonSchema):
    """pydantic's, with names of keys that are checked, and without the defaults that are no values of the file."""

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        keys = self.generate_inner(schema["keys_schema"]) if "keys_schema" in schema else {}
        values = self.generate_inner(schema["values_schema"]) if "values_schema" in schema else {}
        keys.pop("type", None)
        return {"type": "object", **({"propertyNames": keys} if keys else {}), **({"additionalProperties": values} if values else {})}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def _plain(value: Any) -> Any:
    """A copy in which a pattern ends at the end of the text (to Python `$` also stands before a last line break), and a list has items."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    copy = {key: _plain(inner) for key, inner in value.items()}
    if copy.get("type") == "array" and "minLength" in copy:
        copy["minItems"] = copy.pop("minLength")
    if str(copy.get("pattern")).endswith("$"):
        copy["pattern"] += r"(?!\n)"
    return copy
