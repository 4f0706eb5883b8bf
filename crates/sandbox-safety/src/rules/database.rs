//! Deleting what databases, queues and search servers hold.

use sandbox_types::Effect::{AffectsRemote, DestroysData};

use super::{Rule, Scene, When};
use crate::{
    risk::{HIGH, Held},
    shell::{RedirectKind, SimpleCommand, Span},
};

pub(super) static RULES: &[Rule] = &[Rule {
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
}];

/// Programs that take SQL as an argument or on their input.
const CLIENTS: [&str; 30] = [
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
    "mycli",
    "litecli",
    "sqlplus",
    "isql",
    "hive",
    "beeline",
    "impala-shell",
    "spark-sql",
    "trino",
    "presto",
    "clickhouse-client",
    "clickhouse",
    "cqlsh",
    "hbase",
    "ysqlsh",
    "vsql",
    "osql",
    "db2",
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
            || starts(0, &["delete"]) && words.ends_with(&["where", "true"])
            || starts(0, &["copy"]) && words.contains(&"program")
            || starts(0, &["grant"]) && words.contains(&"all")
            || starts(0, &["alter"]) && words.contains(&"superuser")
            || starts(0, &["alter"]) && words.contains(&"drop")
    })
}
