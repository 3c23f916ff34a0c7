"""What nodes announce, beside what they have of it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("announced", sa.Text, nullable=False, server_default="[]")
    op.add_column("nodes", column)
    # Until a node connects again, it announces what it has.
    op.execute("UPDATE nodes SET announced = routes")


def downgrade() -> None:
    op.drop_column("nodes", "announced")
