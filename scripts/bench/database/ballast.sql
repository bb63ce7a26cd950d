-- Bulk for the memory measurement: text that compresses two to one, made as fast as it can be written.
SET synchronous_commit = off;
INSERT INTO ballast
SELECT n, (SELECT string_agg(encode(sha512((n * 16 + piece)::text::bytea), 'hex'), ' ') FROM generate_series(1, 14) AS piece)
FROM generate_series(:first, :last) AS n;
