SET ROLE rental_owner;
CREATE TABLE rental.virtually (
    a integer CONSTRAINT "a is needed" NOT NULL,
    b integer GENERATED ALWAYS AS (a * 2) VIRTUAL,
    c text CONSTRAINT never CHECK (c <> '') NOT ENFORCED,
    d integer
);
INSERT INTO rental.virtually (a, c) VALUES (1, ''), (2, 'x');
ALTER TABLE rental.virtually ADD CONSTRAINT "d of late" NOT NULL d NOT VALID;
ALTER TABLE rental.virtually ADD CONSTRAINT to_language FOREIGN KEY (a) REFERENCES rental.language NOT ENFORCED;
COMMENT ON CONSTRAINT "a is needed" ON rental.virtually IS 'not null';
CREATE TABLE rental.prices (
    film_id integer, valid daterange NOT NULL, price numeric, PRIMARY KEY (film_id, valid WITHOUT OVERLAPS));
INSERT INTO rental.prices VALUES (1, '[2026-01-01,2026-02-01)', 1), (1, '[2026-02-01,)', 2);
CREATE TABLE rental.offers (
    offer integer, film_id integer, valid daterange,
    FOREIGN KEY (film_id, PERIOD valid) REFERENCES rental.prices (film_id, PERIOD valid));
INSERT INTO rental.offers VALUES (1, 1, '[2026-01-10,2026-02-10)');
CREATE TABLE rental.parent_nulls (a integer NOT NULL NO INHERIT, b integer NOT NULL);
CREATE TABLE rental.child_nulls () INHERITS (rental.parent_nulls);
RESET ROLE;
CREATE PUBLICATION generated FOR TABLE rental.actor WITH (publish = 'insert', publish_generated_columns = stored);
ALTER DEFAULT PRIVILEGES FOR ROLE rental_owner GRANT SELECT ON LARGE OBJECTS TO rental_clerk;
