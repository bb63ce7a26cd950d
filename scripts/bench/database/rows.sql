-- Rows from :first to :last of every table; several sessions load a slice each. Rows follow from their numbers alone, so
-- every run has the same ones.
SET synchronous_commit = off;

INSERT INTO users
SELECT
  n,
  format('%s.%s@mail%s.example', left(md5(n::text), 9), n, n % 97),
  (ARRAY['Ada', 'Zoë', 'Łukasz', 'Grace', 'Noor', 'Kenji', 'Maria', 'Sören'])[1 + (hashint8(n) & 7)] || ' ' ||
    (ARRAY['Lovelace', 'O''Brien', 'Żak', 'Hopper', 'Haddad', '田中', 'García', 'Lindqvist'])[1 + (hashint8(n * 3) & 7)],
  '$2b$12$' || left(encode(sha256(n::text::bytea), 'base64'), 43),
  jsonb_build_object('locale', (ARRAY['en', 'de', 'pl', 'ja'])[1 + n % 4], 'newsletter', n % 3 = 0, 'theme', 'dark',
    'columns', jsonb_build_array('name', 'state', n % 40)),
  timestamptz '2016-01-01 00:00:00Z' + n * interval '97 seconds',
  CASE WHEN n % 5 > 0 THEN timestamptz '2026-01-01 00:00:00Z' + n * interval '31 seconds' END
FROM generate_series(:first, :last) AS n WHERE n % 8 = 0;

INSERT INTO events
SELECT
  md5(n::text)::uuid,
  8 * (1 + (hashint8(n) & 1048575) % (:total / 8)),
  timestamptz '2025-01-01 00:00:00Z' + n * interval '7.3 seconds',
  (ARRAY['login', 'deploy', 'alert', 'backup', 'invoice', 'logout', 'restart', 'resize'])[1 + (hashint8(n * 7) & 7)],
  inet '10.0.0.0' + (hashint8(n * 5) & 16777215),
  jsonb_build_object(
    'request', md5('request' || n),
    'trace', md5('trace' || n),
    'status', (ARRAY[200, 200, 200, 201, 204, 302, 404, 500])[1 + (hashint8(n * 11) & 7)],
    'ms', round(((hashint8(n * 13) & 1048575) / 977.0)::numeric, 3),
    'path', format('/v1/servers/%s/actions?page=%s', hashint8(n * 17) & 65535, n % 40),
    'agent', (ARRAY['curl/8.5 (x86_64-pc-linux-gnu)', 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0',
      'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15',
      'hostmaster-cli/2.4'])[1 + (hashint8(n * 19) & 3)],
    'tags', jsonb_build_array('eu-' || n % 7, CASE WHEN n % 3 = 0 THEN 'retry' ELSE 'first' END)
  )
FROM generate_series(:first, :last) AS n;

INSERT INTO messages
SELECT
  n,
  8 * (1 + (hashint8(n * 23) & 1048575) % (:total / 8)),
  8 * (1 + (hashint8(n * 29) & 1048575) % (:total / 8)),
  timestamptz '2025-01-01 00:00:00Z' + n * interval '11 seconds',
  bench_words(n, 5),
  E'Hello,\n\n' || bench_words(n * 2, 30 + (hashint8(n) & 63)) || E'\n\n\tRegards\\Support'
FROM generate_series(:first, :last) AS n WHERE n % 4 = 0;

INSERT INTO invoices
SELECT
  n,
  8 * (1 + (hashint8(n * 37) & 1048575) % (:total / 8)),
  date '2018-01-01' + (n % 2900)::int,
  ((hashint8(n * 41) & 16777215) / 100.0)::numeric(12, 2),
  jsonb_build_array(
    jsonb_build_object('item', 'Server "M"', 'cents', hashint8(n * 43) & 65535, 'qty', 1 + n % 3),
    jsonb_build_object('item', E'Traffic \\ excess', 'cents', hashint8(n * 47) & 4095)
  ),
  CASE n % 50 WHEN 0 THEN '' WHEN 10 THEN E'line one\nline two\r\n\\.\n' END
FROM generate_series(:first, :last) AS n WHERE n % 5 = 0;
