-- The demo's database: what a hosting company of some years' standing has, with the names and the corners that such a
-- database collects. psql reads it with the variable `scale` (1 = about 320 MB on disk); random() is seeded, so every
-- run has the same rows.
\set ON_ERROR_STOP on
SET synchronous_commit = off;
SET maintenance_work_mem = '128MB';
SELECT setseed(0.42) \g /dev/null

CREATE EXTENSION pgcrypto;
CREATE EXTENSION hstore;
CREATE EXTENSION citext;

SET ROLE hostmaster_owner;

CREATE SCHEMA billing;
CREATE SCHEMA telemetry;
CREATE SCHEMA "Büro & Söhne";
COMMENT ON SCHEMA billing IS 'Invoices; kept for ten years';

CREATE TYPE server_state AS ENUM ('ordered', 'running', 'suspended', 'gone for good');
CREATE DOMAIN positive_cents AS bigint CHECK (VALUE >= 0);

-- People and machines -------------------------------------------------------------------------------------------------

CREATE TABLE users (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  email citext NOT NULL,
  full_name text NOT NULL,
  password_hash text NOT NULL,
  attributes hstore NOT NULL DEFAULT '',
  preferences jsonb NOT NULL DEFAULT '{}',
  tags text[] NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL
);
COMMENT ON TABLE users IS 'One row a customer. Don''t forget: "deleted" ones stay, as \N in last_login.';
INSERT INTO users (email, full_name, password_hash, attributes, preferences, tags, created_at)
SELECT
  format('user%s@%s.example', n, (ARRAY['mail', 'post', 'büro', 'xn--bcher-kva'])[1 + n % 4]),
  (ARRAY['Ada Lovelace', 'Zoë O''Brien', E'Tab\there', E'back\\slash', 'Łukasz "Luke" Żak', '名前 太郎'])[1 + n % 6],
  encode(sha256(n::text::bytea), 'hex'),
  hstore(ARRAY['plan', (ARRAY['basic', 'pro', 'max'])[1 + n % 3], 'since', (2016 + n % 10)::text]),
  jsonb_build_object('locale', (ARRAY['en', 'de', 'pl', 'ja'])[1 + n % 4], 'newsletter', n % 3 = 0, 'theme', 'dark'),
  CASE WHEN n % 5 = 0 THEN ARRAY['vip', 'needs "care"'] ELSE '{}' END,
  timestamptz '2016-01-01 00:00:00Z' + n * interval '2 hours'
FROM generate_series(1, (40000 * :scale)::int) AS n;
CREATE UNIQUE INDEX users_email ON users (email);
CREATE INDEX users_preferences ON users USING gin (preferences);

CREATE TABLE servers (
  id uuid PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users,
  hostname text NOT NULL,
  state server_state NOT NULL DEFAULT 'ordered',
  address inet NOT NULL,
  disk_bytes bigint NOT NULL CHECK (disk_bytes > 0),
  disk_gib numeric GENERATED ALWAYS AS (round(disk_bytes / 1073741824.0, 1)) STORED,
  rented daterange NOT NULL
);
INSERT INTO servers (id, user_id, hostname, state, address, disk_bytes, rented)
SELECT
  md5('server' || n)::uuid,
  1 + n % (40000 * :scale)::int,
  format('web-%s.host.example', n),
  (enum_range(NULL::server_state))[1 + n % 4],
  inet '10.0.0.0' + n,
  (20 + n % 500) * 1073741824::bigint,
  daterange(date '2020-01-01' + n % 1500, CASE WHEN n % 4 = 3 THEN date '2025-01-01' + n % 300 END)
FROM generate_series(1, (20000 * :scale)::int) AS n;
CREATE INDEX servers_rented ON servers USING gist (rented);

CREATE TABLE domains (
  id serial PRIMARY KEY,
  name text NOT NULL UNIQUE,
  user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  zone text NOT NULL,
  search tsvector GENERATED ALWAYS AS (to_tsvector('simple', name)) STORED
);
INSERT INTO domains (name, user_id, zone)
SELECT
  format('shop-%s.%s', n, (ARRAY['example', 'test', 'invalid'])[1 + n % 3]),
  1 + n % (40000 * :scale)::int,
  format(E'@ IN SOA ns1 hostmaster %s 7200 3600 1209600 300\n@ IN A 10.%s.%s.1\nCOPY users FROM stdin;\n\\.\n', n, n % 250, n % 199)
