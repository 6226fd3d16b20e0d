-- What the running service (`svc serve`, `svc worker`) may do in the database: nothing that alters or takes out a
-- record of what was done. Run it as the owner of the tables, in the service's database, after every `svc migrate`;
-- safe to repeat:
--   psql -v ON_ERROR_STOP=1 -d DATABASE -f deploy/postgres/app_grants.sql
--
-- DATABASE_app must exist; the login roles of the processes are its members. Commands (`svc migrate`, `svc keys`,
-- `svc release`, `svc audit prune`) are for people, and log in as the owner.
DO $$
DECLARE
  app text := quote_ident(current_database() || '_app');
  line record;
BEGIN
  EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, %s', app);
  EXECUTE format('GRANT USAGE ON SCHEMA public TO %s', app);
  EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO %s', app);
  FOR line IN SELECT * FROM (VALUES
    -- Records: written once, then only read.
    ('SELECT, INSERT', 'audit, audit_seal, decision, payload, flag_revision, release_step'),
    -- Work in progress.
    ('SELECT, INSERT, UPDATE', 'review_item, effect, budget'),
    ('SELECT, INSERT, UPDATE, DELETE', 'idempotency, process'),
    -- What only people at a command line change.
    ('SELECT', 'api_key, release, release_draft, eval_report, installation')
  ) AS grants (may, tables)
  LOOP
    EXECUTE format('GRANT %s ON %s TO %s', line.may, line.tables, app);
  END LOOP;

  -- The job engine looks after its own tables.
  EXECUTE format('GRANT USAGE ON SCHEMA dbos TO %s', app);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA dbos TO %s', app);
  EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA dbos TO %s', app);
  EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA dbos TO %s', app);
END $$;
