"""Leases, by which nodes agree on who has a floating address."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("prefix", sa.String(43), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("holder", sa.String(300), nullable=False),
        sa.Column("duration", sa.Double, nullable=False),
        sa.Column("transitions", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("prefix", name="pk_leases"),
    )


def downgrade() -> None:
    op.drop_table("leases")
