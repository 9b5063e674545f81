SET ROLE rental_owner;
SELECT set_config('rental.scale', coalesce(nullif(current_setting('rental.scale', true), ''), '1'), false);

INSERT INTO rental.language (name, native) VALUES
    ('English', 'English'), ('Italian', 'italiano'), ('Japanese', '日本語'), ('German', 'Deutsch'), ('None', NULL);
INSERT INTO rental.category (name, parent_id, path) VALUES
    ('All', NULL, 'all'), ('Action', 5, 'all.action'), ('Comedy', 5, 'all.comedy'), ('Slapstick', 15, 'all.comedy.slapstick');
INSERT INTO rental.actor (first_name, last_name)
    SELECT chr(65 + i % 26) || 'ora', 'M''' || i FROM generate_series(1, 50) i;
INSERT INTO rental.store VALUES
    (1, 1, ROW('1 "Main" St, \ (east)', '0001', point(1, 2), ARRAY['a,b', NULL, '', '"']), '2001-02-03'),
    (2, 2, ROW(NULL, '', NULL, '{}'), '2002-03-04'), (3, 2, NULL, NULL);
INSERT INTO rental.staff VALUES
    (1, 1, NULL, 'Mike', E'O''Hill\\yer', 'Mike@example.com', sha256('a') || '\x00ff'::bytea, true, repeat('long note ', 3000)),
    (2, 2, 1, 'Jon', E'tab\there', NULL, '', true, ''), (3, 1, 1, '', NULL, 'x@y', NULL, false, NULL);
INSERT INTO rental.customer (store_id, first_name, last_name, email, address, attributes, create_date, balance)
    SELECT 1 + i % 2, 'First' || i, 'Last ' || i % 7, 'c' || i || '@Example.com',
        ROW(i || ' Road', lpad(i::text, 5, '0'), point(i, -i), ARRAY['t' || i % 3])::rental.place,
        CASE WHEN i % 5 > 0 THEN ext.hstore('n', nullif(i % 4, 0)::text) END,
        date '2026-01-01' + i % 90, (i * 1.25)::numeric::money
    FROM generate_series(1, 200 * current_setting('rental.scale')::integer) i;
INSERT INTO rental.film (title, description, release_year, language_id, length, rental_rate, replacement_cost,
        rating, special_features, details, code)
    SELECT 'Film "' || i || E'"\tof ' || chr(8364), CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE repeat('words ', i % 50) END,
        1990 + i % 30, 1 + i % 4, (60 + i % 90)::rental.minutes, 0.99 + i % 5, 10 + i % 20,
        (enum_range(NULL::rental.mpaa_rating))[1 + i % 6], ARRAY['Trailers', 'Deleted, "Scenes"', 'feature ' || i % 9],
        jsonb_build_object('n', i, 'nested', jsonb_build_array(i % 7, NULL, 'x"y')), 'F-' || i
    FROM generate_series(1, 200 * current_setting('rental.scale')::integer) i;
INSERT INTO rental.film_actor
    SELECT 1 + (i * 7) % 50, 1 + i % 200, nullif(i % 3, 0)::text FROM generate_series(1, 400) i ON CONFLICT DO NOTHING;
INSERT INTO rental.film_category SELECT i, 5 * (1 + i % 4) FROM generate_series(1, 200) i;
INSERT INTO rental.inventory (film_id, store_id)
    SELECT 1 + i % 200, 1 + i % 2 FROM generate_series(0, 399) i;
INSERT INTO rental.loan
    SELECT i, inv, 1 + (inv - 1) % 2, 1 + i % 200,
        rental.span(timestamptz '2026-01-01 12:00+00' + i * interval '30 h',
            CASE WHEN i % 10 > 0 THEN timestamptz '2026-01-01 12:00+00' + i * interval '30 h' + interval '1 d 2 h' END),
        CASE WHEN i % 9 > 0 THEN md5(i::text)::uuid END
    FROM generate_series(1, 600 * current_setting('rental.scale')::integer) i, LATERAL (SELECT 1 + i % 400 AS inv) which
    WHERE i % 10 > 0 OR i > 600 * current_setting('rental.scale')::integer - 400;
INSERT INTO rental.queue (place, film_id, before) SELECT i, i * 2, i - 1 FROM generate_series(1, 9) i;
INSERT INTO rental.payment
    SELECT i, 1 + i % 200, 1 + i % 3, 0.01 + i % 11, timestamptz '2026-01-03 00:00+00' + i % 100 * interval '1 d', 'note ' || i % 5
    FROM generate_series(1, 800 * current_setting('rental.scale')::integer) i;
