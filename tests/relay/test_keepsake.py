"""The credentials in use: for the next process, and those of the last one."""

from meshwg.relay.keepsake import MOST, Keepsake
from meshwg.relay.transactions import TurnCredentials

URL = "turn:relay.test:3478?transport=udp"
OLD, NEW = TurnCredentials("1:node", "a"), TurnCredentials("2:node", "b")


def test_what_the_last_process_used_is_known_by_url() -> None:
    keepsake = Keepsake()
    keepsake.remember([(URL, OLD)])
    assert keepsake.former(URL) == OLD
    assert keepsake.former("turn:other") is None
    assert keepsake.used == ()


def test_only_changes_are_news() -> None:
    keepsake = Keepsake()
    assert keepsake.note(URL, OLD)
    assert not keepsake.note(URL, OLD)
    assert keepsake.note(URL, NEW)
    assert keepsake.used == ((URL, NEW),)


def test_the_oldest_are_forgotten() -> None:
    keepsake = Keepsake()
    for number in range(MOST + 2):
        keepsake.note(f"turn:{number}", OLD)
    assert [url for url, _ in keepsake.used] == [
        f"turn:{n}" for n in range(2, MOST + 2)
    ]
