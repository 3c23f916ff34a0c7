"""The coordinator's configuration: where values come from, and what is wrong."""

from pathlib import Path

import pytest

from coordinator.cli.serve import serve
from coordinator.config import CoordinatorConfig, load, parse_host_port
from meshwg.errors import ConfigError

ISSUER = "https://kubernetes.default.svc"


@pytest.mark.parametrize(
    "text",
    [
        "https://mesh.example.org",
        "http://192.0.2.1",
        "mesh.example.org:443",
        "192.0.2.1:8443",
        "[2001:db8::1]",
        "[2001:db8::1]:443",
        "mesh.example.org/path",
        "a b",
        " mesh",
        "",
        "a..b",
        "mesh.example.org.",
        "-mesh",
        "a" * 64,
        ".".join(["a" * 60] * 5),
        "user@host",
        "host\n",
        "caf\xe9",
        "0.0.0.0",
        "::",
        "fe80::1%eth0",
        "300.1.1.1",
    ],
)
def test_what_is_no_host_is_not_advertised(text: str) -> None:
    with pytest.raises(ConfigError, match="--advertise"):
        load(None, {"advertise": text})


@pytest.mark.parametrize(
    "text",
    ["mesh.example.org", "https://", "ftp://h", "https://h?x", "https://u@h", "x y"],
)
def test_a_url_that_nodes_could_not_use_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        load(None, {"url": text})


@pytest.mark.parametrize(
    "text", ["mesh.example.org", "192.0.2.1", "2001:db8::1", "localhost", "a-b.c_d.e"]
)
def test_a_host_is_advertised(text: str) -> None:
    assert load(None, {"advertise": text}).advertise == text


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("64k", 8000),
        ("20M", 2_500_000),
        ("20mbit", 2_500_000),
        ("20Mbit/s", 2_500_000),
        ("1g", 125_000_000),
        ("1000000", 125_000),
        (None, None),
    ],
)
def test_a_rate_is_bits_a_second(text: str | None, rate: int | None) -> None:
    assert load(None, {"relay_bandwidth": text}).relay_bytes_per_second == rate


@pytest.mark.parametrize(
    "text", ["0", "1", "-5M", "20MB", "20 M", "fast", "9999999G", "٢M"]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--relay-bandwidth .* is not a rate.* 20M"):
        load(None, {"relay_bandwidth": text})


def test_options_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.toml"
    path.write_text('listen = "127.0.0.1:1"\nadvertise = "a.example"\n')
    config = load(path, {"advertise": "b.example", "network4": None, "stun": ()})
    assert config.listen_address == ("127.0.0.1", 1)
    assert config.advertise == "b.example"
    assert config.relay is True


def test_stun_is_served_next_to_the_tcp_port_by_default() -> None:
    assert load(None, {"listen": "[::1]:8443"}).stun_addresses == [("::1", 3478)]
    config = load(None, {"stun": ("192.0.2.1", "192.0.2.2:5000")})
    assert config.stun_addresses == [("192.0.2.1", 3478), ("192.0.2.2", 5000)]


@pytest.mark.parametrize("text", ["", "host:1", "1.2.3.4", "1.2.3.4:x", "::1:5", ":1"])
def test_an_invalid_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not an address"):
        parse_host_port(text, "listen")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"listen": "nonsense"}, "--listen"),
        ({"stun": ("1.2.3.4:99999",)}, "--stun"),
        ({"tls_cert": Path("x")}, "--tls-key"),
        ({"relays": ("relay.example",)}, "relay.example"),
        ({"relays": ("turn:h",) * 9}, "relays"),
        ({"approve_routes": ("10.0.0.1/8",)}, "approve_routes"),
        ({"relay_allow": ("x",)}, "relay_allow"),
        ({"connections_per_address": 0}, "connections_per_address"),
        ({"log_level": "loud"}, "log_level"),
    ],
)
def test_a_wrong_value_is_named(options: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load(None, options)


def test_an_unknown_key_is_named_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.toml"
    path.write_text("lisen = 'x'")
    with pytest.raises(ConfigError, match=r"'lisen' in .*coordinator\.toml"):
        load(path, {})


@pytest.mark.parametrize("content", [b"listen = ", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "coordinator.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(path, {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.toml", {})


def test_a_database_password_is_not_shown() -> None:
    config = load(None, {"database": "postgresql://u:hunter2@h/d"})
    assert "hunter2" not in repr(config)


def test_options_may_stand_in_the_file_as_they_are_typed(tmp_path: Path) -> None:
    file = tmp_path / "coordinator.toml"
    file.write_text('no-relay = true\napprove-route = ["10.0.0.0/8"]\n')
    config = load(file, {})
    assert (config.relay, config.approve_routes) == (False, ("10.0.0.0/8",))


def test_every_setting_is_an_option() -> None:
    known = {each.name for each in serve.params}
    assert set(CoordinatorConfig.model_fields) <= known


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"domain": "internal"}, "two labels"),
        ({"domain": "a b.c"}, "is no domain"),
        (
            {"domain": "example.org", "advertise": "mesh.example.org"},
            "takes in this server's own name mesh.example.org",
        ),
        (
            {"domain": "example.org", "url": "https://Example.org/mesh"},
            "takes in this server's own name example.org",
        ),
    ],
)
def test_a_domain_in_which_nothing_is_found_is_refused(
    options: dict[str, str], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        load(None, options)


def test_a_domain_may_be_beside_the_server_s_own() -> None:
    options = {"domain": "mesh.example.org", "advertise": "vpn.example.org"}

    assert load(None, options).domain == "mesh.example.org"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"kubernetes_api": "https://192.0.2.1"}, "only with --kubernetes-issuer"),
        ({"kubernetes_jwks": "keys"}, "only with --kubernetes-issuer"),
        ({"kubernetes_issuer": "http://cluster"}, "--kubernetes-issuer http://cluster"),
        ({"kubernetes_issuer": "cluster"}, "is no https URL"),
        (
            {"kubernetes_issuer": ISSUER, "kubernetes_api": "http://192.0.2.1"},
            "--kubernetes-api http://192.0.2.1",
        ),
        (
            {"kubernetes_issuer": ISSUER, "kubernetes_account": "agent"},
            "write NAMESPACE/NAME",
        ),
    ],
)
def test_a_cluster_that_nobody_could_believe_is_refused(
    options: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        load(None, options)


def test_a_cluster_is_known_by_its_issuer() -> None:
    config = load(None, {"kubernetes_issuer": ISSUER, "kubernetes_account": "a/b"})
    assert (config.kubernetes_issuer, config.kubernetes_account) == (ISSUER, "a/b")
