-- Schemas, extensions, and what only a superuser can make.
ALTER SCHEMA public OWNER TO rental_owner;
REVOKE USAGE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO rental_clerk;

CREATE SCHEMA rental AUTHORIZATION rental_owner;
CREATE SCHEMA "Back Office" AUTHORIZATION rental_owner;
CREATE SCHEMA "odd.na""me" AUTHORIZATION "Böse ""Rolle"" %s \ 'x'";
CREATE SCHEMA ext;
CREATE SCHEMA empty;
GRANT CREATE, USAGE ON SCHEMA "odd.na""me", ext TO rental_owner;

CREATE EXTENSION hstore SCHEMA ext;
CREATE EXTENSION pg_trgm SCHEMA ext;
CREATE EXTENSION btree_gist SCHEMA ext;
CREATE EXTENSION bloom SCHEMA ext;
CREATE EXTENSION postgres_fdw SCHEMA ext;
CREATE EXTENSION file_fdw SCHEMA ext;
CREATE EXTENSION citext SCHEMA public;
CREATE EXTENSION ltree SCHEMA "Back Office";
CREATE EXTENSION amcheck SCHEMA public;
CREATE EXTENSION pageinspect SCHEMA public;
COMMENT ON EXTENSION hstore IS 'our own words';

CREATE ACCESS METHOD heap_too TYPE TABLE HANDLER heap_tableam_handler;
CREATE ACCESS METHOD gist_too TYPE INDEX HANDLER gisthandler;
-- With functions of its own: pg_dump takes a language for an extension when it is built on another's.
CREATE FUNCTION ext.too_call() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION ext.too_inline(internal) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION ext.too_check(oid) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE TRUSTED LANGUAGE plpgsql_too HANDLER ext.too_call INLINE ext.too_inline VALIDATOR ext.too_check;
ALTER LANGUAGE plpgsql_too OWNER TO rental_owner;

CREATE FOREIGN DATA WRAPPER dummy OPTIONS (debug 'true', "odd name" 'it''s');
CREATE FOREIGN DATA WRAPPER "dummy Too" NO HANDLER NO VALIDATOR;
GRANT USAGE ON FOREIGN DATA WRAPPER dummy, postgres_fdw, file_fdw TO rental_owner;
CREATE SERVER far TYPE 'test' VERSION '1.0' FOREIGN DATA WRAPPER dummy
    OPTIONS (host 'nowhere.example', "pass word" 'a=b, ''c''');
-- Port 1 of this machine: refused at once.
CREATE SERVER "un.reachable" FOREIGN DATA WRAPPER postgres_fdw
    OPTIONS (host '127.0.0.1', port '1', dbname 'nothing');
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
ALTER SERVER far OWNER TO rental_owner;
ALTER SERVER "un.reachable" OWNER TO rental_owner;
CREATE USER MAPPING FOR PUBLIC SERVER far;
CREATE USER MAPPING FOR rental_clerk SERVER far OPTIONS ("user" 'bob', password 's3''cret');
CREATE USER MAPPING FOR "Böse ""Rolle"" %s \ 'x'" SERVER "un.reachable"
    OPTIONS ("user" 'evil', password 'x');
GRANT USAGE ON FOREIGN SERVER far TO rental_clerk WITH GRANT OPTION;

-- A table of a known size that changes nothing here; its content is never dumped.
CREATE FOREIGN TABLE rental.of_file (line text) SERVER files
    OPTIONS (filename '/dev/null', format 'text');
ALTER FOREIGN TABLE rental.of_file OWNER TO rental_owner;
