"""The audit log's seals. Rows sealed more than half a year ago may go; all others still refuse.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# A seal is the next, of a row that is there, and made now: else rows could be sealed before they are written, to be
# deleted at once, or a position or time so far off that no honest seal could follow.
ANOTHER_ROW = "NOT EXISTS (SELECT 1 FROM audit WHERE seq = NEW.audit_seq)"
ANOTHER_PLACE = "NEW.position <> 1 + coalesce((SELECT max(position) FROM audit_seal), 0)"
KEPT_DAYS = 183  # EU AI Act, article 26(6): at least six months


def upgrade() -> None:
    op.create_table(
        "audit_seal",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("audit_seq", sa.BigInteger(), nullable=False),
        sa.Column("previous", sa.String(), nullable=False),
        sa.Column("mac", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_audit_seal")),
        sa.UniqueConstraint("audit_seq", name=op.f("uq_audit_seal_audit_seq")),
        sa.CheckConstraint("position > 0", name=op.f("ck_audit_seal_counted_from_1")),
    )
    if op.get_bind().dialect.name == "postgresql":
        _guard_on_postgres()
    else:
        _guard_on_sqlite()


def _guard_on_postgres() -> None:
    for change, each in (("UPDATE", "ROW"), ("TRUNCATE", "STATEMENT")):
        op.execute(
            f"CREATE TRIGGER audit_seal_refuses_{change.lower()} BEFORE {change} ON audit_seal "
            f"FOR EACH {each} EXECUTE FUNCTION refuse_change()"
        )
    # The path is given so that nobody's temporary table passes for one of these.
    op.execute(
        "CREATE FUNCTION refuse_false_seal() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$ "
        f"BEGIN IF {ANOTHER_ROW} OR {ANOTHER_PLACE} "
        "OR abs(extract(epoch FROM NEW.sealed_at - clock_timestamp())) > 600 "
        "THEN RAISE EXCEPTION 'audit_seal takes only the next seal'; END IF; RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_seal_refuses_insert BEFORE INSERT ON audit_seal "
        "FOR EACH ROW EXECUTE FUNCTION refuse_false_seal()"
    )
    old = f"sealed_at < now() - interval '{KEPT_DAYS} days'"
    sealed_long_ago = {
        "audit": f"EXISTS (SELECT 1 FROM audit_seal WHERE audit_seq = OLD.seq AND {old})",  # noqa: S608 - all ours
        "audit_seal": f"OLD.{old}",
    }
    op.execute("DROP TRIGGER audit_refuses_delete ON audit")
    for table, may_go in sealed_long_ago.items():
        op.execute(
            f"CREATE FUNCTION refuse_early_delete_of_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ "
            f"BEGIN IF {may_go} THEN RETURN OLD; END IF; RAISE EXCEPTION '{table} is append-only'; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {table}_refuses_delete BEFORE DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION refuse_early_delete_of_{table}()"
        )


def _guard_on_sqlite() -> None:
    # Instants are stored as text in UTC, which sorts as they do.
    old = f"sealed_at < datetime('now', '-{KEPT_DAYS} days')"
    same = "position = NEW.position OR audit_seq = NEW.audit_seq"
    op.execute("DROP TRIGGER audit_refuses_delete")
    for name, when in {
        "audit_refuses_delete BEFORE DELETE ON audit": (
            f"NOT EXISTS (SELECT 1 FROM audit_seal WHERE audit_seq = OLD.seq AND {old})"  # noqa: S608 - all ours
        ),
        "audit_seal_refuses_delete BEFORE DELETE ON audit_seal": f"NOT OLD.{old}",
        "audit_seal_refuses_update BEFORE UPDATE ON audit_seal": "true",
        # INSERT OR REPLACE deletes a row without its DELETE triggers.
        "audit_seal_refuses_replace BEFORE INSERT ON audit_seal": (
            f"EXISTS (SELECT 1 FROM audit_seal WHERE {same})"  # noqa: S608 - all ours
        ),
    }.items():
        table = name.rpartition(" ")[2]
        op.execute(f"CREATE TRIGGER {name} WHEN {when} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END")
    another_time = "NEW.sealed_at NOT BETWEEN datetime('now', '-10 minutes') AND datetime('now', '10 minutes')"
    op.execute(
        "CREATE TRIGGER audit_seal_refuses_insert BEFORE INSERT ON audit_seal "
        f"WHEN {ANOTHER_ROW} OR {ANOTHER_PLACE} OR {another_time} "
        "BEGIN SELECT RAISE(ABORT, 'audit_seal takes only the next seal'); END"
    )


def downgrade() -> None:
    """Drops the seals; the rows stay, and refuse every DELETE again."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER audit_refuses_delete ON audit")
        op.drop_table("audit_seal")
        for function in ("refuse_early_delete_of_audit", "refuse_early_delete_of_audit_seal", "refuse_false_seal"):
            op.execute(f"DROP FUNCTION {function}")
        op.execute(
            "CREATE TRIGGER audit_refuses_delete BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        return
    op.execute("DROP TRIGGER audit_refuses_delete")
    op.drop_table("audit_seal")
    op.execute(
        "CREATE TRIGGER audit_refuses_delete BEFORE DELETE ON audit "
        "BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END"
    )