INSERT INTO rental.payment_2026_02_a SELECT -1 + 100001 + i, 1, 1, 1, '2026-02-14 00:00+00' FROM generate_series(1, 3) i;
INSERT INTO rental.refund
    SELECT row_number() OVER (ORDER BY payment_id), payment_id, paid_at, store_id, customer_id
    FROM rental.payment WHERE payment_id % 50 = 0;
INSERT INTO rental.by_rating SELECT rating, film_id FROM rental.film UNION ALL SELECT NULL, -1;
INSERT INTO rental.measured_here SELECT date '2026-01-01' + i, i * i FROM generate_series(0, 30) i;
INSERT INTO rental.media SELECT i, 'media ' || i FROM generate_series(1, 5) i;
INSERT INTO rental.disc SELECT 100 + i, 'disc ' || i, i FROM generate_series(1, 5) i;
INSERT INTO rental.tape (media_id, label, metres) SELECT 200 + i, DEFAULT_LABEL, i / 7.0
    FROM generate_series(1, 5) i, (SELECT 'tape' AS DEFAULT_LABEL) l;
INSERT INTO rental.hybrid (media_id, label, sides, metres, extra) VALUES (300, NULL, 2, 'NaN', 'both');
INSERT INTO rental.typed VALUES ('Street', 'Z1', NULL, NULL), ('', 'Z2', '(0,-0)', '{{a,b},{c,d}}');
INSERT INTO rental.history SELECT '2026-01-01 00:00+00', l, ARRAY(SELECT c FROM rental.category c ORDER BY 1)
    FROM rental.language l;
-- Against constraints that are added, not valid, after them.
INSERT INTO rental.careless_text VALUES ('', -1), ('good', 1);
INSERT INTO rental.queue (place, film_id, before) VALUES (10, -99, 9);
INSERT INTO rental.no_columns SELECT FROM generate_series(1, 3);
INSERT INTO rental.no_columns_left SELECT FROM generate_series(1, 2);
INSERT INTO rental.only_generated SELECT FROM generate_series(1, 4);
INSERT INTO rental.scratch SELECT i, 'unlogged ' || i FROM generate_series(1, 20) i;
INSERT INTO rental.other_heap SELECT i, 'heap too ' || i FROM generate_series(1, 20) i;
-- Some values out of line and compressed, some out of line and not to be compressed.
INSERT INTO rental.wide SELECT i, repeat('wide ' || i, 20000),
        (SELECT string_agg(sha256((i || '/' || j)::bytea), '' ORDER BY j) FROM generate_series(1, 400 * (i % 4)) j)
    FROM generate_series(1, 8) i;
INSERT INTO rental.audit (tag, what) SELECT 'before', 'row ' || i FROM generate_series(1, 3) i;
INSERT INTO "Back Office"."Secret" VALUES ('rental_clerk', 'clerks'' business', 1), ('postgres', 'none of it', 9);

