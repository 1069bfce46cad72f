//! Files of the host, and the ways to them from a workspace.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use cogo_sandbox::spec::{ExecSpec, WorkspaceMode};
use cogo_sandbox::start::Start;
use cogo_sandbox::verdict::Outcome;

use super::attempt::Control::{Free, FreeAsRoot};
use super::attempt::{Arena, expect_refused};
use crate::fixture::ended;

/// A file beside the workspace, which no sandbox is shown.
fn secret(arena: &Arena) -> PathBuf {
    let path = arena.place.outside().join("secret");
    fs::write(&path, "secret").expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("a mode");
    path
}

/// Everything below a folder: path, mode, time of the last change, content or target.
fn everything(folder: &Path) -> Vec<(PathBuf, u32, i64, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a listing") {
            let path = entry.expect("an entry").path();
            let about = fs::symlink_metadata(&path).expect("metadata");
            let content = if about.is_symlink() {
                let target = fs::read_link(&path).expect("a target");
                target.into_os_string().into_encoded_bytes()
            } else if about.is_file() {
                fs::read(&path).expect("a content")
            } else {
                folders.push(path.clone());
                Vec::new()
            };
            let changed_at = about.mtime() * 1_000_000_000 + about.mtime_nsec();
            found.push((path, about.mode(), changed_at, content));
        }
    }
    found.sort();
    found
}

/// Files that anyone may change, if the place where they are lets them.
fn open_tree(folder: &Path) {
    for name in ["file", "other"] {
        fs::write(folder.join(name), "content").expect("a file");
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o666)).expect("a mode");
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("a mode");
}

/// Ways to change the files of a folder, in an order in which each can succeed.
fn changes(folder: &Path) -> Vec<String> {
    let path = |name: &str| folder.join(name).display().to_string();
    let (file, other, new) = (path("file"), path("other"), path("new"));
    vec![
        format!("open-write {file}"),
        format!("open-write {}", path("created")),
        format!("reopen {file}"),
        format!("chmod {file}"),
        format!("touch {file}"),
        format!("truncate {file}"),
        format!("exchange {file} {other}"),
        format!("link {file} {}", path("linked")),
        format!("mkdir {}", path("made")),
        format!("mknod character {}", path("device")),
        format!("rename {file} {new}"),
        format!("unlink {other}"),
    ]
}

/// Fails if one of the changes can be made in a sandbox, or none without one.
fn check_changes(arena: &Arena, folder: &Path, change_spec: impl Fn(&mut ExecSpec)) {
    let before = everything(folder);
    for attempt in changes(folder) {
        let mut spec = arena.spec(&attempt);
        change_spec(&mut spec);
        expect_refused(
            &arena.place.run(&spec),
            &["EROFS", "EACCES", "EPERM", "EXDEV"],
        );
    }
    assert_eq!(everything(folder), before);
    for attempt in changes(folder) {
        let control = if attempt.starts_with("mknod") {
            FreeAsRoot
        } else {
            Free
        };
        arena.check_control(&attempt, control);
    }
}

#[test]
fn a_read_only_workspace_stays_as_it_is() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let workspace = arena.place.workspace.clone();
    open_tree(&workspace);
    check_changes(&arena, &workspace, |spec| {
        spec.workspace.mode = WorkspaceMode::ReadOnly;
    });
}

#[test]
fn a_path_shown_read_only_stays_as_it_is() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let shown = arena.place.outside().join("shown");
    fs::create_dir(&shown).expect("a folder");
    open_tree(&shown);
    check_changes(&arena, &shown, |spec| {
        spec.read_only_paths.push(shown.clone());
    });
}

const CHANGE_ALL: &str = "
    set -e
    echo more >> file
    chmod 777 other
    rm other
    mv folder moved
    echo new > new
    ln -s /etc/passwd link
    ln file hard
    mkdir -p deep/er
    touch -d 2001-01-01 file
    rm -r gone
    mkdir gone
    ls
";

