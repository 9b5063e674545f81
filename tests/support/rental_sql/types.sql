SET ROLE rental_owner;

CREATE TYPE rental.mpaa_rating AS ENUM ('G', 'PG', 'PG-13', 'R', 'NC-17');
ALTER TYPE rental.mpaa_rating ADD VALUE 'unrated' BEFORE 'G';
CREATE TYPE rental."odd ""enum" AS ENUM ('it''s', '%s', 'back\slash', E'new\nline', '');
CREATE TYPE rental.empty_enum AS ENUM ();
CREATE TYPE rental.place AS (street text COLLATE "C", zip varchar(10), "the Point" point, tags text[]);
CREATE TYPE rental.nothing AS ();

CREATE DOMAIN rental.year AS integer
    CONSTRAINT year_check CHECK (VALUE >= 1901 AND VALUE <= 2155);
CREATE DOMAIN rental.amount AS numeric(10, 2) DEFAULT 0.00 NOT NULL
    CONSTRAINT positive CHECK (VALUE >= 0) CONSTRAINT "not too %s much" CHECK (VALUE < 1e6);
CREATE DOMAIN rental.years AS rental.year[] CHECK (cardinality(VALUE) < 10);
CREATE DOMAIN rental.email AS public.citext CHECK (VALUE OPERATOR(public.~) '@');
CREATE DOMAIN rental.sloppy AS text COLLATE "C";

-- The domain needs the function, and the function the domain.
CREATE DOMAIN rental.code AS text;
CREATE FUNCTION rental.is_code(text, taken rental.code[] DEFAULT NULL) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN length($1) BETWEEN 1 AND 20; END';
ALTER DOMAIN rental.code ADD CONSTRAINT looks_good CHECK (rental.is_code(VALUE));

CREATE FUNCTION rental.apart(timestamptz, timestamptz) RETURNS float8
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS 'SELECT pg_catalog.date_part(''epoch'', $1 - $2)';
CREATE TYPE rental.span AS RANGE (
    SUBTYPE = timestamptz, SUBTYPE_DIFF = rental.apart, MULTIRANGE_TYPE_NAME = rental.spans);
CREATE TYPE rental.text_range AS RANGE (SUBTYPE = text, COLLATION = "C");

RESET ROLE;
CREATE TYPE rental.shell;
ALTER TYPE rental.shell OWNER TO rental_owner;
-- A base type: integers under another name, with functions that the server itself has.
CREATE TYPE rental.minutes;
CREATE FUNCTION rental.minutes_in(cstring) RETURNS rental.minutes
    LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'int4in';
CREATE FUNCTION rental.minutes_out(rental.minutes) RETURNS cstring
    LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'int4out';
CREATE FUNCTION rental.minutes_recv(internal) RETURNS rental.minutes
    LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'int4recv';
CREATE FUNCTION rental.minutes_send(rental.minutes) RETURNS bytea
    LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'int4send';
CREATE TYPE rental.minutes (
    INPUT = rental.minutes_in, OUTPUT = rental.minutes_out,
    RECEIVE = rental.minutes_recv, SEND = rental.minutes_send,
    LIKE = integer, CATEGORY = 'N', DEFAULT = '90', DELIMITER = ';');
ALTER TYPE rental.minutes OWNER TO rental_owner;
CREATE FUNCTION rental.minutes_eq(rental.minutes, rental.minutes) RETURNS boolean
    LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'int4eq';
CREATE FUNCTION rental.minutes_ne(rental.minutes, rental.minutes) RETURNS boolean
    LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'int4ne';
CREATE FUNCTION rental.minutes_lt(rental.minutes, rental.minutes) RETURNS boolean
    LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'int4lt';
CREATE FUNCTION rental.minutes_le(rental.minutes, rental.minutes) RETURNS boolean
    LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'int4le';
CREATE FUNCTION rental.minutes_gt(rental.minutes, rental.minutes) RETURNS boolean
    LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'int4gt';
CREATE FUNCTION rental.minutes_ge(rental.minutes, rental.minutes) RETURNS boolean
    LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'int4ge';
CREATE FUNCTION rental.minutes_cmp(rental.minutes, rental.minutes) RETURNS integer
    LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'btint4cmp';
CREATE FUNCTION rental.minutes_hash(rental.minutes) RETURNS integer
    LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'hashint4';
CREATE FUNCTION rental.minutes_larger(rental.minutes, rental.minutes) RETURNS rental.minutes
    LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'int4larger';
