"""How an agent becomes a member: by the token that kubelet gives its pod."""

from dataclasses import replace
from pathlib import Path

from meshwg.errors import ConfigError
from meshwg.runtime.kubernetes.settings import Membership
from meshwg.runtime.state import StateDirectory, StoredMembership
from meshwg.wire.control import MAX_SERVICE_TOKEN


def read_service_token(path: Path) -> str:
    """Return the token in a file, as it is now.

    :raises ConfigError: if there is none that could be one.
    """
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(
            f"The service-account token {path} cannot be read ({why}): mount a "
            "projected volume with the audience meshwg there"
        ) from None
    if not text or len(text) > MAX_SERVICE_TOKEN or not text.isascii():
        raise ConfigError(
            f"The file {path} holds no service-account token: mount a projected volume "
            "with the audience meshwg there"
        )
    return text


def enter_mesh(wanted: Membership, state: StateDirectory) -> None:
    """Belong to this mesh from now on, which lets the node in by its service token.

    :raises ConfigError: if the node belongs to another one.
    """
    known = state.membership()
    if known is None or (known.url, known.auth_key) == (wanted.url, None):
        stored = known or StoredMembership(wanted.url, wanted.coordinator_key)
    else:
        stored = replace(known, url=wanted.url, auth_key=None)
    if not stored.knows(wanted.coordinator_key):
        raise ConfigError(
            "This machine already belongs to another mesh: use another --state-dir, or "
            "'meshwg leave --state-dir …' to leave that mesh"
        )
    if stored != known:
        state.save_membership(stored)