INSERT INTO rental.texts VALUES
    (1, NULL, NULL, NULL), (2, '', '', ''), (3, ' ', ' ', ' '), (4, '\N', '\N', '\N'), (5, 'NULL', 'null', 'nUll'),
    (6, E'\\.', E'\\.', E'\\.'), (7, E'\n\\.\n', E'\n', E'\r'), (8, E'tab\there', E'\t', E'\t\t'),
    (9, E'back\\slash\\\\', E'\\', E'\\\\'), (10, E'cr\rlf\r\nvt\x0Bff\x0Cbs\x08', E'\x01\x7F', E'\x1B'),
    (11, E'\\x41\\101\\t\\n', E'\\t', E'\\b'), (12, 'quote '' " ` $$ $1 %s %% {} ;', '''', '"'),
    (13, 'ünïcödé €uro 日本語 🎬 ' || U&'\FEFF\200B\0301', '日本語', '🎬'), (14, '-- comment /* x */', '--', '/*'),
    (15, repeat(E'\\\n', 500), repeat(E'\\', 12), NULL), (16, 'trailing blanks   ', 'x  ', 'x'),
    (17, repeat('🎬', 3000), NULL, ''), (18, E'\\connect nowhere\n\\! echo\n', E'\\q', E'\\d');
INSERT INTO rental.kinds (id, c_amount) VALUES (1, 0);
INSERT INTO rental.kinds VALUES (2,
    -32768, -9223372036854775808, 'NaN', 0.0000000001, 99900, 'NaN', '-Infinity', '-$92,233,720,368,547,758.08', true,
    '', '', '', '', '', '', '',
    '4713-01-01 BC', '00:00', '00:00:00+15:59', '4713-01-01 00:00 BC', '-infinity', '-178000000 years', '0',
    '(0,-0)', '{1,-1,0}', '[(0,0),(0,0)]', '((0,0),(0,0))', '[(0,0)]', '((0,0))', '<(0,0),0>',
    '0.0.0.0/0', '::/0', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00',
    B'00000000', B'', '', '', '00000000-0000-0000-0000-000000000000', ' { "b" : 1, "a" : 2, "a" : 3 } ', '{}', '$',
    'empty', '(,)', '(,)', 'empty', '{}', 'empty', '{}', 'empty',
    0, 'rental.film', 'rental.span', 'rental.slug(text)', 'rental_owner', '0/0', '1:1:', '0', '0', '0', '(0,1)',
    '{}', '{{1,2},{3,NULL}}', '{}', '{}', 'unrated', '{}', '', ROW(NULL, NULL, NULL, NULL), '{}',
    1901, '{}', 0, 0, '{}', '', '', '', '', ROW());
INSERT INTO rental.kinds VALUES (3,
    32767, 9223372036854775807, repeat('9', 1000)::numeric + 0.123456789, -9999999999999999999999999999.9999999999, -99900,
    3.4028235e38, 4.9406564584124654e-324, '$92,233,720,368,547,758.07', false,
    E'a\tb\\', E'\\200', E'\\.', E'\\N', E'tab\tnew\nline', 'na"me', '\x00010203ff5c0a0d09',
    'infinity', '24:00', '23:59:59.999999-15:59', '294276-12-31 23:59:59.999', '2026-03-29 01:59:59.999999+01',
    '-1 year -2 mons +3 days -04:05:06.789', '-3 4:05:06.78',
    '(1e300,-1e-300)', '{0.1,0.2,0.3}', '[(1,2),(3,4)]', '((3,4),(1,2))', '((0,0),(1,1),(2,0))', '((0,0),(1,1),(2,0))', '<(1,2),3>',
    '10.1.0.0/16', 'fe80::1/64', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
    B'10101010', B'1011', '''it''''s'':1A,2B \\\\back:3', '''a b'' & !c | d:*A <2> e', 'ffffffff-ffff-ffff-ffff-ffffffffffff',
    E'[1, "tab\\t", {"k":\nnull}]', '{"a": [1, 2.50, "\u00e9\\n", null, true], "": {"b\"": {}}}', '$."a b"[*] ? (@ > 1)',
    '[1,10)', '[-1.5,2.25]', '["2026-01-01 00:00+00","2026-06-01 12:34:56.789+00")', '[2026-01-01,)', '{[1,3),[5,9)}',
    '["2026-01-01 00:00+00",)', '{["2026-01-01 00:00+00","2026-01-02 00:00+00"),["2026-02-01 00:00+00",)}', '["a, ""b",c\\\\)',
    4294967295, '"odd.na""me"."-s"', 'text[]', 'pg_catalog.lower(text)', '"Böse ""Rolle"" %s \ ''x''"', 'FFFFFFFF/FFFFFFFF',
    '10:20:10,14,15', '4294967295', '18446744073709551615', '4294967295', '(4294967295,65535)',
    '[-2:0]={1,NULL,3}', '[0:1][5:6]={{1,2},{3,4}}', E'{NULL,"NULL","",",","\\"","\\\\","\n"}', E'{"\\\\x00","\\\\xff5c"}', 'NC-17',
    '{G,NULL,NC-17}', E'new\nline', ROW(E'a "b" (c), \\ d\n', NULL, '(1,2)', ARRAY['x,y', NULL]), ARRAY[ROW('s', 'z', NULL, NULL)::rental.place, NULL],
    2155, '{1901,2155}', 999999.99, 2147483647, '{1;NULL;-5}', 'a=>NULL, "b c"=>"d\"e"', 'CiText', 'Top.Science_1', 'cursor', NULL);
SELECT nextval('rental.ticket'), nextval('rental.countdown'), nextval('rental.countdown'), nextval('rental.careless');
SELECT setval('"odd.na""me"."-s"', -5, false);
SELECT setval('rental.customer_customer_id_seq', 1000000);
