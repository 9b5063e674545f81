SET ROLE rental_owner;

CREATE FUNCTION rental.films_of(actor integer, VARIADIC wanted rental.mpaa_rating[] DEFAULT '{}')
    RETURNS TABLE (film_id integer, "Title" text) LANGUAGE sql STABLE SECURITY DEFINER ROWS 20
    SET search_path = rental, pg_temp SET work_mem = '2MB' AS $$
    SELECT f.film_id, f.title FROM rental.film f JOIN rental.film_actor a USING (film_id)
    WHERE a.actor_id = $1 AND (wanted = '{}' OR f.rating = ANY (wanted));
$$;
CREATE FUNCTION rental."Odd (name) %s"("In" integer, INOUT "bo""th" text DEFAULT E'x''\\', OUT "Out" rental.place)
    LANGUAGE plpgsql CALLED ON NULL INPUT PARALLEL RESTRICTED AS $_$
BEGIN
    "Out" := ROW("bo""th", '1', point(0, 0), NULL);
END
$_$;
CREATE FUNCTION rental.of_too() RETURNS void LANGUAGE plpgsql_too AS 'BEGIN NULL; END';
CREATE FUNCTION rental.overloaded(integer) RETURNS integer LANGUAGE sql IMMUTABLE RETURN $1 + 1;
CREATE FUNCTION rental.overloaded(text) RETURNS text LANGUAGE sql IMMUTABLE RETURN $1 || '1';
CREATE FUNCTION rental.overloaded(anyelement, anyarray) RETURNS boolean LANGUAGE sql AS 'SELECT $1 = ANY ($2)';
CREATE FUNCTION rental.overloaded(anyrange) RETURNS anymultirange LANGUAGE sql IMMUTABLE AS 'SELECT multirange($1)';
-- Depends on the primary key that it groups by, which comes long after functions.
CREATE FUNCTION rental.copies() RETURNS SETOF bigint LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT count(i.*) FROM rental.film f LEFT JOIN rental.inventory i USING (film_id)
    GROUP BY f.film_id ORDER BY f.title;
END;
CREATE PROCEDURE rental.settle(customer bigint, INOUT settled integer DEFAULT 0) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE rental.customer SET balance = 0::money WHERE customer_id = customer;
    GET DIAGNOSTICS settled = ROW_COUNT;
    COMMIT;
END
$$;
CREATE PROCEDURE rental.clean(days integer) LANGUAGE sql
BEGIN ATOMIC
    DELETE FROM rental.scratch WHERE id < days;
    INSERT INTO rental.scratch VALUES (days, 'cleaned') ON CONFLICT (id) DO UPDATE SET body = excluded.body;
END;

CREATE FUNCTION rental.add_word(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT coalesce($1 || '', '', '''') || $2';
CREATE FUNCTION rental.end_words(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1 || ''.''';
CREATE AGGREGATE rental.words(text) (SFUNC = rental.add_word, STYPE = text, FINALFUNC = rental.end_words);
CREATE AGGREGATE rental."sum up"(*) (SFUNC = int8inc, STYPE = bigint, INITCOND = '0');
CREATE AGGREGATE rental.moving(integer) (
    SFUNC = int4pl, STYPE = integer, INITCOND = '0', MSFUNC = int4pl, MINVFUNC = int4mi, MSTYPE = integer, MINITCOND = '0');

CREATE FUNCTION rental.near(rental.place, rental.place) RETURNS boolean LANGUAGE sql IMMUTABLE
    AS 'SELECT ($1)."the Point" OPERATOR(pg_catalog.<->) ($2)."the Point" < 1';
CREATE OPERATOR rental.~~~ (LEFTARG = rental.place, RIGHTARG = rental.place, FUNCTION = rental.near, COMMUTATOR = OPERATOR(rental.~~~));
CREATE FUNCTION rental.not_text(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 = ''''';
CREATE OPERATOR rental.!! (RIGHTARG = text, FUNCTION = rental.not_text);

ALTER FUNCTION rental.overloaded(text) DEPENDS ON EXTENSION citext;

RESET ROLE;
CREATE AGGREGATE rental.my_rank(VARIADIC "any" ORDER BY VARIADIC "any") (
    SFUNC = ordered_set_transition_multi, STYPE = internal, FINALFUNC = rank_final,
    FINALFUNC_EXTRA, HYPOTHETICAL);
ALTER FUNCTION rental.films_of(integer, rental.mpaa_rating[]) SET "rental.mode" = 'it''s; %s';
