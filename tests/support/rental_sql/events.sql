-- The last objects, as in a restore: a restore that changes tables after them leaves rows in audit.
CREATE FUNCTION rental.note_command() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO rental.audit (tag, what) VALUES (TG_EVENT, TG_TAG);
END
$$;
ALTER FUNCTION rental.note_command() OWNER TO rental_owner;
CREATE EVENT TRIGGER commands ON ddl_command_end
    WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE', 'DROP TABLE', 'CREATE INDEX', 'ALTER SEQUENCE')
    EXECUTE FUNCTION rental.note_command();
CREATE EVENT TRIGGER "dro'ps %s" ON sql_drop EXECUTE FUNCTION rental.note_command();
ALTER EVENT TRIGGER "dro'ps %s" DISABLE;
CREATE EVENT TRIGGER rewrites ON table_rewrite EXECUTE FUNCTION rental.note_command();
ALTER EVENT TRIGGER rewrites ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER commands IS 'event trigger';
