SET ROLE rental_owner;
CREATE TABLE rental.documents (id integer PRIMARY KEY, content xml DEFAULT '<none/>');
INSERT INTO rental.documents VALUES (1, '<a b="1">x &amp; y</a>'), (2, 'only text'), (3, NULL),
    (4, XMLPARSE(DOCUMENT '<?xml version="1.0"?><!DOCTYPE d><d>é</d>'));
