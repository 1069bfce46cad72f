//! What a user can do about an exec that failed.

use cogo_sandbox::spec::{ExecSpec, Network};
use cogo_sandbox::verdict::{Incident, Outcome, TimeoutClock, Verdict};

use crate::measure;

/// What tools print when a name cannot be resolved or a host cannot be reached.
const NO_NETWORK_MESSAGES: [&str; 16] = [
    "could not resolve host",               // curl, git, cargo
    "couldn't resolve host",                // older curl, libgit2
    "could not resolve proxy",              // curl
    "temporary failure in name resolution", // glibc
    "name or service not known",            // glibc
    "temporary failure resolving",          // apt
    "failed to lookup address information", // Rust
    "nodename nor servname",                // musl, BSD
    "getaddrinfo eai_again",                // Node
    "getaddrinfo enotfound",                // Node
    "failed to resolve",                    // pip's urllib3
    "no such host",                         // Go
    "unknownhostexception",                 // JVM
    "network is unreachable",               // everyone
    "network unreachable",                  // some resolvers
    "bad address '",                        // BusyBox wget
];

/// What tools print when our proxy refuses a host.
const REFUSED_BY_PROXY_MESSAGES: [&str; 4] = [
    "connect tunnel failed, response 403", // curl
    "received http code 403 from proxy",   // older curl
    "tunnel connection failed: 403",       // Python
    "not on the allow-list",               // the proxy's own words
];

/// A fact about a failure, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    /// A stable name for programs.
    pub(crate) code: &'static str,
    /// The fact.
    pub(crate) fact: String,
    /// What to do.
    pub(crate) advice: &'static str,
}

/// The hints for an exec that ended so. `output` is the end of its output.
pub(crate) fn hints(spec: &ExecSpec, verdict: &Verdict, output: &str) -> Vec<Hint> {
    let mut hints = Vec::new();
    hints.extend(of_outcome(&verdict.outcome));
    hints.extend(verdict.incidents.iter().filter_map(of_incident));
    if may_be_the_network(&verdict.outcome) {
        hints.extend(of_network(&spec.network, output));
    }
    hints
}

fn of_outcome(outcome: &Outcome) -> Option<Hint> {
    let (code, fact, advice) = match outcome {
        Outcome::OutOfMemory { limit, .. } => (
            "out_of_memory",
            format!("the memory limit is {}", measure::bytes(*limit)),
            "raise --memory, or run with less parallelism",
        ),
        Outcome::PidsExhausted { limit, .. } => (
            "pids_exhausted",
            format!("at most {limit} processes and threads may run"),
            "raise --pids",
        ),
        Outcome::DiskFull { limit, .. } => (
            "disk_full",
            format!(
                "/tmp and the other private places hold {}",
                measure::bytes(*limit)
            ),
            "raise --disk",
        ),
        Outcome::TimedOut {
            clock: TimeoutClock::Wall,
            ..
        } => (
            "timed_out",
            "it ran longer than it may".to_owned(),
            "raise --timeout",
        ),
        Outcome::TimedOut {
            clock: TimeoutClock::Silence,
            ..
        } => (
            "timed_out",
            "it printed nothing for too long".to_owned(),
            "raise --silence-timeout",
        ),
        Outcome::Blocked { block, .. } => (
            "blocked",
            facts(&block.evidence),
            "let it go on with --block-policy warn, or wait longer with --block-after",
        ),
        Outcome::Unknown { .. } => (
            "unknown",
            "this is neither success nor failure".to_owned(),
            "run the command again",
        ),
        Outcome::NotStarted { errno: 2, .. } => (
            "not_found",
            "only what the sandbox shows can be run".to_owned(),
            "check the name, or show more of the host with --expose PATH",
        ),
        Outcome::Exited { .. }
        | Outcome::Signaled { .. }
        | Outcome::Cancelled
        | Outcome::NotStarted { .. } => return None,
    };
    Some(Hint { code, fact, advice })
}

