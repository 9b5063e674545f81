-- They publish no updates: those would be refused where a table has no replica identity.
CREATE PUBLICATION everything FOR ALL TABLES WITH (publish = 'insert');
CREATE PUBLICATION "some %s" FOR TABLE rental.language, ONLY rental.media,
    rental.film (film_id, title) WHERE (rental_rate > 1.00 AND title <> 'x''y'),
    TABLE rental.payment WITH (publish = 'insert, truncate', publish_via_partition_root = true);
CREATE PUBLICATION of_schema FOR TABLES IN SCHEMA "odd.na""me", "Back Office" WITH (publish = 'insert');
CREATE PUBLICATION empty;
ALTER PUBLICATION empty OWNER TO rental_owner;

CREATE SUBSCRIPTION "from %s afar" CONNECTION 'host=127.0.0.1 port=1 dbname=x user=u password=s3cret application_name=''a b'''
    PUBLICATION everything, "some ""other"""
    WITH (connect = false, slot_name = NONE, binary = true, synchronous_commit = 'remote_apply', disable_on_error = true);
CREATE SUBSCRIPTION slotted CONNECTION 'host=127.0.0.1 port=1 dbname=x user=u password=s3cret'
    PUBLICATION p WITH (connect = false, slot_name = 'rental_slot', enabled = false);
