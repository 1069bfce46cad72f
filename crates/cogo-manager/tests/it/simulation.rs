//! The coordinator in a world where everything goes wrong, in virtual time and by a seed.
//!
//! Store, network, workers, clients and operators are models that keep to the contracts of the
//! real ones; the coordinator is the real one. After each of its steps everything that must hold
//! is checked from outside. A failure prints its seed:
//!
//! ```text
//! COGO_SIM_SEED=42 cargo nextest run -p cogo-manager simulation
//! COGO_SIM_SEEDS=100000 cargo nextest run -p cogo-manager simulation
//! ```

mod checks;
mod random;
mod sabotage;
mod store;
mod worker;
mod world;

use self::sabotage::Sabotage;
use self::world::{CrashPoint, Seen, Setup, World};

/// Seeds that are tried when nobody says otherwise.
const SEEDS: u64 = 10_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn run(setup: Setup) -> Result<Seen, String> {
    let mut world = World::new(setup);
    match world.run() {
        Ok(()) => Ok(world.seen),
        Err(broken) => Err(format!("at {:?}: {broken}", world.now)),
    }
}

/// Runs one part of the seeds, so that parts run beside each other.
fn run_part(part: u64, parts: u64) {
    let seeds: Vec<u64> = match number("COGO_SIM_SEED") {
        Some(seed) if seed % parts == part => vec![seed],
        Some(_) => return,
        None => {
            let all = number("COGO_SIM_SEEDS").unwrap_or(SEEDS);
            (0..all).filter(|seed| seed % parts == part).collect()
        }
    };
    let mut seen = Seen::default();
    for seed in &seeds {
        let setup = Setup {
            seed: *seed,
            ..Setup::default()
        };
        match run(setup) {
            Ok(more) => seen.add(&more),
            Err(broken) => panic!(
                "{broken}\nrepeat with COGO_SIM_SEED={seed} \
                 cargo nextest run -p cogo-manager simulation"
            ),
        }
    }
    eprintln!("{} seeds: {seen:?}", seeds.len());
    if seeds.len() > 100 {
        for (what, count) in [
            ("crashes", seen.crashes),
            ("adopted", seen.adopted),
            ("stale", seen.stale),
            ("lost", seen.lost),
            ("refused", seen.refused),
            ("succeeded", seen.succeeded),
            ("given up", seen.given_up),
            ("repeated", seen.repeated),
            ("recovered", seen.recoveries),
        ] {
            assert!(count > 0, "the simulation has seen nothing {what}");
        }
    }
}

#[test]
fn all_promises_hold_in_the_first_quarter_of_seeds() {
    run_part(0, 4);
}

#[test]
fn all_promises_hold_in_the_second_quarter_of_seeds() {
    run_part(1, 4);
}

#[test]
fn all_promises_hold_in_the_third_quarter_of_seeds() {
    run_part(2, 4);
}

#[test]
fn all_promises_hold_in_the_last_quarter_of_seeds() {
    run_part(3, 4);
}

/// Without other faults, the manager dies at each of its steps in turn, before and after the step
/// is stored.
fn crash_at_any_step(seed: u64) {
    let calm = Setup {
        seed,
        crash: Some((u64::MAX, CrashPoint::BeforeCommit)),
        ..Setup::default()
    };
    let steps = run(calm).expect("nothing goes wrong").steps;
    for step in 1..=steps.min(400) {
        for point in [
            CrashPoint::BeforeCommit,
            CrashPoint::AfterCommit,
            CrashPoint::AmidEffects,
        ] {
            let setup = Setup {
                crash: Some((step, point)),
                ..calm
            };
            if let Err(broken) = run(setup) {
                panic!("{broken}\nwith {setup:?}");
            }
        }
    }
}

#[test]
fn a_crash_at_any_step_breaks_no_promise() {
    crash_at_any_step(0);
}

#[test]
fn a_crash_at_any_step_of_another_world_breaks_no_promise() {
    crash_at_any_step(1);
}

#[test]
fn a_crash_at_any_step_of_a_third_world_breaks_no_promise() {
    crash_at_any_step(2);
}

/// The simulation would notice if a promise was broken.
#[test]
fn every_sabotage_is_noticed() {
    let noticed = |sabotage: Sabotage| {
        (0..5000).any(|seed| {
            let setup = Setup {
                seed,
                sabotage: Some(sabotage),
                crash: None,
            };
            run(setup).is_err()
        })
    };
    for sabotage in sabotage::ALL {
        assert!(noticed(sabotage), "{sabotage:?} goes unnoticed");
    }
}
