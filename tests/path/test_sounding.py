"""What checks below IP say about echo requests without answer."""

from meshwg.path.candidate import CandidateKind
from meshwg.path.carriage import Fault
from meshwg.path.sounding import Sounding, sound, soundings, verdict
from meshwg.path.table import PathTable
from meshwg.transmit import Endpoint

DIRECT = Endpoint("203.0.113.9", 1000)
RELAYED = Endpoint("198.51.100.9", 2000)


def test_all_paths_that_worked_and_the_relay_are_checked() -> None:
    table = a_table()
    table.add(Endpoint("203.0.113.10", 1), CandidateKind.HOST)

    sound(table, 100.0)

    due = {path.endpoint: path.due for path in table}
    assert due[DIRECT] == due[RELAYED] == 100.0
    assert due[Endpoint("203.0.113.10", 1)] is None


def test_only_answers_since_then_count() -> None:
    table = a_table()

    assert [each.answered for each in soundings(table, 50.0)] == [True, False]
    assert [each.answered for each in soundings(table, 51.0)] == [False, False]


def test_direct_paths_come_first_whenever_they_were_found() -> None:
    table = a_table()
    later = table.add(Endpoint("203.0.113.10", 1), CandidateKind.HOST)
    later.proven_at = 50.0

    kinds = [each.kind for each in soundings(table, 50.0)]

    assert kinds == ["direct", "direct", "relay"]


def test_a_path_that_answers_puts_the_blame_on_the_far_system() -> None:
    table = a_table()
    text = verdict(soundings(table, 50.0))
    assert text.startswith(
        "The direct path answers below IP, so it is good: a firewall"
    )

    path = table.find(DIRECT)
    assert path is not None
    path.carriage.carried_at = 50.5
    text = verdict(soundings(table, 50.0))
    assert "and the tunnel's packets arrive there" in text


def test_a_path_that_carries_only_checks_is_to_blame_itself() -> None:
    table = a_table()
    path = table.find(DIRECT)
    assert path is not None
    path.carriage.accuse(Fault.DATA, 50.0)

    text = verdict(soundings(table, 50.0))

    assert "does not carry the tunnel's packets: something on the way" in text


def test_silence_below_ip_puts_the_blame_on_the_way() -> None:
    text = verdict(soundings(a_table(), 60.0))
    assert text.startswith("No path answers below IP either")
    assert verdict(()) == "There is no path to the peer yet."


def test_what_answers_only_through_the_relay_is_said_so() -> None:
    relay = Sounding("relay", "relay", RELAYED, True, False, False, 0.1)
    assert verdict([relay]).startswith("The path through the relay answers below IP,")


def a_table() -> PathTable:
    """Return paths of which the direct one has answered at 50 s."""
    table = PathTable()
    path = table.add(DIRECT, CandidateKind.REFLEXIVE)
    path.answered(DIRECT, 0.01, 50.0)
    table.set_relay(RELAYED, 0.0)
    assert table.relay is not None
    table.relay.rest()
    return table
