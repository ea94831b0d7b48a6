-- Splits the large tables of PostgreSQL (15 or newer) into hash partitions by organization.
--
--     PGOPTIONS='-c todo.partitions=16' psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f docker/postgres/partition.sql
--
-- Run it after `todo-platform migrate`, as the tables' owner, while no instance runs. One transaction: all or nothing.
-- Rows that are there are copied, so there must be room for the tables a second time. `migrate` goes on to see a current
-- schema. The number of partitions (2 to 256; 16 unless set) stays: another one means a copy into a new database.
-- A second run changes nothing. Set plan_cache_mode = force_custom_plan for the database afterwards. Why and when: docs/scaling.md.

BEGIN;

-- An instance that still runs holds locks: end with an error then, rather than hold up whoever comes after.
SET LOCAL lock_timeout = '10s';
SET LOCAL statement_timeout = 0;

DO $$
DECLARE
    -- What grows with the work. The others stay whole: they grow with members, tags and webhooks. `idempotency` is
    -- purged after a day, across organizations and by time.
    large CONSTANT text[] := ARRAY[
        'item', 'item_assignee', 'item_relation', 'item_tag', 'item_watcher', 'comment', 'event', 'search_document',
        'webhook_delivery', 'webhook_attempt', 'inbound_receipt', 'usage'];
    partitions CONSTANT int := coalesce(nullif(current_setting('todo.partitions', true), ''), '16')::int;
    whole text[];
    later text[] := '{}';
    name text;
    missing text;
    step record;
BEGIN
    IF partitions NOT BETWEEN 2 AND 256 THEN
        RAISE EXCEPTION 'todo.partitions is %, must be 2 to 256', partitions;
    END IF;
    SELECT string_agg(t, ', ') INTO missing FROM unnest(large) t WHERE to_regclass(quote_ident(t)) IS NULL;
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'no table %: run `todo-platform migrate` first', missing;
    END IF;
    SELECT array_agg(c.relname ORDER BY t.place) INTO whole
    FROM unnest(large) WITH ORDINALITY t (name, place) JOIN pg_class c ON c.oid = to_regclass(quote_ident(t.name))
    WHERE c.relkind = 'r';
    IF whole IS NULL THEN
        RAISE NOTICE 'the large tables are partitioned already';
        RETURN;
    END IF;

    -- Foreign keys of and to these tables go first, and come back last, when all rows are there to be checked.
    FOR step IN
        SELECT c.conname, c.conrelid::regclass AS of_table, pg_get_constraintdef(c.oid) AS definition
        FROM pg_constraint c
        WHERE c.contype = 'f' AND c.conparentid = 0
          AND (c.conrelid = ANY (SELECT to_regclass(quote_ident(t)) FROM unnest(whole) t)
            OR c.confrelid = ANY (SELECT to_regclass(quote_ident(t)) FROM unnest(whole) t))
        ORDER BY c.conrelid::regclass::text, c.conname
    LOOP
        later := later || format('ALTER TABLE %s ADD CONSTRAINT %I %s', step.of_table, step.conname, step.definition);
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', step.of_table, step.conname);
    END LOOP;

    FOREACH name IN ARRAY whole LOOP
        DECLARE
            indexes text[];
            triggers text[];
            estimates text[];
            definition text;
        BEGIN
            -- Under their names of before: later steps of the schema drop or change them by these.
            SELECT array_agg(definitions.text ORDER BY definitions.text) INTO indexes FROM (
                SELECT format('ALTER TABLE %I ADD CONSTRAINT %I %s', name, conname, pg_get_constraintdef(oid)) AS text
                FROM pg_constraint WHERE conrelid = to_regclass(quote_ident(name)) AND contype IN ('p', 'u', 'c')
                UNION ALL
                SELECT pg_get_indexdef(i.indexrelid)
                FROM pg_index i WHERE i.indrelid = to_regclass(quote_ident(name))
                  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid)
            ) definitions;
            SELECT coalesce(array_agg(pg_get_triggerdef(oid)), '{}') INTO triggers
            FROM pg_trigger WHERE tgrelid = to_regclass(quote_ident(name)) AND NOT tgisinternal;

            -- What the planner is told of columns: of each part for itself.
            SELECT coalesce(array_agg(format('ALTER COLUMN %I SET (%s)', attname, array_to_string(attoptions, ', '))), '{}')
            INTO estimates
            FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(name)) AND attoptions IS NOT NULL;

            EXECUTE format('ALTER TABLE %I RENAME TO %I', name, name || '_whole');
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMMENTS) '
                || 'PARTITION BY HASH (organization_id)', name, name || '_whole');
            FOR part IN 0 .. partitions - 1 LOOP
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS %s, REMAINDER %s)',
                    name || '_p' || part, name, partitions, part);
                FOREACH definition IN ARRAY estimates LOOP
                    EXECUTE format('ALTER TABLE %I %s', name || '_p' || part, definition);
                END LOOP;
            END LOOP;
            FOREACH definition IN ARRAY estimates LOOP
                EXECUTE format('ALTER TABLE %I %s', name, definition);
            END LOOP;
            -- Before there are triggers: a copied item has its search document already.
            EXECUTE format('INSERT INTO %I SELECT * FROM %I', name, name || '_whole');
            EXECUTE format('DROP TABLE %I', name || '_whole');
            FOREACH definition IN ARRAY indexes || triggers LOOP
                EXECUTE definition;
            END LOOP;
        END;
    END LOOP;

    FOREACH name IN ARRAY later LOOP
        EXECUTE name;
    END LOOP;
END $$;

COMMIT;
