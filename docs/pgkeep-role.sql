-- The database role that pgkeep uses, with no more than it needs. See privileges.md.
--
-- Run it once as a superuser, in the database that pgkeep's conninfo names (usually postgres),
-- and again after a major upgrade:
--
--     psql -d postgres -f pgkeep-role.sql
--
-- On a standby there is nothing to run: roles and grants come from the primary.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'pgkeep') THEN
        CREATE ROLE pgkeep LOGIN;
    END IF;

    -- where the data directory and the configuration files are
    GRANT pg_read_all_settings TO pgkeep;

    -- begin and end a backup
    IF current_setting('server_version_num')::integer >= 150000 THEN
        GRANT EXECUTE ON FUNCTION pg_catalog.pg_backup_start(text, boolean) TO pgkeep;
        GRANT EXECUTE ON FUNCTION pg_catalog.pg_backup_stop(boolean) TO pgkeep;
    ELSE
        GRANT EXECUTE ON FUNCTION pg_catalog.pg_start_backup(text, boolean, boolean) TO pgkeep;
        GRANT EXECUTE ON FUNCTION pg_catalog.pg_stop_backup(boolean, boolean) TO pgkeep;
    END IF;

    -- end a WAL segment, so that an idle server's last changes get archived
    GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal() TO pgkeep;

    -- pgkeep point
    GRANT EXECUTE ON FUNCTION pg_catalog.pg_create_restore_point(text) TO pgkeep;

    -- count the WAL that waits for the archive
    GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_archive_statusdir() TO pgkeep;
END
$$;
