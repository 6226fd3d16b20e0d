"""Verdicts of evaluators on live answers.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "live_score",
        sa.Column("decision_id", sa.String(), nullable=False),
        sa.Column("dimension", sa.String(), nullable=False),
        sa.Column("release", sa.String(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["decision_id"], ["decision.id"], name=op.f("fk_live_score_decision_id_decision")),
        sa.PrimaryKeyConstraint("decision_id", "dimension", name=op.f("pk_live_score")),
    )
    op.create_index(op.f("ix_live_score_release_dimension_at"), "live_score", ["release", "dimension", "at"])
    op.create_index(op.f("ix_live_score_at"), "live_score", ["at"])


def downgrade() -> None:
    op.drop_table("live_score")
