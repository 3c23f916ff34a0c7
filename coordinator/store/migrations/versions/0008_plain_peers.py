"""Plain WireGuard peers, which have a hub and no meshwg."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COLUMNS = ("via", "full_tunnel", "endpoint", "config_token")


def upgrade() -> None:
    texts = {"via": 44, "endpoint": 260, "config_token": 64}
    for name in COLUMNS:
        column: sa.Column[object] = sa.Column(
            name, sa.Boolean, nullable=False, server_default=sa.false()
        )
        if name in texts:
            column = sa.Column(
                name, sa.String(texts[name]), nullable=False, server_default=""
            )
        op.add_column("nodes", column)


def downgrade() -> None:
    # Without their hubs they would be nodes that never come.
    op.execute("DELETE FROM nodes WHERE role = 'plain'")
    for name in reversed(COLUMNS):
        op.drop_column("nodes", name)
