"""The UAPI, spoken to a real device through sockets that only pretend to be there."""

import errno
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.keys import PrivateKey
from meshwg.transmit import Endpoint
from meshwg.wireguard import uapi
from meshwg.wireguard.device import Device
from meshwg.wireguard.uapi import UapiError, UapiSession, parse_endpoint

NOW = 1000.0
UNIX_TIME = 1_700_000_000.0
KEY = PrivateKey.from_bytes(bytes(range(32)))
ALICE = PrivateKey.from_bytes(b"a" * 32).public_bytes
BOB = PrivateKey.from_bytes(b"b" * 32).public_bytes
PSK = bytes(range(100, 132))
INTERFACES = {"eth0": 3}
PACKET = bytes([0x45, 0, 0, 20]) + bytes(12) + bytes([10, 0, 0, 1])


class FakeInterface:
    """An interface whose sockets only remember what they are told."""

    def __init__(self) -> None:
        self.device = Device(random=counting_random(), unix_time=lambda now: UNIX_TIME)
        self.listen_port = 0
        self.fwmark = 0
        self.refuse: OSError | None = None

    def index_of(self, name: str) -> int | None:
        return INTERFACES.get(name)

    def rebind(self, port: int) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.listen_port = port

    def set_fwmark(self, mark: int) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.fwmark = mark


def test_get_of_a_fresh_interface_is_empty() -> None:
    assert get(FakeInterface()) == ["errno=0"]


def test_get_lists_the_device_before_its_peers_in_the_documented_order() -> None:
    interface = FakeInterface()
    assert set_(interface, f"private_key={KEY.private_bytes.hex()}") == 0
    assert set_(interface, "listen_port=51820", "fwmark=4660") == 0
    assert (
        set_(
            interface,
            f"public_key={ALICE.hex()}",
            f"preshared_key={PSK.hex()}",
            "endpoint=[2001:db8::1]:51820",
            "persistent_keepalive_interval=25",
            "allowed_ip=10.0.0.1/32",
            "allowed_ip=fd00::/64",
            f"public_key={BOB.hex()}",
        )
        == 0
    )
    alice = interface.device.peers[ALICE]
    alice.last_handshake = UNIX_TIME + 0.25
    alice.tx_bytes, alice.rx_bytes = 148, 92

    assert get(interface) == [
        f"private_key={KEY.private_bytes.hex()}",
        "listen_port=51820",
        "fwmark=4660",
        f"public_key={ALICE.hex()}",
        f"preshared_key={PSK.hex()}",
        "protocol_version=1",
        "endpoint=[2001:db8::1]:51820",
        "last_handshake_time_sec=1700000000",
        "last_handshake_time_nsec=250000000",
        "tx_bytes=148",
        "rx_bytes=92",
        "persistent_keepalive_interval=25",
        "allowed_ip=10.0.0.1/32",
        "allowed_ip=fd00::/64",
        f"public_key={BOB.hex()}",
        "preshared_key=" + "00" * 32,
        "protocol_version=1",
        "last_handshake_time_sec=0",
        "last_handshake_time_nsec=0",
        "tx_bytes=0",
        "rx_bytes=0",
        "persistent_keepalive_interval=0",
        "errno=0",
    ]


def test_what_get_says_can_be_set_again() -> None:
    first, second = FakeInterface(), FakeInterface()
    set_(first, f"private_key={KEY.private_bytes.hex()}", "listen_port=1")
    set_(first, f"public_key={ALICE.hex()}", "endpoint=192.0.2.1:2")
    bob = "endpoint=[fe80::2%eth0]:2", "allowed_ip=0.0.0.0/0"
    set_(first, f"public_key={BOB.hex()}", *bob)
    status = ("last_handshake", "tx_bytes", "rx_bytes", "errno")

    lines = [line for line in get(first) if not line.startswith(status)]

    assert set_(second, *lines) == 0
    assert get(second) == get(first)


def test_keys_may_be_written_in_capitals() -> None:
    interface = FakeInterface()
    assert set_(interface, f"public_key={ALICE.hex().upper()}") == 0
    assert list(interface.device.peers) == [ALICE]


