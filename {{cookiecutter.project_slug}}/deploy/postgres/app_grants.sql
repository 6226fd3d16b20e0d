-- What `svc serve` and `svc worker` may do in the database: nothing that alters or removes a record of what was done.
-- Run it by the owner of the tables after every `svc migrate`, in the service's database; it may be repeated.
-- Commands (`svc migrate`, `keys`, `release`, `audit prune`) log in as the owner. The role must exist:
--     CREATE ROLE service_app NOLOGIN;   -- the login roles of the processes are its members

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, service_app;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO service_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO service_app;

-- Records: written once, read.
GRANT SELECT, INSERT ON audit, audit_seal, decision, payload, flag_revision, release_step TO service_app;
-- Work in progress.
GRANT SELECT, INSERT, UPDATE ON review_item, effect, budget TO service_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency, process TO service_app;
-- What only people at a command line change.
GRANT SELECT ON api_key, release, release_draft, eval_report, installation TO service_app;
-- Nothing: alembic_version.

-- The job engine's own tables.
GRANT USAGE ON SCHEMA dbos TO service_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA dbos TO service_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA dbos TO service_app;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA dbos TO service_app;
