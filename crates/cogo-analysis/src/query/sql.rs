//! SQL of the user's own, which can read and nothing else.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::ValueRef;
use serde_json::Value;

use crate::store::StoreError;

/// Steps of SQLite between two looks at the clock.
const STEPS: i32 = 10_000;

/// What a query gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, each with a value for each column.
    pub rows: Vec<Vec<Value>>,
    /// Whether there were more.
    pub truncated: bool,
}

/// Runs a query that reads. Statements that would write, attach or change settings are refused,
/// and one that takes longer than `time_max` is stopped.
///
/// # Errors
///
/// When it is refused, stopped or wrong.
pub fn query(
    connection: &mut Connection,
    sql: &str,
    rows_max: usize,
    time_max: Duration,
) -> Result<Rows, StoreError> {
    connection.authorizer(Some(|context: AuthContext<'_>| allowed(&context)))?;
    let deadline = Instant::now() + time_max;
    connection.progress_handler(STEPS, Some(move || Instant::now() > deadline))?;
    let result = run(connection, sql, rows_max);
    connection.progress_handler(0, None::<fn() -> bool>)?;
    connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?;
    result
}

fn allowed(context: &AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => {
            Authorization::Allow
        }
        AuthAction::Function { function_name } if function_name != "load_extension" => {
            Authorization::Allow
        }
        _ => Authorization::Deny,
    }
}

fn run(connection: &Connection, sql: &str, rows_max: usize) -> Result<Rows, StoreError> {
    let mut read = connection.prepare(sql)?;
    let columns: Vec<String> = read.column_names().map(str::to_owned).collect();
    let mut rows = read.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        if all.len() >= rows_max {
            return Ok(Rows {
                columns,
                rows: all,
                truncated: true,
            });
        }
        let values = (0..columns.len()).map(|column| row.get_ref(column).map(value));
        all.push(values.collect::<Result<_, _>>()?);
    }
    Ok(Rows {
        columns,
        rows: all,
        truncated: false,
    })
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            hex.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(sql: &str) -> Result<Rows, StoreError> {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1), ('a');")
            .unwrap();
        query(&mut connection, sql, 10, Duration::from_secs(1))
    }

    #[test]
    fn reading_is_allowed() {
        let rows = run("SELECT x, upper(x) AS u FROM t ORDER BY x").unwrap();
        assert_eq!(rows.columns, ["x", "u"]);
        assert_eq!(rows.rows[1], [Value::from("a"), Value::from("A")]);
        assert!(
            run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n")
                .unwrap()
                .truncated
        );
    }

    #[test]
    fn all_else_is_refused() {
        for sql in [
            "DELETE FROM t",
            "CREATE TABLE u (x)",
            "ATTACH 'x.db' AS x",
            "PRAGMA user_version = 3",
            "SELECT load_extension('x')",
        ] {
            assert!(run(sql).is_err(), "{sql}");
        }
    }

    #[test]
    fn what_never_ends_is_stopped() {
        let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        assert!(run(sql).is_err());
    }
}
