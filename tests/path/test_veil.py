"""The words of one node: it reads them, and nobody else finds anything in them."""

import random

import pytest

from meshwg.keys import PrivateKey
from meshwg.path.veil import Veil, is_tag

RANDOM = random.Random(3).randbytes
KEY = PrivateKey.generate(RANDOM)
PEER = b"p" * 32


def test_a_tag_is_another_one_each_time_and_leads_to_its_peer() -> None:
    veil = Veil(KEY)
    tags = {veil.tag_for(PEER, RANDOM) for _ in range(50)}

    assert len(tags) == 50
    assert all(is_tag(tag) for tag in tags)
    assert {veil.word_in(tag) for tag in tags} == {veil.word_for(PEER)}
    # No part of them stays the same.
    assert all(len({tag[at : at + 4] for tag in tags}) > 40 for at in range(0, 24, 4))


def test_tags_of_a_run_before_are_read_too() -> None:
    before = Veil(KEY).tag_for(PEER, RANDOM)

    assert Veil(KEY).word_in(before) == Veil(KEY).word_for(PEER)


def test_another_node_reads_nothing() -> None:
    tag, other = Veil(KEY).tag_for(PEER, RANDOM), Veil(PrivateKey.generate(RANDOM))

    assert other.word_in(tag) not in (Veil(KEY).word_for(PEER), other.word_for(PEER))


def test_what_stands_for_a_peer_is_known_to_this_node_alone() -> None:
    other = Veil(PrivateKey.generate(RANDOM))

    assert Veil(KEY).word_for(PEER) != other.word_for(PEER)
    assert Veil(KEY).word_for(PEER) != Veil(KEY).word_for(b"q" * 32)


def test_ids_of_one_route_have_nothing_in_common() -> None:
    veil = Veil(KEY)
    ids = [veil.transaction_id(b"path", RANDOM(8)) for _ in range(50)]

    assert len({each[:4] for each in ids}) == 50
    assert {veil.route_in(each) for each in ids} == {b"path"}
    assert {len(each) for each in ids} == {12}


@pytest.mark.parametrize("text", ["", "ab", "g" * 24, "A" * 24, "é" * 24, "0" * 26, 7])
def test_what_is_no_tag_leads_to_nobody(text: object) -> None:
    assert not is_tag(text)
    if isinstance(text, str):
        assert Veil(KEY).word_in(text) is None
