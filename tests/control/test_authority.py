"""By which key the coordinator is known, and when that is another one."""

import random

from meshwg.control.authority import MIN_INTERVAL, Authority

OLD, NEW, NEWER = (bytes([n]) * 32 for n in (1, 2, 3))


def test_a_key_that_the_coordinator_named_is_tried_first() -> None:
    authority = known()
    assert authority.named(NEW, OLD, spread=0.0, now=5.0)
    assert (authority.key, authority.former) == (NEW, OLD)
    assert authority.key_to_try() == NEW
    assert authority.move_at == 5.0


def test_until_it_is_proved_the_one_before_is_tried_too() -> None:
    authority = known()
    authority.named(NEW, OLD, spread=0.0, now=5.0)
    authority.refused(NEW)
    assert authority.key_to_try() == OLD
    authority.refused(OLD)
    assert authority.key_to_try() == NEW
    authority.refused(NEW)
    assert not authority.proved(OLD)
    assert authority.key_to_try() == NEW


def test_once_it_is_proved_the_one_before_is_worth_nothing() -> None:
    authority = known()
    authority.named(NEW, OLD, spread=0.0, now=5.0)
    assert authority.proved(NEW)
    assert (authority.key, authority.former) == (NEW, None)
    assert authority.move_at is None
    authority.refused(NEW)
    assert authority.key_to_try() == NEW
    assert not authority.named(NEWER, OLD, spread=0.0, now=500.0)
    assert not authority.proved(NEW)


def test_who_knows_the_successor_only_moves_to_it() -> None:
    authority = known()
    authority.named(NEW, OLD, spread=0.0, now=5.0)
    authority.move_at = None
    assert not authority.named(NEW, OLD, spread=0.0, now=7.0)
    assert authority.move_at == 7.0


def test_the_present_key_is_no_successor() -> None:
    authority = known()
    assert not authority.named(OLD, OLD, spread=0.0, now=5.0)
    assert authority.move_at is None


def test_keys_do_not_change_all_the_time() -> None:
    authority = known()
    assert authority.named(NEW, OLD, spread=0.0, now=5.0)
    assert not authority.named(NEWER, OLD, spread=0.0, now=5.0 + MIN_INTERVAL - 1)
    assert authority.key == NEW
    assert authority.named(NEWER, OLD, spread=0.0, now=5.0 + MIN_INTERVAL)
    assert (authority.key, authority.former) == (NEWER, OLD)


def test_all_nodes_do_not_move_at_once() -> None:
    moves = []
    for seed in range(20):
        authority = Authority(OLD, None, random.Random(seed).randbytes)
        authority.named(NEW, OLD, spread=30.0, now=0.0)
        moves.append(authority.move_at or 0.0)
    assert max(moves) < 30.0
    assert max(moves) - min(moves) > 15.0


def test_the_user_may_name_any_key() -> None:
    authority = known()
    authority.named(NEW, OLD, spread=0.0, now=5.0)
    authority.replace(OLD)
    assert (authority.key, authority.former) == (NEW, OLD)
    authority.replace(NEWER)
    assert (authority.key, authority.former) == (NEWER, None)
    assert authority.key_to_try() == NEWER


def known() -> Authority:
    return Authority(OLD, None, random.Random(1).randbytes)