FROM generate_series(1, (100000 * :scale)::int) AS n;
CREATE INDEX domains_search ON domains USING gin (search);
CREATE INDEX domains_user ON domains (user_id);
ALTER TABLE domains ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_domains ON domains FOR SELECT TO hostmaster_app USING (user_id = current_setting('app.user', true)::bigint);

-- Money ---------------------------------------------------------------------------------------------------------------

CREATE SEQUENCE billing.invoice_number START 100000 INCREMENT 7 CACHE 20;
CREATE TABLE billing.invoices (
  number bigint PRIMARY KEY DEFAULT nextval('billing.invoice_number'),
  user_id bigint NOT NULL REFERENCES users,
  issued date NOT NULL,
  total_cents positive_cents NOT NULL,
  vat_rate numeric(5, 2) NOT NULL,
  lines jsonb NOT NULL,
  note text
);
INSERT INTO billing.invoices (user_id, issued, total_cents, vat_rate, lines, note)
SELECT
  1 + n % (40000 * :scale)::int,
  date '2018-01-01' + n % 2900,
  (random() * 100000)::bigint,
  (ARRAY[0, 7, 19, 21.5])[1 + n % 4],
  jsonb_build_array(
    jsonb_build_object('item', 'Server "M"', 'cents', n % 9000, 'qty', 1 + n % 3),
    jsonb_build_object('item', E'Traffic \\ excess', 'cents', n % 700)
  ),
  CASE n % 50 WHEN 0 THEN '' WHEN 1 THEN '\N' WHEN 2 THEN E'line one\nline two\r\n\\.\n' END
FROM generate_series(1, (150000 * :scale)::int) AS n;
CREATE INDEX invoices_user ON billing.invoices (user_id, issued);

CREATE MATERIALIZED VIEW billing.revenue_by_month AS
SELECT date_trunc('month', issued)::date AS month, count(*) AS invoices, sum(total_cents) AS cents
FROM billing.invoices GROUP BY 1;
CREATE UNIQUE INDEX revenue_by_month_month ON billing.revenue_by_month (month);

CREATE VIEW billing.big_spenders AS
SELECT u.email, sum(i.total_cents) AS cents FROM billing.invoices i JOIN users u ON u.id = i.user_id
GROUP BY u.email HAVING sum(i.total_cents) > 100000;

-- What happened, by month ---------------------------------------------------------------------------------------------

