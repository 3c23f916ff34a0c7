"""Each kind of router is what it is called, by the judgement of coturn's tool."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from netlab import coturn, presets
from netlab.coturn import Discovery
from netlab.lab import Lab
from netlab.truth import ipv4_access

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def discoveries() -> Iterator[dict[str, Discovery]]:
    """What is found out behind each kind of router, all in one lab and at once."""
    with Lab(title="presets") as lab:
        server = lab.add_host("server", lab.internet, count4=2)
        coturn.start(server)
        hosts = [
            lab.add_host(f"{name}-host", lab.add_access(name, preset))
            for name, preset in presets.ALL.items()
        ]
        with ThreadPoolExecutor(len(hosts)) as pool:
            found = pool.map(lambda host: coturn.discover(host, server), hosts)
            yield dict(zip(presets.ALL, found, strict=True))


@pytest.mark.parametrize("name", presets.ALL)
def test_it_maps_and_filters_as_its_preset_says(
    name: str, discoveries: dict[str, Discovery]
) -> None:
    found = discoveries[name]
    expected = ipv4_access(presets.ALL[name])

    if expected is None:
        assert found == Discovery(None, None, hairpinning=False)
    else:
        assert found.mapping is expected.mapping
        assert found.filtering is expected.filtering


@pytest.mark.parametrize("name", presets.ALL)
def test_it_hairpins_if_its_preset_says_so(
    name: str, discoveries: dict[str, Discovery]
) -> None:
    behaviour = presets.ALL[name].behaviour
    # Without NAT, one's own address is reached without leaving home.
    no_nat = behaviour is None or behaviour is presets.FIREWALL.behaviour

    hairpins = no_nat or (behaviour is not None and behaviour.hairpinning)
    assert discoveries[name].hairpinning is hairpins
