"""Which node of a Kubernetes cluster a member is."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("cluster", sa.Text, nullable=False, server_default="")
    op.add_column("nodes", column)


def downgrade() -> None:
    op.drop_column("nodes", "cluster")