def test_a_private_key_of_zeros_clears_the_key() -> None:
    interface = FakeInterface()
    set_(interface, f"private_key={KEY.private_bytes.hex()}")
    assert interface.device.private_key == KEY
    assert set_(interface, "private_key=" + "00" * 32) == 0
    assert interface.device.private_key is None


def test_replace_peers_removes_every_peer_and_keeps_those_that_follow() -> None:
    interface = FakeInterface()
    set_(interface, f"public_key={ALICE.hex()}", f"public_key={BOB.hex()}")
    assert set_(interface, "replace_peers=true", f"public_key={BOB.hex()}") == 0
    assert list(interface.device.peers) == [BOB]


def test_our_own_key_as_a_peer_is_ignored_with_all_its_lines() -> None:
    interface = FakeInterface()
    set_(interface, f"private_key={KEY.private_bytes.hex()}")
    number = set_(
        interface,
        f"public_key={KEY.public_bytes.hex()}",
        f"preshared_key={PSK.hex()}",
        "endpoint=192.0.2.1:1",
        "persistent_keepalive_interval=1",
        "replace_allowed_ips=true",
        "allowed_ip=10.0.0.0/8",
        f"public_key={ALICE.hex()}",
        "allowed_ip=10.0.0.1/32",
    )
    assert number == 0
    assert list(interface.device.peers) == [ALICE]
    assert allowed_ips(interface, ALICE) == ["10.0.0.1/32"]


def test_wrong_lines_of_an_ignored_peer_are_still_errors() -> None:
    interface = FakeInterface()
    lines = f"public_key={ALICE.hex()}", "update_only=true", "allowed_ip=nonsense"
    assert set_(interface, *lines) == -errno.EINVAL
    assert interface.device.peers == {}


def test_update_only_changes_a_peer_and_creates_none() -> None:
    interface = FakeInterface()
    set_(interface, f"public_key={ALICE.hex()}")
    number = set_(
        interface,
        f"public_key={ALICE.hex()}",
        "update_only=true",
        "persistent_keepalive_interval=5",
        f"public_key={BOB.hex()}",
        "update_only=true",
        "persistent_keepalive_interval=5",
        "allowed_ip=10.0.0.0/8",
    )
    assert number == 0
    assert list(interface.device.peers) == [ALICE]
    assert interface.device.peers[ALICE].persistent_keepalive == 5


def test_update_only_after_other_lines_takes_a_new_peer_back() -> None:
    interface = FakeInterface()
    lines = f"public_key={ALICE.hex()}", "allowed_ip=10.0.0.0/8", "update_only=true"
    assert set_(interface, *lines) == 0
    assert interface.device.peers == {}


def test_remove_removes_a_peer_and_tolerates_one_that_is_unknown() -> None:
    interface = FakeInterface()
    set_(interface, f"public_key={ALICE.hex()}", "allowed_ip=10.0.0.0/8")
    number = set_(
        interface,
        f"public_key={ALICE.hex()}",
        "remove=true",
        "allowed_ip=10.0.0.0/8",
        f"public_key={BOB.hex()}",
        "remove=true",
    )
    assert number == 0
    assert interface.device.peers == {}
    assert interface.device.allowed_ips.lookup(bytes([10, 0, 0, 1])) is None


def test_allowed_ips_are_masked_added_removed_and_replaced() -> None:
    interface = FakeInterface()
    set_(interface, f"public_key={ALICE.hex()}", "allowed_ip=10.1.2.3/8")
    set_(interface, f"public_key={ALICE.hex()}", "allowed_ip=fd00::1/16")
    assert allowed_ips(interface, ALICE) == ["10.0.0.0/8", "fd00::/16"]
    set_(interface, f"public_key={ALICE.hex()}", "allowed_ip=-10.0.0.0/8")
    assert allowed_ips(interface, ALICE) == ["fd00::/16"]
    set_(
        interface,
        f"public_key={ALICE.hex()}",
        "replace_allowed_ips=true",
        "allowed_ip=0.0.0.0/0",
    )
    assert allowed_ips(interface, ALICE) == ["0.0.0.0/0"]


