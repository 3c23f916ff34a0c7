"""Who may use the schema, where coordinators are, and what each committed last."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "mesh", sa.Column("oldest", sa.String(8), nullable=False, server_default="0012")
    )
    for name in ("url", "direct"):
        column: sa.Column[str] = sa.Column(
            name, sa.String(255), nullable=False, server_default=""
        )
        op.add_column("homes", column)
    op.create_table(
        "writers",
        sa.Column("writer", sa.String(32), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("writer", name="pk_writers"),
    )


def downgrade() -> None:
    op.drop_table("writers")
    op.drop_column("homes", "direct")
    op.drop_column("homes", "url")
    op.drop_column("mesh", "oldest")
