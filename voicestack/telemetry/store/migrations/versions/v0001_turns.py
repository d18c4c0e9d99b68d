"""The table of turns, and who may see which of its rows.

Rows are isolated by PostgreSQL itself: the policy compares the tenant of a row with a setting of the
transaction, also for the owner of the table. (A superuser is not held by any policy.) SQLite has nothing of
the kind: there `queries.visible` is the only way to rows.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_OWN = "current_setting('voicestack.tenant', true) IN (tenant, '*')"


def upgrade() -> None:
    """Make it."""
    op.create_table(
        "turns",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("began_unix_ms", sa.BigInteger, nullable=False),
        sa.Column("route", sa.String, nullable=False),
        sa.Column("profile", sa.String, nullable=False),
        sa.Column("region", sa.String, nullable=False),
        sa.Column("release", sa.String, nullable=False),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("blamed", sa.String, nullable=False),
        sa.Column("cold", sa.Boolean, nullable=False),
        sa.Column("rungs", sa.String, nullable=False),
        sa.Column("replicas", sa.String, nullable=False),
        sa.Column("body", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
    )
    op.create_index("turns_by_time", "turns", ["began_unix_ms", "id", "verdict"])
    op.create_index("turns_by_tenant", "turns", ["tenant", "began_unix_ms", "id", "verdict"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE turns ENABLE ROW LEVEL SECURITY")
        op.execute("ALTER TABLE turns FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY own_turns ON turns USING ({_OWN}) WITH CHECK ({_OWN})")


def downgrade() -> None:
    """Take it away, with all turns."""
    op.drop_table("turns")
