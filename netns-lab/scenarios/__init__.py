"""The situations that meshwg must serve, each built in a lab and verified."""

from typing import Any

from netlab.scenario import Scenario
from scenarios.access import ACCESS
from scenarios.container import CONTAINER
from scenarios.exit import EXIT
from scenarios.hub import HUB
from scenarios.kubernetes import KUBERNETES
from scenarios.phone import PHONE
from scenarios.public import PUBLIC
from scenarios.punch import PUNCH
from scenarios.router import ROUTER

ALL: dict[str, Scenario[Any]] = {
    each.name: each
    for each in (
        CONTAINER,
        PUBLIC,
        HUB,
        PUNCH,
        KUBERNETES,
        ACCESS,
        ROUTER,
        EXIT,
        PHONE,
    )
}
