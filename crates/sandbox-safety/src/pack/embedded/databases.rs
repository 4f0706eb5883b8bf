//! The rules of `packs/databases.yaml`, made by `cargo xtask generate`.

use sandbox_types::Effect;

use crate::{risk::Held, rules::{Rule, When}};

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "database.drop",
        score: 60,
        effects: &[Effect::DestroysData, Effect::AffectsRemote],
        held: Held::Network,
        message: "deletes a database, a queue, or all that is in it",
        suggestion: "back it up first; let a person delete it",
        when: When::Looks(&[
            "dropdb|dropuser * !--help",
            "mysqladmin .. drop|shutdown|flush-*",
            "redis-cli|valkey-cli|keydb-cli flushall|FLUSHALL|flushdb|FLUSHDB|shutdown|SHUTDOWN|DEBUG|debug",
            "redis-cli config|CONFIG|script|cluster set|SET|flush|reset ~dir|dbfilename|reset|flush",
            "mongo|mongosh ~dropDatabase|.drop(|deleteMany({})|remove({})",
            "rails|rake db:drop|db:reset|db:purge|db:schema:load|db:migrate:reset",
            "bundle|bin/rails exec|db:drop rails|rake|db:* db:drop|db:reset",
            "prisma|npx .. migrate|db reset|push --force|--force-reset|--accept-data-loss",
            "php artisan migrate:fresh|db:wipe|migrate:reset",
            "python|python3 manage.py flush|reset_db|sqlflush",
            "alembic downgrade",
            "influx|influxd bucket|delete delete|*",
            "cqlsh|clickhouse-client ~DROP|TRUNCATE",
            "pg_resetwal *",
            "pg_dropcluster *",
            "dropshell *",
            "kafka-topics|kafka-topics.sh|kafka-consumer-groups|kafka-consumer-groups.sh --delete|--delete-offsets",
            "kafka-delete-records|kafka-delete-records.sh ..",
            "rabbitmqctl reset|force_reset|delete_*|purge_queue|stop|stop_app|clear_*",
            "rabbitmqadmin delete|purge",
            "nats stream|consumer|kv|object rm|purge|del|delete|remove",
            "celery .. purge",
            "nsqadmin .. delete",
            "rqt|rosbag ..  delete",
        ]),
        matches: &[],
        spares: &[],
    },
    Rule {
        id: "http.delete",
        score: 35,
        effects: &[Effect::AffectsRemote],
        held: Held::Network,
        message: "asks a server to delete something",
        suggestion: "look with GET first",
        when: When::Looks(&[
            "curl|http|https|xh|httpie ~DELETE !~localhost|127.0.0.1",
            "curl|http|xh -X|--request ~_delete_by_query|/_close|_forcemerge !~localhost",
            "curl ~-XDELETE",
            "curl -X DELETE ~9200|7700|8086|/_all|/*",
            "curl ~doDelete|/quitDown|safeExit|/exit|indexes",
        ]),
        matches: &[],
        spares: &[],
    },
];
