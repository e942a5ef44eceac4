-- What is in a database that whoever is no superuser makes only as a member of its owner, or not at all; and of which tables this role
-- does not see all rows.
WITH own AS (
    SELECT oid, nspname, nspowner FROM pg_namespace WHERE nspname NOT IN ('information_schema', 'lastgreen') AND nspname NOT LIKE 'pg\_%'
),
things AS (
    SELECT 'pg_class'::regclass AS class, c.oid, format('table %I.%I', nspname, relname) AS words, relowner AS owner
        FROM pg_class c JOIN own ON own.oid = relnamespace WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL SELECT 'pg_proc'::regclass, p.oid, format('function %I.%I', nspname, proname), proowner
        FROM pg_proc p JOIN own ON own.oid = pronamespace
    UNION ALL SELECT 'pg_namespace'::regclass, oid, format('schema %I', nspname), nspowner FROM own WHERE nspname <> 'public'
),
foreigners AS (
    -- What an extension or a range type has made comes with it.
    SELECT words || ' of ' || pg_get_userbyid(owner) AS words FROM things t WHERE NOT pg_has_role(owner, 'member')
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = t.class AND d.objid = t.oid AND d.deptype IN ('e', 'i'))
    UNION ALL SELECT format('function %I.%I', nspname, proname) || ', which needs a superuser'
        FROM pg_proc p JOIN own ON own.oid = pronamespace JOIN pg_language l ON l.oid = prolang WHERE (NOT lanpltrusted OR proleakproof) AND prokind <> 'a'
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i'))
    UNION ALL SELECT 'extension ' || extname || ', which needs a superuser' FROM pg_extension e WHERE $swaps AND EXISTS (
        SELECT FROM pg_available_extension_versions v WHERE v.name = extname AND v.version = extversion AND v.superuser AND NOT v.trusted)
    UNION ALL SELECT 'large object ' || oid || ' of ' || pg_get_userbyid(lomowner) FROM pg_largeobject_metadata WHERE NOT pg_has_role(lomowner, 'member')
    UNION ALL SELECT 'event trigger ' || evtname || ', which needs a superuser' FROM pg_event_trigger
    UNION ALL SELECT 'publication ' || pubname || ' for all tables, which needs a superuser' FROM pg_publication WHERE puballtables
    UNION ALL SELECT 'publication ' || pubname || ' of ' || pg_get_userbyid(pubowner) FROM pg_publication
        WHERE NOT puballtables AND NOT pg_has_role(pubowner, 'member')
)
SELECT json_build_object(
    'things', (SELECT (SELECT string_agg(words, '; ') FROM (SELECT words FROM foreigners ORDER BY words LIMIT 3) AS first)
        || CASE WHEN count(*) > 3 THEN format('; +%s more', count(*) - 3) ELSE '' END FROM foreigners),
    'hidden', (SELECT string_agg(t.oid::regclass::text, ', ') FROM pg_class t
        WHERE row_security_active(t.oid) AND EXISTS (SELECT FROM own WHERE own.oid = relnamespace))
) AS v
