//! Many tasks with known output, and the check that each was done once and whole.

use serde_json::Value;

use super::fixture::{Server, WAIT};

/// Lines that a task writes before it waits, and after.
const LINES: u32 = 200;

/// Tasks that write, wait for the gate, and write again.
pub(crate) struct Fleet {
    names: Vec<String>,
}

impl Fleet {
    /// Submits tasks that wait for the gate while they run.
    pub(crate) fn submit(server: &Server, prefix: &str, count: u32) -> Self {
        let names: Vec<String> = (0..count).map(|n| format!("{prefix}-{n}")).collect();
        for name in &names {
            let script = format!(
                "for i in $(seq {LINES}); do echo {name} $i; done; \
                 {WAIT}; \
                 for i in $(seq {LINES}); do echo {name} again $i; done"
            );
            server.submit(name, &script);
        }
        Self { names }
    }

    /// What a task of it writes.
    fn expected(name: &str) -> String {
        let first = (1..=LINES).map(|i| format!("{name} {i}\n"));
        let second = (1..=LINES).map(|i| format!("{name} again {i}\n"));
        first.chain(second).collect()
    }

    /// Checks that each task has ended once, and that its last attempt's output is whole.
    pub(crate) fn check(&self, server: &Server) -> Vec<Value> {
        let tasks: Vec<Value> = self.names.iter().map(|name| server.task(name)).collect();
        let ends = server.ends_told();
        for (name, task) in self.names.iter().zip(&tasks) {
            assert_eq!(task["status"], "succeeded", "{task}");
            assert_eq!(task["verdict"]["kind"], "exited", "{task}");
            assert_eq!(ends.get(name), Some(&1), "one end of {task}");
            // No attempt but the last one was listened to.
            let attempts = task["attempts"].as_array().unwrap();
            for (n, attempt) in attempts.iter().enumerate() {
                let answered = attempt["result"] == "exited with 0";
                assert_eq!(answered, n + 1 == attempts.len(), "{task}");
                assert_eq!(attempt["outputMissing"], Value::Null, "{task}");
            }
            let output = String::from_utf8(server.output(name)).unwrap();
            assert!(output == Self::expected(name), "{name} wrote {output}");
        }
        tasks
    }

    /// How many attempts its tasks took in all.
    pub(crate) fn attempts(tasks: &[Value]) -> usize {
        let attempts = tasks
            .iter()
            .map(|task| task["attempts"].as_array().unwrap().len());
        attempts.sum()
    }
}
