//! Plans that a server was asked to run: followed, ended, and taken up again.

use std::time::Duration;

use serde_json::{Value, json};

use super::fixture::Server;
use crate::fixture::{await_condition, strongest_tier};

fn submit(server: &Server, job: &str, plan: &str) -> Value {
    let workspace = server.world.workspace();
    let request =
        json!({"jobId": job, "plan": plan, "workspace": workspace, "inputs": ["WHO=you"]});
    let answer = server.send("POST", "/plans", &request).unwrap();
    answer.json()
}

/// Steps of a server's plans are strict, always.
fn is_possible() -> bool {
    strongest_tier() == "strict"
}

fn status(server: &Server, job: &str) -> Value {
    let answer = server.get(&format!("/jobs/{job}"));
    answer.map_or(Value::Null, |answer| answer.json())
}

fn await_status(server: &Server, job: &str, wanted: &str) -> Value {
    let mut last = Value::Null;
    await_condition(&format!("`{wanted}` of `{job}`"), || {
        last = status(server, job);
        std::thread::sleep(Duration::from_millis(20));
        last["status"] == wanted
    });
    last
}

#[test]
fn a_plan_is_run_and_its_steps_are_tasks() {
    if !is_possible() {
        return;
    }
    let server = Server::start(&[]);
    let plan = "
steps:
  - {id: note, type: file-operation, run: 'echo $WHO > who'}
  - {id: test, type: test, run: 'grep -q you who && echo a.c:1:2:\\ warning:\\ odd', needs: [note]}
";
    submit(&server, "one", plan);
    let done = await_status(&server, "one", "succeeded");
    assert_eq!(done["progress"]["percentage"], 100.0, "{done}");
    let result = server.get("/jobs/one/result").unwrap().json();
    assert_eq!(
        result["steps"],
        json!({"note": "succeeded", "test": "succeeded"})
    );
    // What belongs into a sandbox of a worker was a task of this server.
    assert_eq!(server.tasks().len(), 1);
    let wrong = submit(
        &server,
        "two",
        "steps: [{id: a, type: build, run: x, needs: [b]}]",
    );
    assert!(
        wrong["detail"]
            .as_str()
            .is_some_and(|text| text.contains("no step `b`")),
        "{wrong}"
    );
}

const GATED: &str = "
steps:
  - {id: first, type: build, run: 'echo x >> firsts'}
  - {id: gated, type: test, run: 'echo x >> gateds; flock -s gate true', needs: [first]}
  - {id: last, type: custom, run: 'echo x >> lasts', needs: [gated]}
";

#[test]
fn a_plan_outlives_its_manager() {
    if !is_possible() {
        return;
    }
    let mut server = Server::start(&[]);
    submit(&server, "long", GATED);
    server.world.await_file("gateds");
    server.kill_manager();
    server.go_on();
    server.open_gate();
    await_status(&server, "long", "succeeded");
    for file in ["firsts", "gateds", "lasts"] {
        let text = std::fs::read_to_string(server.world.workspace().join(file)).unwrap();
        assert_eq!(text, "x\n", "{file}");
    }
}

#[test]
fn a_plan_that_is_ended_ends_its_steps() {
    if !is_possible() {
        return;
    }
    let server = Server::start(&[]);
    submit(&server, "long", GATED);
    server.world.await_file("gateds");
    server.send("DELETE", "/jobs/long", &Value::Null).unwrap();
    await_status(&server, "long", "cancelled");
    server.await_idle();
    assert!(!server.world.workspace().join("lasts").exists());
}
