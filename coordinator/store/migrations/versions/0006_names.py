"""What the names of the mesh end with, and the records beside those of nodes."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "mesh",
        sa.Column(
            "domain", sa.String(100), nullable=False, server_default="mesh.internal"
        ),
    )
    op.add_column(
        "mesh",
        sa.Column("records_version", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.create_table(
        "dns_records",
        sa.Column("position", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("name", sa.String(150), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("value", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_dns_records"),
    )


def downgrade() -> None:
    op.drop_table("dns_records")
    op.drop_column("mesh", "records_version")
    op.drop_column("mesh", "domain")
