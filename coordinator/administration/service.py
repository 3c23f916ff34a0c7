"""The administration itself: judges rights, reads what was sent, and has it done."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ValidationError

from coordinator.administration.asking import AdministeredMesh, Answer, Asked
from coordinator.administration.endpoints import ENDPOINTS, Endpoint
from coordinator.administration.problems import Problem, Trouble, malformed
from coordinator.administration.rights import Actor, Scope
from coordinator.policy.document import MAX_TEXT
from meshwg.transmit import Random

WHOLE = "*"
"""What If-Match says of anything that is there."""


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody sends, as it comes."""

    path: Mapping[str, str] = field(default_factory=dict)
    """What stands in the path's placeholders."""
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    if_match: str = ""
    """Entity tags, as in the header of that name."""


class Administration:
    """One service for a mesh, whoever asks and by whatever way.

    :param draw: makes a QR code of a text.
    """

    def __init__(
        self, mesh: AdministeredMesh, *, random: Random, draw: Callable[[str], str]
    ) -> None:
        self._mesh = mesh
        self._random = random
        self._draw = draw

    async def ask(
        self, actor: Actor, name: str, request: Request, unix_time: float
    ) -> Answer:
        """Answer one request.

        :param name: of an endpoint.
        :raises MeshError: if that is refused; a :class:`Problem` says with what status.
        """
        endpoint = ENDPOINTS[name]
        require(actor, endpoint.scope)
        asked = Asked(
            self._mesh,
            actor,
            unix_time,
            self._random,
            self._draw,
            request.path,
            _query(endpoint, request.query),
            _body(endpoint, request.body),
            _expected(endpoint, request.if_match),
        )
        return await endpoint.handler(asked)


def require(actor: Actor, scope: Scope | None) -> None:
    """See whether somebody may do something.

    :raises Problem: if not.
    """
    if scope is not None and not actor.may(scope):
        raise Problem(
            403,
            Trouble.NOT_PERMITTED,
            f"{actor.identity} may not do this, which takes {scope}: have somebody do "
            "it, or make the token, who may",
        )


def _query(endpoint: Endpoint, given: Mapping[str, str]) -> BaseModel | None:
    if endpoint.query is None:
        return None
    try:
        return endpoint.query.model_validate(dict(given))
    except ValidationError as error:
        raise malformed(_explain(error)) from None


def _body(endpoint: Endpoint, data: bytes) -> BaseModel | str | None:
    if endpoint.takes_text:
        return _text(data)
    if endpoint.body is None:
        return None
    try:
        return endpoint.body.model_validate_json(data or b"{}")
    except ValidationError as error:
        raise malformed(_explain(error)) from None


def _text(data: bytes) -> str:
    if len(data) > MAX_TEXT:
        raise malformed(
            f"The policy is longer than {MAX_TEXT >> 20} MiB: use groups and tags"
        )
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise malformed(
            "The body is not a text in UTF-8: send the policy as TOML"
        ) from None


def _expected(endpoint: Endpoint, header: str) -> str:
    """Return the entity tag that a write expects, empty for any."""
    text = header.strip()
    if not text or text == WHOLE or not endpoint.writes:
        return ""
    if "," in text or len(text) > 100:
        raise malformed("If-Match may name one entity tag here, as ETag has told it")
    return text.removeprefix("W/").strip('"')


def _explain(error: ValidationError) -> str:
    """Return one sentence on the first thing that is wrong, without its value."""
    first = error.errors(include_url=False, include_input=False, include_context=False)
    if first[0]["type"] in ("json_invalid", "model_type"):
        return "The body is not a JSON object"
    where = ".".join(str(part) for part in first[0]["loc"])
    said = first[0]["msg"]
    return f"'{where}' is wrong: {said[:1].lower()}{said[1:]}"
