"""Who has spoken to whom in the last days; and all are told of owners and tags."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "flows",
        sa.Column("flow", sa.String(120), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("flow", name="pk_flows"),
    )
    op.create_index("ix_flows_at", "flows", ["at"])
    # Netmaps say now to whom nodes belong: that is news to those who hold one.
    op.execute("UPDATE mesh SET version = version + 1")
    now = "(SELECT version FROM mesh)"
    op.execute(
        f"UPDATE nodes SET version = {now}, revision = {now} "
        "WHERE owner <> '' OR tags <> '[]'"
    )


def downgrade() -> None:
    op.drop_table("flows")
