"""Users, whom policies may name and to whom nodes belong."""

from coordinator.administration.asking import Answer, Asked
from coordinator.administration.models import PageQuery
from coordinator.administration.pages import page
from coordinator.administration.problems import malformed, unknown
from coordinator.mesh.audit import user_state
from coordinator.mesh.etags import etag_of
from coordinator.mesh.operations import AddUser, DisableUser, Operation
from coordinator.mesh.policies import User
from coordinator.mesh.records import user_record


async def list_users(asked: Asked) -> Answer:
    """List all users, by name."""
    users = sorted(await asked.mesh.users(), key=lambda user: user.name)
    wanted = asked.asking(PageQuery)
    shown, more = page(users, lambda user: (user.name,), wanted.limit, wanted.cursor)
    return Answer({"users": [user_record(each) for each in shown], **more})


async def show_user(asked: Asked) -> Answer:
    """Show one user."""
    return await _told(asked)


async def add_user(asked: Asked) -> Answer:
    """Know a user, or enable one again."""
    name = asked.path["user"]
    if not name.isprintable():
        raise malformed(
            "That is no name of a user: write it in letters, as alice@example.org"
        )
    return await _performed(asked, AddUser(name))


async def disable_user(asked: Asked) -> Answer:
    """Know a user no more, and end the membership of what belongs to him."""
    return await _performed(asked, DisableUser(asked.path["user"]))


async def _performed(asked: Asked, operation: Operation) -> Answer:
    await asked.perform(operation, refused=400)
    return await _told(asked)


async def _told(asked: Asked) -> Answer:
    name = asked.path["user"]
    users: dict[str, User] = {each.name: each for each in await asked.mesh.users()}
    if name not in users:
        raise unknown(
            f"There is no user {name}; 'meshwg-coordinator user list' shows all"
        )
    found = users[name]
    return Answer({"user": user_record(found)}, etag_of(user_state(found)))
