SET ROLE rental_owner;

CREATE VIEW rental.film_list AS
    SELECT f.film_id, f.title, l.name AS language, f.length::integer AS minutes, f.rating
    FROM rental.film f JOIN rental.language l USING (language_id);
-- Groups by a primary key: the view must wait for it, and so must all that builds upon the view.
CREATE VIEW rental.actor_films AS
    SELECT a.actor_id, a.full_name, count(fa.film_id) AS films
    FROM rental.actor a LEFT JOIN rental.film_actor fa USING (actor_id) GROUP BY a.actor_id;
CREATE VIEW rental.busy_actors (id, "Name", "how %s many") AS SELECT * FROM rental.actor_films WHERE films > 3;
CREATE RECURSIVE VIEW rental.category_tree (category_id, name, depth) AS
    SELECT category_id, name::text, 0 FROM rental.category WHERE parent_id IS NULL
    UNION ALL
    SELECT c.category_id, t.name || ' / ' || c.name, t.depth + 1
    FROM rental.category c JOIN category_tree t ON c.parent_id = t.category_id;
CREATE VIEW rental.store_1 WITH (security_barrier) AS
    SELECT customer_id, store_id, first_name, last_name FROM rental.customer WHERE store_id = 1
    WITH LOCAL CHECK OPTION;
CREATE VIEW rental.store_1_named WITH (check_option = cascaded) AS
    SELECT * FROM rental.store_1 WHERE first_name <> '';
ALTER VIEW rental.store_1 ALTER COLUMN first_name SET DEFAULT 'No "name"';
CREATE VIEW rental.own_secrets WITH (security_invoker = true) AS SELECT * FROM "Back Office"."Secret";
CREATE VIEW rental.functions_used AS
    SELECT rental.slug(title) AS slug, rental.words(title ORDER BY title) AS words
    FROM rental.film GROUP BY 1;
CREATE VIEW rental.constants AS VALUES (1, 'one'::text COLLATE "C"), (2, E'tw''o\\');
CREATE VIEW rental.all_kinds AS SELECT * FROM rental.kinds;
CREATE VIEW rental.no_columns_view AS SELECT FROM rental.no_columns;

CREATE MATERIALIZED VIEW rental.sales AS
    SELECT store_id, date_trunc('month', paid_at, 'UTC') AS month, sum(amount) AS total, count(*) AS payments
    FROM rental.payment GROUP BY 1, 2;
CREATE UNIQUE INDEX sales_key ON rental.sales (store_id, month);
CREATE MATERIALIZED VIEW rental.best_month WITH (fillfactor = 50) AS
    SELECT DISTINCT ON (store_id) * FROM rental.sales ORDER BY store_id, total DESC, month;
CREATE MATERIALIZED VIEW rental.never_filled AS SELECT * FROM rental.film_list WITH NO DATA;
CREATE MATERIALIZED VIEW "Back Office"."of actors" AS SELECT * FROM rental.actor_films;
CREATE MATERIALIZED VIEW rental.upon_never_filled AS SELECT count(*) FROM rental.never_filled WITH NO DATA;
ALTER MATERIALIZED VIEW rental.sales ALTER COLUMN total SET STATISTICS 200;
