-- Run in the database postgres, and again without harm.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['rental_owner', 'rental_clerk', $n$Böse "Rolle" %s \ 'x'$n$] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I', wanted);
        END IF;
    END LOOP;
END
$$;
ALTER ROLE rental_owner NOSUPERUSER CREATEROLE CREATEDB LOGIN;
-- The password is 'clerk'; the verifier is written out so that it is the same everywhere.
ALTER ROLE rental_clerk LOGIN CONNECTION LIMIT 7 VALID UNTIL '2038-01-19 03:14:07+00' PASSWORD
    'SCRAM-SHA-256$4096:cmVudGFsLXNhbHQtMTYuLg==$tzk/ykqQJvGStZ4aJPxaR620L01eyi1qffJCShkpvKY=:BesKGAIFZ8YGU0R6co7OjlXJGUQ7ZFdBe4gui8HbQik=';
ALTER ROLE rental_clerk SET work_mem = '3MB';
ALTER ROLE rental_clerk SET "rental.greeting" = 'it''s "me" \ %s';
ALTER ROLE "Böse ""Rolle"" %s \ 'x'" NOLOGIN NOINHERIT;
COMMENT ON ROLE rental_clerk IS E'sells\n-- and \\ rents';
GRANT rental_clerk TO "Böse ""Rolle"" %s \ 'x'" WITH ADMIN OPTION;
GRANT SET ON PARAMETER log_min_messages TO rental_clerk;
