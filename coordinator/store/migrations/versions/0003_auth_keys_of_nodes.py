"""How many nodes an auth key lets in, and which one let a node in."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "nodes",
        sa.Column("auth_key", sa.String(12), nullable=False, server_default=""),
    )
    op.add_column("auth_keys", sa.Column("limit", sa.Integer, nullable=True))


def downgrade() -> None:
    op.drop_column("nodes", "auth_key")
    op.drop_column("auth_keys", "limit")
