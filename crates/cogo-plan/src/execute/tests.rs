//! Plans of real processes, without a sandbox.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;
use crate::read::read;

/// Runs commands as plain processes.
struct Processes;

impl Dispatch for Processes {
    fn run(
        &self,
        work: &Work,
        tell: &mut dyn FnMut(Telling<'_>),
        cancel: &Cancel,
    ) -> Result<Outcome, DispatchError> {
        let mut child = Command::new(&work.argv[0])
            .args(&work.argv[1..])
            .envs(&work.env)
            .current_dir(&work.cwd)
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| DispatchError {
                message: error.to_string(),
                hint: None,
            })?;
        tell(Telling::Handle(&child.id().to_string()));
        let mut stdout = child.stdout.take().expect("a pipe");
        let group = rustix::process::Pid::from_child(&child);
        std::thread::scope(|scope| {
            let (over, is_over) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                while is_over.recv_timeout(Duration::from_millis(5))
                    == Err(RecvTimeoutError::Timeout)
                {
                    if cancel.is_asked() {
                        let kill = rustix::process::Signal::KILL;
                        let _ = rustix::process::kill_process_group(group, kill);
                        return;
                    }
                }
            });
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                tell(Telling::Output(Stream::Stdout, &buffer[..count]));
            }
            drop(over);
        });
        let status = child.wait().expect("a status");
        Ok(match (status.code(), status.signal()) {
            (Some(code), _) => Outcome::Exited { code },
            (None, signal) => Outcome::Signaled {
                signal: signal.unwrap_or_default(),
                core_dumped: false,
            },
        })
    }
}

/// A workspace with a plan.
struct Place {
    folder: tempfile::TempDir,
    plan: String,
    cancel: Cancel,
}

impl Place {
    fn new(steps: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("workspace")).expect("a workspace");
        Self {
            folder,
            plan: format!("parallel: 4\nsteps:\n{steps}"),
            cancel: Cancel::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("workspace").join(name)
    }

    /// Runs or takes up the run of this name, and tells the events but for output in short.
    fn run(&self, name: &str) -> (Vec<String>, PlanOutcome) {
        self.run_watched(name, &mut |_| {})
    }