fn check_copy(disk: Option<u64>) {
    let Some(arena) = Arena::new() else {
        return;
    };
    let place = &arena.place;
    open_tree(&place.workspace);
    for name in ["folder", "gone"] {
        fs::create_dir(place.workspace.join(name)).expect("a folder");
        fs::write(place.workspace.join(name).join("inner"), "inner").expect("a file");
    }
    let before = everything(&place.workspace);
    let mut spec = place.script(CHANGE_ALL);
    spec.workspace.mode = WorkspaceMode::Copy;
    spec.limits.disk = disk;
    let ended = place.run(&spec);
    let names: Vec<_> = ended
        .expect_exit(0)
        .text()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(
        names,
        ["deep", "file", "gone", "hard", "link", "moved", "new"]
    );
    assert_eq!(everything(&place.workspace), before);
}

#[test]
fn a_copied_workspace_stays_as_it_is() {
    check_copy(None);
}

#[test]
fn a_copied_workspace_on_scratch_stays_as_it_is() {
    check_copy(Some(16 << 20));
}

/// What is thrown away may hold links out of it.
#[test]
fn throwing_a_copy_away_follows_no_links() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let place = &arena.place;
    let kept = place.outside().join("kept");
    fs::create_dir(&kept).expect("a folder");
    fs::write(kept.join("file"), "kept").expect("a file");
    let mut spec = place.script(&format!(
        "ln -s {0} link && mkdir folder && ln -s {0} folder/link && ln -s / root",
        kept.display()
    ));
    spec.workspace.mode = WorkspaceMode::Copy;
    place.run(&spec).expect_exit(0);
    assert_eq!(fs::read(kept.join("file")).expect("a file"), b"kept");
    assert_eq!(everything(&place.workspace), []);
}

/// Trees that a simple removal does not get through would stay on the host's disk.
#[test]
fn a_copy_is_thrown_away_however_deep_or_closed() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let mut spec = arena.spec("nest 1200");
    spec.workspace.mode = WorkspaceMode::Copy;
    let Start::Running(mut started) = arena.place.try_start(&spec, &[]).expect("a start") else {
        panic!("not started");
    };
    let overlay = started.exec.path().join("overlay");
    assert_eq!(ended(&started.exec).expect_exit(0).text(), "nested");
    started.reap().expect("a supervisor");
    assert!(!overlay.exists(), "{:?}", everything(&overlay).len());
}

#[test]
fn no_path_leads_out_of_the_workspace() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let secret = secret(&arena);
    let path = secret.display().to_string();
    for way in [
        path.clone(),
        "../secret".to_owned(),
        format!("/proc/self/root{path}"),
        "/proc/self/cwd/../secret".to_owned(),
        format!("/proc/self/task/1/root{path}"),
        format!("/dev/fd/../root{path}"),
    ] {
        arena.expect_refused(&format!("read {way}"), &["ENOENT"]);
    }
    arena.expect_refused(&format!("read /proc/1/root{path}"), &["EACCES"]);
    arena.expect_reached_outside("read ../secret");
    arena.expect_reached_outside(&format!("read /proc/self/root{path}"));
}

#[test]
fn links_made_by_the_host_lead_nowhere() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let secret = secret(&arena);
    let workspace = &arena.place.workspace;
    symlink(&secret, workspace.join("absolute")).expect("a link");
    symlink("../secret", workspace.join("relative")).expect("a link");
    symlink(arena.place.outside(), workspace.join("above")).expect("a link");
    symlink("/", workspace.join("root")).expect("a link");
    let through_root = format!("root{}", secret.display());
    for way in ["absolute", "relative", "above/secret", &through_root] {
        arena.expect_refused(&format!("read {way}"), &["ENOENT"]);
        // It may write to a place of that name on its own scratch space.
        arena.inside(&format!("open-write {way}"));
        assert_eq!(fs::read(&secret).expect("a file"), b"secret", "{way}");
        arena.expect_reached_outside(&format!("read {way}"));
    }
    let created = format!("/etc/attempt-{}", std::process::id());
    arena.expect_refused(&format!("open-write root{created}"), &["EROFS", "EACCES"]);
    assert!(!Path::new(&created).exists());
}

