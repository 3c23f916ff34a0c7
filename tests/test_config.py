"""The node's configuration: where values come from, and what is wrong with them."""

from pathlib import Path

import pytest

from meshwg import config as settings
from meshwg.config import NodeConfig, load
from meshwg.errors import ConfigError


def test_everything_has_a_default() -> None:
    config = load(None, {})

    assert config == NodeConfig()
    assert config.interface == "meshwg0"
    assert config.listen_port == 0
    assert str(config.state_dir) == "/var/lib/meshwg"
    assert str(config.control_socket) == "/run/meshwg/meshwg.sock"


def test_options_come_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('interface = "mesh1"\nlisten_port = 41641\nrole = "hub"\n')

    config = load(file, {"interface": "mesh2", "listen_port": None})

    assert config.interface == "mesh2"
    assert config.listen_port == 41641
    assert config.role == "hub"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("hub = true", NodeConfig(role="hub")),
        ("hub = false", NodeConfig()),
        ("no-birthday = true", NodeConfig(birthday=False)),
        ("no_birthday = false", NodeConfig()),
        (
            "no_tcp = true\nno_port_mapping = true",
            NodeConfig(tcp=False, port_mapping=False),
        ),
        ('route = ["10.1.0.0/16"]', NodeConfig(routes=("10.1.0.0/16",))),
        (
            'route = ["10.1.0.0/16=10.2.0.0/16, priority=100, snat=no"]',
            NodeConfig(routes=("10.1.0.0/16=10.2.0.0/16,snat=no",)),
        ),
        (
            "exit = true\nno-accept-routes = true",
            NodeConfig(exit=True, accept_routes=False),
        ),
        ("listen-port = 5", NodeConfig(listen_port=5)),
    ],
)
def test_options_may_stand_in_the_file_as_they_are_typed(
    tmp_path: Path, text: str, wanted: NodeConfig
) -> None:
    file = tmp_path / "node.toml"
    file.write_text(text)
    assert load(file, {}) == wanted


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hub = 1", "'hub' in .* is wrong: it is true or false"),
        ('hub = true\nrole = "node"', "'role' in .* is there twice"),
        ("no_birthday = true\nbirthday = true", "'birthday' in .* is there twice"),
    ],
)
def test_what_contradicts_itself_is_named(
    tmp_path: Path, text: str, sentence: str
) -> None:
    file = tmp_path / "node.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        load(file, {})


def test_the_usual_file_is_read_if_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "DEFAULT_FILE", tmp_path / "node.toml")
    assert load(None, {}) == NodeConfig()
    (tmp_path / "node.toml").write_text("mtu = 1300")
    assert load(None, {}) == NodeConfig(mtu=1300)
    (tmp_path / "other.toml").write_text("mtu = 1400")
    assert load(tmp_path / "other.toml", {}) == NodeConfig(mtu=1400)


def test_routes_are_networks_of_both_families() -> None:
    config = load(None, {"routes": ["10.1.0.0/16", "FD00:0:0::/48"]})

    assert config.routes == ("10.1.0.0/16", "fd00::/48")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"listen_port": -1}, "The setting 'listen_port' is wrong: input should be"),
        ({"listen_port": 65536}, "The setting 'listen_port' is wrong"),
        ({"mtu": 1279}, "The setting 'mtu' is wrong"),
        ({"mtu": 65441}, "The setting 'mtu' is wrong"),
        ({"interface": ""}, "The setting 'interface' is wrong"),
        ({"interface": "sixteen-letters."}, "The setting 'interface' is wrong"),
        ({"interface": "a/b"}, "The setting 'interface' is wrong"),
        ({"interface": 'a" }'}, "The setting 'interface' is wrong"),
        ({"interface": "mesh\n"}, "The setting 'interface' is wrong"),
        ({"role": "boss"}, "The setting 'role' is wrong: input should be 'node' or"),
        ({"routes": ["10.0.0.1/8"]}, "The setting 'routes.0' is wrong"),
        ({"routes": ["0.0.0.0/0"]}, "The setting 'routes.0' is wrong"),
        ({"routes": ["2001:db8:77::%1/64"]}, "The setting 'routes.0' is wrong"),
        ({"routes": ["128.0.0.0/1"]}, "The setting 'routes.0' is wrong"),
        ({"routes": ["everywhere"]}, "The setting 'routes.0' is wrong"),
        ({"speed": 3}, "There is no setting 'speed': use one of join, state_dir,"),
    ],
)
def test_a_wrong_value_is_named(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, options)

    assert str(caught.value).startswith(sentence)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"interface = ", "is not valid TOML"),
        (b"\xff\xfe", "is not valid TOML"),
        (b"colour = 'red'", "There is no setting 'colour' in "),
        (b"listen_port = 'many'", "The setting 'listen_port' in "),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: bytes, sentence: str) -> None:
    file = tmp_path / "node.toml"
    file.write_bytes(text)

    with pytest.raises(ConfigError) as caught:
        load(file, {})

    assert sentence in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.toml", {})


def test_the_join_token_is_never_shown() -> None:
    config = load(None, {"join": "mwg1-secret"})
    assert "secret" not in repr(config)

    with pytest.raises(ConfigError) as caught:
        load(None, {"join": ["mwg1-secret"]})
    assert "secret" not in str(caught.value)


def test_names_may_be_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text('no-dns = true\nnameserver = ["192.0.2.53", "2001:DB8::53"]\n')

    config = load(path, {})

    assert not config.dns
    assert config.nameservers == ("192.0.2.53", "2001:db8::53")
    assert load(None, {}).dns


@pytest.mark.parametrize("address", ["example.org", "0.0.0.0", "224.0.0.251", ""])
def test_what_is_no_name_server_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="nameservers"):
        load(None, {"nameservers": (address,)})
