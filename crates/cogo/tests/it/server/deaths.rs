//! Managers, workers and connections die under running tasks. Each time every task has one
//! verdict and its whole output.

use std::time::Instant;

use rustix::process::Signal;

use super::fixture::Server;
use super::fleet::Fleet;
use super::proxy::Proxy;
use crate::fixture::await_condition;

#[test]
fn a_killed_manager_loses_neither_running_nor_waiting_tasks() {
    let mut server = Server::start(&["--workers", "2", "--slots", "25"]);
    server.await_workers(2);
    let running = Fleet::submit(&server, "running", 50);
    await_running(&server, 50);
    for n in 0..500 {
        server.submit(&format!("waiting-{n}"), &format!("echo waiting {n}"));
    }
    let recovery = Recovery::begins("manager killed");
    server.kill_manager();
    server.open_gate();
    server.go_on();
    server.await_workers(2);
    recovery.ends();
    server.await_idle();
    let tasks = running.check(&server);
    assert_eq!(Fleet::attempts(&tasks), 50, "nothing ran twice");
    for n in 0..500 {
        let name = format!("waiting-{n}");
        assert_eq!(server.task(&name)["status"], "succeeded");
        assert_eq!(
            String::from_utf8(server.output(&name)).unwrap(),
            format!("waiting {n}\n")
        );
    }
    // One more looked at the events.
    assert_eq!(server.tasks().len(), 551);
}

#[test]
fn a_killed_worker_is_started_again_and_finds_its_tasks() {
    let mut server = Server::start(&["--workers", "1", "--slots", "50"]);
    server.await_workers(1);
    let fleet = Fleet::submit(&server, "task", 50);
    await_running(&server, 50);
    let before = server.worker_pids();
    let recovery = Recovery::begins("worker killed");
    server.signal_workers(Signal::KILL);
    await_condition("another process", || server.worker_pids() != before);
    server.await_workers(1);
    recovery.ends();
    server.open_gate();
    server.await_idle();
    let tasks = fleet.check(&server);
    assert_eq!(Fleet::attempts(&tasks), 50, "nothing ran twice");
}

#[test]
fn manager_and_workers_die_together_and_nothing_is_lost() {
    let mut server = Server::start(&["--workers", "2", "--slots", "25"]);
    server.await_workers(2);
    let fleet = Fleet::submit(&server, "task", 50);
    await_running(&server, 50);
    let recovery = Recovery::begins("manager and workers killed");
    server.kill_manager();
    server.signal_workers(Signal::KILL);
    server.go_on();
    server.await_workers(2);
    recovery.ends();
    server.open_gate();
    server.await_idle();
    let tasks = fleet.check(&server);
    assert_eq!(Fleet::attempts(&tasks), 50, "nothing ran twice");
}

#[test]
fn late_attempts_of_dead_workers_give_their_slots_back() {
    let mut server = Server::start(&["--workers", "0", "--lease", "1s"]);
    let worker = server.join("mortal", server.address, 5);
    server.await_workers(1);
    let fleet = Fleet::submit(&server, "task", 5);
    await_running(&server, 5);
    let recovery = Recovery::begins("worker killed for longer than its lease of 1 s");
    rustix::process::kill_process(worker, Signal::KILL).unwrap();
    await_condition("tasks taken back", || {
        (0..5).all(|n| server.task(&format!("task-{n}"))["status"] == "queued")
    });
    // It finds what it ran, and has to end that first: nobody else is there.
    server.join("mortal", server.address, 5);
    server.await_workers(1);
    await_running(&server, 5);
    recovery.ends();
    server.open_gate();
    server.await_idle();
    let tasks = fleet.check(&server);
    assert_eq!(Fleet::attempts(&tasks), 10, "each ran anew, once");
}

#[test]
fn a_stopped_workers_tasks_are_done_elsewhere_and_its_late_word_is_refused() {
    let mut server = Server::start(&["--workers", "0", "--lease", "1s"]);
    let frozen = server.join("frozen", server.address, 5);
    server.await_workers(1);
    let fleet = Fleet::submit(&server, "task", 5);
    await_running(&server, 5);
    server.join("other", server.address, 5);
    let recovery = Recovery::begins("worker stopped, lease of 1 s");
    rustix::process::kill_process(frozen, Signal::STOP).unwrap();
    await_condition("tasks elsewhere", || {
        (0..5).all(|n| {
            let task = server.task(&format!("task-{n}"));
            task["workerId"] == "other" && task["status"] == "running"
        })
    });
    recovery.ends();
    rustix::process::kill_process(frozen, Signal::CONT).unwrap();
    server.await_workers(2);
    server.open_gate();
    server.await_idle();
    let tasks = fleet.check(&server);
    assert_eq!(Fleet::attempts(&tasks), 10, "each ran anew, once");
    // The late ones are ended too.
    await_condition("an idle worker", || {
        let worker = server.get("/workers/frozen").unwrap().json();
        worker["tasks"].as_array().unwrap().is_empty() && worker["status"] == "idle"
    });
}

#[test]
fn a_connection_cut_for_less_than_the_lease_changes_nothing() {
    let mut server = Server::start(&["--workers", "0", "--lease", "30s"]);
    let proxy = Proxy::start(server.address);
    server.join("behind", proxy.address(), 10);
    server.await_workers(1);
    let fleet = Fleet::submit(&server, "task", 10);
    await_running(&server, 10);
    let recovery = Recovery::begins("connection cut and mended");
    proxy.cut();
    server.await_workers(0);
    server.open_gate();
    proxy.mend();
    server.await_workers(1);
    recovery.ends();
    server.await_idle();
    let tasks = fleet.check(&server);
    assert_eq!(Fleet::attempts(&tasks), 10, "nothing ran twice");
}

#[test]
fn a_connection_cut_for_more_than_the_lease_moves_the_tasks() {
    let mut server = Server::start(&["--workers", "0", "--lease", "1s"]);
    let proxy = Proxy::start(server.address);
    server.join("behind", proxy.address(), 5);
    server.await_workers(1);
    let fleet = Fleet::submit(&server, "task", 5);
    await_running(&server, 5);
    server.join("other", server.address, 5);
    let recovery = Recovery::begins("connection cut, lease of 1 s");
    proxy.cut();
    await_condition("tasks elsewhere", || {
        (0..5).all(|n| server.task(&format!("task-{n}"))["workerId"] == "other")
    });
    recovery.ends();
    proxy.mend();
    server.await_workers(2);
    server.open_gate();
    server.await_idle();
    let tasks = fleet.check(&server);
    assert_eq!(Fleet::attempts(&tasks), 10, "each ran anew, once");
}

/// Measures how long it takes until all is as it was, for whoever reads what the test prints.
struct Recovery {
    from: &'static str,
    began_at: Instant,
}

impl Recovery {
    fn begins(from: &'static str) -> Self {
        Self {
            from,
            began_at: Instant::now(),
        }
    }

    fn ends(self) {
        println!("{}: recovered in {:?}", self.from, self.began_at.elapsed());
    }
}

fn await_running(server: &Server, count: usize) {
    await_condition("running tasks", || {
        let page = server
            .get("/tasks?state=running&limit=1000")
            .unwrap()
            .json();
        page["tasks"].as_array().unwrap().len() == count
    });
}