def test_an_allowed_ip_moves_to_the_peer_that_asks_last() -> None:
    interface = FakeInterface()
    set_(interface, f"public_key={ALICE.hex()}", "allowed_ip=10.0.0.0/8")
    set_(interface, f"public_key={BOB.hex()}", "allowed_ip=10.0.0.0/8")
    assert allowed_ips(interface, ALICE) == []
    assert allowed_ips(interface, BOB) == ["10.0.0.0/8"]


def test_taking_an_allowed_ip_from_a_peer_leaves_that_of_another() -> None:
    interface = FakeInterface()
    set_(interface, f"public_key={ALICE.hex()}", "allowed_ip=10.0.0.0/8")
    assert set_(interface, f"public_key={BOB.hex()}", "allowed_ip=-10.0.0.0/8") == 0
    assert allowed_ips(interface, ALICE) == ["10.0.0.0/8"]


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("no separator", errno.EPROTO),
        ("unknown=1", errno.EINVAL),
        ("private_key=", errno.EINVAL),
        ("private_key=" + "0" * 63, errno.EINVAL),
        ("private_key=" + "0" * 65, errno.EINVAL),
        ("private_key=" + "00 " * 32, errno.EINVAL),
        ("private_key=" + "zz" * 32, errno.EINVAL),
        ("listen_port=65536", errno.EINVAL),
        ("listen_port=-1", errno.EINVAL),
        ("listen_port=+1", errno.EINVAL),
        ("listen_port=1_0", errno.EINVAL),
        ("listen_port=", errno.EINVAL),
        ("listen_port=" + "9" * 4000, errno.EINVAL),
        ("listen_port=\u0663", errno.EINVAL),
        ("fwmark=4294967296", errno.EINVAL),
        ("fwmark=0x1", errno.EINVAL),
        ("replace_peers=false", errno.EINVAL),
        ("replace_peers=", errno.EINVAL),
        ("public_key=short", errno.EINVAL),
        ("allowed_ip=10.0.0.0/8", errno.EINVAL),
    ],
)
def test_a_wrong_device_line_has_its_error_number(line: str, number: int) -> None:
    interface = FakeInterface()
    assert set_(interface, line) == -number
    assert get(interface) == ["errno=0"]


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("no separator", errno.EPROTO),
        ("unknown=1", errno.EINVAL),
        ("private_key=" + "00" * 32, errno.EINVAL),
        ("public_key=short", errno.EINVAL),
        ("preshared_key=", errno.EINVAL),
        ("endpoint=192.0.2.1", errno.EINVAL),
        ("endpoint=192.0.2.1:", errno.EINVAL),
        ("endpoint=192.0.2.1:65536", errno.EINVAL),
        ("endpoint=example.org:51820", errno.EINVAL),
        ("endpoint=2001:db8::1:51820", errno.EINVAL),
        ("endpoint=[192.0.2.1]:51820", errno.EINVAL),
        ("endpoint=[2001:db8::1]51820", errno.EINVAL),
        ("endpoint=[fe80::1%]:51820", errno.EINVAL),
        ("endpoint=[fe80::1%nowhere]:51820", errno.EINVAL),
        ("endpoint=[fe80::1%2147483648]:51820", errno.EINVAL),
        ("endpoint=[fe80::1%-1]:51820", errno.EINVAL),
        ("endpoint=[fe80::1%3%3]:51820", errno.EINVAL),
        ("persistent_keepalive_interval=65536", errno.EINVAL),
        ("persistent_keepalive_interval=off", errno.EINVAL),
        ("replace_allowed_ips=false", errno.EINVAL),
        ("allowed_ip=10.0.0.0", errno.EINVAL),
        ("allowed_ip=10.0.0.0/33", errno.EINVAL),
        ("allowed_ip=10.0.0.0/255.0.0.0", errno.EINVAL),
        ("allowed_ip=10.0.0/24", errno.EINVAL),
        ("allowed_ip=fe80::1%eth0/64", errno.EINVAL),
        ("allowed_ip=--10.0.0.0/8", errno.EINVAL),
        ("allowed_ip=", errno.EINVAL),
        ("update_only=yes", errno.EINVAL),
        ("remove=1", errno.EINVAL),
        ("protocol_version=2", errno.EINVAL),
    ],
)
def test_a_wrong_peer_line_has_its_error_number(line: str, number: int) -> None:
    interface = FakeInterface()
    assert set_(interface, f"public_key={ALICE.hex()}", line) == -number


