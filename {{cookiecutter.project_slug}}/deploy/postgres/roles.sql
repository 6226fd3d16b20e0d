-- The database roles of the service. Run by an administrator, connected to the service's own database, before the first
-- migration; safe to repeat:
--   psql -v ON_ERROR_STOP=1 -d DATABASE -f deploy/postgres/roles.sql
--
--   DATABASE_owner     logs in for `svc migrate`, owns every table, the job engine's schema too
--   DATABASE_app       does not log in: what the running service may do. The vault's short-lived users are its members
--   DATABASE_operator  does not log in: what people's commands may do besides. Their own login roles are its members
--   DATABASE_vault     logs in for the vault: makes and drops users of the service, ends their sessions, reads no row
--
-- grants.sql says what these may do with which table. How those that log in prove themselves (certificate, peer,
-- password) is yours to set; here they get no password.
DO $$
DECLARE
  db text := current_database();
  owner text := db || '_owner';
  app text := db || '_app';
  operator text := db || '_operator';
  vault text := db || '_vault';
BEGIN
  IF to_regrole(quote_ident(owner)) IS NULL THEN EXECUTE format('CREATE ROLE %I LOGIN', owner); END IF;
  IF to_regrole(quote_ident(app)) IS NULL THEN EXECUTE format('CREATE ROLE %I NOLOGIN', app); END IF;
  IF to_regrole(quote_ident(operator)) IS NULL THEN
    EXECUTE format('CREATE ROLE %I NOLOGIN IN ROLE %I', operator, app);
  END IF;
  IF to_regrole(quote_ident(vault)) IS NULL THEN EXECUTE format('CREATE ROLE %I LOGIN CREATEROLE', vault); END IF;
  -- Since Postgres 16 it need not be able to do itself what it lets others do.
  EXECUTE format('GRANT %I TO %I WITH ADMIN OPTION', app, vault);
  IF current_setting('server_version_num')::int >= 160000 THEN
    EXECUTE format('GRANT %I TO %I WITH INHERIT FALSE, SET FALSE', app, vault);
  END IF;
  EXECUTE format('GRANT pg_signal_backend TO %I', vault);

  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', db);
  EXECUTE format('GRANT CONNECT, CREATE ON DATABASE %I TO %I', db, owner);
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I, %I', db, app, vault);
  REVOKE ALL ON SCHEMA public FROM PUBLIC;
  EXECUTE format('GRANT USAGE, CREATE ON SCHEMA public TO %I', owner);
  EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', app);
  -- A user who owns a large object cannot be dropped.
  REVOKE EXECUTE ON FUNCTION lo_create(oid), lo_creat(integer), lo_from_bytea(oid, bytea), lo_import(text),
    lo_import(text, oid) FROM PUBLIC;
END $$;
