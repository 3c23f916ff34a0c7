"""Join tokens, by which nodes come in, and API tokens, by which programs administer."""

from coordinator.administration.asking import Answer, Asked
from coordinator.administration.models import NewApiToken, NewToken, PageQuery
from coordinator.administration.pages import page
from coordinator.administration.problems import Problem, Trouble, malformed, unknown
from coordinator.administration.rights import (
    ROLES,
    Role,
    Scope,
    ordered,
    parse_scopes,
)
from coordinator.mesh.apitokens import ApiToken, ApiTokenText
from coordinator.mesh.audit import api_token_state, auth_key_state
from coordinator.mesh.authkeys import AuthKey, new_auth_key, parse_lifetime
from coordinator.mesh.etags import etag_of
from coordinator.mesh.operations import (
    CreateApiToken,
    CreateAuthKey,
    RevokeApiToken,
    RevokeAuthKey,
)
from coordinator.mesh.records import api_token_record, auth_key_record
from meshwg.errors import MeshError
from meshwg.wire.token import JoinToken, check_url

NO_URL = (
    "The coordinator's address is not known yet; start 'meshwg-coordinator serve' "
    "once, or give --url"
)
TOO_MUCH = (
    "An API token may not do more than who makes it, and {scopes} is more: have "
    "somebody make it who may do that"
)
NOTHING = (
    "An API token that may do nothing is of no use: give it a role, which is one of "
    "{roles}, or scopes"
)


async def list_tokens(asked: Asked) -> Answer:
    """List all join tokens, without their secrets."""
    keys, wanted = await asked.mesh.auth_keys(), asked.asking(PageQuery)
    keys.sort(key=lambda key: (key.created, key.number))
    shown, more = page(
        keys, lambda key: (key.created, key.number), wanted.limit, wanted.cursor
    )
    return Answer(
        {"tokens": [auth_key_record(key, asked.now) for key in shown], **more}
    )


async def show_token(asked: Asked) -> Answer:
    """Show one join token, without its secret."""
    number = asked.path["number"]
    for key in await asked.mesh.auth_keys():
        if key.number == number:
            return _told(asked, key)
    raise unknown(
        f"There is no token {number}; 'meshwg-coordinator token list' shows all"
    )


async def create_token(asked: Asked) -> Answer:
    """Make a join token; the answer is the only one that shows it."""
    wanted = asked.sent(NewToken)
    named = [wanted.url, *wanted.urls] if wanted.url else wanted.urls
    urls = [check_url(each) for each in named] or await asked.mesh.urls()
    if not urls:
        raise MeshError(NO_URL)
    uses = wanted.uses
    text, key = new_auth_key(
        asked.random,
        reusable=wanted.reusable if uses is None else uses > 1,
        limit=uses,
        ephemeral=wanted.ephemeral,
        hub=wanted.hub,
        created=asked.now,
        lifetime=parse_lifetime(wanted.expires),
        owner=wanted.owner or "",
        tags=tuple(dict.fromkeys(wanted.tags or ())),
    )
    await asked.perform(CreateAuthKey(key))
    token = str(JoinToken.of_mesh(urls, asked.mesh.coordinator_key, text))
    answer = _told(asked, key)
    return Answer({"token": token, **answer.record}, answer.etag)


async def revoke_token(asked: Asked) -> Answer:
    """Make a join token useless; nodes that have joined with it stay."""
    key = (await asked.perform(RevokeAuthKey(asked.path["number"]))).auth_key
    assert key is not None
    return _told(asked, key)


async def list_api_tokens(asked: Asked) -> Answer:
    """List all API tokens, without their secrets."""
    tokens, wanted = await asked.mesh.api_tokens(), asked.asking(PageQuery)
    shown, more = page(
        tokens, lambda each: (each.created, each.number), wanted.limit, wanted.cursor
    )
    records = [api_token_record(each, asked.now) for each in shown]
    return Answer({"api_tokens": records, **more})


async def create_api_token(asked: Asked) -> Answer:
    """Make an API token; the answer is the only one that shows it."""
    wanted = asked.sent(NewApiToken)
    role, scopes = _role(wanted.role), parse_scopes(wanted.scopes)
    _refuse_to_exceed(asked, role, scopes)
    text = ApiTokenText.generate(asked.random)
    token = ApiToken(
        text.number,
        wanted.name.strip(),
        text.digest,
        role="" if role is None else role.value,
        scopes=tuple(each.value for each in scopes),
        created=asked.now,
        expires=asked.now + parse_lifetime(wanted.expires),
        by=asked.actor.identity,
    )
    await asked.perform(CreateApiToken(token))
    answer = _told_of_api(asked, token)
    return Answer({"token": str(text), **answer.record}, answer.etag)


async def revoke_api_token(asked: Asked) -> Answer:
    """Make an API token useless at once."""
    done = await asked.perform(RevokeApiToken(asked.path["number"]))
    assert done.api_token is not None
    return _told_of_api(asked, done.api_token)


def _told(asked: Asked, key: AuthKey) -> Answer:
    # How often it was used is no decision of an administrator's.
    return Answer(auth_key_record(key, asked.now), etag_of(auth_key_state(key)))


def _told_of_api(asked: Asked, token: ApiToken) -> Answer:
    return Answer(api_token_record(token, asked.now), etag_of(api_token_state(token)))


def _role(text: str | None) -> Role | None:
    if not text:
        return None
    if text not in tuple(Role):
        raise malformed(f"{text!r} is no role: use one of {', '.join(Role)}")
    return Role(text)


def _refuse_to_exceed(
    asked: Asked, role: Role | None, scopes: tuple[Scope, ...]
) -> None:
    """Refuse a token that may do more than who makes it, or nothing.

    :raises Problem: if it does.
    """
    whole = ordered((*(() if role is None else ROLES[role]), *scopes))
    if not whole:
        useful = ", ".join(each for each in Role if ROLES[each])
        raise malformed(NOTHING.format(roles=useful))
    missing = [scope for scope in whole if not asked.actor.may(scope)]
    if missing:
        text = TOO_MUCH.format(scopes=" and ".join(missing))
        raise Problem(403, Trouble.NOT_PERMITTED, text)
