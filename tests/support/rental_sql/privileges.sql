SET ROLE rental_owner;
GRANT USAGE ON SCHEMA rental TO rental_clerk WITH GRANT OPTION;
GRANT USAGE, CREATE ON SCHEMA "Back Office" TO PUBLIC;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA rental TO rental_clerk;
GRANT ALL ON rental.film TO rental_clerk WITH GRANT OPTION;
REVOKE INSERT ON rental.store FROM rental_owner;
REVOKE ALL ON rental.no_rows FROM rental_owner, rental_clerk;
GRANT SELECT (first_name, last_name), UPDATE (picture) ON rental.staff TO PUBLIC;
GRANT SELECT ("Who"), INSERT ("Who", "What"), REFERENCES ("What") ON "Back Office"."Secret" TO rental_clerk;
GRANT USAGE ON SEQUENCE rental.ticket TO rental_clerk;
GRANT SELECT, UPDATE ON SEQUENCE rental.countdown TO "Böse ""Rolle"" %s \ 'x'" WITH GRANT OPTION;
REVOKE EXECUTE ON FUNCTION rental.slug(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rental.slug(text) TO rental_clerk;
GRANT EXECUTE ON PROCEDURE rental.settle(bigint, integer) TO rental_clerk;
REVOKE ALL ON PROCEDURE rental.clean(integer) FROM PUBLIC, rental_owner;
REVOKE USAGE ON TYPE rental.mpaa_rating FROM PUBLIC;
GRANT USAGE ON TYPE rental.mpaa_rating TO rental_clerk;
GRANT USAGE ON DOMAIN rental.year TO "Böse ""Rolle"" %s \ 'x'";
GRANT USAGE ON LANGUAGE plpgsql_too TO rental_clerk;
GRANT SELECT ON rental.sales, rental.far_film, "Back Office"."of actors" TO "Böse ""Rolle"" %s \ 'x'";

-- Granted on by one who was granted it.
SET ROLE rental_clerk;
GRANT SELECT ON rental.film TO "Böse ""Rolle"" %s \ 'x'";
GRANT USAGE ON SCHEMA rental TO "Böse ""Rolle"" %s \ 'x'";
GRANT USAGE ON FOREIGN SERVER far TO "Böse ""Rolle"" %s \ 'x'";

RESET ROLE;
-- Of PostgreSQL's own objects, and an extension's.
GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_waldir() TO rental_clerk;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision) FROM PUBLIC;
GRANT SELECT (rolname, rolpassword) ON pg_catalog.pg_authid TO rental_clerk;
REVOKE EXECUTE ON FUNCTION ext.show_limit() FROM PUBLIC;
REVOKE CREATE ON SCHEMA "Back Office" FROM rental_owner;

ALTER DEFAULT PRIVILEGES FOR ROLE rental_owner IN SCHEMA rental GRANT SELECT ON TABLES TO rental_clerk;
ALTER DEFAULT PRIVILEGES FOR ROLE rental_owner IN SCHEMA "odd.na""me" GRANT ALL ON SEQUENCES TO "Böse ""Rolle"" %s \ 'x'";
ALTER DEFAULT PRIVILEGES FOR ROLE rental_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE "Böse ""Rolle"" %s \ 'x'" GRANT USAGE ON SCHEMAS TO rental_clerk WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE rental_owner REVOKE USAGE ON TYPES FROM PUBLIC;