#[test]
fn a_working_directory_that_is_a_link_leads_nowhere() {
    let Some(arena) = Arena::new() else {
        return;
    };
    secret(&arena);
    let above = arena.place.workspace.join("above");
    symlink(arena.place.outside(), &above).expect("a link");
    let mut spec = arena.spec("read secret");
    spec.cwd = Some(above);
    expect_refused(&arena.place.run(&spec), &["ENOENT"]);
}

#[test]
fn directories_removed_or_moved_under_a_program_lead_nowhere() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let secret = secret(&arena).display().to_string();
    for attempt in ["leave-removed-directory", "leave-moved-directory"] {
        let attempt = format!("{attempt} {secret}");
        arena.expect_refused(&attempt, &["ENOENT"]);
        for left in ["a", "moved"] {
            let _ = fs::remove_dir(arena.place.workspace.join(left));
        }
        arena.expect_reached_outside(&attempt);
    }
}

/// A link or a rename into the workspace would take the file out from under its mount.
#[test]
fn files_are_not_linked_or_moved_across_mounts() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let shown = arena.place.outside().join("shown");
    fs::create_dir(&shown).expect("a folder");
    open_tree(&shown);
    let before = everything(&shown);
    let file = shown.join("file").display().to_string();
    for attempt in [
        format!("link {file} linked"),
        format!("rename {file} moved"),
        "link /proc/self/cwd/../shown/file linked".to_owned(),
        "link /etc/passwd passwd".to_owned(),
        "rename /etc/passwd passwd".to_owned(),
    ] {
        let mut spec = arena.spec(&attempt);
        spec.read_only_paths.push(shown.clone());
        let errors = ["EXDEV", "EROFS", "EACCES", "EPERM"];
        expect_refused(&arena.place.run(&spec), &errors);
    }
    assert_eq!(everything(&shown), before);
    assert_eq!(everything(&arena.place.workspace), []);
    arena.expect_reached_outside(&format!("link {file} linked"));
    arena.expect_reached_outside(&format!("rename {file} moved"));
}

#[test]
fn the_callers_home_is_hidden() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let home = arena.place.outside().join("home");
    fs::create_dir(&home).expect("a folder");
    fs::write(home.join(".netrc"), "password").expect("a file");
    let (list, read) = (
        format!("list {}", home.display()),
        format!("read {}/.netrc", home.display()),
    );
    for attempt in [&list, &read] {
        let mut spec = arena.spec(attempt);
        spec.home.clone_from(&home);
        expect_refused(&arena.place.run(&spec), &["ENOENT"]);
        arena.expect_reached_outside(attempt);
    }
    let mut spec = arena.spec(&format!("open-write {}/planted", home.display()));
    spec.home.clone_from(&home);
    arena.place.run(&spec).expect_exit(0);
    assert!(!home.join("planted").exists());
}

#[test]
fn places_with_data_of_the_host_are_hidden() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let own_program = std::env::current_exe().expect("a path");
    for place in [
        "/root",
        "/boot",
        "/mnt",
        "/media",
        "/srv",
        "/run",
        "/var/lib",
        "/var/log",
        "/var/spool",
        "/var/cache",
        "/sys",
        "/lost+found",
    ] {
        // The program that attempts it is shown inside, with the way to it.
        if !own_program.starts_with(place) {
            arena.expect_refused(&format!("list {place}"), &["ENOENT", "EACCES"]);
        }
    }
    arena.expect_reached_outside("list /var/lib");
}

#[test]
fn secrets_of_root_stay_roots() {
    let Some(arena) = Arena::new() else {
        return;
    };
    arena.expect_refused("read /etc/shadow", &["EACCES", "ENOENT"]);
    arena.check_control("read /etc/shadow", FreeAsRoot);
}

