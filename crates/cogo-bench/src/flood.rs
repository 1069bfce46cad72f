//! How fast output gets into the log: a program that writes as fast as it can, for a while.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use cogo_sandbox::control::{ControlClient, Request};
use cogo_sandbox::log::log_end;
use cogo_sandbox::start::Launcher;
use cogo_sandbox::zygote::{Zygote, ZygoteOptions};
use rustix::pipe::fcntl_setpipe_size;

use crate::Turns;
use crate::host::{Place, clear_away, running};
use crate::measure::percentile;

/// How long each flood lasts.
const FLOOD: Duration = Duration::from_millis(700);

/// What the supervisor takes from a pipe at once; the floor may do the same.
const PIPE: usize = 256 << 10;

/// Prints megabytes per second for several ways to write, each beside a plain reader.
pub(crate) fn run(turns: &Turns) -> anyhow::Result<()> {
    let place = Place::on_disk()?;
    let zygote = Zygote::start(&Launcher::default(), ZygoteOptions::default())?;
    let long_line = "x".repeat(4095);
    let programs: [(&str, &[&str]); 4] = [
        ("`yes`, lines of 2 bytes", &["/usr/bin/yes"]),
        ("`yes`, lines of 4 KiB", &["/usr/bin/yes", &long_line]),
        ("`cat /dev/zero`, blocks", &["/bin/cat", "/dev/zero"]),
        (
            "`dd`, a write for every 20 bytes",
            &["/bin/dd", "if=/dev/zero", "bs=20", "status=none"],
        ),
    ];
    println!("| what | floor MB/s | cogo MB/s | cogo / floor |");
    println!("|---|---|---|---|");
    for (name, argv) in programs {
        if turns.only.as_ref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let mut floor = Vec::new();
        let mut ours = Vec::new();
        for _ in 0..turns.rounds {
            floor.push(flood_file(&place, argv)?);
            ours.push(flood_log(&place, &zygote, argv)?);
        }
        floor.sort_unstable();
        ours.sort_unstable();
        let (floor, ours) = (percentile(&floor, 50), percentile(&ours, 50));
        let ratio = ours as f64 / floor as f64;
        println!("| {name} | {floor} | {ours} | {ratio:.2} |");
    }
    Ok(())
}

/// The floor: the program, a pipe, and a reader that writes to a file. Megabytes per second.
fn flood_file(place: &Place, argv: &[&str]) -> anyhow::Result<u64> {
    let path = place.path().join("flood");
    let mut file = File::create(&path)?;
    let mut child = Command::new(argv[0])
        .args(&argv[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", argv[0]))?;
    let mut output = child.stdout.take().context("it was asked for")?;
    // Without it the reader wakes four times as often; a user without the right to it may not.
    let _ = fcntl_setpipe_size(output.as_fd(), PIPE);
    let mut buffer = vec![0; PIPE];
    let mut bytes = 0;
    let start = Instant::now();
    while start.elapsed() < FLOOD {
        let read = output.read(&mut buffer)?;
        file.write_all(&buffer[..read])?;
        bytes += read as u64;
    }
    let time = start.elapsed();
    child.kill()?;
    child.wait()?;
    std::fs::remove_file(path)?;
    Ok(rate(bytes, time))
}

/// The same into the log of an exec.
fn flood_log(place: &Place, zygote: &Zygote, argv: &[&str]) -> anyhow::Result<u64> {
    let spec = place.limited_spec(argv);
    let mut started = running(zygote.start_exec(&place.state, &place.id(), &spec, &[]))?;
    let before = log_end(&started.exec.log_dir())?.bytes;
    let start = Instant::now();
    sleep(FLOOD);
    let bytes = written(&started.exec.log_dir())?.saturating_sub(before);
    let time = start.elapsed();
    let grace_period = Duration::ZERO;
    ControlClient::connect(&started.exec)?.send(&Request::Stop { grace_period })?;
    started.exec.wait()?;
    clear_away(&mut started)?;
    Ok(rate(bytes, time))
}

/// Bytes in a log that grows, by the sizes of its files: headers are less than a thousandth.
fn written(log: &std::path::Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(log)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

fn rate(bytes: u64, time: Duration) -> u64 {
    (bytes as f64 / 1e6 / time.as_secs_f64()) as u64
}
