"""The description of the administration as OpenAPI 3.1, made from table and models."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from coordinator.administration.endpoints import ENDPOINTS, Endpoint
from coordinator.administration.models import ProblemTold
from coordinator.administration.problems import MEDIA_TYPE

JSON: Final = "application/json"
TOML: Final = "application/toml"
TEXT: Final = "text/plain"
EVENTS: Final = "text/event-stream"
EVENTS_PATH: Final = "/v1/events"
DOCUMENT_PATH: Final = "/v1/openapi.json"
SCHEMAS: Final = "#/components/schemas/{model}"
PROBLEMS: Final[Mapping[int, str]] = {
    400: "What was sent makes no sense.",
    401: "The token is wrong.",
    403: "This may not be done with this token, or not over plain HTTP.",
    404: "It is about something that is not there.",
    405: "This is no method of this path.",
    409: "It makes sense, and cannot be done.",
    412: "It has changed since the entity tag in If-Match was told.",
    413: "The body is too large.",
    417: "Only 100-continue may be expected.",
    428: "If-Match is missing.",
    429: "There were too many wrong tokens.",
    500: "Nobody expected this; the coordinator's log says more.",
    503: "The database fails.",
}
_BEARER: Final[list[dict[str, list[str]]]] = [{"bearer": []}]


def document(version: str) -> dict[str, Any]:
    """Return the whole document.

    :param version: of this program.
    """
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS.values():
        operations = paths.setdefault(endpoint.path, {})
        operations[endpoint.method.lower()] = _operation(endpoint)
    paths[EVENTS_PATH] = {"get": _event_stream()}
    paths[DOCUMENT_PATH] = {"get": _itself()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Administration of a meshwg mesh",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": _BEARER,
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": list(_parameters(endpoint)),
        "responses": {
            str(endpoint.status): _success(endpoint),
            **_problems(),
        },
    }
    if endpoint.scope is not None:
        described["description"] = f"Takes the scope `{endpoint.scope}`."
    if endpoint.body is not None:
        schema = _reference(endpoint.body)
        is_needed = any(each.is_required() for each in _fields(endpoint.body))
        content = {JSON: {"schema": schema}}
        described["requestBody"] = {"required": is_needed, "content": content}
    elif endpoint.takes_text:
        content = {kind: {"schema": {"type": "string"}} for kind in (TOML, TEXT)}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameters(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    for name in endpoint.placeholders:
        schema = {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    if endpoint.query is not None:
        described = endpoint.query.model_json_schema()
        needed = described.get("required", ())
        for name, schema in described["properties"].items():
            yield {
                "name": name,
                "in": "query",
                "required": name in needed,
                "schema": _of_texts(schema),
            }
    if endpoint.has_etag and endpoint.writes:
        schema = {"type": "string"}
        yield {"name": "If-Match", "in": "header", "required": False, "schema": schema}


def _of_texts(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without ``null``: what is in a query is there, or is not."""
    kept = {key: value for key, value in schema.items() if key != "default"}
    choices = [each for each in kept.pop("anyOf", ()) if each != {"type": "null"}]
    return {**kept, **choices[0]} if choices else kept


def _success(endpoint: Endpoint) -> dict[str, Any]:
    content = {JSON: {"schema": _reference(endpoint.answer)}}
    described: dict[str, Any] = {"description": "Done.", "content": content}
    if endpoint.has_etag:
        text = "Stands for what administrators can change of it."
        header = {"description": text, "schema": {"type": "string"}}
        described["headers"] = {"ETag": header}
    return described


def _problems() -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": _reference(ProblemTold)}}
    described = {
        str(status): {"description": text, "content": content}
        for status, text in PROBLEMS.items()
    }
    # What is no HTTP, or a line of a head that is too long, gets to no handler.
    plain = {TEXT: {"schema": {"type": "string"}}}
    described["400"] = {"description": PROBLEMS[400], "content": content | plain}
    return described


def _event_stream() -> dict[str, Any]:
    """Describe what no endpoint of the table does: it has no end."""
    schema = {"type": "string"}
    content = {EVENTS: {"schema": schema}}
    resume = {"name": "Last-Event-ID", "in": "header", "schema": schema}
    return {
        "operationId": "follow-events",
        "summary": "Follow what changes, as server-sent events.",
        "description": "Takes the scope `events:read`, and of each kind of event the "
        "scope that reads what it is about.",
        "parameters": [resume],
        "responses": {
            "200": {"description": "The events.", "content": content},
            **_problems(),
        },
    }


def _itself() -> dict[str, Any]:
    content = {JSON: {"schema": {"type": "object"}}}
    return {
        "operationId": "show-openapi",
        "summary": "Show this document.",
        "security": [],
        "responses": {
            "200": {"description": "Done.", "content": content},
            **_problems(),
        },
    }


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": SCHEMAS.format(model=model.__name__)}


def _fields(model: type[BaseModel]) -> Iterator[Any]:
    yield from model.model_fields.values()


def _schemas() -> dict[str, Any]:
    """Return the schemas of all models that the table names."""
    named: dict[type[BaseModel], None] = {ProblemTold: None}
    for endpoint in ENDPOINTS.values():
        for model in (endpoint.answer, endpoint.body):
            if model is not None:
                named[model] = None
    _, described = models_json_schema(
        [(model, "validation") for model in named], ref_template=SCHEMAS
    )
    definitions: dict[str, Any] = described["$defs"]
    return definitions