#[test]
fn system_directories_cannot_be_written() {
    let Some(arena) = Arena::new() else {
        return;
    };
    for place in [
        "", "/etc", "/usr", "/usr/bin", "/bin", "/dev", "/proc", "/sys", "/opt",
    ] {
        let path = format!("{place}/attempt-{}", std::process::id());
        let errors = ["EROFS", "EACCES", "ENOENT", "EPERM"];
        arena.expect_refused(&format!("open-write {path}"), &errors);
        assert!(!Path::new(&path).exists());
    }
    arena.check_control(
        &format!("open-write /opt/../tmp/attempt-{}", std::process::id()),
        Free,
    );
    let _ = fs::remove_file(format!("/tmp/attempt-{}", std::process::id()));
}

#[test]
fn a_crash_leaves_no_core_on_the_host() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let ended = arena.inside("crash");
    let expected = Outcome::Signaled {
        signal: libc::SIGSEGV,
        core_dumped: false,
    };
    assert_eq!(ended.verdict.outcome, expected);
    assert_eq!(everything(&arena.place.workspace), []);
    // The one limit at which the kernel does not start the host's crash handler either.
    let limit = arena.place.run_script("grep core /proc/self/limits");
    let words = limit.text();
    let words: Vec<_> = words.split_whitespace().collect();
    assert_eq!(words, ["Max", "core", "file", "size", "1", "1", "bytes"]);
}

/// Whoever else runs it would run the command's code with the rights of the workspace's owner.
#[test]
fn no_setuid_file_is_left_on_the_host() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let is_setuid = |(_, mode, _, _): &(PathBuf, u32, i64, Vec<u8>)| mode & libc::S_ISUID != 0;
    let older: &[&str] = if cfg!(target_arch = "x86_64") {
        &["open", "creat"]
    } else {
        &[]
    };
    let newer = [
        "chmod",
        "fchmod",
        "fchmodat",
        "fchmodat2",
        "openat",
        "openat2",
        "mknod",
        "tmpfile",
    ];
    for way in newer.iter().chain(older) {
        let attempt = format!("make-setuid {way}");
        arena.expect_refused(&attempt, &["EPERM", "ENOSYS"]);
        let made = everything(&arena.place.workspace);
        assert!(!made.iter().any(is_setuid), "{way}: {made:?}");
        arena.check_control(&attempt, Free);
        let made = everything(&arena.place.workspace);
        assert!(made.iter().any(is_setuid), "{way}: {made:?}");
        for (path, ..) in made {
            fs::remove_file(path).expect("a removal");
        }
    }
}

/// The root file system comes from elsewhere, as an image does. While a sandbox is built, its
/// links must not lead to the host.
#[test]
fn links_in_a_root_file_system_lead_nowhere() {
    let Some(arena) = Arena::new() else {
        return;
    };
    // Not in `/tmp`, which is the one place of the host that is out of sight at that time.
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let planted = folder.path().join("planted");
    let rootfs = folder.path().join("rootfs");
    let everyone = fs::Permissions::from_mode(0o777);
    for path in [folder.path(), &planted, &rootfs, &rootfs.join("opt")] {
        let _ = fs::create_dir(path);
        fs::set_permissions(path, everyone.clone()).expect("a mode");
    }
    symlink(&planted, rootfs.join("opt/link")).expect("a link");
    for (link, home) in [
        ("var", "/home/somebody"),
        ("none", "/opt/link"),
        ("none", "/opt/link/deep/home"),
        (".overlay", "/home/somebody"),
    ] {
        symlink(&planted, rootfs.join(link)).expect("a link");
        let mut spec = arena.spec("list /");
        spec.rootfs = Some(rootfs.clone());
        spec.home = home.into();
        spec.workspace.mode = WorkspaceMode::Copy;
        spec.limits.disk = Some(16 << 20);
        // Whether it starts or is refused, nothing may appear outside.
        if let Ok(Start::Running(mut started)) = arena.place.try_start(&spec, &[]) {
            started.reap().expect("a supervisor");
        }
        assert_eq!(everything(&planted), [], "through {link} and {home}");
        fs::remove_file(rootfs.join(link)).expect("a removal");
    }
}
