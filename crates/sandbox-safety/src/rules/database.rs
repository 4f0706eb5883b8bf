//! Deleting what databases, queues and search servers hold.

use sandbox_types::Effect::{AffectsRemote, DestroysData};

use super::{Rule, Scene, When};
use crate::{
    risk::{HIGH, Held, MEDIUM},
    shell::{RedirectKind, SimpleCommand, Span},
};

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "database.drop",
        score: HIGH,
        effects: &[DestroysData, AffectsRemote],
        held: Held::Network,
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
        message: "deletes a database, a queue, or all that is in it",
        suggestion: "back it up first; let a person delete it",
        matches: &[
            "dropdb prod",
            "redis-cli FLUSHALL",
            "mysqladmin -u root drop db",
            "rabbitmqctl reset",
            "mongosh --eval 'db.dropDatabase()'",
        ],
        spares: &[
            "createdb x",
            "redis-cli get k",
            "mysqladmin status",
            "mongosh --eval 'db.stats()'",
        ],
    },
    Rule {
        id: "database.statement",
        score: HIGH,
        effects: &[DestroysData, AffectsRemote],
        held: Held::Network,
        when: When::Holds(destructive_statement),
        message: "deletes tables or all their rows",
        suggestion: "run it in a transaction that a person commits",
        matches: &[
            "psql -c 'DROP TABLE users'",
            "mysql -e 'truncate table x; '",
            "sqlite3 app.db 'DELETE FROM users;'",
            "echo 'drop database prod;' | psql",
            "psql <<EOF\nDELETE FROM t;\nEOF",
        ],
        spares: &[
            "psql -c 'SELECT 1'",
            "mysql -e 'delete from t where id = 1'",
            "echo 'drop table x' > notes.sql",
            "git commit -m 'drop table users'",
        ],
    },
    Rule {
        id: "http.delete",
        score: MEDIUM,
        effects: &[AffectsRemote],
        held: Held::Network,
        when: When::Looks(&[
            "curl|http|https|xh|httpie ~DELETE !~localhost|127.0.0.1",
            "curl|http|xh -X|--request ~_delete_by_query|/_close|_forcemerge !~localhost",
            "curl ~-XDELETE",
            "curl -X DELETE ~9200|7700|8086|/_all|/*",
            "curl ~doDelete|/quitDown|safeExit|/exit|indexes",
        ]),
        message: "asks a server to delete something",
        suggestion: "look with GET first",
        matches: &[
            "curl -X DELETE https://api.example.com/users/1",
            "curl -XDELETE es:9200/_all",
        ],
        spares: &["curl https://api.example.com", "curl -X POST localhost:1/x"],
    },
];

/// Programs that take SQL as an argument or on their input.
const CLIENTS: [&str; 12] = [
    "psql",
    "mysql",
    "mariadb",
    "sqlite3",
    "sqlcmd",
    "mssql-cli",
    "cockroach",
    "duckdb",
    "bq",
    "snowsql",
    "usql",
    "pgcli",
];

fn destructive_statement(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    if !CLIENTS.contains(&command.program()) {
        return None;
    }
    let own = command.args().iter().find(|word| destroys(&word.text));
    let given = || {
        command.redirects.iter().find(|redirect| {
            let text = matches!(
                redirect.kind,
                RedirectKind::HereDoc { .. } | RedirectKind::HereString
            );
            text && destroys(&redirect.target.text)
        })
    };
    let piped = || {
        scene
            .feeders(command)
            .flat_map(SimpleCommand::args)
            .find(|word| destroys(&word.text))
    };
    own.map(|word| word.span)
        .or_else(|| given().map(|redirect| redirect.target.span))
        .or_else(|| piped().map(|word| word.span))
}

/// Returns whether SQL deletes a table, a database, or rows without saying which.
fn destroys(sql: &str) -> bool {
    if sql.len() < 8 {
        return false;
    }
    let sql = sql.to_ascii_lowercase();
    sql.split(';').any(|statement| {
        let words: Vec<&str> = statement.split_ascii_whitespace().collect();
        let starts =
            |at: usize, wanted: &[&str]| words.get(at).is_some_and(|word| wanted.contains(word));
        let objects = [
            "table",
            "database",
            "schema",
            "index",
            "user",
            "role",
            "view",
            "keyspace",
            "owned",
            "tablespace",
            "column",
            "all",
        ];
        starts(0, &["drop"]) && starts(1, &objects)
            || starts(0, &["truncate"])
            || starts(0, &["delete"]) && starts(1, &["from"]) && !words.contains(&"where")
            || starts(0, &["update"]) && words.contains(&"set") && !words.contains(&"where")
            || starts(0, &["alter"]) && words.contains(&"drop")
    })
}
