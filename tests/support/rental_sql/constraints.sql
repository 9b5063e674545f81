SET ROLE rental_owner;

-- Indexes of every kind.
ALTER TABLE rental.film ADD CONSTRAINT film_pkey PRIMARY KEY (film_id) WITH (fillfactor = 70);
CREATE INDEX film_fulltext ON rental.film USING gin (fulltext) WITH (fastupdate = off);
CREATE INDEX film_title_trgm ON rental.film USING gist (title ext.gist_trgm_ops (siglen = 32));
CREATE INDEX film_details ON rental.film USING gin (details jsonb_path_ops);
CREATE INDEX film_features ON rental.film USING gin (special_features);
CREATE INDEX film_length ON rental.film (length DESC NULLS LAST, title COLLATE rental.plain text_pattern_ops);
CREATE INDEX film_length_hash ON rental.film USING hash (length);
CREATE INDEX film_lower ON rental.film (lower(title), (release_year + 1)) INCLUDE (rating, rental_rate);
CREATE INDEX film_cheap ON rental.film (film_id) WHERE rental_rate < 1.00 AND title IS NOT NULL;
CREATE UNIQUE INDEX film_code ON rental.film (code) NULLS NOT DISTINCT;
CREATE INDEX film_brin ON rental.film USING brin (film_id int4_minmax_multi_ops) WITH (pages_per_range = 4, autosummarize);
CREATE INDEX film_bloom ON rental.film USING bloom (film_id, language_id) WITH (length = 80, col1 = 2);
CREATE INDEX customer_email ON rental.customer ((email::text));
CREATE INDEX customer_name ON rental.customer USING spgist (last_name);
CREATE INDEX "customer's ""hstore""" ON rental.customer USING gist (attributes);
CREATE UNIQUE INDEX staff_name ON rental.staff (first_name, last_name);
CREATE INDEX film_expression ON rental.film (rental.slug(title), (film_id % 10));
ALTER INDEX rental.film_expression ALTER COLUMN 2 SET STATISTICS 500;
ALTER TABLE rental.staff ADD CONSTRAINT staff_named UNIQUE NULLS NOT DISTINCT (staff_id, first_name) DEFERRABLE;
ALTER TABLE rental.inventory CLUSTER ON inventory_pkey;
CREATE UNIQUE INDEX texts_identity ON rental.texts (id);
ALTER TABLE rental.texts REPLICA IDENTITY USING INDEX texts_identity;
ALTER TABLE rental.film_actor REPLICA IDENTITY FULL;
ALTER TABLE rental.category REPLICA IDENTITY NOTHING;

-- Indexes of partitioned tables: made there, attached, and one that is not complete.
ALTER TABLE rental.payment ADD CONSTRAINT payment_pkey PRIMARY KEY (payment_id, paid_at, store_id, customer_id);
CREATE INDEX "older index" ON rental.payment_2026_01 (amount);
CREATE INDEX payment_amount ON rental.payment (amount);
CREATE INDEX payment_note ON ONLY rental.payment (note);
CREATE INDEX payment_note_01 ON rental.payment_2026_01 (note);
ALTER INDEX rental.payment_note ATTACH PARTITION rental.payment_note_01;
CREATE INDEX payment_only_rest ON rental.payment_rest (customer_id);

ALTER TABLE rental.loan ADD CONSTRAINT once_at_a_time
    EXCLUDE USING gist (inventory_id WITH =, during WITH &&) WHERE (loan_id > 0) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE rental.loan ADD CONSTRAINT reference_hash EXCLUDE USING hash (reference WITH =);

-- Foreign keys.
ALTER TABLE rental.store ADD CONSTRAINT store_chief FOREIGN KEY (chief_id)
    REFERENCES rental.staff DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE rental.staff ADD CONSTRAINT staff_store FOREIGN KEY (store_id)
    REFERENCES rental.store ON UPDATE CASCADE ON DELETE RESTRICT;
ALTER TABLE rental.staff ADD CONSTRAINT "staff's boss" FOREIGN KEY (boss_id)
    REFERENCES rental.staff (staff_id) ON DELETE SET NULL;
ALTER TABLE rental.category ADD FOREIGN KEY (parent_id) REFERENCES rental.category DEFERRABLE;
ALTER TABLE rental.film ADD FOREIGN KEY (language_id) REFERENCES rental.language;
ALTER TABLE rental.film_actor ADD FOREIGN KEY (actor_id) REFERENCES rental.actor ON DELETE CASCADE;
ALTER TABLE rental.film_actor ADD FOREIGN KEY (film_id) REFERENCES rental.film;
ALTER TABLE rental.film_category ADD FOREIGN KEY (category_id) REFERENCES rental.category MATCH FULL;
ALTER TABLE rental.inventory ADD FOREIGN KEY (film_id) REFERENCES rental.film;
ALTER TABLE rental.loan ADD CONSTRAINT loan_copy FOREIGN KEY (store_id, inventory_id)
    REFERENCES rental.inventory (store_id, inventory_id) ON DELETE SET DEFAULT (inventory_id);
ALTER TABLE rental.loan ADD FOREIGN KEY (customer_id) REFERENCES rental.customer;
ALTER TABLE rental.queue ADD CONSTRAINT queue_film FOREIGN KEY (film_id) REFERENCES rental.film NOT VALID;
ALTER TABLE rental.payment ADD CONSTRAINT payer FOREIGN KEY (customer_id) REFERENCES rental.customer;
ALTER TABLE rental.refund ADD CONSTRAINT refunded FOREIGN KEY (payment_id, paid_at, store_id, customer_id)
    REFERENCES rental.payment (payment_id, paid_at, store_id, customer_id) DEFERRABLE;

-- Checks, some of which the rows break.
ALTER TABLE rental.careless_text ADD CONSTRAINT of_late CHECK (n > 0) NOT VALID;
ALTER DOMAIN rental.sloppy ADD CONSTRAINT of_late CHECK (VALUE <> '') NOT VALID;
ALTER TABLE rental.film ADD CONSTRAINT "with 'quotes' and %" CHECK (title <> E'\\''' AND rental_rate > 0.5::numeric);
ALTER TABLE rental.customer ADD CONSTRAINT zips CHECK (rental.check_zip((address).zip));

-- Statistics.
CREATE STATISTICS rental.film_counts (ndistinct) ON release_year, language_id FROM rental.film;
CREATE STATISTICS "Back Office"."depends On" (dependencies, mcv) ON rating, rental_rate FROM rental.film;
CREATE STATISTICS rental.film_words ON (lower(title)), (length::integer % 10) FROM rental.film;
ALTER STATISTICS rental.film_counts SET STATISTICS 77;
ALTER TABLE rental.film ALTER COLUMN title SET STATISTICS 333;
ALTER TABLE rental.film ALTER COLUMN release_year SET (n_distinct = -0.5, n_distinct_inherited = 10);
