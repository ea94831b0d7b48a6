-- Spreads the tables over the nodes of a Citus cluster (PostgreSQL with the extension Citus, 12 or newer).
--
--     PGOPTIONS='-c todo.shards=32' psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f docker/postgres/distribute.sql
--
-- Run it on the coordinator, after CREATE EXTENSION citus, `citus_set_coordinator_host`, `citus_add_node` and
-- `todo-platform migrate`, as the tables' owner, while no instance runs. Tables must not be partitioned by
-- partition.sql: shards take the partitions' place. Rows that are there are moved to their shards.
--
-- NOT RUN ON CITUS YET: held to Citus's rules for keys by the story `scaling` with stand-ins of its functions. What the
-- server does that Citus refuses, and must change first, is in docs/scaling.md ("Before Citus").
--
-- Three kinds of table:
--   distributed  by organization_id, all colocated: rows of one organization are on one node, with their foreign keys,
--                cascades and joins. Every primary key and unique index must name organization_id, every foreign key
--                between two of them must have it on both sides at the same place.
--   reference    a copy on every node, for what distributed tables refer to or are joined with. A write goes to all nodes.
--   local        on the coordinator alone: named at the end.

BEGIN;

-- Triggers keep search (item, comment -> search_document, the same organization's, so the same node), the time of items in
-- their links and an item's links in its row (item_assignee, item_tag; they read and write the same organization's item), the revision of tags and teams (tag, team
-- -> ledger_head, the same organization's) and the revision of profiles ("user" -> profile_revision). Citus refuses tables with triggers unless told that they are wanted.
SET LOCAL citus.enable_unsafe_triggers = on;
-- Tables refer to reference tables: one connection a node, so that all is seen by the transaction that wrote it.
SET LOCAL citus.multi_shard_modify_mode = 'sequential';

-- What the triggers of search call, on every node.
SELECT create_distributed_function('search_fold(text)');
SELECT create_distributed_function('search_words(text)');
SELECT create_distributed_function('search_vector(uuid, smallint, text, text)');

-- Reference tables: what is referred to before what refers to it.

-- Found by its slug, which is unique among all.
SELECT create_reference_table('organization');
-- Accounts: one person is in many organizations.
SELECT create_reference_table('"user"');
SELECT create_reference_table('credential');
SELECT create_reference_table('account_token');
SELECT create_reference_table('security_event');
SELECT create_reference_table('session');
SELECT create_reference_table('refresh_token');
SELECT create_reference_table('profile_revision');
-- Of organizations, but found by a secret before anybody knows whose it is: unique on the secret alone, which a
-- distributed table can't have (ux_api_key_lookup, ux_inbound_hook_token, ux_invitation_token_hash,
-- ux_invitation_mailed_token_hash).
SELECT create_reference_table('api_key');
SELECT create_reference_table('inbound_hook');
SELECT create_reference_table('invitation');
-- One queue of all; a job need not be of an organization, and its key is its id alone.
SELECT create_reference_table('job');

-- Distributed tables: what is referred to before what refers to it.
SELECT create_distributed_table('ledger_head', 'organization_id', colocate_with := 'none',
    shard_count := coalesce(nullif(current_setting('todo.shards', true), ''), '32')::int);
SELECT create_distributed_table('membership', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('team', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('team_member', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('invitation_team', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('tag', 'organization_id', colocate_with := 'ledger_head');
-- Before item and comment, whose triggers write into it.
SELECT create_distributed_table('search_document', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('item', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('item_assignee', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('item_relation', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('item_tag', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('item_watcher', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('comment', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('event', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('idempotency', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('usage', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('billing_event', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('document_set', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('trusted_document', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('import', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('import_part', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('inbound_receipt', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('webhook', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('webhook_lane', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('webhook_delivery', 'organization_id', colocate_with := 'ledger_head');
SELECT create_distributed_table('webhook_attempt', 'organization_id', colocate_with := 'ledger_head');

-- Local: read and written on their own, by no foreign key: ledger_epoch, mailed_letter, seaql_migrations,
-- sign_in_failure, signing_key, store_probe.

COMMIT;
