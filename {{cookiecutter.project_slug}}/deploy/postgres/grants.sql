-- What the roles of roles.sql may do: nobody but the owner alters or takes out a record of what was done. Run it as the
-- owner of the tables, in the service's database, after every `svc migrate`; safe to repeat:
--   psql -v ON_ERROR_STOP=1 -d DATABASE -f deploy/postgres/grants.sql
--
-- `svc migrate` and `svc audit prune` are the owner's. Every other command works as a member of DATABASE_operator.
DO $$
DECLARE
  app text := quote_ident(current_database() || '_app');
  operator text := quote_ident(current_database() || '_operator');
  line record;
BEGIN
  EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, %s, %s', app, operator);
  EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO %s', app);
  FOR line IN SELECT * FROM (VALUES
    -- Records: written once, then only read.
    (app, 'SELECT, INSERT', 'audit, audit_seal, flag_revision, release_step, live_score'),
    -- Records whose words go with their time: nothing else of them changes.
    (app, 'SELECT, INSERT, UPDATE (outcome)', 'decision'),
    (app, 'SELECT, INSERT, UPDATE (encrypted), DELETE', 'payload'),
    -- Work in progress.
    (app, 'SELECT, INSERT, UPDATE', 'review_item, effect, budget'),
    (app, 'SELECT, INSERT, UPDATE, DELETE', 'idempotency, process'),
    -- What only people at a command line change.
    (app, 'SELECT', 'api_key, release, release_draft, eval_report, installation'),
    (operator, 'INSERT', 'release, release_draft, eval_report'),
    (operator, 'INSERT, UPDATE (expires_at, revoked_at)', 'api_key')
  ) AS grants (who, may, tables)
  LOOP
    EXECUTE format('GRANT %s ON %s TO %s', line.may, line.tables, line.who);
  END LOOP;

  -- The job engine looks after its own tables.
  EXECUTE format('GRANT USAGE ON SCHEMA dbos TO %s', app);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA dbos TO %s', app);
  EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA dbos TO %s', app);
  EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA dbos TO %s', app);
END $$;
