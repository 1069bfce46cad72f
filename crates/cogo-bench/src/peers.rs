//! Other sandboxes that run `/bin/true` beside ours, each as its makers show it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// A program that runs a command in a sandbox.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Its command line, without the name of a container.
    argv: Vec<String>,
    /// Whether each run needs a name of its own at the end.
    named: bool,
}

impl Peer {
    /// The peers that are installed and able to run here. Says of the others why not.
    pub(crate) fn able(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let bundle = folder.join("bundle");
        write_bundle(&bundle)?;
        let mut able = Vec::new();
        for peer in all(&bundle) {
            match peer.run("try") {
                Ok(()) => able.push(peer),
                Err(e) => println!("Skipped {}: {e:#}\n", peer.name),
            }
        }
        Ok(able)
    }

    /// Runs `/bin/true` in it.
    pub(crate) fn run(&self, name: &str) -> anyhow::Result<()> {
        let name = self.named.then_some(name);
        let output = Command::new(&self.argv[0])
            .args(&self.argv[1..])
            .args(name)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .context("it is not installed")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}", said.trim());
        Ok(())
    }
}

/// The first line of what each peer says about its version.
pub(crate) fn versions() -> Vec<String> {
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        text.lines().next().map(str::to_owned)
    };
    ["bwrap", "firejail", "crun", "runc"]
        .into_iter()
        .filter_map(version)
        .collect()
}

fn all(bundle: &Path) -> Vec<Peer> {
    const BWRAP: &str = "bwrap --unshare-all --die-with-parent --ro-bind /usr /usr \
        --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 \
        --proc /proc --dev /dev /bin/true";
    const FIREJAIL: &str = "firejail --quiet --noprofile --net=none --private /bin/true";
    let bundle = bundle.display();
    let peer = |name, command: String, named| Peer {
        name,
        argv: command.split_whitespace().map(str::to_owned).collect(),
        named,
    };
    vec![
        peer("bwrap", BWRAP.to_owned(), false),
        peer("firejail", FIREJAIL.to_owned(), false),
        peer("crun", format!("crun run --bundle {bundle}"), true),
        peer("runc", format!("runc run --bundle {bundle}"), true),
    ]
}

/// An OCI bundle: the host's `/usr`, read-only, in namespaces of its own, with the same limits as
/// our own contenders.
fn write_bundle(bundle: &Path) -> anyhow::Result<()> {
    const CONFIG: &str = r#"{
"ociVersion": "1.0.2",
"process": {"terminal": false, "user": {"uid": 0, "gid": 0}, "args": ["/bin/true"],
  "env": ["PATH=/usr/bin:/bin"], "cwd": "/", "noNewPrivileges": true},
"root": {"path": "rootfs", "readonly": true},
"mounts": [
  {"destination": "/proc", "type": "proc", "source": "proc"},
  {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
  {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["bind", "ro"]}],
"linux": {
  "resources": {"memory": {"limit": 1073741824}, "pids": {"limit": 100}},
  "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
    {"type": "mount"}]}}"#;
    let root = bundle.join("rootfs");
    for directory in ["usr", "proc", "dev"] {
        fs::create_dir_all(root.join(directory))?;
    }
    for link in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{link}"), root.join(link))?;
    }
    fs::write(bundle.join("config.json"), CONFIG)?;
    Ok(())
}
