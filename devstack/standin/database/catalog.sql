-- The stand-in's own tables, in the shape of graphql-engine's. Safe to run at every start.
CREATE SCHEMA IF NOT EXISTS hdb_catalog;

CREATE TABLE IF NOT EXISTS hdb_catalog.schema_migrations (
  version bigint PRIMARY KEY,
  applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS hdb_catalog.event_log (
  id text PRIMARY KEY DEFAULT gen_random_uuid(),
  schema_name text NOT NULL,
  table_name text NOT NULL,
  trigger_name text NOT NULL,
  payload jsonb NOT NULL,
  delivered boolean NOT NULL DEFAULT false,
  error boolean NOT NULL DEFAULT false,
  tries integer NOT NULL DEFAULT 0,
  created_at timestamp DEFAULT now(),
  locked timestamptz,
  next_retry_at timestamp,
  archived boolean NOT NULL DEFAULT false
);
CREATE INDEX IF NOT EXISTS event_log_fetch_events
  ON hdb_catalog.event_log (locked NULLS FIRST, next_retry_at NULLS FIRST, created_at)
  WHERE NOT delivered AND NOT error AND NOT archived;

CREATE TABLE IF NOT EXISTS hdb_catalog.event_invocation_logs (
  id text PRIMARY KEY DEFAULT gen_random_uuid(),
  trigger_name text,
  event_id text,
  status integer,
  request json,
  response json,
  created_at timestamp DEFAULT now()
);
CREATE INDEX IF NOT EXISTS event_invocation_logs_event_id
  ON hdb_catalog.event_invocation_logs (event_id);

CREATE OR REPLACE FUNCTION hdb_catalog.insert_event_log(
  schema_name text, table_name text, trigger_name text, op text, row_data json
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  id text := gen_random_uuid();
BEGIN
  INSERT INTO hdb_catalog.event_log (id, schema_name, table_name, trigger_name, payload)
  VALUES (id, schema_name, table_name, trigger_name, json_build_object(
    'op', op,
    'data', row_data,
    -- A setting that was once set locally reads as '' for the rest of the connection's life.
    'session_variables', nullif(current_setting('hasura.user', true), '')::json,
    'trace_context', nullif(current_setting('hasura.tracecontext', true), '')::json
  ));
  -- graphql-engine only polls; the wake-up is ours, for latency.
  PERFORM pg_notify('hdb_event_log', '');
  RETURN id;
END;
$$;

-- A row as it is sent: some columns only (all if NULL), and some of them as text.
CREATE OR REPLACE FUNCTION hdb_catalog.sent_row(
  row_data json, sent text[], as_text text[]
) RETURNS json LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN sent IS NULL AND as_text = '{}' THEN row_data ELSE (
    SELECT json_object_agg(
      key, CASE WHEN key = ANY (as_text) THEN to_json(value #>> '{}') ELSE value END
    )
    FROM json_each(row_data) WHERE sent IS NULL OR key = ANY (sent)
  ) END;
$$;

-- Arguments of the trigger: the event trigger's name, the columns to send ('' = all), and those
-- to send as text.
CREATE OR REPLACE FUNCTION hdb_catalog.notify_hasura() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  sent text[] := nullif(TG_ARGV[1], '')::text[];
  old_row json := CASE WHEN TG_OP <> 'INSERT' THEN row_to_json(OLD) END;
  new_row json := CASE WHEN TG_OP <> 'DELETE' THEN row_to_json(NEW) END;
BEGIN
  PERFORM hdb_catalog.insert_event_log(
    TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[0], TG_OP, json_build_object(
      'old', hdb_catalog.sent_row(old_row, sent, TG_ARGV[2]::text[]),
      'new', hdb_catalog.sent_row(new_row, sent, TG_ARGV[2]::text[])
    )
  );
  RETURN NULL;
END;
$$;
