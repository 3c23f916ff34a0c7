"""A thousand nodes in fifty classes: what a join, and a policy, cost everybody."""

from coordinator.mesh.netmap import NetMapHistory
from coordinator.mesh.operations import Accepted, ApplyPolicy, Assign, Operation
from coordinator.mesh.policies import User
from coordinator.mesh.views import View, Views
from meshwg.keys import PrivateKey, format_key
from tests.coordinator.mesh.drafting import Mesh, join

NODES, CLASSES = 1000, 50
TEAMS = CLASSES // 2
USERS = [f"user-{number}@example.org" for number in range(TEAMS)]


def policy() -> str:
    """Return rules by which each team reaches its own servers, and its own nodes."""
    rules = [
        f'[[allow]]\nfrom = ["{user}"]\nto = ["tag:team-{number}", "self"]\n'
        f'ports = ["tcp/{1000 + port}"]\n'
        for number, user in enumerate(USERS)
        for port in range(20)
    ]
    return "".join(rules)


def test_a_join_costs_the_same_bytes_in_a_mesh_of_any_size_and_no_filter_changes() -> (
    None
):
    stage = Stage()
    stage.grow(100)
    stage.do(ApplyPolicy(policy(), "me"))
    small = stage.join_and_measure()
    messages = stage.messages()

    stage.grow(NODES)
    large = stage.join_and_measure()

    assert len(stage.mesh.registry) == NODES + 1
    assert len(messages) == CLASSES
    assert stage.messages() == messages
    # A number has a digit more, and so has a version.
    assert abs(large.bytes_of_one - small.bytes_of_one) < 24
    assert (small.told, large.told) == (2, 2)
    assert (small.built, large.built) == (2, 2)


def test_a_new_policy_reaches_all_classes_by_one_message_each() -> None:
    stage = Stage()
    stage.grow(200)
    stage.do(ApplyPolicy(policy(), "me"))
    before = stage.messages()

    stage.do(ApplyPolicy(policy().replace("tcp/1000", "tcp/999"), "me"))

    after = stage.messages()
    assert after.keys() == before.keys()
    assert all(after[number] != before[number] for number in after)
    assert max(map(len, after.values())) < 16_384


class Cost:
    """What a join cost: classes that were told, payloads that were made, bytes."""

    def __init__(self, told: int, built: int, bytes_of_one: int) -> None:
        self.told = told
        self.built = built
        self.bytes_of_one = bytes_of_one


class Stage:
    """A mesh without connections: what its members would be told."""

    def __init__(self) -> None:
        self.mesh = Mesh()
        self.mesh.users = {name: User(name, 0.0) for name in USERS}
        registry = self.mesh.registry
        self.views = Views(registry, NetMapHistory(registry.networks))

    def grow(self, size: int) -> None:
        while len(self.mesh.registry) < size:
            self.add()

    def add(self) -> None:
        """Let a node in, of the class that is next."""
        number = len(self.mesh.registry)
        key = format_key(PrivateKey.generate(self.mesh.random).public_bytes)
        team = number % CLASSES
        owner = USERS[team] if team < TEAMS else ""
        tags = () if owner else (f"team-{team - TEAMS}",)
        text = str(self.mesh.text)
        name = f"node-{number}"
        self.do(join(key, name=name, auth_key=text), Assign(name, owner, tags))

    def do(self, *operations: Operation) -> None:
        draft = self.mesh.draft()
        for operation in operations:
            assert isinstance(draft.perform(operation), Accepted)
        self.mesh.auth_keys |= draft.auth_keys
        self.mesh.registry.apply(draft.changes)
        self.views.apply(draft.changes)

    def join_and_measure(self) -> Cost:
        """Let one more node in, and see what the others are told."""
        views = self._views()
        before = {number: view.history.version for number, view in views.items()}
        built = {number: view.history.built for number, view in views.items()}
        self.add()
        told = {
            number: payloads
            for number, view in self._views().items()
            if (payloads := view.history.since(before[number]))
        }
        made = sum(v.history.built - built[n] for n, v in self._views().items())
        sizes = [sum(map(len, payloads)) for payloads in told.values()]
        return Cost(len(told), made, max(sizes))

    def messages(self) -> dict[int, bytes]:
        """Return what the nodes of each class are told of the policy."""
        return {number: view.policy for number, view in self._views().items()}

    def _views(self) -> dict[int, View]:
        nodes = {n.policy_class: n.key for n in self.mesh.registry.nodes.values()}
        return {number: self.views.of(key) for number, key in nodes.items()}
