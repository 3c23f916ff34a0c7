"""The host of a node: its sockets."""

import socket

import pytest

from meshwg.errors import ConfigError
from meshwg.runtime import host


def test_any_port_is_that_of_the_last_run_if_it_is_free() -> None:
    first = host._open_sockets(0, 0, lambda endpoint: None)
    port = first.port

    second = host._open_sockets(0, port, lambda endpoint: None)
    assert second.port != port
    first.close()
    second.close()

    third = host._open_sockets(0, port, lambda endpoint: None)
    assert third.port == port
    third.close()


def test_a_port_that_was_asked_for_must_be_free() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 0))
        port = other.getsockname()[1]

        with pytest.raises(ConfigError, match=f"UDP port {port} cannot be used"):
            host._open_sockets(port, 0, lambda endpoint: None)
