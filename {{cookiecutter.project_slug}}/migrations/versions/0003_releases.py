"""Drafts, approvals and activations of releases; which process has seen which flags; how long an answer took.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Instant = sa.DateTime(timezone=True)
Counter = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
APPEND_ONLY = ("eval_report", "release_draft", "release_step")
# SQLite's INSERT OR REPLACE deletes a row without its DELETE triggers.
REPLACED_BY = {
    "audit": ["seq"],
    "eval_report": ["id"],
    "flag_revision": ["rev"],
    "release": ["digest", "name"],
    "release_draft": ["digest", "name"],
    "release_step": ["id"],
}


def upgrade() -> None:
    op.add_column("decision", sa.Column("latency_ms", sa.Integer(), nullable=True))
    op.add_column("eval_report", sa.Column("report", sa.JSON(), nullable=True))
    op.create_table(
        "release_draft",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("use_case", sa.String(), nullable=False),
        sa.Column("bundle", sa.JSON(), nullable=False),
        sa.Column("drafted_at", Instant, nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_release_draft")),
        sa.UniqueConstraint("name", name=op.f("uq_release_draft_name")),
    )
    op.create_table(
        "release_step",
        sa.Column("id", Counter, autoincrement=True, nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("use_case", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("report_id", sa.String(), nullable=True),
        sa.Column("at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_release_step")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "process",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("flag_rev", sa.BigInteger(), nullable=False),
        sa.Column("kill_file", sa.Boolean(), nullable=False),
        sa.Column("code", sa.JSON(), nullable=False),
        sa.Column("seen_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process")),
    )
    op.create_table(
        "installation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("profile", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
    op.execute(
        "INSERT INTO release_draft (digest, name, use_case, bundle, drafted_at, author) "
        'SELECT digest, name, use_case, bundle, published_at, published_by FROM "release"'
    )
    if op.get_bind().dialect.name == "postgresql":
        _guard_on_postgres()
    else:
        _guard_on_sqlite()


def _guard_on_postgres() -> None:
    for table in APPEND_ONLY:
        for change, each in (("UPDATE", "ROW"), ("DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
            op.execute(
                f'CREATE TRIGGER {table}_refuses_{change.lower()} BEFORE {change} ON "{table}" '
                f"FOR EACH {each} EXECUTE FUNCTION refuse_change()"
            )
    op.execute(
        """
        CREATE FUNCTION tell_of_flags() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_notify('flags', NEW.rev::text); RETURN NULL; END $$
        """
    )
    op.execute(
        "CREATE TRIGGER flag_revision_tells AFTER INSERT ON flag_revision FOR EACH ROW EXECUTE FUNCTION tell_of_flags()"
    )


def _guard_on_sqlite() -> None:
    for table in APPEND_ONLY:
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f'CREATE TRIGGER {table}_refuses_{change.lower()} BEFORE {change} ON "{table}" '
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
    for table, keys in REPLACED_BY.items():
        same = " OR ".join(f"{key} = NEW.{key}" for key in keys)
        exists = f'EXISTS (SELECT 1 FROM "{table}" WHERE {same})'  # noqa: S608 - names of ours
        op.execute(
            f'CREATE TRIGGER {table}_refuses_replace BEFORE INSERT ON "{table}" WHEN {exists} '
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )


def downgrade() -> None:
    """Drops what 0002 does not know; nothing that the older code reads."""
    postgres = op.get_bind().dialect.name == "postgresql"
    if postgres:
        op.execute("DROP TRIGGER flag_revision_tells ON flag_revision")
        op.execute("DROP FUNCTION tell_of_flags")
    for change in ("update", "delete", *(["truncate"] if postgres else [])):
        op.execute(f"DROP TRIGGER eval_report_refuses_{change}" + (" ON eval_report" if postgres else ""))
    if not postgres:
        for table in REPLACED_BY:
            op.execute(f"DROP TRIGGER {table}_refuses_replace")
    for table in ("installation", "process", "release_step", "release_draft"):
        op.drop_table(table)
    op.drop_column("eval_report", "report")
    op.drop_column("decision", "latency_ms")
