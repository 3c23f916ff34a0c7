"""Canaries show whether a NAT has room for new flows."""

from itertools import count

from meshwg.path.room import PATIENCE, RoomWatch
from meshwg.transmit import Endpoint
from meshwg.wire import stun

SERVER = Endpoint("198.51.100.1", 3478)
LINKS = (7, 8, 9)
STEPS = (10, 20)


def test_nothing_is_opened_until_the_server_has_answered_once() -> None:
    stage = Stage()
    assert stage.waits()
    stage.answer()
    assert not stage.waits()
    assert stage.watch.confirmed == 0


def test_each_step_is_confirmed_by_a_canary_of_its_own() -> None:
    stage = Stage()
    stage.answer()
    stage.open_until(10)
    assert stage.waits()
    stage.answer()
    assert stage.watch.confirmed == 10
    stage.open_until(20)
    stage.answer()
    assert stage.watch.is_roomy


def test_there_is_no_room_if_only_the_older_socket_is_answered() -> None:
    stage = Stage()
    stage.answer()
    stage.open_until(10)
    stage.answer(only=LINKS[0])
    assert stage.waits()
    stage.advance(PATIENCE)
    assert stage.watch.is_full
    assert stage.watch.confirmed == 0
    assert not stage.waits()


def test_a_canary_asks_again_before_it_is_given_up() -> None:
    stage = Stage()
    stage.answer()
    stage.open_until(10)
    stage.lose()
    stage.advance(PATIENCE / 3)
    stage.answer()
    assert stage.watch.confirmed == 10


def test_a_server_that_is_gone_says_nothing() -> None:
    stage = Stage()
    stage.answer()
    stage.open_until(10)
    stage.lose()
    stage.advance(PATIENCE)
    assert not stage.watch.is_full
    assert not stage.waits()
    stage.open_until(20)
    assert not stage.waits(), "nobody is left to ask"
    assert stage.watch.get_timer() is None


def test_only_the_server_itself_can_answer() -> None:
    stage = Stage()
    (request,) = stage.watch.datagrams_to_send(0.0)
    transaction_id = stun.quick_binding(request.datagrams[0])
    assert transaction_id is not None
    message = stun.parse(stun.binding_response(transaction_id, SERVER))
    forged = request.destination._replace(host="203.0.113.66")
    assert not stage.watch.receive(message, forged)
    assert stage.waits()


class Stage:
    """A watch, and the server that it asks."""

    def __init__(self) -> None:
        ids = count(1)
        self.now = 0.0
        self.links: list[int] = []
        self.watch = RoomWatch(
            LINKS, SERVER, lambda: next(ids).to_bytes(12), STEPS, self.now
        )

    def waits(self) -> bool:
        return self.watch.waits

    def open_until(self, flows: int) -> None:
        self.watch.opened(flows, self.now)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.watch.handle_timer(self.now)

    def lose(self) -> None:
        self.watch.datagrams_to_send(self.now)

    def answer(self, only: int | None = None) -> None:
        for request in self.watch.datagrams_to_send(self.now):
            link = request.destination.link
            self.links.append(link)
            if only in (None, link):
                transaction_id = stun.quick_binding(request.datagrams[0])
                assert transaction_id is not None
                message = stun.parse(stun.binding_response(transaction_id, SERVER))
                assert self.watch.receive(message, request.destination)
