"""What the inference layer adds: questions that can be recognised, superseded decisions, daily budgets.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("decision", sa.Column("repaired", sa.Boolean(), server_default=sa.false(), nullable=False))
    names = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("decision", sa.Column("taint", names, server_default="[]", nullable=False))
    op.add_column("decision", sa.Column("input_digest", sa.String(), server_default=sa.text("''"), nullable=False))
    op.add_column("decision", sa.Column("supersedes", sa.String(), nullable=True))
    question = ["input_digest", "release", "tenant", "at"]
    op.create_index(op.f("ix_decision_input_digest_release_tenant_at"), "decision", question)
    op.create_index(op.f("ix_decision_supersedes"), "decision", ["supersedes"], unique=True)
    for column in ("release", "input_digest"):
        op.add_column("review_item", sa.Column(column, sa.String(), nullable=True))
    asked = ["input_digest", "release", "tenant", "verdict"]
    op.create_index(op.f("ix_review_item_question"), "review_item", asked)
    op.create_table(
        "budget",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("micro_usd", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "scope", "name", name=op.f("pk_budget")),
    )


def downgrade() -> None:
    """Drops what 0001 does not know; nothing that the older code reads."""
    op.drop_table("budget")
    op.drop_index(op.f("ix_review_item_question"), "review_item")
    for column in ("input_digest", "release"):
        op.drop_column("review_item", column)
    op.drop_index(op.f("ix_decision_supersedes"), "decision")
    op.drop_index(op.f("ix_decision_input_digest_release_tenant_at"), "decision")
    for column in ("supersedes", "input_digest", "taint", "repaired"):
        op.drop_column("decision", column)
