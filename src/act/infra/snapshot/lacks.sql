-- What keeps an archive's objects from being made by whoever restores them: lines of its table of contents that end with an owner,
-- who is granted something, and in whose name.
WITH me AS (
    SELECT rolname, rolsuper FROM pg_roles WHERE rolname = current_user
),
owned AS (
    SELECT line, (SELECT rolname FROM pg_roles WHERE right(line, length(rolname) + 1) = ' ' || rolname ORDER BY length(rolname) DESC LIMIT 1) AS owner,
        (regexp_match(line, '^\d+; \d+ \d+ (?:TABLE|VIEW|MATERIALIZED VIEW|FOREIGN TABLE|SEQUENCE|FUNCTION|PROCEDURE|AGGREGATE|TYPE|DOMAIN) (\S+) '))[1] AS schema
    FROM json_array_elements_text($owned::json) AS line
),
schemas AS (
    SELECT (regexp_match(line, '^\d+; \d+ \d+ SCHEMA - (\S+) '))[1] AS schema, owner FROM owned
    -- Up to PostgreSQL 14 everybody may make things in public.
    UNION ALL SELECT 'public', pg_get_userbyid(datdba) FROM pg_database
        WHERE datname = current_database() AND current_setting('server_version_num')::int >= 150000
),
lacking AS (
    SELECT 'role ' || regexp_replace(line, '^.* ', '') || ', which owns some of it, is not there' AS words FROM owned WHERE owner IS NULL
    UNION SELECT 'role ' || role || ', which may use some of it, is not there' FROM json_array_elements_text($granted::json) AS role
        WHERE to_regrole(role) IS NULL
    UNION SELECT 'some of it is owned by ' || owner || ': GRANT ' || quote_ident(owner) || ' TO ' || quote_ident(me.rolname) FROM owned, me
        WHERE owner IS NOT NULL AND NOT pg_has_role(owner, 'member')
    UNION SELECT role || ' has granted some of it, which only a superuser does again' FROM json_array_elements_text($granting::json) AS role, me
        WHERE NOT me.rolsuper
    UNION SELECT owned.owner || ' owns some of schema ' || owned.schema || ', where it may make nothing: let ' || schemas.owner
            || ' own that, and take a new snapshot; or a superuser restores it'
        FROM owned JOIN schemas USING (schema), me
        WHERE $swaps AND NOT me.rolsuper AND owned.owner IS NOT NULL AND schemas.owner IS NOT NULL
            AND NOT pg_has_role(owned.owner, schemas.owner, 'usage')
    UNION SELECT owned.owner || ' owns some of schema ' || n.nspname || ', where it may make nothing: GRANT CREATE ON SCHEMA '
            || quote_ident(n.nspname) || ' TO ' || quote_ident(owned.owner)
        FROM owned JOIN pg_namespace n ON n.nspname = owned.schema, me
        WHERE NOT $swaps AND NOT me.rolsuper AND owned.owner IS NOT NULL AND NOT has_schema_privilege(owned.owner, n.oid, 'CREATE')
)
SELECT string_agg(words, '; ' ORDER BY words) AS v FROM lacking