def test_lines_before_a_wrong_one_stay_applied_and_none_after_it_is() -> None:
    interface = FakeInterface()
    number = set_(
        interface,
        "fwmark=1",
        f"public_key={ALICE.hex()}",
        "persistent_keepalive_interval=25",
        "allowed_ip=10.0.0.0/8",
        "allowed_ip=10.0.0.0/99",
        "allowed_ip=11.0.0.0/8",
        f"public_key={BOB.hex()}",
    )
    assert number == -errno.EINVAL
    assert interface.fwmark == 1
    assert list(interface.device.peers) == [ALICE]
    assert interface.device.peers[ALICE].persistent_keepalive == 25
    assert allowed_ips(interface, ALICE) == ["10.0.0.0/8"]


def test_more_peers_than_a_device_can_hold_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meshwg.wireguard.device.MAX_PEERS", 1)
    interface = FakeInterface()
    lines = f"public_key={ALICE.hex()}", f"public_key={BOB.hex()}"
    assert set_(interface, *lines) == -errno.EINVAL
    assert list(interface.device.peers) == [ALICE]


def test_a_taken_port_and_a_refused_mark_are_an_address_in_use() -> None:
    interface = FakeInterface()
    set_(interface, "listen_port=51820", "fwmark=7")
    interface.refuse = OSError(errno.EACCES, "Permission denied")
    assert set_(interface, "listen_port=80") == -errno.EADDRINUSE
    assert set_(interface, "fwmark=1") == -errno.EADDRINUSE
    assert get(interface)[:2] == ["listen_port=51820", "fwmark=7"]


def test_a_peer_of_a_running_device_starts_when_its_lines_are_complete() -> None:
    interface = FakeInterface()
    set_(interface, f"private_key={KEY.private_bytes.hex()}")
    interface.device.up(NOW)
    set_(
        interface,
        f"public_key={ALICE.hex()}",
        "persistent_keepalive_interval=25",
        "endpoint=192.0.2.1:51820",
    )
    (transmit,) = interface.device.datagrams_to_send()
    assert transmit.destination == Endpoint("192.0.2.1", 51820)
    assert [len(datagram) for datagram in transmit.datagrams] == [148]


STEPS: dict[str, Callable[[FakeInterface], object]] = {
    "key": lambda each: set_(each, f"private_key={KEY.private_bytes.hex()}"),
    "peer": lambda each: set_(each, f"public_key={ALICE.hex()}"),
    "endpoint": lambda each: set_alice(each, "endpoint=192.0.2.1:51820"),
    "keepalive": lambda each: set_alice(each, "persistent_keepalive_interval=25"),
    "up": lambda each: each.device.up(NOW),
}


@pytest.mark.parametrize("order", list(permutations(STEPS)), ids=", ".join)
def test_a_peer_to_be_kept_alive_begins_with_the_last_of_its_settings(
    order: Sequence[str],
) -> None:
    interface = FakeInterface()
    for step in order[:-1]:
        STEPS[step](interface)
    begun = len(sent_to_alice(interface))
    STEPS[order[-1]](interface)
    # The peer itself may be the last, but is then made by its first setting.
    assert begun + len(sent_to_alice(interface)) == 1
    assert begun == (order[-1] == "peer")


@pytest.mark.parametrize("order", ["key, packet, endpoint", "packet, endpoint, key"])
def test_a_packet_that_waits_is_sent_with_the_last_setting(order: str) -> None:
    interface = FakeInterface()
    set_alice(interface, "allowed_ip=10.0.0.0/8")
    interface.device.up(NOW)
    steps = STEPS | {"packet": lambda each: each.device.receive_packets([PACKET], NOW)}
    for step in order.split(", "):
        assert sent_to_alice(interface) == []
        steps[step](interface)
    assert sent_to_alice(interface) == [148]


