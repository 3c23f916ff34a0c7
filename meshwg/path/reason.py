"""One plain sentence for ``meshwg status``: why this path, and not a better one."""

from collections.abc import Sequence
from dataclasses import dataclass

from meshwg.path.candidate import CandidateKind
from meshwg.path.carriage import Fault
from meshwg.path.events import Attempt, AttemptResult
from meshwg.path.path import Path
from meshwg.path.punch import PunchMethod, plain_possible, roles
from meshwg.path.tcp import NOTHING_TRIED, TcpState
from meshwg.path.traits import NatTraits


@dataclass(frozen=True, slots=True)
class Situation:
    """What the sentence is about."""

    now: float
    selected: Path | None
    method: PunchMethod | None
    """What is being tried, besides plain punching."""
    in_round: bool
    """Whether plain punching is under way."""
    own: NatTraits
    peer: NatTraits
    birthday: bool
    """Whether this node may use the birthday method."""
    history: Sequence[Attempt]
    """What was tried, the oldest first."""
    avoided: Path | None = None
    """A direct path that works badly."""
    tcp: TcpState = NOTHING_TRIED
    relay: Path | None = None
    """The way through a relay, if there is one."""


def explain(situation: Situation) -> str:
    """Return the sentence."""
    selected = situation.selected
    if selected is not None and not selected.is_relayed:
        return _direct(selected, situation)
    if situation.avoided is not None:
        return _avoided(situation.avoided)
    opening = _opening(situation)
    if opening is not None:
        meanwhile = "there is no relay" if selected is None else _MEANWHILE
        return f"A direct path is being opened{opening}; {meanwhile}."
    if selected is not None and selected.is_doubted(situation.now):
        return "The peer does not answer, not even through the relay."
    sentence = (
        _impossible(situation)
        or _switched_off(situation)
        or _last_failure(situation.history)
    )
    if selected is None:
        return f"There is no relay. {sentence}"
    return sentence


def _opening(situation: Situation) -> str | None:
    """Return how a direct path is being opened, if one is."""
    if situation.method is not None:
        return _PUNCHING[situation.method]
    if situation.tcp.is_dialling:
        return " over TCP"
    return "" if situation.in_round else None


def _avoided(path: Path) -> str:
    """Return why the relay is used although a direct path answers."""
    what = _not_carried(path)
    if what is not None:
        return f"The direct path answers checks but does not carry {what}."
    return f"The direct path loses {path.statistics.loss:.0%} of the packets."


def _not_carried(path: Path) -> str | None:
    if path.carriage.fault is not None:
        return _FAULTS[path.carriage.fault]
    return "the tunnel's packets from the peer" if path.carriage.is_refused else None


def _direct(path: Path, situation: Situation) -> str:
    now = situation.now
    relay = situation.relay
    if path.is_silent(now) or not path.has_consent(now):
        if relay is None:
            return "The direct path does not answer, and there is no relay."
        if relay.is_doubted(now):
            return "The peer does not answer, not even through the relay."
        return (
            "The direct path does not answer; data also goes through the relay until "
            "it does, or another path is found."
        )
    what = _not_carried(path)
    if what is not None:
        otherwise = "and there is no relay" if relay is None else _UNPROVEN
        return f"The direct path answers checks but does not carry {what}, {otherwise}."
    if path.is_tunnelled:
        return (
            "The peer is reached through another tunnel of the two machines; there is "
            "no direct path around it, or none as fast."
        )
    if path.kind is CandidateKind.TCP:
        why = _no_datagrams(situation.own, situation.peer) or "No datagram got through"
        return f"{why}, so a TCP connection carries the data."
    return _DIRECT[path.kind]


def _impossible(situation: Situation) -> str | None:
    """Return why no direct path can be opened, if none can."""
    why = _no_datagrams(situation.own, situation.peer)
    if why is None:
        return None
    if situation.tcp.is_untried:
        return f"{why}; a direct path over TCP has not been tried yet."
    hindrance = situation.tcp.hindrance
    and_tcp = "" if hindrance is None else f" (over TCP: {hindrance})"
    return f"{why}{and_tcp}, so no direct path can be opened."


def _no_datagrams(own: NatTraits, peer: NatTraits) -> str | None:
    """Return why no datagram can get through directly, if none can."""
    if own.blocked:
        return "UDP is blocked on this side"
    if peer.blocked:
        return "UDP is blocked on the peer's side"
    if plain_possible(own, peer) or any(roles(own, peer, way) for way in PunchMethod):
        return None
    return (
        "Both sides are behind symmetric NATs, which map each destination to "
        "another port that cannot be predicted"
    )


def _switched_off(situation: Situation) -> str | None:
    own, peer = situation.own, situation.peer
    if situation.birthday or roles(own, peer, PunchMethod.BIRTHDAY) is None:
        return None
    if roles(own, peer, PunchMethod.PREDICTION) is not None:
        return None
    return (
        "A symmetric NAT is in the way, and the birthday method, which could help, "
        "is switched off on this node."
    )


def _last_failure(history: Sequence[Attempt]) -> str:
    for attempt in reversed(history):
        # A fresh socket repeats what plain punching tried, which says more.
        is_repetition = attempt.method == PunchMethod.FRESH.value
        if attempt.result is AttemptResult.LOST:
            return f"The last direct path was lost: {attempt.detail}."
        if attempt.result is not AttemptResult.OK and not is_repetition:
            return f"The last {attempt.method} attempt failed: {attempt.detail}."
    return "There has been no traffic yet that needs a direct path."


_FAULTS = {
    Fault.DATA: "the tunnel's packets",
    Fault.HANDSHAKES: "the tunnel's handshakes",
}

_UNPROVEN = "so data also goes through the relay, which has not answered yet"
_MEANWHILE = "meanwhile data goes through the relay"

_PUNCHING = {
    PunchMethod.FRESH: " between two new ports",
    PunchMethod.PREDICTION: " by predicting the next ports of a NAT",
    PunchMethod.BIRTHDAY: " by trying many ports of a symmetric NAT",
}

_DIRECT = {
    CandidateKind.HOST: "The peer's own address can be reached.",
    CandidateKind.PORT_MAPPED: "The peer's router forwards a port to it.",
    CandidateKind.REFLEXIVE: "Simultaneous checks opened the NATs in between.",
    CandidateKind.PEER_REFLEXIVE: (
        "The peer got through first, and its address was learned."
    ),
    CandidateKind.PREDICTED: "The next port of a sequential NAT was predicted.",
    CandidateKind.BIRTHDAY: "One port of a symmetric NAT was found by trying many.",
}
