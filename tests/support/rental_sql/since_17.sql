-- What 16 and 17 brought.
CREATE COLLATION rental.built_in (provider = builtin, locale = 'C.UTF-8');
CREATE FUNCTION rental.on_login() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER entered ON login EXECUTE FUNCTION rental.on_login();
ALTER EVENT TRIGGER entered ENABLE ALWAYS;

SET ROLE rental_owner;
CREATE TABLE rental.numbered (id integer GENERATED ALWAYS AS IDENTITY, part integer) PARTITION BY LIST (part);
CREATE TABLE rental.numbered_1 PARTITION OF rental.numbered FOR VALUES IN (1);
INSERT INTO rental.numbered (part) SELECT 1 FROM generate_series(1, 5);
CREATE TABLE rental.other_root (id integer) PARTITION BY LIST (id) USING heap_too;
CREATE TABLE rental.shortened (a integer, b text STORAGE EXTERNAL);
ALTER TABLE rental.shortened ADD CONSTRAINT shortened_a EXCLUDE USING btree (a WITH =);
ALTER TABLE rental.shortened ALTER COLUMN b SET STATISTICS 0;
GRANT MAINTAIN ON rental.film TO rental_clerk;
GRANT ALL ON rental.shortened TO rental_clerk;
CREATE VIEW rental.json_views AS
    SELECT j.* FROM rental.film, JSON_TABLE(details, '$.nested[*]' COLUMNS (n FOR ORDINALITY, v text PATH '$')) j;
RESET ROLE;
CREATE SUBSCRIPTION newer CONNECTION 'host=127.0.0.1 port=1 dbname=x user=u password=s3cret' PUBLICATION p
    WITH (connect = false, slot_name = NONE, streaming = parallel, origin = none, password_required = false, failover = true);
