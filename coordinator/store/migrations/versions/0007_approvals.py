"""What nodes offer, what was decided on it, and what became of it.

Until now the settings and the policy approved of networks, and nobody of hubs. Who had
a network, or was a hub, goes on with it, by a decision of its own.
"""

import json
import time

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

BY = "the update to approvals"

_LISTS = ("traits", "decisions", "withheld")
_SWITCHES = ("exit", "wants_exit", "wants_hub")


def upgrade() -> None:
    for name in _LISTS:
        column = sa.Column(name, sa.Text, nullable=False, server_default="[]")
        op.add_column("nodes", column)
    for name in _SWITCHES:
        op.add_column("nodes", _switch(name))
    op.add_column("auth_keys", _switch("hub"))
    _approve_what_there_is()


def downgrade() -> None:
    for name in (*_LISTS, *_SWITCHES):
        op.drop_column("nodes", name)
    op.drop_column("auth_keys", "hub")


def _switch(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())


def _approve_what_there_is() -> None:
    nodes = sa.table(
        "nodes",
        *(sa.column(name, sa.Text) for name in ("key", "role", "routes", "decisions")),
        sa.column("wants_hub", sa.Boolean),
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(nodes)).all():
        is_hub = row.role == "hub"
        items = [*json.loads(row.routes), *(["hub"] if is_hub else [])]
        decisions = [
            {"item": item, "approved": True, "by": BY, "at": time.time()}
            for item in items
        ]
        connection.execute(
            sa.update(nodes)
            .where(nodes.c.key == row.key)
            .values(decisions=json.dumps(decisions), wants_hub=is_hub)
        )
