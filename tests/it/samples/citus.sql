-- Stand-ins of Citus's functions, which place nothing but hold a table to Citus's rules, and note in `placed` what
-- each table would be.

CREATE TABLE placed (relation regclass PRIMARY KEY, kind text NOT NULL, triggers text[] NOT NULL);

CREATE FUNCTION create_distributed_function(function regprocedure) RETURNS void LANGUAGE sql AS $$ SELECT $$;

-- Citus refuses triggers unless the session says that they are wanted.
CREATE FUNCTION triggers_of(of_table regclass) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE found text[];
BEGIN
    SELECT coalesce(array_agg(tgname::text ORDER BY tgname), '{}') INTO found
    FROM pg_trigger WHERE tgrelid = of_table AND NOT tgisinternal;
    IF found <> '{}' AND coalesce(current_setting('citus.enable_unsafe_triggers', true), 'off') <> 'on' THEN
        RAISE EXCEPTION 'cannot distribute relation "%" because it has triggers', of_table;
    END IF;
    RETURN found;
END $$;

-- Of every foreign key: the table that is referred to, and whether it names `distribution_column` on both sides at the
-- same place.
CREATE FUNCTION references_of(of_table regclass, distribution_column text)
RETURNS TABLE (name text, to_table regclass, together boolean) LANGUAGE sql AS $$
    SELECT c.conname::text, c.confrelid::regclass, EXISTS (
        SELECT FROM unnest(c.conkey, c.confkey) AS k (here, there)
        JOIN pg_attribute h ON h.attrelid = c.conrelid AND h.attnum = k.here AND h.attname = distribution_column
        JOIN pg_attribute t ON t.attrelid = c.confrelid AND t.attnum = k.there AND t.attname = distribution_column)
    FROM pg_constraint c WHERE c.contype = 'f' AND c.conrelid = of_table
$$;

CREATE FUNCTION create_reference_table(of_table regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    reference record;
BEGIN
    FOR reference IN SELECT * FROM references_of(of_table, 'organization_id') LOOP
        IF reference.to_table <> of_table AND NOT EXISTS (
            SELECT FROM placed WHERE relation = reference.to_table AND kind = 'reference')
        THEN
            RAISE EXCEPTION '% of % refers to %, which is no reference table yet', reference.name, of_table, reference.to_table;
        END IF;
    END LOOP;
    INSERT INTO placed VALUES (of_table, 'reference', triggers_of(of_table));
END $$;

CREATE FUNCTION create_distributed_table(of_table regclass, distribution_column text,
    distribution_type text DEFAULT 'hash', colocate_with text DEFAULT 'default', shard_count int DEFAULT NULL)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    reference record;
    wrong text;
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = of_table) <> 'r' THEN
        RAISE EXCEPTION '% is partitioned already', of_table;
    END IF;
    IF colocate_with <> 'none' AND NOT EXISTS (
        SELECT FROM placed WHERE relation = colocate_with::regclass AND kind = 'distributed')
    THEN
        RAISE EXCEPTION '% is to be with %, which is not distributed', of_table, colocate_with;
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = of_table AND attname = distribution_column AND attnotnull)
    THEN
        RAISE EXCEPTION '% has no column % that is never null', of_table, distribution_column;
    END IF;
    SELECT string_agg(i.indexrelid::regclass::text, ', ') INTO wrong FROM pg_index i
    WHERE i.indrelid = of_table AND i.indisunique AND NOT EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = of_table AND a.attname = distribution_column
        AND a.attnum = ANY (i.indkey::int2[]));
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'unique on % without %: %', of_table, distribution_column, wrong;
    END IF;
    FOR reference IN SELECT * FROM references_of(of_table, distribution_column) LOOP
        IF reference.to_table = of_table OR EXISTS (
            SELECT FROM placed WHERE relation = reference.to_table AND kind = 'distributed')
        THEN
            IF NOT reference.together THEN
                RAISE EXCEPTION '% of % leaves % out', reference.name, of_table, distribution_column;
            END IF;
        ELSIF NOT EXISTS (SELECT FROM placed WHERE relation = reference.to_table) THEN
            RAISE EXCEPTION '% of % refers to %, which has not been placed yet', reference.name, of_table, reference.to_table;
        END IF;
    END LOOP;
    INSERT INTO placed VALUES (of_table, 'distributed', triggers_of(of_table));
END $$;
