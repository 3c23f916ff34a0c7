"""Each kind of error ends a command with the exit status that is promised."""

import pytest

from meshwg import errors
from meshwg.errors import MeshError, ProtocolError, RemoteProtocolError

STATUSES = {
    "MeshError": 1,
    "ConfigError": 2,
    "DaemonNotRunning": 3,
    "NotJoined": 4,
    "NotPermitted": 5,
    "Removed": 6,
    "CoordinatorError": 1,
}


@pytest.mark.parametrize(("name", "status"), STATUSES.items())
def test_a_kind_of_error_has_its_exit_status(name: str, status: int) -> None:
    assert getattr(errors, name).exit_status == status


def test_every_error_is_one_that_a_command_can_report() -> None:
    assert {kind.__name__ for kind in kinds()} >= STATUSES.keys()
    for kind in kinds():
        assert issubclass(kind, MeshError)
        assert kind.exit_status in range(1, 7), "0 is for what was done"


def test_no_two_kinds_share_a_status_except_plain_failures() -> None:
    statuses = [kind.exit_status for kind in kinds() if kind.exit_status != 1]

    assert sorted(statuses) == [2, 3, 4, 5, 6]


def test_faults_of_the_other_side_can_be_caught_apart_from_our_own() -> None:
    assert issubclass(errors.InvalidMessage, RemoteProtocolError)
    assert issubclass(errors.AuthenticationFailed, RemoteProtocolError)
    assert not issubclass(errors.LocalProtocolError, RemoteProtocolError)
    assert issubclass(RemoteProtocolError, ProtocolError)


def test_the_text_of_an_error_is_the_sentence_it_was_made_with() -> None:
    sentence = "The port is taken: choose another one"

    assert str(errors.ConfigError(sentence)) == sentence


def kinds() -> list[type[MeshError]]:
    found = [each for each in vars(errors).values() if isinstance(each, type)]
    return [each for each in found if issubclass(each, MeshError)]