CREATE OPERATOR rental.= (
    LEFTARG = rental.minutes, RIGHTARG = rental.minutes, FUNCTION = rental.minutes_eq,
    COMMUTATOR = OPERATOR(rental.=), NEGATOR = OPERATOR(rental.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE OPERATOR rental.<> (
    LEFTARG = rental.minutes, RIGHTARG = rental.minutes, FUNCTION = rental.minutes_ne,
    COMMUTATOR = OPERATOR(rental.<>), NEGATOR = OPERATOR(rental.=), RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE OPERATOR rental.< (
    LEFTARG = rental.minutes, RIGHTARG = rental.minutes, FUNCTION = rental.minutes_lt,
    COMMUTATOR = OPERATOR(rental.>), NEGATOR = OPERATOR(rental.>=), RESTRICT = scalarltsel);
CREATE OPERATOR rental.<= (
    LEFTARG = rental.minutes, RIGHTARG = rental.minutes, FUNCTION = rental.minutes_le,
    COMMUTATOR = OPERATOR(rental.>=), NEGATOR = OPERATOR(rental.>));
CREATE OPERATOR rental.> (
    LEFTARG = rental.minutes, RIGHTARG = rental.minutes, FUNCTION = rental.minutes_gt,
    COMMUTATOR = OPERATOR(rental.<), NEGATOR = OPERATOR(rental.<=));
CREATE OPERATOR rental.>= (
    LEFTARG = rental.minutes, RIGHTARG = rental.minutes, FUNCTION = rental.minutes_ge,
    COMMUTATOR = OPERATOR(rental.<=), NEGATOR = OPERATOR(rental.<));
CREATE OPERATOR FAMILY rental.of_minutes USING btree;
CREATE OPERATOR CLASS rental.by_minutes DEFAULT FOR TYPE rental.minutes
    USING btree FAMILY rental.of_minutes AS
    OPERATOR 1 rental.<, OPERATOR 2 rental.<=, OPERATOR 3 rental.=, OPERATOR 4 rental.>=,
    OPERATOR 5 rental.>, FUNCTION 1 rental.minutes_cmp(rental.minutes, rental.minutes);
CREATE OPERATOR CLASS rental.hashed_minutes DEFAULT FOR TYPE rental.minutes USING hash AS
    OPERATOR 1 rental.=, FUNCTION 1 rental.minutes_hash(rental.minutes);
CREATE OPERATOR FAMILY "Back Office"."no members" USING gist;
ALTER OPERATOR FAMILY rental.of_minutes USING btree OWNER TO rental_owner;
ALTER OPERATOR CLASS rental.by_minutes USING btree OWNER TO rental_owner;
CREATE AGGREGATE rental.longest(rental.minutes) (
    SFUNC = rental.minutes_larger, STYPE = rental.minutes, SORTOP = OPERATOR(rental.>),
    COMBINEFUNC = rental.minutes_larger, PARALLEL = SAFE);
CREATE CAST (rental.minutes AS integer) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (integer AS rental.minutes) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (rental.minutes AS text) WITH INOUT;
CREATE FUNCTION rental.as_interval(rental.minutes) RETURNS interval LANGUAGE sql IMMUTABLE STRICT
    AS 'SELECT pg_catalog.make_interval(mins => $1::integer)';
CREATE CAST (rental.minutes AS interval) WITH FUNCTION rental.as_interval(rental.minutes);

-- Collations, conversions, text search.
CREATE COLLATION rental.plain (provider = libc, locale = 'C');
CREATE COLLATION "Back Office"."Von C" FROM "C";
ALTER COLLATION rental.plain OWNER TO rental_owner;
CREATE CONVERSION rental.latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE DEFAULT CONVERSION "Back Office"."Latin 9" FOR 'LATIN9' TO 'UTF8' FROM iso8859_to_utf8;
ALTER CONVERSION rental.latin OWNER TO rental_owner;
CREATE TEXT SEARCH PARSER rental.parser (
    START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype,
    HEADLINE = prsd_headline);
CREATE TEXT SEARCH TEMPLATE rental.template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH DICTIONARY rental.words (TEMPLATE = rental.template, STOPWORDS = english, ACCEPT = false);
CREATE TEXT SEARCH DICTIONARY rental.stems (TEMPLATE = pg_catalog.snowball, LANGUAGE = german);
CREATE TEXT SEARCH CONFIGURATION rental.search (PARSER = rental.parser);
ALTER TEXT SEARCH CONFIGURATION rental.search
    ADD MAPPING FOR asciiword, word, hword WITH rental.words, rental.stems;
CREATE TEXT SEARCH CONFIGURATION "Back Office"."eng.lish" (COPY = pg_catalog.english);
ALTER TEXT SEARCH DICTIONARY rental.words OWNER TO rental_owner;
ALTER TEXT SEARCH CONFIGURATION rental.search OWNER TO rental_owner;
CREATE TRANSFORM FOR integer LANGUAGE sql (
    FROM SQL WITH FUNCTION prsd_lextype(internal), TO SQL WITH FUNCTION int4recv(internal));
