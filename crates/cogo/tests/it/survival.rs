//! The exec does not depend on who started it.

use std::hash::{BuildHasher, RandomState};

use rustix::process::Signal;

use crate::fixture::{Fixture, Running, finish, verdict};

#[test]
fn a_killed_starter_changes_nothing() {
    const LINES: u64 = 60_000;
    const KILLS: u64 = 6;
    let random = RandomState::new();
    for kill in 0..KILLS {
        // From the first line, when little is written yet, to the last ones.
        let point = random.hash_one(kill) % (LINES / KILLS) + kill * (LINES / KILLS);
        let fixture = Fixture::new();
        // It has more to say after the death, whenever that comes.
        let script = format!(
            "{{ seq 1 {LINES}; while [ ! -e killed ]; do sleep 0.01; done; seq 1 {LINES}; }} \
             | tee written; exit 5"
        );
        let mut run = Running::start(&mut fixture.script(&[], &script));
        for line in 1..=point.max(1) {
            assert_eq!(run.line(), format!("{line}\n"));
        }
        run.signal(Signal::KILL);
        assert_eq!(run.status().code(), None, "killed at line {point}");
        std::fs::write(fixture.workspace().join("killed"), "").unwrap();

        let waited = finish(&mut fixture.cogo(["wait", "last"]));
        assert_eq!(waited.code, Some(5), "killed at line {point}: {waited:?}");
        let logged = finish(&mut fixture.cogo(["logs", "last"])).stdout;
        let written = std::fs::read_to_string(fixture.workspace().join("written")).unwrap();
        assert_eq!(written.lines().count() as u64, 2 * LINES);
        assert!(
            logged == written,
            "killed at line {point}: {} bytes of {}",
            logged.len(),
            written.len()
        );
        assert_eq!(verdict(&fixture.only_exec())["outcome"]["code"], 5);
    }
}
