use std::collections::BTreeSet;
use std::time::Instant;

use super::*;

fn check(name: &str, status: Status, needed_from: Option<Isolation>) -> Check {
    Check {
        name: name.into(),
        status,
        needed_from,
        detail: String::new(),
        hint: None,
    }
}

fn report(checks: Vec<Check>) -> HostReport {
    HostReport {
        checks,
        ..HostReport::probe(Vec::new())
    }
}

fn missing(report: &HostReport, isolation: Isolation) -> Vec<String> {
    let missing = report.supports(isolation).err().unwrap_or_default();
    missing.into_iter().map(|check| check.name).collect()
}

#[test]
fn an_isolation_is_offered_when_nothing_it_needs_is_missing() {
    let report = report(vec![
        check("landlock", Status::Missing, Some(Isolation::Strict)),
        check("cgroups", Status::Weaker, Some(Isolation::Strict)),
        check("seccomp", Status::Ok, Some(Isolation::Standard)),
        check("overlayfs", Status::Missing, None),
    ]);
    assert_eq!(missing(&report, Isolation::Strict), ["landlock"]);
    assert!(missing(&report, Isolation::Standard).is_empty());
    assert!(missing(&report, Isolation::None).is_empty());
}

#[test]
fn stronger_isolation_needs_what_weaker_needs() {
    let report = report(vec![
        check("pidfd", Status::Missing, Some(Isolation::None)),
        check("seccomp", Status::Missing, Some(Isolation::Standard)),
    ]);
    assert_eq!(missing(&report, Isolation::None), ["pidfd"]);
    assert_eq!(missing(&report, Isolation::Standard), ["pidfd", "seccomp"]);
    assert_eq!(missing(&report, Isolation::Strict), ["pidfd", "seccomp"]);
}

#[test]
fn strict_is_not_offered_without_a_word_on_cgroups() {
    let report = HostReport::probe(Vec::new());
    assert!(missing(&report, Isolation::Strict).contains(&"cgroups".to_owned()));
    let cgroups = vec![check("cgroup memory", Status::Ok, Some(Isolation::Strict))];
    let report = HostReport::probe(cgroups);
    assert!(!missing(&report, Isolation::Strict).contains(&"cgroups".to_owned()));
}

#[test]
fn what_the_host_says_is_told_as_it_is() {
    let report = HostReport::probe(Vec::new());
    let names: BTreeSet<_> = report.checks.iter().map(|check| &check.name).collect();
    assert_eq!(names.len(), report.checks.len(), "names are unique");
    for tier in &report.tiers {
        assert_eq!(missing(&report, tier.isolation), tier.missing);
    }
    let landlock = report
        .checks
        .iter()
        .find(|check| check.name == "landlock")
        .unwrap();
    let abi = crate::landlock::landlock_abi();
    assert_eq!(
        abi.is_some(),
        landlock.status != Status::Missing,
        "{landlock:?}"
    );
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<HostReport>(&text).unwrap(), report);
    for check in report
        .checks
        .iter()
        .filter(|check| check.status != Status::Ok)
    {
        eprintln!("{check:?}");
    }
}

/// In a process of its own: the descriptors and children of other tests are none of its business.
#[test]
fn nothing_is_left_behind() {
    use super::attempt::attempt;
    let result = attempt(0, || {
        let before = descriptors();
        HostReport::probe(Vec::new());
        // SAFETY: asks for any child, finished or not, and writes nothing.
        let child = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
        if child != -1 || descriptors() != before {
            return Err(Failure {
                step: "leave nothing behind",
                errno: 0,
            });
        }
        Ok(())
    });
    assert_eq!(result, Ok(()));
}

/// Under our own filter, as in a container: nothing but supervision is left.
#[test]
fn what_a_filter_around_cogo_forbids_is_missing_and_explained() {
    use super::attempt::{Step, attempt};
    let filter = crate::seccomp::Filter::compile();
    let result = attempt(0, || {
        rustix::thread::set_no_new_privs(true).step("set no_new_privs")?;
        filter.install().step("load the filter")?;
        let report = HostReport::probe(Vec::new());
        let find = |name| report.checks.iter().find(|check| check.name == name);
        for (step, found) in [
            ("miss user namespaces", find("user namespace")),
            ("miss pid namespaces", find("pid namespace")),
            ("miss mounts", find("mount api")),
            ("miss clone3", find("clone3")),
        ] {
            if found.is_none_or(|check| check.status != Status::Missing) {
                return Err(Failure { step, errno: 0 });
            }
        }
        let hint = find("user namespace").and_then(|check| check.hint.as_deref());
        if !hint.is_some_and(|hint| hint.contains("sysctl") || hint.contains("seccomp")) {
            return Err(Failure {
                step: "hint at the filter",
                errno: 0,
            });
        }
        let offered = [Isolation::None, Isolation::Standard].map(|i| report.supports(i).is_ok());
        if offered != [true, false] {
            return Err(Failure {
                step: "offer supervision alone",
                errno: 0,
            });
        }
        Ok(())
    });
    assert_eq!(result, Ok(()));
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Prints the report: `cargo test -p cogo-sandbox probe_cost -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn probe_cost() {
    for _ in 0..5 {
        let start = Instant::now();
        let report = HostReport::probe(Vec::new());
        eprintln!("probed in {:?}", start.elapsed());
        drop(report);
    }
    for check in HostReport::probe(Vec::new()).checks {
        eprintln!(
            "{:?} {}: {} {:?}",
            check.status, check.name, check.detail, check.hint
        );
    }
}
