SET ROLE rental_owner;
CREATE TABLE rental.packed (id integer, body text COMPRESSION lz4);
INSERT INTO rental.packed SELECT i, repeat('packed ' || i, 3000) FROM generate_series(1, 5) i;
