GRANT rental_owner TO "Böse ""Rolle"" %s \ 'x'" WITH INHERIT FALSE, SET FALSE;
ALTER ROLE rental_owner BYPASSRLS;
