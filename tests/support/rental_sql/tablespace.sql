-- Objects in another tablespace.
GRANT CREATE ON TABLESPACE rental_space TO rental_owner;
SET ROLE rental_owner;
CREATE TABLE rental.spaced (id integer PRIMARY KEY USING INDEX TABLESPACE rental_space, body text) TABLESPACE rental_space;
INSERT INTO rental.spaced SELECT i, 'spaced ' || i FROM generate_series(1, 100) i;
CREATE INDEX spaced_body ON rental.spaced (body) TABLESPACE rental_space;
CREATE TABLE rental.spaced_parts (id integer) PARTITION BY LIST (id) TABLESPACE rental_space;
CREATE TABLE rental.spaced_part PARTITION OF rental.spaced_parts FOR VALUES IN (1);
CREATE INDEX spaced_parts_id ON rental.spaced_parts (id) TABLESPACE rental_space;
CREATE MATERIALIZED VIEW rental.spaced_view TABLESPACE rental_space AS SELECT count(*) FROM rental.spaced;
