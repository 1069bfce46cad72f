//! How long it takes to run `/bin/true`.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use cogo_sandbox::start::{Launcher, start};
use cogo_sandbox::zygote::{Zygote, ZygoteOptions};

use crate::Turns;
use crate::host::{Place, time_to_verdict};
use crate::measure::{self, Contender};
use crate::peers::Peer;

const TRUE: [&str; 1] = ["/bin/true"];

/// Times all ways to run `/bin/true`.
pub(crate) fn run(turns: &Turns) -> anyhow::Result<()> {
    let disk = &Place::on_disk()?;
    let memory = Place::in_memory()?;
    let launcher = Launcher::default();
    let cold = Zygote::start(&launcher, ZygoteOptions::default())?;
    let warm = Zygote::start(&launcher, ZygoteOptions::default())?;
    warm.keep_warm(&disk.limited_spec(&TRUE), 2)?;
    warm.keep_warm(&memory.limited_spec(&TRUE), 2)?;
    let session_spec = disk.spec(&TRUE);
    let session = cold.open_session(&disk.state, "session", &disk.limited_spec(&TRUE))?;
    let memory_session_spec = memory.spec(&TRUE);
    let memory_session =
        cold.open_session(&memory.state, "session", &memory.limited_spec(&TRUE))?;
    let spec = disk.limited_spec(&TRUE);
    let memory_spec = memory.limited_spec(&TRUE);
    let mut contenders = vec![
        Contender::new("spawn and wait, no sandbox", || command(&TRUE)),
        Contender::new("a small file, durable", || durable_file(disk)),
        Contender::new("both", || command(&TRUE).and_then(|()| durable_file(disk))),
        Contender::timed("cogo in a session, state in memory", || {
            let id = memory.id();
            time_to_verdict(|| {
                memory_session.start_exec(&memory.state, &id, &memory_session_spec, &[])
            })
        }),
        Contender::timed("cogo in a session", || {
            let id = disk.id();
            time_to_verdict(|| session.start_exec(&disk.state, &id, &session_spec, &[]))
        }),
        Contender::timed("cogo warm, state in memory", || {
            let id = memory.id();
            time_to_verdict(|| warm.start_exec(&memory.state, &id, &memory_spec, &[]))
        }),
        Contender::timed("cogo warm", || {
            let id = disk.id();
            time_to_verdict(|| warm.start_exec(&disk.state, &id, &spec, &[]))
        }),
        Contender::timed("cogo cold, from a zygote", || {
            let id = disk.id();
            time_to_verdict(|| cold.start_exec(&disk.state, &id, &spec, &[]))
        }),
        Contender::timed("cogo cold, launcher executed anew", || {
            let id = disk.id();
            time_to_verdict(|| start(&launcher, &disk.state, &id, &spec, &[]))
        }),
    ];
    match cogo_beside_us() {
        Some(cogo) => contenders.push(Contender::new("`cogo run`, the whole command", move || {
            let state = disk.path().join("state");
            let arguments = ["run", "-q", "--stdin", "closed", "--", TRUE[0]];
            let mut command = Command::new(&cogo);
            command.current_dir(disk.path().join("workspace"));
            wait(command.env("COGO_STATE_DIR", state).args(arguments))
        })),
        None => println!("Skipped `cogo run`: build it first, in the same folder\n"),
    }
    for peer in Peer::able(disk.path())? {
        let mut count = 0;
        contenders.push(Contender::new(peer.name, move || {
            count += 1;
            peer.run(&format!("bench-{}-{count}", std::process::id()))
        }));
    }
    measure::run(turns, contenders)
}

/// What a verdict must cost at least: a new file that survives a loss of power.
fn durable_file(place: &Place) -> anyhow::Result<()> {
    let path = place.path().join(place.id());
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(&[b'x'; 300])?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    Ok(())
}

fn command(argv: &[&str]) -> anyhow::Result<()> {
    wait(Command::new(argv[0]).args(&argv[1..]))
}

fn wait(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

fn cogo_beside_us() -> Option<PathBuf> {
    let cogo = std::env::current_exe().ok()?.with_file_name("cogo");
    cogo.exists().then_some(cogo)
}
