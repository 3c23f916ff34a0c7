"""The replay window against the kernel's own list, and against a plain model."""

from hypothesis import given
from hypothesis import strategies as st

from meshwg.wireguard.constants import REJECT_AFTER_MESSAGES, REPLAY_WINDOW
from meshwg.wireguard.replay import ReplayWindow

LIMIT = REPLAY_WINDOW + 1

# (counter, accepted): Linux, drivers/net/wireguard/selftest/counter.c
KERNEL_LIST = [
    (0, True),
    (1, True),
    (1, False),
    (9, True),
    (8, True),
    (7, True),
    (7, False),
    (LIMIT, True),
    (LIMIT - 1, True),
    (LIMIT - 1, False),
    (LIMIT - 2, True),
    (2, True),
    (2, False),
    (LIMIT + 16, True),
    (3, False),
    (LIMIT + 16, False),
    (LIMIT * 4, True),
    (LIMIT * 4 - (LIMIT - 1), True),
    (10, False),
    (LIMIT * 4 - LIMIT, False),
    (LIMIT * 4 - (LIMIT + 1), False),
    (LIMIT * 4 - (LIMIT - 2), True),
    (LIMIT * 4 + 1 - LIMIT, False),
    (0, False),
    (REJECT_AFTER_MESSAGES, False),
    (REJECT_AFTER_MESSAGES - 1, True),
    (REJECT_AFTER_MESSAGES, False),
    (REJECT_AFTER_MESSAGES - 1, False),
    (REJECT_AFTER_MESSAGES - 2, True),
    (REJECT_AFTER_MESSAGES + 1, False),
    (REJECT_AFTER_MESSAGES + 2, False),
    (REJECT_AFTER_MESSAGES - 2, False),
    (REJECT_AFTER_MESSAGES - 3, True),
    (0, False),
]


def test_the_kernels_own_test_cases_hold() -> None:
    window = ReplayWindow()
    for number, (counter, accepted) in enumerate(KERNEL_LIST, start=1):
        assert window.accept(counter) is accepted, f"step {number}: {counter}"


def test_the_oldest_counter_of_a_full_window_is_still_accepted_once() -> None:
    window = ReplayWindow()
    assert all(window.accept(counter) for counter in range(1, REPLAY_WINDOW + 1))
    assert window.accept(0)
    assert not window.accept(0)


def test_a_counter_one_beyond_the_window_is_refused() -> None:
    window = ReplayWindow()
    assert all(window.accept(counter) for counter in range(2, REPLAY_WINDOW + 2))
    assert window.accept(1)
    assert not window.accept(0)


def test_counters_may_arrive_backwards() -> None:
    window = ReplayWindow()
    assert all(window.accept(counter) for counter in range(REPLAY_WINDOW, -1, -1))
    assert not any(window.accept(counter) for counter in range(REPLAY_WINDOW + 1))


@given(
    st.lists(
        st.one_of(
            st.integers(0, 3 * REPLAY_WINDOW),
            st.integers(0, 40),
            st.integers(REPLAY_WINDOW - 3, REPLAY_WINDOW + 3),
        )
    )
)
def test_any_order_gives_what_the_plain_model_gives(counters: list[int]) -> None:
    window = ReplayWindow()
    seen: set[int] = set()
    for counter in counters:
        newest = max(seen, default=-1)
        expected = counter not in seen and newest - counter <= REPLAY_WINDOW
        assert window.accept(counter) is expected
        if expected:
            seen.add(counter)
