"""Which keys go with a user name."""

import pytest

from coordinator.credentials import mint, user
from coordinator.turn.credentials import Authenticator, long_term_key

REALM = "mesh.test"


def test_credentials_minted_by_the_coordinator_are_valid() -> None:
    relay = mint("turn:relay.test", b"secret", "node-key", 1000.0)
    key = long_term_key(relay.username, REALM, relay.password)

    relays = Authenticator([b"old", b"secret"], REALM)
    assert relays.keys(relay.username, 1000.0)[1] == key
    assert relays.node_of(relay.username, key) == user("node-key", b"secret")


def test_the_key_is_that_of_the_rfc() -> None:
    # RFC 5769 section 2.4 and RFC 8489 section 9.2.2.
    assert long_term_key("user", "realm", "pass").hex() == (
        "8493fbc53ba582fb4c044c456bdc40eb"
    )


@pytest.mark.parametrize(
    "username",
    [
        "",
        ":node",
        "node",
        "node:5000",
        "-1:node",
        "1e9:node",
        " 5000:node",
        "²:node",
        "\u0665\u0660:node",
        "9" * 13 + ":node",
        "5000:" + "x" * 600,
        "999:node",
        "1000:node",
    ],
)
def test_a_malformed_or_expired_user_name_has_no_key(username: str) -> None:
    assert Authenticator([b"secret"], REALM).keys(username, 1000.0) == []


def test_every_secret_makes_a_key() -> None:
    keys = Authenticator([b"old", b"new"], REALM).keys("5000:node", 1000.0)

    assert len(set(keys)) == 2
