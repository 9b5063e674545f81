-- The same objects under every name that programs trip over.
GRANT USAGE ON SCHEMA rental TO "Böse ""Rolle"" %s \ 'x'";
SET ROLE "Böse ""Rolle"" %s \ 'x'";
DO $$
DECLARE
    hostile text;
BEGIN
    FOREACH hostile IN ARRAY ARRAY[
        'quote"d', '''', 'per%cent %s %I %(x)s', 'back\slash\n', E'new\nline\n\\.\n', E'tab\tcr\r',
        'select', 'TABLE', 'user', '-d', '--file=x', 'dbname=x', 'a.b', '*.?', '$1', ' blank ', 'x; DROP TABLE y; --',
        '/* x', '../../etc/passwd', 'postgresql://x', '🎬', 'MixedCase', '(a, b)', '1', '\.', ':x :''y''', '$tag$ x $tag$', '$(touch /tmp/x)', '`id`', E'\x1B[31mred',
        repeat('ü', 31) || '1', repeat('日', 21), repeat('x', 62) || '"'
    ] LOOP
        EXECUTE format('CREATE TABLE "odd.na""me".%1$I (%1$I integer PRIMARY KEY, "order by" text)', hostile);
        EXECUTE format('INSERT INTO "odd.na""me".%1$I VALUES (1, %1$L), (2, NULL)', hostile);
        EXECUTE format('COMMENT ON TABLE "odd.na""me".%1$I IS %1$L', hostile);
    END LOOP;
    FOREACH hostile IN ARRAY ARRAY['q"x', E'n\nl\n\\.\n', 'p%s \ ''', '-d=', 'order'] LOOP
        EXECUTE format('CREATE TYPE "odd.na""me".%I AS ENUM (%L)', 't' || hostile, hostile);
        EXECUTE format('CREATE SEQUENCE "odd.na""me".%I', 's' || hostile);
        EXECUTE format('CREATE FUNCTION "odd.na""me".%1$I(%1$I integer) RETURNS %2$I.%3$I LANGUAGE sql AS %4$L',
            hostile, 'odd.na"me', 't' || hostile, format('SELECT %L::%I.%I', hostile, 'odd.na"me', 't' || hostile));
        EXECUTE format('CREATE TABLE "odd.na""me".%3$I (%1$I "odd.na""me".%2$I DEFAULT %1$L, b integer,
            CONSTRAINT %4$I CHECK (b > 0))', hostile, 't' || hostile, 'of' || hostile, 'check' || hostile);
        EXECUTE format('INSERT INTO "odd.na""me".%I VALUES (DEFAULT, 1)', 'of' || hostile);
        EXECUTE format('CREATE INDEX %I ON "odd.na""me".%I (%I)', 'i' || hostile, 'of' || hostile, hostile);
        EXECUTE format('CREATE VIEW "odd.na""me".%3$I AS SELECT %1$I, b AS %2$I FROM "odd.na""me".%2$I',
            hostile, 'of' || hostile, 'v' || hostile);
        EXECUTE format('COMMENT ON COLUMN "odd.na""me".%I.%I IS %L', 'of' || hostile, hostile, hostile);
    END LOOP;
END
$$;
