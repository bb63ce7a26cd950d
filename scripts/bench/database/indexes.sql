-- Made after the rows, as a restore does it.
SET maintenance_work_mem = '512MB';
ALTER TABLE users ADD PRIMARY KEY (id);
ALTER TABLE events ADD PRIMARY KEY (id);
ALTER TABLE messages ADD PRIMARY KEY (id);
ALTER TABLE invoices ADD PRIMARY KEY (number);
CREATE UNIQUE INDEX users_email ON users (email);
CREATE INDEX events_user ON events (user_id, at);
CREATE INDEX messages_receiver ON messages (receiver, sent_at);
CREATE INDEX invoices_user ON invoices (user_id, issued);
ALTER TABLE invoices ADD FOREIGN KEY (user_id) REFERENCES users;
DROP FUNCTION bench_words;
VACUUM (ANALYZE);