def test_replaced_peers_do_not_begin_with_the_key_that_comes_along() -> None:
    interface = FakeInterface()
    for step in "up", "endpoint", "keepalive":
        STEPS[step](interface)
    key = f"private_key={KEY.private_bytes.hex()}"
    assert set_(interface, key, "replace_peers=true") == 0
    assert sent_to_alice(interface) == []


def test_another_key_begins_nothing_before_the_peer_can_know_it() -> None:
    interface = FakeInterface()
    for step in "key", "up", "endpoint", "keepalive":
        STEPS[step](interface)
    assert sent_to_alice(interface) == [148]
    assert set_(interface, "private_key=" + "11" * 32) == 0
    assert sent_to_alice(interface) == []


def test_a_peer_of_a_stopped_device_stays_silent() -> None:
    interface = FakeInterface()
    set_(interface, f"private_key={KEY.private_bytes.hex()}")
    lines = "persistent_keepalive_interval=25", "endpoint=192.0.2.1:51820"
    set_(interface, f"public_key={ALICE.hex()}", *lines)
    assert interface.device.datagrams_to_send() == []


def test_one_connection_carries_several_operations_in_any_pieces() -> None:
    stream = b"set=1\nfwmark=5\n\nget=1\n\nset=1\nfwmark=x\n\nset=1\n\n"
    expected = b"errno=0\n\nfwmark=5\nerrno=0\n\nerrno=-22\n\nerrno=0\n\n"
    for size in (1, 2, 3, 5, len(stream)):
        session = UapiSession(FakeInterface())
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        answers = [session.receive(piece, NOW) for piece in pieces]
        assert b"".join(answers) == expected
        assert not session.finished


def test_nothing_of_an_operation_is_applied_before_its_last_line() -> None:
    interface = FakeInterface()
    session = UapiSession(interface)
    assert session.receive(b"set=1\nfwmark=5\n", NOW) == b""
    assert interface.fwmark == 0
    assert session.receive(b"\n", NOW) == b"errno=0\n\n"
    assert interface.fwmark == 5


@pytest.mark.parametrize("first", [b"hello\n", b"\n", b"get=2\n", b"get=1 \n", b"=\n"])
def test_an_unknown_operation_ends_the_connection_silently(first: bytes) -> None:
    session = UapiSession(FakeInterface())
    assert session.receive(first + b"get=1\n\n", NOW) == b""
    assert session.finished


def test_a_get_with_lines_is_refused_with_a_positive_number() -> None:
    session = UapiSession(FakeInterface())
    assert session.receive(b"get=1\nfwmark=5\n\n", NOW) == b"errno=22\n\n"
    assert session.finished


def test_an_endless_line_ends_the_connection() -> None:
    session = UapiSession(FakeInterface())
    assert session.receive(b"set=1\n" + b"x" * uapi.MAX_LINE, NOW) == b""
    assert not session.finished
    assert session.receive(b"x", NOW) == b""
    assert session.finished


def test_an_oversized_operation_is_refused_whole_and_the_next_one_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uapi, "MAX_OPERATION", 20)
    interface = FakeInterface()
    session = UapiSession(interface)
    answer = session.receive(b"set=1\nfwmark=1\nreplace_peers=true\n\n", NOW)
    assert answer == b"errno=-7\n\n"
    assert interface.fwmark == 0
    assert session.receive(b"set=1\nfwmark=2\n\n", NOW) == b"errno=0\n\n"


