//! What to run and under which bounds, as it travels.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One command to run, with everything that bounds it. Only `argv` and `workspace` are required.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecSpec {
    /// Program and arguments. The program is looked up in the sandbox's `PATH`.
    pub argv: Vec<String>,
    /// Working directory inside the sandbox. Default: the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Variables added to the sandbox's small default environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Where the program's standard input comes from.
    #[serde(default)]
    pub stdin: Stdin,
    /// Runs the program on a terminal of this size instead of pipes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pty: Option<PtySize>,
    /// The file tree the program works in.
    pub workspace: Workspace,
    /// What the program can reach over the network.
    #[serde(default)]
    pub network: Network,
    /// Upper bounds on what the program uses.
    #[serde(default)]
    pub limits: Limits,
    /// How strong the sandbox has to be.
    #[serde(default)]
    pub isolation: Isolation,
    /// Name of an imported root file system to use instead of the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<String>,
    /// Host directories shown inside at the same path, read-only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read_only_paths: Vec<String>,
    /// Time between the polite signal and the kill when the exec is stopped, in milliseconds.
    /// Default: the host's setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
}

/// Where standard input comes from: `"closed"`, `"open"` or `{"text": "…"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    /// The program reads end of file at once.
    #[default]
    Closed,
    /// A client sends input while the program runs.
    Open,
    /// The program reads this text, then end of file.
    Text(String),
}

/// Size of a terminal in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PtySize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    #[serde(rename = "cols")]
    pub columns: u16,
}

/// The file tree an exec works in. It is seen inside at the path it has outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    /// Absolute path of the directory on the host.
    pub path: String,
    /// What becomes of the program's changes.
    #[serde(default)]
    pub mode: WorkspaceMode,
}

/// What becomes of the changes a program makes in its workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceMode {
    /// They land in the directory itself.
    #[default]
    Direct,
    /// They land in an overlay that is thrown away at the end.
    Copy,
    /// They are refused.
    ReadOnly,
}

/// What an exec can reach over the network: `"none"`, `"host"` or `{"allow": ["example.org"]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nothing but its own loopback.
    #[default]
    None,
    /// Everything the host reaches.
    Host,
    /// The listed domains, through a filtering HTTP proxy.
    Allow(Vec<String>),
}

/// Upper bounds on what an exec uses. What is absent has no bound of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Memory of the whole process tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// CPU time per wall time of the whole process tree, in cores. See
    /// [`Cpus::from_cores`](crate::units::Cpus::from_cores) for the check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Processes and threads alive at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Bytes written to the sandbox's private places (`/tmp`, home, `/dev/shm`, overlay).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Wall time after which the exec is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Time without output after which the exec is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_timeout_ms: Option<u64>,
    /// Bytes the log may take on disk; the middle is cut when it would grow past them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
}

/// How strong a sandbox has to be. What is asked for is enforced, or nothing is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Namespaces, seccomp, Landlock and cgroup limits: all of them.
    #[default]
    Strict,
    /// Namespaces and seccomp; Landlock and cgroup limits where the host offers them.
    Standard,
    /// Supervision alone: log, limits the host offers, kill of the whole tree. No protection.
    None,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full() -> ExecSpec {
        ExecSpec {
            argv: vec!["cargo".into(), "test".into()],
            cwd: Some("/src/app".into()),
            env: [("CI".into(), "1".into())].into(),
            stdin: Stdin::Text("yes\n".into()),
            pty: Some(PtySize {
                rows: 24,
                columns: 80,
            }),
            workspace: Workspace {
                path: "/src".into(),
                mode: WorkspaceMode::ReadOnly,
            },
            network: Network::Allow(vec!["crates.io".into()]),
            limits: Limits {
                memory_bytes: Some(1 << 30),
                cpus: Some(1.5),
                pids: Some(256),
                disk_bytes: Some(1 << 20),
                timeout_ms: Some(90_000),
                silence_timeout_ms: Some(10_000),
                log_bytes: Some(4096),
            },
            isolation: Isolation::Standard,
            rootfs: Some("alpine".into()),
            read_only_paths: vec!["/opt/sdk".into()],
            grace_ms: Some(500),
        }
    }

    #[test]
    fn every_field_has_its_place_in_the_json() {
        assert_eq!(
            serde_json::to_string(&full()).unwrap(),
            concat!(
                r#"{"argv":["cargo","test"],"cwd":"/src/app","env":{"CI":"1"},"#,
                r#""stdin":{"text":"yes\n"},"pty":{"rows":24,"cols":80},"#,
                r#""workspace":{"path":"/src","mode":"read_only"},"#,
                r#""network":{"allow":["crates.io"]},"#,
                r#""limits":{"memoryBytes":1073741824,"cpus":1.5,"pids":256,"#,
                r#""diskBytes":1048576,"timeoutMs":90000,"silenceTimeoutMs":10000,"#,
                r#""logBytes":4096},"isolation":"standard","rootfs":"alpine","#,
                r#""readOnlyPaths":["/opt/sdk"],"graceMs":500}"#,
            )
        );
    }

    #[test]
    fn little_is_required_and_unknown_fields_are_ignored() {
        let text = r#"{"argv":["true"],"workspace":{"path":"/src"},"mood":"good"}"#;
        let spec: ExecSpec = serde_json::from_str(text).unwrap();
        assert_eq!(
            serde_json::to_string(&spec).unwrap(),
            concat!(
                r#"{"argv":["true"],"stdin":"closed","#,
                r#""workspace":{"path":"/src","mode":"direct"},"#,
                r#""network":"none","limits":{},"isolation":"strict"}"#,
            )
        );
    }

    #[test]
    fn a_missing_command_and_wrong_units_are_refused() {
        for text in [
            r#"{"workspace":{"path":"/src"}}"#,
            r#"{"argv":["a"],"workspace":{"path":"/"},"limits":{"timeoutMs":-1}}"#,
            r#"{"argv":["a"],"workspace":{"path":"/"},"limits":{"memoryBytes":"1GiB"}}"#,
            r#"{"argv":["a"],"workspace":{"path":"/"},"isolation":"weak"}"#,
            r#"{"argv":["a"],"workspace":{"path":"/"},"network":{"deny":[]}}"#,
        ] {
            assert!(serde_json::from_str::<ExecSpec>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_schema_names_the_wire_fields() {
        let schema = serde_json::to_value(schemars::schema_for!(ExecSpec)).unwrap();
        assert_eq!(schema["required"], serde_json::json!(["argv", "workspace"]));
        assert!(schema["properties"]["readOnlyPaths"].is_object());
    }

    proptest! {
        #[test]
        fn specs_round_trip(
            argv in proptest::collection::vec(any::<String>(), 0..4),
            env in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..4),
            text: String,
            allow in proptest::collection::vec(any::<String>(), 0..4),
            memory: Option<u64>,
            timeout: Option<u64>,
            cpus in proptest::option::of(0.001..1e6_f64),
        ) {
            let spec = ExecSpec {
                argv,
                env,
                stdin: Stdin::Text(text),
                network: Network::Allow(allow),
                limits: Limits {
                    memory_bytes: memory,
                    timeout_ms: timeout,
                    cpus: cpus.map(|cpus| (cpus * 1000.0).round() / 1000.0),
                    ..Limits::default()
                },
                ..full()
            };
            let json = serde_json::to_string(&spec).unwrap();
            prop_assert_eq!(serde_json::from_str::<ExecSpec>(&json).unwrap(), spec);
        }
    }
}