/// The other incidents are told by the summary, and there is nothing to do about them.
fn of_incident(incident: &Incident) -> Option<Hint> {
    match incident {
        Incident::LogWriteFailed { message } => Some(Hint {
            code: "log_write_failed",
            fact: format!("output is missing, the log could not be written: {message}"),
            advice: "make room in the state directory, or choose another with --state-dir",
        }),
        Incident::NetworkRefused { servers, count } => Some(Hint {
            code: "network_blocked",
            fact: format!(
                "{} refused: {}",
                measure::count(*count, "connection"),
                servers.join(", ")
            ),
            advice: "allow a host with --net-allow HOST",
        }),
        Incident::OomKills { .. }
        | Incident::PidsLimitHits { .. }
        | Incident::DiskFull { .. }
        | Incident::LeftoversKilled { .. }
        | Incident::LogCut { .. } => None,
    }
}

fn may_be_the_network(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Exited { code } if *code != 0)
}

fn of_network(network: &Network, output: &str) -> Option<Hint> {
    let output = output.to_lowercase();
    let says = |messages: &[&str]| messages.iter().any(|message| output.contains(message));
    let (fact, advice) = match network {
        Network::None if says(&NO_NETWORK_MESSAGES) => (
            "the sandbox has no network",
            "use --net-allow HOST or --net host",
        ),
        Network::Allow(_) if says(&REFUSED_BY_PROXY_MESSAGES) => (
            "a host is not on the allow-list",
            "add it with --net-allow HOST",
        ),
        Network::Allow(_) if says(&NO_NETWORK_MESSAGES) => (
            "only programs that use the HTTP proxy reach the allowed hosts",
            "set the tool's proxy option, or use --net host",
        ),
        Network::None | Network::Host | Network::Allow(_) => return None,
    };
    Some(Hint {
        code: "network_blocked",
        fact: fact.to_owned(),
        advice,
    })
}

/// Facts in one line. Stacks fill lines of their own elsewhere.
fn facts(evidence: &[String]) -> String {
    let facts = evidence.iter().map(String::as_str);
    let facts: Vec<&str> = facts
        .filter(|fact| !crate::blocks::is_stack(fact))
        .collect();
    facts.join("; ")
}

#[cfg(test)]
mod tests {
    use cogo_sandbox::verdict::ExitStatus;

    use super::*;

    const CURL: &str = "curl: (6) Could not resolve host: example.com\n";

    #[test]
    fn a_missing_network_is_recognized_in_what_tools_print() {
        for output in [
            CURL,
            "fatal: unable to access 'https://x/': Could not resolve host: x",
            "npm error network request failed, reason: getaddrinfo EAI_AGAIN registry.npmjs.org",
            "dial tcp: lookup proxy.golang.org: no such host",
            "NewConnectionError: [Errno -3] Temporary failure in name resolution",
            "ping: connect: Network is unreachable",
        ] {
            let hint = of_network(&Network::None, output).unwrap();
            assert_eq!(
                hint.advice, "use --net-allow HOST or --net host",
                "{output}"
            );
        }
    }

    #[test]
    fn a_refusal_by_the_proxy_names_the_option() {
        let allow = Network::Allow(vec!["example.org".to_owned()]);
        let output = "curl: (56) CONNECT tunnel failed, response 403";
        assert_eq!(
            of_network(&allow, output).unwrap().advice,
            "add it with --net-allow HOST"
        );
    }

    #[test]
    fn other_failures_are_not_blamed_on_the_network() {
        assert_eq!(
            of_network(&Network::None, "error[E0308]: mismatched types"),
            None
        );
        assert_eq!(of_network(&Network::Host, CURL), None);
        assert!(!may_be_the_network(&Outcome::Exited { code: 0 }));
    }

    #[test]
    fn limits_name_their_option() {
        let status = ExitStatus::Exited(1);
        let cases = [
            (
                Outcome::OutOfMemory {
                    limit: 1,
                    peak: 1,
                    status,
                },
                "--memory",
            ),
            (Outcome::PidsExhausted { limit: 7, status }, "--pids"),
            (Outcome::DiskFull { limit: 1, status }, "--disk"),
        ];
        for (outcome, option) in cases {
            assert!(
                of_outcome(&outcome).unwrap().advice.contains(option),
                "{outcome:?}"
            );
        }
    }
}
