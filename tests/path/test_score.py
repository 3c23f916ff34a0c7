"""Kind comes first, then round trip and loss, and paths do not alternate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.path.candidate import CandidateKind
from meshwg.path.score import POOR_AFTER, RECENT, Score, Statistics, outranks

scores = st.builds(
    Score,
    st.sampled_from(CandidateKind),
    st.floats(0.0001, 10) | st.just(float("inf")),
    st.booleans(),
    st.booleans(),
    st.none() | st.floats(0.0001, 10),
)


def test_a_direct_path_beats_a_faster_relay() -> None:
    assert outranks(
        Score(CandidateKind.REFLEXIVE, 0.3), Score(CandidateKind.RELAYED, 0.01)
    )
    assert not outranks(
        Score(CandidateKind.RELAYED, 0.01), Score(CandidateKind.REFLEXIVE, 0.3)
    )


def test_a_relay_beats_a_direct_path_that_loses_a_third() -> None:
    assert outranks(
        Score(CandidateKind.RELAYED, 0.1), Score(CandidateKind.HOST, 0.001, poor=True)
    )


@pytest.mark.parametrize(
    ("challenger", "incumbent", "wins"),
    [
        (0.020, 0.031, True),
        (0.021, 0.030, False),
        (0.200, 0.241, False),
        (0.200, 0.251, True),
        (0.050, 0.020, False),
    ],
)
def test_the_margin_is_10_ms_or_20_percent(
    challenger: float, incumbent: float, wins: bool
) -> None:
    one, other = (
        Score(CandidateKind.REFLEXIVE, challenger),
        Score(CandidateKind.REFLEXIVE, incumbent),
    )
    assert outranks(one, other) is wins


def test_a_stream_that_was_faster_once_does_not_replace_datagrams() -> None:
    """A busy machine answers the first checks of a good path late."""
    datagrams = Score(CandidateKind.HOST, 0.030)
    stream = Score(CandidateKind.TCP, 0.005)
    assert not outranks(stream, datagrams)
    assert outranks(datagrams, stream)


@pytest.mark.parametrize(
    ("stream", "taken", "kept"),
    [(0.001, True, True), (0.023, False, True), (0.028, False, False)],
)
def test_a_stream_is_used_only_while_it_is_surely_faster(
    stream: float, taken: bool, kept: bool
) -> None:
    datagrams = Score(CandidateKind.HOST, 0.035, least=0.032)
    over_tcp = Score(CandidateKind.TCP, stream, least=stream)
    assert outranks(over_tcp, datagrams) is taken
    assert outranks(datagrams, over_tcp) is not kept


def test_a_stream_replaces_datagrams_of_which_a_third_is_lost() -> None:
    lossy = Score(CandidateKind.HOST, 0.001, poor=True)
    assert outranks(Score(CandidateKind.TCP, 0.1), lossy)


def test_the_local_network_beats_a_hairpin_of_the_same_length() -> None:
    assert outranks(
        Score(CandidateKind.HOST, 0.003), Score(CandidateKind.REFLEXIVE, 0.002)
    )


def test_a_better_kind_that_is_clearly_slower_does_not_win() -> None:
    assert not outranks(
        Score(CandidateKind.HOST, 0.080), Score(CandidateKind.REFLEXIVE, 0.020)
    )


@pytest.mark.parametrize(
    ("tunnel", "other", "is_used", "is_left"),
    [
        (0.001, 0.0015, False, True),
        (0.020, 0.024, False, True),
        (0.020, 0.028, False, False),
        (0.020, 0.031, True, False),
        (0.200, 0.260, True, False),
        (0.300, 0.100, False, True),
    ],
)
def test_another_tunnel_is_used_only_if_it_is_clearly_faster(
    tunnel: float, other: float, is_used: bool, is_left: bool
) -> None:
    inside = Score(CandidateKind.HOST, 0.5, is_tunnelled=True, least=tunnel)
    outside = Score(CandidateKind.REFLEXIVE, 0.5, least=other)
    assert outranks(inside, outside) is is_used
    assert outranks(outside, inside) is is_left


def test_a_tunnel_is_not_used_instead_of_what_is_hardly_known() -> None:
    outside = Score(CandidateKind.REFLEXIVE, 0.5)
    inside = Score(CandidateKind.HOST, 0.001, is_tunnelled=True, least=0.001)
    assert not outranks(inside, outside)
    assert outranks(outside, inside)


@pytest.mark.parametrize(
    ("rtts", "least"),
    [
        ([0.9, 0.1, 0.5], None),
        ([0.9, 0.1, 0.5, 0.7], 0.1),
        ([0.1, *[0.3] * RECENT], 0.3),
    ],
)
def test_the_least_round_trip_time_is_known_after_a_few_answers(
    rtts: list[float], least: float | None
) -> None:
    statistics = Statistics()
    for rtt in rtts:
        statistics.add_answer(rtt)
    assert statistics.least == least


def test_a_measured_path_beats_one_that_never_was() -> None:
    unknown = Score(CandidateKind.HOST, float("inf"))
    assert outranks(Score(CandidateKind.REFLEXIVE, 0.5), unknown)
    assert not outranks(unknown, Score(CandidateKind.REFLEXIVE, 0.5))
    assert not outranks(unknown, unknown)


@given(scores, scores)
def test_no_two_paths_outrank_each_other(one: Score, other: Score) -> None:
    assert not (outranks(one, other) and outranks(other, one))


def test_the_round_trip_time_is_smoothed() -> None:
    statistics = Statistics()
    statistics.add_answer(0.100)
    statistics.add_answer(0.180)
    assert statistics.rtt == pytest.approx(0.110)


def test_loss_is_counted_over_the_last_checks() -> None:
    statistics = Statistics()
    for _ in range(32):
        statistics.add_loss()
    for _ in range(24):
        statistics.add_answer(0.1)
    assert statistics.loss == pytest.approx(0.25)


def test_a_few_losses_do_not_make_a_path_poor() -> None:
    statistics = Statistics()
    for _ in range(POOR_AFTER - 1):
        statistics.add_loss()
    assert not statistics.is_poor
    statistics.add_loss()
    assert statistics.is_poor


@pytest.mark.parametrize(
    ("losses", "checks", "poor"),
    [(5, 10, False), (7, 10, True), (12, 32, False), (14, 32, True)],
)
def test_chance_alone_does_not_make_a_path_poor(
    losses: int, checks: int, poor: bool
) -> None:
    statistics = Statistics()
    for _ in range(checks - losses):
        statistics.add_answer(0.1)
    for _ in range(losses):
        statistics.add_loss()
    assert statistics.is_poor is poor


def test_losses_of_another_network_are_forgotten() -> None:
    statistics = Statistics()
    statistics.add_answer(0.05)
    statistics.add_loss()
    statistics.forget_losses()
    assert (statistics.rtt, statistics.loss) == (0.05, 0.0)


def test_losses_of_an_outage_are_forgotten_and_those_before_it_are_not() -> None:
    statistics = Statistics()
    statistics.add_loss()
    statistics.add_answer(0.05)
    for _ in range(9):
        statistics.add_loss()
    statistics.end_outage()
    assert statistics.loss == 0.5


def test_loss_makes_a_path_longer() -> None:
    lossy, clean = Statistics(), Statistics()
    for statistics in (lossy, clean):
        statistics.add_answer(0.1)
    lossy.add_loss()
    cost = Score.of(CandidateKind.HOST, clean).cost
    assert Score.of(CandidateKind.HOST, lossy).cost > cost == pytest.approx(0.1)