@pytest.mark.parametrize(
    "line",
    [
        "private_key={secret}x",
        "{secret}",
        "{secret}=",
        "preshared_key={secret}=",
        "listen_port={secret}",
    ],
)
def test_what_was_received_never_shows_in_an_error(
    line: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret = PSK.hex()
    with caplog.at_level(logging.DEBUG):
        assert set_(FakeInterface(), line.format(secret=secret)) < 0
    assert "line 1" in caplog.text
    assert secret not in caplog.text
    assert secret[:16] not in caplog.text


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("192.0.2.1:51820", Endpoint("192.0.2.1", 51820)),
        ("[2001:DB8:0::1]:1", Endpoint("2001:db8::1", 1)),
        ("[fe80::1]:1", Endpoint("fe80::1", 1)),
        ("[fe80::1%eth0]:1", Endpoint("fe80::1%3", 1)),
        ("[FE80:0::1%3]:1", Endpoint("fe80::1%3", 1)),
        ("[fe80::1%7]:1", Endpoint("fe80::1%7", 1)),
        ("[fe80::1%0]:1", Endpoint("fe80::1", 1)),
        ("[fe80::1%2147483647]:1", Endpoint("fe80::1%2147483647", 1)),
        # Elsewhere a scope has no meaning; the kernel disregards it, too.
        ("[2001:db8::1%eth0]:1", Endpoint("2001:db8::1", 1)),
        ("[::ffff:192.0.2.1%eth0]:1", Endpoint("192.0.2.1", 1)),
        ("[::ffff:192.0.2.1]:1", Endpoint("192.0.2.1", 1)),
    ],
)
def test_an_endpoint_is_a_numeric_address_and_a_port(
    text: str, endpoint: Endpoint
) -> None:
    assert parse_endpoint(text, INTERFACES.get) == endpoint


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_no_bytes_make_a_session_raise(pieces: list[bytes]) -> None:
    session = UapiSession(FakeInterface())
    for piece in (b"set=1\n", *pieces):
        session.receive(piece, NOW)


KEYS = [
    *("private_key", "listen_port", "fwmark", "replace_peers"),
    *("public_key", "update_only", "remove", "preshared_key", "endpoint"),
    *("persistent_keepalive_interval", "replace_allowed_ips", "allowed_ip"),
    *("protocol_version", "unknown"),
]
VALUES = st.one_of(
    st.sampled_from(["true", "1", "10.0.0.0/8", "-10.0.0.0/8", "192.0.2.1:1"]),
    st.sampled_from([ALICE.hex(), BOB.hex(), KEY.private_bytes.hex(), "00" * 32]),
    st.text(max_size=20),
)


@given(st.lists(st.tuples(st.sampled_from(KEYS), VALUES), max_size=20), st.booleans())
def test_any_lines_leave_an_interface_that_get_can_describe(
    settings: list[tuple[str, str]], is_up: bool
) -> None:
    interface = FakeInterface()
    if is_up:
        interface.device.up(NOW)
    with suppress(UapiError):
        uapi.configure(interface, [f"{key}={value}" for key, value in settings], NOW)
    peers = [line for line in get(interface) if line.startswith("public_key=")]
    assert len(peers) == len(set(peers)) == len(interface.device.peers)


def counting_random() -> Callable[[int], bytes]:
    """Return a source of bytes that differ from call to call."""
    calls = iter(range(1 << 32))
    return lambda length: next(calls).to_bytes(length, "big")


def get(interface: FakeInterface) -> list[str]:
    answer = UapiSession(interface).receive(b"get=1\n\n", NOW).decode()
    assert answer.endswith("\n\n")
    return answer[:-2].split("\n")


def set_(interface: FakeInterface, *lines: str) -> int:
    """Return the number that answers a ``set``."""
    request = "".join(f"{line}\n" for line in ("set=1", *lines, ""))
    answer = UapiSession(interface).receive(request.encode(), NOW).decode()
    assert answer.startswith("errno=")
    assert answer.endswith("\n\n")
    return int(answer.removeprefix("errno="))


def set_alice(interface: FakeInterface, *lines: str) -> None:
    assert set_(interface, f"public_key={ALICE.hex()}", *lines) == 0


def sent_to_alice(interface: FakeInterface) -> list[int]:
    """Return the lengths of the datagrams that were sent since the last call."""
    return [
        len(datagram)
        for transmit in interface.device.datagrams_to_send()
        for datagram in transmit.datagrams
    ]


def allowed_ips(interface: FakeInterface, public_key: bytes) -> list[str]:
    peer = interface.device.peers[public_key]
    return [str(network) for network in interface.device.allowed_ips.of(peer.lane)]
