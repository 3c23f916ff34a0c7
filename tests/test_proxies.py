"""The variables that name proxies, as other programs read them."""

import pytest

from meshwg.proxies import Proxies, Proxy


def test_without_variables_everything_is_reached_directly() -> None:
    assert Proxies.read({}).find("mesh.test", 443, secure=True) is None
    assert Proxies().find("mesh.test", 443, secure=True) is None


@pytest.mark.parametrize(
    ("value", "proxy"),
    [
        ("http://proxy.test:3128", Proxy("proxy.test", 3128, "https_proxy")),
        ("http://proxy.test:3128/", Proxy("proxy.test", 3128, "https_proxy")),
        ("proxy.test:3128", Proxy("proxy.test", 3128, "https_proxy")),
        ("proxy.test", Proxy("proxy.test", 80, "https_proxy")),
        ("HTTP://192.0.2.1:8080", Proxy("192.0.2.1", 8080, "https_proxy")),
        ("http://[2001:db8::1]:8080", Proxy("2001:db8::1", 8080, "https_proxy")),
        (
            "http://me:s%40cret@proxy.test:1",
            Proxy("proxy.test", 1, "https_proxy", "me:s@cret"),
        ),
        ("http://me@proxy.test:1", Proxy("proxy.test", 1, "https_proxy", "me:")),
    ],
)
def test_a_proxy_is_a_url_or_the_important_part_of_one(
    value: str, proxy: Proxy
) -> None:
    proxies = Proxies.read({"https_proxy": value})

    assert proxies.find("mesh.test", 443, secure=True) == proxy
    assert proxies.find("mesh.test", 80, secure=False) is None
    assert proxies.unusable == ()


@pytest.mark.parametrize(
    "value",
    [
        "https://me:secret@proxy.test:443",
        "socks5://me:secret@proxy.test:1080",
        "http://me:secret@:3128",
        "http://me:secret@proxy.test:99999",
        "http://me:secret@[2001:db8::1",
    ],
)
def test_one_that_cannot_be_used_counts_for_nothing_and_is_said_without_its_password(
    value: str,
) -> None:
    proxies = Proxies.read({"all_proxy": value})

    assert proxies.find("mesh.test", 443, secure=True) is None
    (problem,) = proxies.unusable
    assert "all_proxy" in problem
    assert "http://HOST:PORT" in problem
    assert "secret" not in problem


def test_a_password_is_in_nothing_that_is_printed() -> None:
    proxies = Proxies.read({"https_proxy": "http://me:secret@proxy.test:3128"})
    proxy = proxies.find("mesh.test", 443, secure=True)

    assert str(proxy) == "http://proxy.test:3128"
    assert "secret" not in repr(proxy)


def test_capitals_do_but_not_where_a_web_server_would_let_strangers_choose() -> None:
    proxies = Proxies.read({"HTTPS_PROXY": "a.test", "HTTP_PROXY": "b.test"})

    found = proxies.find("mesh.test", 443, secure=True)
    assert found == Proxy("a.test", 80, "HTTPS_PROXY")
    assert proxies.find("mesh.test", 80, secure=False) is None


def test_a_proxy_for_all_stands_in_for_those_that_are_not_named() -> None:
    proxies = Proxies.read({"http_proxy": "a.test", "all_proxy": "b.test"})

    secure = proxies.find("mesh.test", 443, secure=True)
    plain = proxies.find("mesh.test", 80, secure=False)
    assert (str(secure), str(plain)) == ("http://b.test:80", "http://a.test:80")


@pytest.mark.parametrize(
    ("exceptions", "host", "port", "direct"),
    [
        ("*", "mesh.test", 443, True),
        ("mesh.test", "mesh.test", 443, True),
        ("mesh.test", "MESH.test.", 443, True),
        ("test", "mesh.test", 443, True),
        (".test", "mesh.test", 443, True),
        ("*.test", "mesh.test", 443, True),
        ("esh.test", "mesh.test", 443, False),
        ("other.test, mesh.test", "mesh.test", 443, True),
        ("other.test mesh.test", "mesh.test", 443, True),
        ("mesh.test:443", "mesh.test", 443, True),
        ("mesh.test:8443", "mesh.test", 443, False),
        ("192.0.2.1", "192.0.2.1", 443, True),
        ("192.0.2.0/24", "192.0.2.1", 443, True),
        ("192.0.2.0/24", "198.51.100.1", 443, False),
        ("2001:db8::/32", "2001:db8::1", 443, True),
        ("[2001:db8::1]:443", "2001:db8::1", 443, True),
        ("[2001:db8::1]:444", "2001:db8::1", 443, False),
        ("1", "192.0.2.1", 443, False),
        (", ,", "mesh.test", 443, False),
        ("", "localhost", 443, True),
        ("", "127.0.0.1", 443, True),
        ("", "::1", 443, True),
    ],
)
def test_what_is_reached_without_it(
    exceptions: str, host: str, port: int, direct: bool
) -> None:
    environment = {"https_proxy": "proxy.test", "no_proxy": exceptions}

    found = Proxies.read(environment).find(host, port, secure=True)

    assert (found is None) is direct
