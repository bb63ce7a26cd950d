-- The bench's database: what a web application has after some years. psql reads this before the rows.
\set ON_ERROR_STOP on

CREATE TABLE users (
  id bigint NOT NULL,
  email text NOT NULL,
  full_name text NOT NULL,
  password_hash text NOT NULL,
  preferences jsonb NOT NULL,
  created_at timestamptz NOT NULL,
  last_login timestamptz
);
CREATE TABLE events (
  id uuid NOT NULL,
  user_id bigint NOT NULL,
  at timestamptz NOT NULL,
  kind text NOT NULL,
  source inet NOT NULL,
  payload jsonb NOT NULL
);
CREATE TABLE messages (
  id bigint NOT NULL,
  sender bigint NOT NULL,
  receiver bigint NOT NULL,
  sent_at timestamptz NOT NULL,
  subject text NOT NULL,
  body text NOT NULL
);
CREATE TABLE invoices (
  number bigint NOT NULL,
  user_id bigint NOT NULL,
  issued date NOT NULL,
  total numeric(12, 2) NOT NULL,
  lines jsonb NOT NULL,
  note text
);

CREATE FUNCTION bench_words(seed bigint, count int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT string_agg(
    (ARRAY['the','server','backup','of','and','customer','invoice','to','domain','in','was','mail','request','is','for',
      'error','please','restore','not','on','disk','update','with','account','network','we','password','have','address',
      'your','order','time','please','node','service','hosting','cannot','today','certificate','renewed','failed','since',
      'cluster','morning','thanks','support','ticket','regards','traffic','limit','reached','plan','upgrade','monthly',
      'payment','declined','card','expired','migrated','zone','record','propagation','hours','waiting'])
      [1 + (hashint8(seed * 131 + word) & 63)]
    || CASE WHEN hashint8(seed * 17 + word) & 7 = 0 THEN ' ' || (hashint8(seed + word) & 65535)::text ELSE '' END, ' ')
  FROM generate_series(1, count) AS word
$$;
