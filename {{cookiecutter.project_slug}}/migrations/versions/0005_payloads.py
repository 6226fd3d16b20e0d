"""Customers' words are encrypted, found by a keyed digest, and have an end.

No migration has the key to encrypt what is there already. This comes before the first release, so nothing is kept in
plain for it: messages go, reviews that wait for one are closed, and writes that are still queued are given up.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("DELETE FROM payload")
    op.execute(
        "UPDATE review_item SET state = 'closed', closed_at = CURRENT_TIMESTAMP, claimed_by = NULL, "
        "claimed_until = NULL WHERE state IN ('open', 'claimed')"
    )
    op.execute(
        "UPDATE effect SET state = 'failed', last_error = 'was stored in plain' WHERE state IN ('queued', 'held')"
    )
    op.drop_index(op.f("ix_payload_customer_ref"), "payload")
    for column in ("customer_ref", "request", "expires_at"):
        op.drop_column("payload", column)
    op.drop_column("effect", "body")
    op.add_column("payload", sa.Column("customer", sa.String(), nullable=True))
    for table in ("payload", "effect"):
        op.add_column(table, sa.Column("encrypted", sa.LargeBinary(), nullable=True))
    op.create_index(op.f("ix_payload_tenant_customer"), "payload", ["tenant", "customer"])
    op.create_index(op.f("ix_payload_created_at"), "payload", ["created_at"])
    full = sa.text("encrypted IS NOT NULL")
    op.create_index(op.f("ix_payload_full"), "payload", ["created_at"], postgresql_where=full, sqlite_where=full)


def downgrade() -> None:
    """Back to plain columns, which are empty: what is encrypted cannot be read without the key."""
    for index in ("ix_payload_full", "ix_payload_created_at", "ix_payload_tenant_customer"):
        op.drop_index(op.f(index), "payload")
    op.execute("DELETE FROM payload")
    for table in ("payload", "effect"):
        op.drop_column(table, "encrypted")
    op.drop_column("payload", "customer")
    op.add_column("payload", sa.Column("customer_ref", sa.String(), nullable=True))
    op.add_column("payload", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    for table, column in (("payload", "request"), ("effect", "body")):
        op.add_column(table, sa.Column(column, sa.JSON(), nullable=False, server_default="{}"))
    op.create_index(op.f("ix_payload_customer_ref"), "payload", ["customer_ref"])
