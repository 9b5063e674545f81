SET ROLE rental_owner;

CREATE FUNCTION rental.note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO rental.audit (tag, what) VALUES (TG_NAME || coalesce(TG_ARGV[0], ''), TG_OP);
    RETURN NULL;
END
$$;
CREATE FUNCTION rental.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are loaded before its triggers are there', TG_TABLE_NAME;
END
$$;
CREATE FUNCTION rental.upper_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.native := upper(NEW.native);
    RETURN NEW;
END
$$;
CREATE TRIGGER change_rows BEFORE INSERT OR UPDATE OF native, name ON rental.language
    FOR EACH ROW WHEN (NEW.native IS NOT NULL) EXECUTE FUNCTION rental.upper_name();
CREATE TRIGGER "no 'more' rows" BEFORE INSERT ON rental.queue FOR EACH ROW EXECUTE FUNCTION rental.refuse();
CREATE TRIGGER "no %s truncate" BEFORE TRUNCATE ON rental.queue EXECUTE FUNCTION rental.refuse();
CREATE TRIGGER film_statement AFTER INSERT OR DELETE OR UPDATE ON rental.film
    FOR EACH STATEMENT EXECUTE FUNCTION rental.note_change('it''s', E'\\back', '', '%s', 'new
line');
CREATE TRIGGER film_transition AFTER UPDATE ON rental.film REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION rental.note_change();
CREATE CONSTRAINT TRIGGER film_later AFTER UPDATE ON rental.film FROM rental.language
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rental.note_change('later');
CREATE TRIGGER off_1 AFTER INSERT ON rental.texts FOR EACH ROW EXECUTE FUNCTION rental.refuse();
CREATE TRIGGER off_2 AFTER INSERT ON rental.texts FOR EACH ROW EXECUTE FUNCTION rental.refuse();
CREATE TRIGGER always AFTER DELETE ON rental.texts FOR EACH ROW EXECUTE FUNCTION rental.note_change();
ALTER TABLE rental.texts DISABLE TRIGGER off_1, ENABLE REPLICA TRIGGER off_2, ENABLE ALWAYS TRIGGER always;
CREATE TRIGGER of_parts AFTER INSERT ON rental.payment FOR EACH ROW EXECUTE FUNCTION rental.note_change();
ALTER TABLE rental.payment_rest DISABLE TRIGGER of_parts;
CREATE TRIGGER into_list INSTEAD OF INSERT OR DELETE ON rental.film_list
    FOR EACH ROW EXECUTE FUNCTION rental.note_change('view');

CREATE RULE no_delete AS ON DELETE TO rental.busy_actors DO INSTEAD NOTHING;
CREATE RULE "rename %s" AS ON UPDATE TO rental.busy_actors WHERE OLD.id > 0
    DO ALSO UPDATE rental.actor SET first_name = NEW."Name" WHERE actor_id = OLD.id;
CREATE RULE noted AS ON INSERT TO rental.category DO ALSO
    INSERT INTO rental.audit (tag, what) VALUES ('rule', NEW.name);
CREATE RULE off AS ON INSERT TO rental.category DO INSTEAD NOTHING;
ALTER TABLE rental.category DISABLE RULE off;

ALTER TABLE rental.customer ENABLE ROW LEVEL SECURITY;
CREATE POLICY clerks ON rental.customer FOR SELECT TO rental_clerk, "Böse ""Rolle"" %s \ 'x'" USING (store_id = 1);
CREATE POLICY "only ""active""" ON rental.customer AS RESTRICTIVE USING (active) WITH CHECK (active AND store_id > 0);
CREATE POLICY "adds" ON rental.customer FOR INSERT WITH CHECK (first_name <> '');
ALTER TABLE "Back Office"."Secret" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON "Back Office"."Secret" TO PUBLIC USING ("Who" = CURRENT_USER);
ALTER TABLE rental.scratch ENABLE ROW LEVEL SECURITY;
