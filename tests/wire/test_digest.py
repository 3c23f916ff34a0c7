"""The digest of a netmap: of each peer's key and version, in any order."""

from meshwg.wire.digest import format_digest, peer_digest

KEY, OTHER = "A" * 43 + "=", "B" * 43 + "="


def test_it_is_sixteen_digits_that_each_peer_and_version_changes() -> None:
    digests = {peer_digest(KEY, 1), peer_digest(KEY, 2), peer_digest(OTHER, 1)}

    assert len(digests) == 3
    assert all(len(format_digest(each)) == 16 for each in digests)
    assert format_digest(0) == "0" * 16


def test_it_is_what_the_protocol_says() -> None:
    assert format_digest(peer_digest(KEY, 7)) == "d1ac305ef03c32ca"