    fn run_watched(
        &self,
        name: &str,
        watch: &mut dyn FnMut(&Event<'_>),
    ) -> (Vec<String>, PlanOutcome) {
        let graph = Graph::new(read(&self.plan).expect("a plan")).expect("a graph");
        let root = self.folder.path();
        let settings = Settings {
            run: name.to_owned(),
            workspace: root.join("workspace"),
            artifacts: root.join(name).join("artifacts"),
            cache: Some(Cache::new(root.join("cache"))),
            test_history: None,
            parallel: None,
        };
        std::fs::create_dir_all(root.join(name)).expect("a folder");
        let journal = Journal::open(&root.join(name).join("journal"), &self.plan);
        let mut events = Vec::new();
        let outcome = execute(
            &graph,
            &settings,
            journal.expect("a journal"),
            &Processes,
            &self.cancel,
            &mut |event| {
                events.extend(in_short(event));
                watch(event);
            },
        );
        (events, outcome.expect("an outcome"))
    }
}

fn in_short(event: &Event<'_>) -> Option<String> {
    match event {
        Event::StepStarted { step, attempt, .. } => Some(format!("{step}#{attempt}")),
        Event::StepEnded { step, error, .. } => {
            Some(format!("{step}: {}", error.unwrap_or("done")))
        }
        Event::StepCached { step } => Some(format!("{step}: cached")),
        Event::StepSkipped { step } => Some(format!("{step}: skipped")),
        Event::StepTests { step, report } => Some(format!("{step}: {:?}", report.outcome)),
        Event::StepDiagnostic { step, diagnostic } => {
            Some(format!("{step}: {}", crate::diagnostic::line(diagnostic)))
        }
        Event::StepOutput { .. } | Event::PlanFinished { .. } => None,
    }
}

fn read_file(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn what_a_step_tells_reaches_those_that_need_it() {
    let place = Place::new(
        "
  - {id: say, type: custom, run: 'echo ::output word=hello', outputs: [word]}
  - {id: hear, type: custom, run: 'echo ${{ needs.say.outputs.word }} $NAME > heard', needs: [say], env: {NAME: '${{ needs.say.status }}'}}
",
    );
    let (events, outcome) = place.run("one");
    assert_eq!(events, ["say#1", "say: done", "hear#1", "hear: done"]);
    assert_eq!(outcome, PlanOutcome::Succeeded);
    assert_eq!(read_file(&place.path("heard")), "hello succeeded\n");
}

#[test]
fn steps_that_do_not_need_each_other_run_at_once() {
    // Each waits for the other one's file.
    let place = Place::new(
        "
  - {id: a, type: custom, run: 'touch a; until [ -e b ]; do sleep 0.01; done'}
  - {id: b, type: custom, run: 'touch b; until [ -e a ]; do sleep 0.01; done'}
",
    );
    assert_eq!(place.run("one").1, PlanOutcome::Succeeded);
}

#[test]
fn a_value_that_was_not_told_fails_the_step_that_wants_it() {
    let place = Place::new(
        "
  - {id: say, type: custom, run: 'true', outputs: [word]}
  - {id: hear, type: custom, run: 'echo ${{ needs.say.outputs.word }}', needs: [say], attempts: 5}
",
    );
    let (events, outcome) = place.run("one");
    assert_eq!(events.len(), 3, "{events:?}");
    assert!(events[2].starts_with("hear: "), "{events:?}");
    assert_eq!(outcome, PlanOutcome::Failed);
}

#[test]
fn a_failed_run_goes_on_where_it_failed() {
    let place = Place::new(
        "
  - {id: build, type: custom, run: 'echo x >> builds'}
  - {id: test, type: custom, run: '[ -e fixed ]', needs: [build], attempts: 2}
  - {id: ship, type: custom, run: 'true', needs: [test]}
",
    );
    let (events, outcome) = place.run("one");
    assert_eq!(
        events,
        [
            "build#1",
            "build: done",
            "test#1",
            "test: exited with 1",
            "test#2",
            "test: exited with 1",
            "ship: skipped"
        ]
    );
    assert_eq!(outcome, PlanOutcome::Failed);
    std::fs::write(place.path("fixed"), "").expect("a file");
    let (events, outcome) = place.run("one");
    assert_eq!(events, ["test#1", "test: done", "ship#1", "ship: done"]);
    assert_eq!(outcome, PlanOutcome::Succeeded);
    assert_eq!(read_file(&place.path("builds")), "x\n");
    assert_eq!(place.run("one").0, Vec::<String>::new());
}

#[test]
fn the_same_inputs_are_not_worked_on_twice() {
    let place = Place::new(
        "
  - {id: build, type: build, run: 'cat in > out; echo x >> builds; echo ::output n=1', inputs: [in], outputs: [n], artifacts: [out]}
  - {id: use, type: custom, run: 'cat out; test ${{ needs.build.outputs.n }} = 1', needs: [build]}
",
    );
    std::fs::write(place.path("in"), "1").expect("a file");
    assert_eq!(place.run("one").1, PlanOutcome::Succeeded);
    std::fs::remove_file(place.path("out")).expect("a removal");
    let (events, outcome) = place.run("two");
    assert_eq!(events, ["build: cached", "use#1", "use: done"]);
    assert_eq!(outcome, PlanOutcome::Succeeded);
    assert_eq!(read_file(&place.path("out")), "1");
    std::fs::write(place.path("in"), "2").expect("a file");
    assert_eq!(place.run("three").0[0], "build#1");
    assert_eq!(read_file(&place.path("builds")), "x\nx\n");
    let kept = place.folder.path().join("three/artifacts/build/out");
    assert_eq!(read_file(&kept), "2");
}

#[test]
fn cancelling_ends_what_runs_and_a_later_run_goes_on() {
    let place = Place::new(
        "
  - {id: first, type: custom, run: 'echo x >> firsts'}
  - {id: wait, type: custom, run: 'echo here; until [ -e go ]; do sleep 0.01; done', needs: [first]}
  - {id: last, type: custom, run: 'true', needs: [wait]}
",
    );
    let (events, outcome) = place.run_watched("one", &mut |event| {
        if matches!(event, Event::StepOutput { step: "wait", .. }) {
            place.cancel.ask();
        }
    });
    assert_eq!(outcome, PlanOutcome::Cancelled);
    assert_eq!(
        events.last().map(String::as_str),
        Some("wait: ended by signal 9")
    );
    std::fs::write(place.path("go"), "").expect("a file");
    let place = Place {
        cancel: Cancel::default(),
        ..place
    };
    let (events, outcome) = place.run("one");
    assert_eq!(events, ["wait#1", "wait: done", "last#1", "last: done"]);
    assert_eq!(outcome, PlanOutcome::Succeeded);
    assert_eq!(read_file(&place.path("firsts")), "x\n");
}

#[test]
fn a_run_that_was_killed_is_taken_up_from_its_journal() {
    let place = Place::new(
        "
  - {id: a, type: custom, run: 'echo x >> as'}
  - {id: b, type: custom, run: 'echo x >> bs', needs: [a]}
",
    );
    assert_eq!(place.run("one").1, PlanOutcome::Succeeded);
    // What a process that died after each line has left behind.
    let journal = place.folder.path().join("one/journal");
    let whole = read_file(&journal);
    for count in 1..whole.lines().count() {
        let lines: Vec<&str> = whole.lines().take(count).collect();
        std::fs::write(&journal, lines.join("\n") + "\n").expect("a journal");
        let before = read_file(&place.path("as")).len();
        let (events, outcome) = place.run("one");
        assert_eq!(outcome, PlanOutcome::Succeeded, "{count}: {events:?}");
        // What was written to have ended is not done again.
        let a_had_ended = lines
            .iter()
            .any(|line| line.contains("ended") && line.contains("\"a\""));
        let ran_a = read_file(&place.path("as")).len() > before;
        assert_eq!(ran_a, !a_had_ended, "{count}: {events:?}");
    }
}

#[test]
fn what_a_step_finds_is_told_while_it_runs() {
    // It ends when what it wrote was told, and not before.
    let place = Place::new(
        "  - {id: a, type: compilation, run: 'echo \"a.c:3:5: error: no such thing\"; until [ -e go ]; do sleep 0.01; done'}\n",
    );
    let go = place.path("go");
    let (events, outcome) = place.run_watched("one", &mut |event| {
        if matches!(event, Event::StepDiagnostic { .. }) {
            std::fs::write(&go, "").expect("a file");
        }
    });
    assert_eq!(outcome, PlanOutcome::Succeeded);
    assert_eq!(
        events,
        ["a#1", "a: a.c:3:5: error: no such thing", "a: done"]
    );
}
