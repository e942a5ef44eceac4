-- What keeps an archive's objects from being made by whoever restores them: lines of its table of contents that end with an owner,
-- extensions, who is granted something, and in whose name; and what only some may make.
WITH me AS (
    SELECT rolname, rolsuper FROM pg_roles WHERE rolname = current_user
),
listed AS (
    SELECT line, regexp_replace(line, '^\d+; \d+ \d+ ', '') AS body FROM json_array_elements_text($owned::json) AS line
),
owned AS (
    SELECT line, owner.*, kind, substr(body, length(kind) + 2) AS rest
    FROM listed CROSS JOIN LATERAL (
            -- Kinds of several words; a schema may be called like the second.
            SELECT kind FROM unnest(ARRAY['TABLE DATA', 'TABLE ATTACH', 'INDEX ATTACH', 'MATERIALIZED VIEW', 'MATERIALIZED VIEW DATA', 'FOREIGN TABLE',
                'FOREIGN SERVER', 'FOREIGN DATA WRAPPER', 'SEQUENCE OWNED BY', 'SEQUENCE SET', 'FK CONSTRAINT', 'CHECK CONSTRAINT', 'DEFAULT ACL',
                'EVENT TRIGGER', 'OPERATOR CLASS', 'OPERATOR FAMILY', 'PROCEDURAL LANGUAGE', 'TEXT SEARCH CONFIGURATION', 'TEXT SEARCH DICTIONARY', 'SHELL TYPE', 'ROW SECURITY', 'PUBLICATION TABLE',
                'PUBLICATION TABLES IN SCHEMA', 'USER MAPPING', split_part(body, ' ', 1)]) AS kind
            WHERE starts_with(body, kind || ' ') ORDER BY length(kind) DESC LIMIT 1
        ) AS first
        LEFT JOIN LATERAL (
            SELECT rolname AS owner, rolsuper AS is_super FROM pg_roles WHERE right(line, length(rolname) + 1) = ' ' || rolname
            ORDER BY length(rolname) DESC LIMIT 1
        ) AS owner ON true
),
schemas AS (
    SELECT left(substr(rest, 3), -length(owner) - 1) AS schema, owner AS held_by FROM owned WHERE kind = 'SCHEMA' AND owner IS NOT NULL
    -- Up to PostgreSQL 14 everybody may make things in public.
    UNION ALL SELECT 'public', pg_get_userbyid(datdba) FROM pg_database
        WHERE datname = current_database() AND current_setting('server_version_num')::int >= 150000
),
-- What changes hands only where its new owner may make things.
placed AS (
    SELECT owned.*, home.*, to_regnamespace(quote_ident(home.schema)) AS there
    FROM owned CROSS JOIN LATERAL (SELECT schema, held_by FROM schemas WHERE starts_with(rest, schema || ' ') ORDER BY length(schema) DESC LIMIT 1) AS home
    WHERE owner IS NOT NULL AND kind IN ('TABLE', 'VIEW', 'MATERIALIZED VIEW', 'FOREIGN TABLE', 'SEQUENCE', 'FUNCTION', 'PROCEDURE', 'AGGREGATE',
        'TYPE', 'SHELL TYPE', 'DOMAIN', 'OPERATOR', 'OPERATOR CLASS', 'OPERATOR FAMILY', 'COLLATION', 'CONVERSION', 'STATISTICS',
        'TEXT SEARCH CONFIGURATION', 'TEXT SEARCH DICTIONARY')
),
-- As a table of contents has them.
functions AS (
    SELECT p.oid, nspname || ' FUNCTION ' || proname || '('
            || coalesce((SELECT string_agg(format_type(a, NULL), ', ' ORDER BY i) FROM unnest(proargtypes) WITH ORDINALITY AS t (a, i)), '') || ')' AS called
        FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE EXISTS (SELECT FROM owned WHERE kind = 'ACL' AND rest LIKE '% FUNCTION %')
),
lacking AS (
    SELECT 'the owner of some of it is not there, at the end of `' || kind || ' ' || rest || '`' AS words FROM owned WHERE owner IS NULL
    UNION SELECT 'role ' || role || ', which may use some of it, is not there' FROM json_array_elements_text($granted::json) AS role
        WHERE to_regrole(role) IS NULL
    UNION SELECT 'some of it is owned by ' || owner || CASE WHEN is_super THEN ': a superuser restores that, or another role has to own it'
            ELSE ': GRANT ' || quote_ident(owner) || ' TO ' || quote_ident(me.rolname) END
        FROM owned, me WHERE owner IS NOT NULL AND NOT pg_has_role(owner, 'member')
            -- Subscriptions are left out.
            AND kind <> 'SUBSCRIPTION'
            -- What an extension has made anew is owned as it is then; a schema that is there is left as it is in place.
            -- Who has some right to it is warned, and not refused, when it is granted again.
            AND (kind <> 'ACL' OR NOT $swaps AND rest NOT LIKE '- SCHEMA %'
                AND NOT EXISTS (SELECT FROM pg_foreign_data_wrapper
                    WHERE rest = '- FOREIGN DATA WRAPPER ' || fdwname || ' ' || owner AND has_foreign_data_wrapper_privilege(oid, 'USAGE'))
                AND NOT EXISTS (SELECT FROM pg_language WHERE rest = '- LANGUAGE ' || lanname || ' ' || owner AND has_language_privilege(oid, 'USAGE'))
                AND NOT EXISTS (SELECT FROM functions f WHERE rest = called || ' ' || owner AND has_function_privilege(f.oid, 'EXECUTE'))
                AND NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                    WHERE rest = nspname || ' TABLE ' || relname || ' ' || owner
                        AND has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')))
            AND ($swaps OR kind <> 'SCHEMA' OR to_regnamespace(quote_ident(left(substr(rest, 3), -length(owner) - 1))) IS NULL)
    -- To be a member of a superuser is not to be one.
    UNION SELECT 'only a superuser makes some of it: ' || lower(kind) || ' of ' || owner FROM owned, me
        WHERE NOT me.rolsuper AND pg_has_role(owner, 'member') AND (kind IN ('EVENT TRIGGER', 'OPERATOR CLASS', 'OPERATOR FAMILY',
            'FOREIGN DATA WRAPPER', 'PROCEDURAL LANGUAGE')
            OR kind = 'PUBLICATION' AND is_super)
    UNION SELECT 'only a superuser makes some of it: ' || thing FROM json_array_elements_text($unowned::json) AS thing, me WHERE NOT me.rolsuper
    -- Whoever has no right to it at all is refused, and not warned.
    UNION SELECT 'grants on ' || substr(rest, 12, length(rest) - 12 - length(owner)) || ', which only a superuser gives'
        FROM owned JOIN functions p ON rest = called || ' ' || owner AND starts_with(called, 'pg_catalog ')
            JOIN pg_init_privs i ON i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid, me
        WHERE $swaps AND NOT me.rolsuper AND kind = 'ACL'
            AND NOT EXISTS (SELECT FROM aclexplode(initprivs) AS given WHERE given.grantee = 0 OR pg_has_role(given.grantee, 'usage'))
    UNION SELECT role || ' has granted some of it, which only a superuser does again' FROM json_array_elements_text($granting::json) AS role, me
        WHERE NOT me.rolsuper
    UNION SELECT CASE WHEN v.name IS NULL THEN 'extension ' || wanted.name || ' is not on the server'
            ELSE 'extension ' || wanted.name || ', which a superuser makes' END
        FROM json_array_elements_text($extensions::json) AS wanted (name) CROSS JOIN me LEFT JOIN LATERAL (
            SELECT v.name, v.superuser AND NOT v.trusted AS is_super FROM pg_available_extension_versions v
                JOIN pg_available_extensions a ON a.name = v.name AND a.default_version = v.version WHERE v.name = wanted.name
        ) AS v (name, is_super) ON true
        WHERE (v.name IS NULL OR v.is_super AND NOT me.rolsuper) AND ($swaps OR NOT EXISTS (SELECT FROM pg_extension WHERE extname = wanted.name))
    UNION SELECT 'only a superuser makes functions in ' || lanname || ': ' || string_agg(need -> 'language' ->> 1, ', ')
        FROM json_array_elements($needs::json) AS need JOIN pg_language ON lanname = need -> 'language' ->> 0, me
        WHERE NOT me.rolsuper AND NOT lanpltrusted GROUP BY lanname
    UNION SELECT 'language ' || lanname || ' is not to be used: GRANT USAGE ON LANGUAGE ' || quote_ident(lanname) || ' TO ' || quote_ident(me.rolname)
        FROM json_array_elements($needs::json) AS need JOIN pg_language ON lanname = need -> 'language' ->> 0, me
        WHERE NOT $swaps AND NOT me.rolsuper AND lanpltrusted AND NOT has_language_privilege(lanname, 'USAGE')
    UNION SELECT 'only a superuser makes a leakproof function: ' || (need ->> 'leakproof') FROM json_array_elements($needs::json) AS need, me
        WHERE NOT me.rolsuper AND need ->> 'leakproof' IS NOT NULL
    UNION SELECT 'only a superuser sets ' || name || ' for function ' || (need -> 'setting' ->> 1)
        FROM json_array_elements($needs::json) AS need JOIN pg_settings ON name = need -> 'setting' ->> 0, me
        WHERE NOT me.rolsuper AND context LIKE 'superuser%' AND NOT $settable
    UNION SELECT CASE WHEN spcname IS NULL THEN 'tablespace ' || (need ->> 'tablespace') || ' is not on the server'
            ELSE 'GRANT CREATE ON TABLESPACE ' || quote_ident(spcname) || ' TO ' || quote_ident(me.rolname) || ': some of it lies there' END
        FROM json_array_elements($needs::json) AS need CROSS JOIN me LEFT JOIN pg_tablespace ON spcname = need ->> 'tablespace'
        WHERE need ->> 'tablespace' IS NOT NULL AND (spcname IS NULL OR NOT has_tablespace_privilege(spcname, 'CREATE'))
    UNION SELECT 'publications of ' || owner || ', which may make nothing here: GRANT CREATE ON DATABASE ' || quote_ident(current_database())
            || ' TO ' || quote_ident(owner)
        FROM owned, me WHERE kind = 'PUBLICATION' AND NOT me.rolsuper AND NOT has_database_privilege(owner, current_database(), 'CREATE')
    UNION SELECT owner || ' owns some of schema ' || schema || ', where it may make nothing: let ' || held_by
            || ' own that, and take a new snapshot; or a superuser restores it'
        FROM placed, me WHERE $swaps AND NOT me.rolsuper AND NOT pg_has_role(owner, held_by, 'usage')
    UNION SELECT owner || ' owns some of schema ' || schema || ', where it may make nothing: GRANT CREATE ON SCHEMA '
            || quote_ident(schema) || ' TO ' || quote_ident(owner)
        FROM placed, me WHERE NOT $swaps AND NOT me.rolsuper AND there IS NOT NULL AND NOT has_schema_privilege(owner, there, 'CREATE')
),
-- In a new database, what belongs to others and is there of itself is as the server or an extension makes it.
leaving AS (
    SELECT 'grants on ' || regexp_replace(left(rest, -length(owner) - 1), '^- ', '') AS words FROM owned, me
        WHERE $swaps AND NOT me.rolsuper AND kind = 'ACL' AND owner IS NOT NULL AND NOT pg_has_role(owner, 'member')
)
SELECT json_build_object('lacks', (SELECT string_agg(words, '; ' ORDER BY words) FROM lacking),
    'left', (SELECT coalesce(json_agg(words ORDER BY words), '[]') FROM leaving)) AS v
