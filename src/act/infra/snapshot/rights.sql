-- What this role may do with the database `$name`, and what speaks against it now. Of others' sessions the server may hide what they
-- are, but not whose; a vacuum is nobody's.
SELECT
    me.rolsuper AS super,
    me.rolsuper OR me.rolcreatedb AND (d.dattablespace = (SELECT oid FROM pg_tablespace WHERE spcname = 'pg_default')
        OR has_tablespace_privilege(d.dattablespace, 'CREATE')) AS makes,
    me.rolsuper OR pg_has_role(d.datdba, 'usage') AS owns,
    me.rolsuper OR pg_has_role('pg_signal_backend', 'usage') OR NOT EXISTS (
        SELECT FROM pg_stat_activity a WHERE a.datname = d.datname AND a.usesysid IS NOT NULL AND NOT pg_has_role(a.usesysid, 'usage')) AS ends,
    d.datallowconn AS open,
    (SELECT string_agg(a.usename || ' (' || a.pid || ')', ', ') FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
        WHERE NOT me.rolsuper AND r.rolsuper AND a.datname = d.datname) AS above,
    (SELECT string_agg(gid, ', ') FROM pg_prepared_xacts WHERE database = d.datname) AS prepared,
    (SELECT string_agg(quote_ident(subname), ', ') FROM pg_subscription JOIN pg_roles r ON r.oid = subowner
        WHERE subdbid = d.oid AND subenabled AND NOT me.rolsuper
            AND (r.rolsuper OR NOT pg_has_role(r.oid, 'usage') AND NOT pg_has_role('pg_signal_backend', 'usage'))) AS applying,
    (SELECT string_agg(words, ', ') FROM (
        SELECT 'replication slot ' || slot_name FROM pg_replication_slots WHERE database = d.datname
        UNION ALL SELECT 'subscription ' || subname FROM pg_subscription WHERE subdbid = d.oid
        -- What only a superuser sets, or who may make roles.
        UNION ALL SELECT 'setting ' || split_part(c, '=', 1) || coalesce(' of role ' || r.rolname, '')
            FROM pg_db_role_setting CROSS JOIN unnest(setconfig) AS c LEFT JOIN pg_roles r ON r.oid = setrole
            WHERE setdatabase = d.oid AND NOT me.rolsuper AND (
                setrole <> 0 AND setrole <> me.oid AND NOT (me.rolcreaterole AND NOT r.rolsuper)
                OR EXISTS (SELECT FROM pg_settings p WHERE p.name = split_part(c, '=', 1) AND p.context LIKE 'superuser%'))
    ) AS staying (words)) AS stays,
    CASE WHEN d.datconnlimit BETWEEN 0 AND 2 AND NOT me.rolsuper THEN d.datconnlimit END AS most
FROM pg_roles me, pg_database d WHERE me.rolname = current_user AND d.datname = $name
