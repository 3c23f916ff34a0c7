"""What prediction and birthday send, and when."""

import random
from collections import Counter

from meshwg.path import volley
from meshwg.path.punch import BIRTHDAY_PROBES, PROBE_INTERVAL
from meshwg.transmit import Endpoint

TARGET = Endpoint("203.0.113.1", 1111)


def test_a_fan_sends_from_every_socket_in_every_wave() -> None:
    shots = volley.fan(range(100, 356), [TARGET], volley.BIRTHDAY_WAVES, 10.0)
    links = Counter(shot.endpoint.link for shot in shots)
    assert set(links) == set(range(100, 356))
    assert set(links.values()) == {len(volley.BIRTHDAY_WAVES)}
    assert {shot.endpoint[:2] for shot in shots} == {TARGET[:2]}


def test_a_fan_sends_to_every_address_of_a_nat_with_several() -> None:
    other = TARGET._replace(host="203.0.113.2")
    shots = volley.fan((1, 2), [TARGET, other], (0.0, 0.5), 10.0)
    flows = Counter(shot.endpoint for shot in shots)
    assert flows == {
        target._replace(link=link): 2 for target in (TARGET, other) for link in (1, 2)
    }


def test_only_the_first_wave_of_a_fan_dies_on_the_way() -> None:
    shots = volley.fan((1, 2), [TARGET], (0.0, 0.5), 10.0)
    assert [shot.ttl for shot in shots] == [volley.OPENER_TTL] * 2 + [None] * 2


def test_probes_go_to_different_ports_a_millisecond_apart() -> None:
    shots = volley.scatter(["203.0.113.1"], random.Random(1).randbytes, 10.0)
    assert len({shot.endpoint for shot in shots}) == BIRTHDAY_PROBES
    assert shots[1].when - shots[0].when < 2 * PROBE_INTERVAL
    assert shots[-1].when < 10.0 + BIRTHDAY_PROBES * PROBE_INTERVAL


def test_two_addresses_share_the_probes() -> None:
    hosts = ["203.0.113.1", "203.0.113.2"]
    shots = volley.scatter(hosts, random.Random(1).randbytes, 10.0)
    counts = Counter(shot.endpoint.host for shot in shots)
    assert counts == {host: BIRTHDAY_PROBES // 2 for host in hosts}


def test_predicted_ports_are_tried_several_times() -> None:
    shots = volley.sweep("203.0.113.1", [5001, 5002], 10.0)
    ports = Counter(shot.endpoint.port for shot in shots)
    assert set(ports) == {5001, 5002}
    assert set(ports.values()) == {len(volley.PREDICTION_PASSES)}


def test_a_fresh_socket_opens_its_nat_before_it_checks() -> None:
    shots = volley.meet(TARGET, 10.0, leads=False)
    ttls = [shot.ttl for shot in shots]
    assert ttls == sorted(ttls, key=lambda ttl: ttl is None)
    assert volley.OPENER_TTL in ttls


def test_the_side_that_knows_first_leaves_the_first_check_to_the_other() -> None:
    checks = {
        leads: [s.when for s in volley.meet(TARGET, 10.0, leads=leads) if s.ttl is None]
        for leads in (True, False)
    }
    assert min(checks[True]) - min(checks[False]) == volley.FRESH_LEAD


def test_shots_are_in_order_of_time() -> None:
    for shots in (
        volley.meet(TARGET, 10.0, leads=True),
        volley.fan(range(256), [TARGET], volley.BIRTHDAY_WAVES, 10.0),
        volley.fan(range(256), [TARGET] * 2, volley.BIRTHDAY_WAVES, 10.0),
        volley.fan(range(25), [TARGET], volley.PREDICTION_WAVES, 10.0),
        volley.sweep("203.0.113.1", range(40), 10.0),
    ):
        assert shots == sorted(shots, key=lambda shot: shot.when)
