"""The text of resolv.conf with the mesh's name server in it, and without it again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.dns.resolvconf import (
    TITLE,
    is_ours,
    read,
    with_server,
    without_server,
)

STUB, DOMAIN = "127.0.77.53", "mesh.internal"
LINES = st.sampled_from(
    [
        *("nameserver 192.0.2.1", "nameserver 2001:db8::1", "nameserver"),
        *("search a.example b.example", "search", "domain example.org", "# a comment"),
        *("options rotate", "options ndots:2 rotate timeout:1", "options edns0", ""),
        *("sortlist 10.0.0.0", "  nameserver 192.0.2.9", "; note"),
    ]
)


def changed(text: str, host_domain: str = "") -> str:
    return with_server(text, STUB, DOMAIN, host_domain)


def test_the_servers_that_were_there_stay_behind_ours() -> None:
    text = changed("nameserver 192.0.2.1\nnameserver 192.0.2.2\noptions edns0\n")

    assert read(text).servers == (STUB, "192.0.2.1", "192.0.2.2")
    assert read(text).search == (DOMAIN,)
    assert "options edns0" in text


def test_ours_is_searched_last() -> None:
    text = changed("search a.example b.example\nnameserver 192.0.2.1\n")

    assert read(text).search == ("a.example", "b.example", DOMAIN)


def test_a_domain_is_searched_as_before() -> None:
    assert read(changed("domain example.org\n")).search == ("example.org", DOMAIN)


def test_the_domain_of_the_machine_s_name_is_searched_as_before() -> None:
    text = changed("nameserver 192.0.2.1\n", "example.org")

    assert read(text).search == ("example.org", DOMAIN)
    assert read(changed("search x.org\n", "example.org")).search == ("x.org", DOMAIN)


def test_without_a_server_there_was_one_all_the_same() -> None:
    assert read(changed("")).servers == (STUB, "127.0.0.1")


def test_servers_are_not_asked_in_turn() -> None:
    text = changed("options ndots:2 rotate\nnameserver 192.0.2.1\n")

    assert "\noptions ndots:2\n" in text
    assert "rotate" not in [
        word for line in text.splitlines() if line[:1] != "#" for word in line.split()
    ]


@given(st.lists(LINES, max_size=8), st.sampled_from(["", "example.org"]))
def test_it_can_be_undone_from_the_text_alone(
    lines: list[str], host_domain: str
) -> None:
    text = "".join(f"{line}\n" for line in lines)

    made = changed(text, host_domain)

    assert without_server(made) == text
    assert is_ours(made)
    assert not is_ours(text)
    assert read(made).servers[0] == STUB


@given(st.lists(LINES, max_size=5))
def test_two_meshes_can_be_undone_one_after_the_other(lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    first = changed(text)

    second = with_server(first, "127.0.77.54", "other.internal", "")

    assert read(second).servers[:2] == ("127.0.77.54", STUB)
    assert without_server(second) == first
    assert without_server(without_server(second)) == text


def test_a_file_says_who_wrote_it() -> None:
    assert changed("").startswith(TITLE)


@pytest.mark.parametrize("text", ["", "# nothing\n", "nameserver 192.0.2.1\n"])
def test_a_foreign_text_stays_as_it_is(text: str) -> None:
    assert without_server(text) == text
