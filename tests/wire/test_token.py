"""Join tokens: they survive a round trip, and damage is recognised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.errors import ConfigError
from meshwg.wire.token import (
    MAX_URL_LENGTH,
    MAX_URLS,
    AuthKeyText,
    JoinToken,
    check_url,
    host_name,
)

URL = "https://mesh.example:8443"


def test_a_token_decodes_to_what_was_encoded() -> None:
    token = sample()
    assert str(token).startswith("mwg1-")
    assert JoinToken.parse(str(token)) == token


def test_a_token_keeps_its_bytes_between_versions() -> None:
    token = JoinToken("http://h", bytes(32), AuthKeyText("00" * 6, bytes(16)))
    assert str(token) == "mwg1-" + "A" * 72 + "aHR0cDovL2ix_Zl5"


def test_white_space_around_a_pasted_token_does_not_matter() -> None:
    assert JoinToken.parse(f"  {sample()}\n") == sample()


@pytest.mark.parametrize("length", [5, 6, 40, 80, 100])
def test_a_truncated_token_is_called_incomplete(length: int) -> None:
    with pytest.raises(ConfigError, match="damaged or incomplete"):
        JoinToken.parse(str(sample())[:length])


@given(st.data())
def test_a_mistyped_letter_is_always_found(data: st.DataObject) -> None:
    text = str(sample())
    place = data.draw(st.integers(5, len(text) - 2))
    letter = data.draw(st.sampled_from("ABCxyz019-_"))
    if text[place] != letter:
        with pytest.raises(ConfigError):
            JoinToken.parse(text[:place] + letter + text[place + 1 :])


@pytest.mark.parametrize("text", ["", "hello", "tskey-auth-abc", "mwgx", "1-mwg"])
def test_a_foreign_token_is_refused_with_where_to_get_a_valid_one(text: str) -> None:
    with pytest.raises(ConfigError, match="not a meshwg join token"):
        JoinToken.parse(text)


def test_a_token_of_another_version_asks_for_an_update() -> None:
    with pytest.raises(ConfigError, match="update meshwg"):
        JoinToken.parse("mwg3-abc")


def test_a_token_may_name_several_coordinators() -> None:
    urls = ["http://one:8443", "https://two.example/mesh", "http://[2001:db8::3]:1"]
    token = JoinToken.of_mesh([*urls, urls[1]], bytes(32), sample().auth_key)
    assert str(token).startswith("mwg2-")
    parsed = JoinToken.parse(str(token))
    assert parsed == token
    assert list(parsed.urls) == urls


def test_a_token_of_one_coordinator_is_one_that_all_nodes_know() -> None:
    token = JoinToken.of_mesh([URL, URL], bytes(range(32)), sample().auth_key)
    assert token == sample()
    assert str(token) == str(sample())


def test_a_token_names_only_so_many_coordinators() -> None:
    urls = [f"http://h{number}.example/{'p' * 200}" for number in range(20)]
    token = JoinToken.of_mesh(urls, bytes(32), sample().auth_key)
    assert list(JoinToken.parse(str(token)).urls) == urls[:MAX_URLS]
    key = sample().auth_key
    more = str(JoinToken("http://h", bytes(32), key, tuple(urls[:MAX_URLS])))
    with pytest.raises(ConfigError, match=r"more than 8 URLs|damaged"):
        JoinToken.parse(more)


@pytest.mark.parametrize("others", [("ftp://h",), ("",), ("http://h", "nonsense")])
def test_each_url_of_a_token_has_to_be_usable(others: tuple[str, ...]) -> None:
    token = JoinToken(URL, bytes(32), sample().auth_key, others)
    with pytest.raises(ConfigError, match="looks like"):
        JoinToken.parse(str(token))


def test_one_prefix_does_not_stand_for_the_other() -> None:
    several = JoinToken(URL, bytes(32), sample().auth_key, ("http://h",))
    for text in (str(several), str(sample())):
        swapped = ("mwg1-" if text.startswith("mwg2-") else "mwg2-") + text[5:]
        with pytest.raises(ConfigError, match="damaged or incomplete"):
            JoinToken.parse(swapped)


@given(st.text(max_size=200))
def test_any_text_is_refused_in_a_sentence(text: str) -> None:
    for candidate in (text, f"mwg1-{text}", f"mwg2-{text}"):
        with pytest.raises(ConfigError):
            JoinToken.parse(candidate)


def test_the_secret_of_an_auth_key_is_not_in_its_repr() -> None:
    key = sample().auth_key
    assert key.secret.hex() not in repr(key)
    assert repr(key.secret) not in repr(sample())


@pytest.mark.parametrize("text", ["", "12", "zz.zz", "00.11", f"{'00' * 6}.{'1' * 31}"])
def test_an_invalid_auth_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        AuthKeyText.parse(text)


def test_an_auth_key_survives_its_text() -> None:
    key = sample().auth_key
    assert AuthKeyText.parse(str(key)) == key


@pytest.mark.parametrize(
    "url",
    [
        *("", "mesh.example", "ftp://h", "http://", "http://h:99999", "http://[::"),
        *("http://a..b", "http://h:0", "http://" + "b" * 70, "http://-", "https://a b"),
        *("http://a\x00b", "http://.a", "http://" + ".".join(["c" * 60] * 5)),
    ],
)
def test_a_url_that_nodes_cannot_use_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        check_url(url)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mesh.example.", "mesh.example"),
        ("café.example", "xn--caf-dma.example"),
        ("_srv.a-b", "_srv.a-b"),
        ("2001:db8::0", "2001:db8::"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_hosts_are_named_as_name_servers_know_them(text: str, name: str) -> None:
    assert host_name(text) == name


def test_a_url_that_is_too_long_is_refused() -> None:
    with pytest.raises(ConfigError, match=str(MAX_URL_LENGTH)):
        check_url("http://" + "a" * MAX_URL_LENGTH)


def sample() -> JoinToken:
    return JoinToken(URL, bytes(range(32)), AuthKeyText("a1b2c3d4e5f6", b"s" * 16))
