"""Which networks a node offers: those of its settings, and what commands changed.

``meshwg route add`` and ``remove`` are remembered in the state directory, beside the
settings, which stay as they are: ``{"added": [TEXT], "removed": [NETWORK]}``. What a
program holds for a while is an address that this machine has itself meanwhile; nothing
of that is remembered.
"""

from collections.abc import Iterable, Sequence

from meshwg.errors import ConfigError
from meshwg.routeoptions import DEFAULT_PRIORITY, RouteOptions, parse_route
from meshwg.runtime.state import StateDirectory
from meshwg.wire.routes import MAX_ROUTES, RouteTraits


class OfferedRoutes:
    """The networks behind one node.

    :param settings: texts of the settings.
    :raises ConfigError: if what was remembered is damaged.
    """

    def __init__(self, settings: Iterable[str], state: StateDirectory) -> None:
        self._state = state
        self._settings = {each.announced: each for each in map(parse_route, settings)}
        changed = state.routes()
        try:
            added = [parse_route(text) for text in changed.get("added", [])]
            self._removed = {str(each): None for each in changed.get("removed", [])}
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"The networks that this node remembers are damaged ({error}): remove "
                "routes.json from its state directory, and use 'meshwg route add' again"
            ) from None
        self._added = {each.announced: each for each in added}
        self._held: dict[str, tuple[RouteOptions, float]] = {}
        """With when it ends."""

    @property
    def current(self) -> tuple[RouteOptions, ...]:
        """All of them, by the networks that others are told of."""
        held = {announced: route for announced, (route, _) in self._held.items()}
        lasting = {each.announced: each for each in self.lasting}
        return tuple(each for _, each in sorted((lasting | held).items()))

    @property
    def lasting(self) -> tuple[RouteOptions, ...]:
        """Those that are there until somebody says otherwise, likewise."""
        kept = {
            announced: each
            for announced, each in self._settings.items()
            if announced not in self._removed
        }
        return tuple(each for _, each in sorted((kept | self._added).items()))

    def serve(self, routes: Iterable[RouteOptions]) -> None:
        """Have these in place of those of the settings."""
        self._settings = {each.announced: each for each in routes}

    def add(self, text: str) -> RouteOptions:
        """Offer one more network, or one in another way than before.

        :raises ConfigError: if the text is none, or there are too many.
        :raises MeshError: if it cannot be remembered; all is as before then.
        """
        route = self._parsed(text)
        removed = {each: None for each in self._removed if each != route.announced}
        added = {**self._added, route.announced: route}
        if self._settings.get(route.announced) == route:
            del added[route.announced]
        self._change(added, removed)
        return route

    def remove(self, text: str) -> RouteOptions:
        """Offer a network no more, named as others see it, or as it really is.

        :raises ConfigError: if it is not offered.
        :raises MeshError: if that cannot be remembered; all is as before then.
        """
        wanted = _named(text)
        matching = (
            each for each in self.lasting if wanted in (each.announced, each.prefix)
        )
        route = next(matching, None)
        if route is None:
            raise ConfigError(
                f"This node does not offer {wanted}: 'meshwg route list' shows what it "
                "does"
            )
        announced = route.announced
        added = {name: each for name, each in self._added.items() if name != announced}
        removed = dict(self._removed)
        if announced in self._settings:
            removed[announced] = None
        self._change(added, removed)
        return route

    def hold(self, text: str, until: float) -> RouteOptions:
        """Offer one more network until a moment, which may be said again and again.

        :raises ConfigError: if the text is none, or there are too many.
        """
        route = self._parsed(text)
        self._held[route.announced] = route, until
        return route

    def release(self, text: str) -> RouteOptions | None:
        """End such an offer now; return which, ``None`` if there is none.

        :raises ConfigError: if the text is none.
        """
        held = self._held.pop(_named(text), None)
        return None if held is None else held[0]

    def expire(self, now: float) -> bool:
        """End the offers whose time is over; return whether there were any."""
        over = [name for name, (_, until) in self._held.items() if until <= now]
        for name in over:
            del self._held[name]
        return bool(over)

    def next_expiry(self) -> float | None:
        """Return when :meth:`expire` is next wanted."""
        return min((until for _, until in self._held.values()), default=None)

    def _parsed(self, text: str) -> RouteOptions:
        """Return a route that can be offered beside the others.

        :raises ConfigError: if it cannot.
        """
        try:
            route = parse_route(text)
        except ValueError as error:
            raise ConfigError(f"{error}") from None
        known = {each.announced for each in self.current}
        if route.announced not in known and len(known) >= MAX_ROUTES:
            raise ConfigError(
                f"A node offers at most {MAX_ROUTES} networks: remove one with 'meshwg "
                "route remove', or offer a larger one"
            )
        return route

    def _change(self, added: dict[str, RouteOptions], removed: dict[str, None]) -> None:
        texts = [str(each) for each in added.values()]
        self._state.save_routes({"added": texts, "removed": list(removed)})
        self._added, self._removed = added, removed


def announced(routes: Sequence[RouteOptions]) -> tuple[str, ...]:
    """Return the networks that others are told of."""
    return tuple(each.announced for each in routes)


def traits_of(routes: Sequence[RouteOptions]) -> tuple[RouteTraits, ...]:
    """Return what others are told of those that are not as all others."""
    return tuple(
        RouteTraits(
            prefix=each.announced,
            priority=each.priority,
            mapped=None if each.mapped is None else each.prefix,
        )
        for each in routes
        if each.priority != DEFAULT_PRIORITY or each.mapped is not None
    )


def _named(text: str) -> str:
    """Return the network that a text names, however it is served.

    :raises ConfigError: if it is none.
    """
    try:
        return parse_route(text.partition(",")[0]).announced
    except ValueError as error:
        raise ConfigError(f"{error}") from None
