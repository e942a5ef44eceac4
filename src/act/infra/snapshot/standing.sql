-- What stands in a database on what an archive makes: `ours`. Views that read it, foreign keys that lead to it, and its places in
-- publications and subscriptions can go and be made anew; tables, columns, triggers, functions and types that were made later can not.
WITH RECURSIVE
relations AS (
    SELECT to_regclass(name)::oid AS oid FROM json_array_elements_text($relations::json) AS name WHERE to_regclass(name) IS NOT NULL
),
made AS (
    SELECT t.oid, t.typarray, t.typrelid FROM json_array_elements_text($types::json) AS name JOIN pg_type t ON t.oid = to_regtype(name)
    UNION SELECT t.oid, t.typarray, 0 FROM pg_type t JOIN relations r ON t.typrelid = r.oid
),
-- From PostgreSQL 14 on a range has a type of several ranges beside it.
types AS (
    SELECT oid, typarray, typrelid FROM made
    UNION SELECT t.oid, t.typarray, 0 FROM pg_range r JOIN made ON made.oid = r.rngtypid JOIN pg_type t ON t.oid = (to_jsonb(r)->>'rngmultitypid')::oid
),
routines AS (
    SELECT p.oid, name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN json_array_elements_text($routines::json) AS name
        -- Arguments that have names are dropped by them, too, and those of procedures by their direction.
        ON name IN (format('%I.%I(%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)),
            format('%I.%I(%s)', nspname, proname, regexp_replace(pg_get_function_identity_arguments(p.oid), '(^|, )IN ', '\1', 'g')),
            format('%I.%I(%s)', nspname, proname,
                (SELECT string_agg(format_type(a, NULL), ', ' ORDER BY i) FROM unnest(p.proargtypes) WITH ORDINALITY AS t(a, i))))
),
-- What each name of the archive is now.
kinds AS (
    SELECT k ->> 0 AS name, k ->> 1 AS kind, CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE'
            WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS now
        FROM json_array_elements($kinds::json) AS k JOIN pg_class c ON c.oid = to_regclass(k ->> 0)
        WHERE k ->> 1 IN ('TABLE', 'VIEW', 'MATERIALIZED VIEW', 'FOREIGN TABLE', 'SEQUENCE')
    UNION SELECT name, k ->> 1, CASE prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END
        FROM json_array_elements($kinds::json) AS k JOIN routines ON name = k ->> 0 JOIN pg_proc USING (oid)
        WHERE k ->> 1 IN ('FUNCTION', 'PROCEDURE', 'AGGREGATE')
),
ours AS (
    SELECT 'pg_class'::regclass::oid AS class, oid FROM relations
    UNION SELECT 'pg_type'::regclass, oid FROM types
    UNION SELECT 'pg_type'::regclass, typarray FROM types WHERE typarray <> 0
    UNION SELECT 'pg_class'::regclass, typrelid FROM types WHERE typrelid <> 0
    UNION SELECT 'pg_proc'::regclass, oid FROM routines
),
readers AS (
    SELECT r.ev_class AS oid, d.refclassid AS class, d.refobjid AS read FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
        JOIN pg_class c ON c.oid = r.ev_class
        WHERE d.classid = 'pg_rewrite'::regclass AND d.deptype = 'n' AND c.relkind IN ('v', 'm') AND r.ev_class <> d.refobjid
),
views AS (
    SELECT r.oid, 1 AS depth FROM readers r JOIN ours o ON o.class = r.class AND o.oid = r.read
    UNION SELECT r.oid, v.depth + 1 FROM views v JOIN readers r ON r.class = 'pg_class'::regclass AND r.read = v.oid WHERE v.depth < 64
),
-- Those that are read by others go after them.
going AS (
    SELECT v.oid, max(v.depth) AS depth, c.relkind = 'm' AS kept, EXISTS (SELECT FROM relations r WHERE r.oid = v.oid) AS ours
        FROM views v JOIN pg_class c ON c.oid = v.oid GROUP BY v.oid, c.relkind
),
keys AS (
    SELECT k.conrelid, k.conname, EXISTS (SELECT FROM relations r WHERE r.oid = k.conrelid) AS ours FROM pg_constraint k
        JOIN relations o ON o.oid = k.confrelid WHERE k.contype = 'f' AND k.conparentid = 0
),
-- What a partition has of the whole cannot be dropped from it alone; and one that was made later keeps its rows.
partitions AS (
    SELECT c.oid::regclass AS child, i.inhparent::regclass AS parent, EXISTS (SELECT FROM relations r WHERE r.oid = c.oid) AS ours
    FROM pg_inherits i JOIN relations o ON o.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relispartition AND c.relkind IN ('r', 'p', 'f')
),
-- What a type has made for itself (the constructors of a range) goes and comes with it.
inner_parts AS MATERIALIZED (
    SELECT d.classid, d.objid FROM ours o JOIN pg_depend d ON d.refclassid = o.class AND d.refobjid = o.oid AND d.deptype = 'i'
),
-- Whatever else needs something of ours, and the relation that it belongs to.
needing AS (
    SELECT d.*, CASE d.classid
        WHEN 'pg_class'::regclass THEN coalesce((SELECT indrelid FROM pg_index WHERE indexrelid = d.objid), d.objid)
        WHEN 'pg_attrdef'::regclass THEN (SELECT adrelid FROM pg_attrdef WHERE oid = d.objid)
        WHEN 'pg_trigger'::regclass THEN (SELECT tgrelid FROM pg_trigger WHERE oid = d.objid)
        WHEN 'pg_policy'::regclass THEN (SELECT polrelid FROM pg_policy WHERE oid = d.objid)
        WHEN 'pg_rewrite'::regclass THEN (SELECT ev_class FROM pg_rewrite WHERE oid = d.objid)
        WHEN 'pg_constraint'::regclass THEN (SELECT nullif(conrelid, 0) FROM pg_constraint WHERE oid = d.objid AND contype <> 'f')
        END AS of
    FROM ours o JOIN pg_depend d ON d.refclassid = o.class AND d.refobjid = o.oid AND d.deptype = 'n'
    WHERE NOT EXISTS (SELECT FROM inner_parts i WHERE i.classid = d.classid AND i.objid = d.objid)
),
-- What this role makes anew would have them; those of the archive are given again behind everything else.
defaults AS (
    SELECT CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS'
            ELSE 'LARGE OBJECTS' END AS things,
        CASE WHEN defaclnamespace = 0 THEN '' ELSE format(' IN SCHEMA %I', nspname) END AS place, defaclacl AS given,
        CASE WHEN defaclnamespace = 0 THEN acldefault(CASE defaclobjtype WHEN 'S' THEN 's' ELSE defaclobjtype END::"char", defaclrole) END AS usual
    FROM pg_default_acl JOIN pg_roles r ON r.oid = defaclrole LEFT JOIN pg_namespace n ON n.oid = defaclnamespace WHERE rolname = current_user
),
mappings AS (
    SELECT umuser <> 0 AND usename <> current_user AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS hidden,
        format('FOR %I SERVER %I', usename, srvname) IN (SELECT json_array_elements_text($mappings::json)) AS ours,
        format('user mapping of %I on server %I', usename, srvname) AS words,
        format('DROP USER MAPPING FOR %s SERVER %I', CASE umuser WHEN 0 THEN 'PUBLIC' ELSE quote_ident(usename) END, srvname) AS drop
    FROM pg_user_mappings WHERE quote_ident(srvname) IN (SELECT json_array_elements_text($servers::json))
),
blocking AS (
    SELECT DISTINCT pg_describe_object(classid, objid, objsubid) || ' stands on ' || pg_describe_object(refclassid, refobjid, refobjsubid) AS words
    FROM needing n
    WHERE CASE WHEN classid IN ('pg_proc'::regclass, 'pg_type'::regclass) THEN NOT EXISTS (SELECT FROM ours o WHERE o.class = n.classid AND o.oid = n.objid)
        ELSE n.of IS NOT NULL AND NOT EXISTS (SELECT FROM ours o WHERE o.class = 'pg_class'::regclass AND o.oid = n.of)
            AND NOT EXISTS (SELECT FROM going g WHERE g.oid = n.of) END
    UNION SELECT pg_describe_object('pg_class'::regclass, c.oid, 0) || ' is owned by ' || pg_get_userbyid(c.relowner)
    FROM relations JOIN pg_class c USING (oid) WHERE NOT pg_has_role(c.relowner, 'usage')
    UNION SELECT pg_describe_object('pg_proc'::regclass, p.oid, 0) || ' is owned by ' || pg_get_userbyid(p.proowner)
    FROM routines JOIN pg_proc p USING (oid) WHERE NOT pg_has_role(p.proowner, 'usage')
    UNION SELECT format('%s was a %s, and is a %s now', name, lower(kind), lower(now)) FROM kinds WHERE kind <> now
    UNION SELECT words || ' may have a password, which this role does not see and no snapshot of its has' FROM mappings WHERE hidden
)
SELECT json_build_object(
    'locks', (SELECT coalesce(json_agg(name), '[]') FROM json_array_elements_text($tables::json) AS name WHERE to_regclass(name) IS NOT NULL),
    'drops', (SELECT coalesce(json_agg(drop ORDER BY depth DESC, drop), '[]') FROM (
        SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) AS drop, 1000 AS depth FROM keys
        UNION ALL SELECT drop, 500 FROM mappings WHERE NOT ours
        UNION ALL SELECT format('ALTER DEFAULT PRIVILEGES%s REVOKE %s ON %s FROM %s', place, what, things,
                CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END), 2000
            FROM defaults, LATERAL (SELECT privilege_type AS what, grantee FROM aclexplode(given)
                EXCEPT SELECT privilege_type, grantee FROM aclexplode(usual)) AS more
        UNION ALL SELECT format('ALTER DEFAULT PRIVILEGES%s GRANT %s ON %s TO %s', place, what, things,
                CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END), 2000
            FROM defaults, LATERAL (SELECT privilege_type AS what, grantee FROM aclexplode(usual)
                EXCEPT SELECT privilege_type, grantee FROM aclexplode(given)) AS less
        UNION ALL SELECT format('ALTER TABLE %s DETACH PARTITION %s', parent, child), 900 FROM partitions
        UNION ALL SELECT format('DROP %sVIEW %s', CASE WHEN kept THEN 'MATERIALIZED ' ELSE '' END, oid::regclass), depth FROM going) AS all_of_them),
    'goes', (SELECT coalesce(json_agg(words ORDER BY words), '[]') FROM (
        SELECT format('foreign key %I of %s', conname, conrelid::regclass) AS words FROM keys WHERE NOT ours
        UNION SELECT format('view %s', oid::regclass) FROM going WHERE NOT ours
        UNION SELECT words FROM mappings WHERE NOT ours AND NOT hidden
        UNION SELECT format('default privileges on %s%s', lower(things), replace(place, ' IN SCHEMA', ' in schema')) FROM defaults
            WHERE format('FOR ROLE %I%s %s', current_user, place, things) NOT IN (SELECT json_array_elements_text($defaults::json))
        UNION SELECT format('%s in publication %I', prrelid::regclass, pubname)
            FROM pg_publication_rel JOIN pg_publication p ON p.oid = prpubid
                JOIN pg_class c ON c.oid = prrelid JOIN pg_namespace n ON n.oid = relnamespace
            WHERE (EXISTS (SELECT FROM relations r WHERE r.oid = prrelid)
                    OR quote_ident(pubname) IN (SELECT json_array_elements_text($publications::json)))
                AND format('%I %I.%I', pubname, nspname, relname) NOT IN (SELECT json_array_elements_text($published::json))
        UNION SELECT format('%s as a partition of %s', child, parent) FROM partitions WHERE NOT ours
        UNION SELECT format('%s in subscription %I', r.oid::regclass, subname)
            FROM relations r JOIN pg_subscription_rel ON srrelid = r.oid JOIN pg_subscription s ON s.oid = srsubid) AS later),
    'blocks', (SELECT coalesce(json_agg(words ORDER BY words), '[]') FROM blocking),
    'schemas', (SELECT json_agg(nspname) FROM pg_namespace),
    'extensions', (SELECT coalesce(json_agg(extname), '[]') FROM pg_extension)
) AS v
