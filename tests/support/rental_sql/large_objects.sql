SELECT lo_from_bytea(770000 + i, CASE i % 4 WHEN 0 THEN '' ELSE sha256(i::text::bytea) || convert_to(repeat('\.' || chr(10), i), 'UTF8') END)
    FROM generate_series(0, 17) i;
-- A few pages of its table, with a hole.
SELECT lo_create(770100);
SELECT lo_put(770100, 0, 'begin'), lo_put(770100, 20000, 'end');
-- 3 MB that do not compress.
SELECT lo_from_bytea(770200, string_agg(sha256(i::text::bytea), '' ORDER BY i)) FROM generate_series(1, 98304) i;
DO $$
BEGIN
    FOR i IN 770004..770008 LOOP
        EXECUTE format('ALTER LARGE OBJECT %s OWNER TO rental_owner', i);
    END LOOP;
END
$$;
ALTER LARGE OBJECT 770009 OWNER TO rental_clerk;
ALTER LARGE OBJECT 770010 OWNER TO "Böse ""Rolle"" %s \ 'x'";
GRANT SELECT, UPDATE ON LARGE OBJECT 770001, 770002, 770200 TO rental_clerk;
GRANT SELECT ON LARGE OBJECT 770002 TO PUBLIC, "Böse ""Rolle"" %s \ 'x'";
REVOKE ALL ON LARGE OBJECT 770005 FROM rental_owner;
COMMENT ON LARGE OBJECT 770001 IS E'it''s "large" \\ %s\n-- not';
COMMENT ON LARGE OBJECT 770200 IS '3 MB';