CREATE TABLE telemetry.events (
  id bigint NOT NULL,
  at timestamptz NOT NULL,
  kind text NOT NULL,
  payload jsonb NOT NULL,
  PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
SELECT format(
  'CREATE TABLE telemetry.events_%s PARTITION OF telemetry.events FOR VALUES FROM (%L) TO (%L)',
  to_char(month, 'YYYY_MM'), month, month + interval '1 month'
) FROM generate_series(timestamptz '2025-01-01', timestamptz '2025-12-01', interval '1 month') AS month \gexec
CREATE TABLE telemetry.events_other PARTITION OF telemetry.events DEFAULT;
INSERT INTO telemetry.events
SELECT
  n,
  timestamptz '2025-01-01 00:00:00Z' + n * (interval '364 days' / (420000 * :scale)::int),
  (ARRAY['login', 'deploy', 'alert', 'backup', 'invoice'])[1 + n % 5],
  jsonb_build_object(
    'request', md5(n::text),
    'trace', md5((n * 7)::text) || md5((n * 13)::text),
    'ip', format('192.0.2.%s', n % 256),
    'ms', round((random() * 900)::numeric, 3),
    'path', format('/v1/servers/%s/actions?dry=%s', n % 20000, n % 2),
    'agent', 'curl/8.5 (x86_64-pc-linux-gnu) "quoted" \ back'
  )
FROM generate_series(1, (420000 * :scale)::int) AS n;
CREATE INDEX events_kind ON telemetry.events (kind, at);

CREATE TABLE telemetry.metrics (
  server_id int NOT NULL,
  at timestamptz NOT NULL,
  cpu real NOT NULL,
  load double precision NOT NULL,
  bytes bigint
);
INSERT INTO telemetry.metrics
SELECT n % 5000, timestamptz '2026-01-01 00:00:00Z' + n * interval '3 seconds', random() * 100, random() * 16,
  CASE WHEN n % 11 > 0 THEN (random() * 1e12)::bigint END
FROM generate_series(1, (600000 * :scale)::int) AS n;
CREATE INDEX metrics_at ON telemetry.metrics USING brin (at);
CREATE UNLOGGED TABLE telemetry.sessions (token uuid PRIMARY KEY, payload bytea);
INSERT INTO telemetry.sessions SELECT md5('s' || n)::uuid, decode(md5(n::text), 'hex') FROM generate_series(1, 500) AS n;

-- Names that somebody thought of on a Friday ---------------------------------------------------------------------------

CREATE TABLE "Order Items" ("Nr." int PRIMARY KEY, "price €" numeric NOT NULL, "what's ""it""" text, "select" boolean);
INSERT INTO "Order Items" SELECT n, n * 1.19, 'item; DROP TABLE users; -- ' || n, n % 2 = 0 FROM generate_series(1, 5000) AS n;
CREATE TABLE "Büro & Söhne"."semi;colon" (id int PRIMARY KEY, "ünï ☃" text);
INSERT INTO "Büro & Söhne"."semi;colon" SELECT n, repeat('☃', n % 7) FROM generate_series(1, 300) AS n;
CREATE TABLE "Büro & Söhne"."tab	le" ("a	b" text);
INSERT INTO "Büro & Söhne"."tab	le" VALUES (E'\t'), (E'\n'), (E'\\.'), ('\N'), (NULL), ('');
CREATE TABLE "Büro & Söhne"."$(reboot) `x` ../'up'" (id int);
INSERT INTO "Büro & Söhne"."$(reboot) `x` ../'up'" SELECT generate_series(1, 42);
CREATE TABLE "COPY" ("FROM" text, stdin text);
INSERT INTO "COPY" VALUES ('COPY public.users (id) FROM stdin;', E'1\n2\n\\.');
CREATE TABLE "no columns" ();
INSERT INTO "no columns" DEFAULT VALUES;
INSERT INTO "no columns" DEFAULT VALUES;
CREATE TABLE empty_on_purpose (id int GENERATED BY DEFAULT AS IDENTITY, at timestamptz DEFAULT now());
COMMENT ON TABLE "Order Items" IS 'COPY "Order Items" FROM stdin;';

-- Code ----------------------------------------------------------------------------------------------------------------

-- Its body has a line that looks like the beginning of a table's data in a dump, and one that looks like its end.
CREATE FUNCTION import_help() RETURNS text LANGUAGE plpgsql AS $body$
BEGIN
  RETURN 'To import users, type:
COPY public.users (id, email) FROM stdin;
1	nobody@mail.example
\.
';
END
$body$;

CREATE TABLE audit (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), what text NOT NULL);
CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO audit (what) VALUES (format('%s on %I', TG_OP, TG_TABLE_NAME));
  RETURN NULL;
END $$;
CREATE TRIGGER servers_audit AFTER INSERT OR UPDATE OR DELETE ON servers FOR EACH STATEMENT EXECUTE FUNCTION note_change();
UPDATE servers SET state = 'running' WHERE hostname = 'web-1.host.example';
CREATE FUNCTION cents(amount numeric) RETURNS bigint IMMUTABLE LANGUAGE sql RETURN round(amount * 100)::bigint;

-- Pictures of passports, as large objects -----------------------------------------------------------------------------

SELECT lo_from_bytea(0, decode(repeat(md5(n::text), 4096), 'hex')) FROM generate_series(1, 40) AS n \g /dev/null

-- Rights --------------------------------------------------------------------------------------------------------------

GRANT USAGE ON SCHEMA billing, telemetry TO hostmaster_app, hostmaster_readonly;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, billing TO hostmaster_app;
GRANT SELECT ON ALL TABLES IN SCHEMA public, billing, telemetry TO hostmaster_readonly;
GRANT UPDATE (full_name) ON users TO hostmaster_readonly;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO hostmaster_readonly;
RESET ROLE;
ANALYZE;
