SET ROLE rental_owner;
CREATE COLLATION rental.german (provider = icu, locale = 'de-u-co-phonebk', deterministic = false);
CREATE TABLE rental.sorted (name text COLLATE rental.german PRIMARY KEY);
INSERT INTO rental.sorted VALUES ('Öl'), ('Ofen'), ('Ostern');
