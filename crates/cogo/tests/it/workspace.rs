//! What a command sees of the host's files, and what becomes of its changes.

use std::os::unix::fs::PermissionsExt;

use crate::fixture::{Fixture, finish, strongest_tier};

#[test]
fn changes_land_are_thrown_away_or_refused() {
    let fixture = Fixture::new();
    let made = fixture.workspace().join("made");
    let script = "echo x > made && cat made";

    let direct = finish(&mut fixture.script(&["-q"], script));
    assert_eq!(
        (direct.code, direct.stdout.as_str()),
        (Some(0), "x\n"),
        "{direct:?}"
    );
    std::fs::remove_file(&made).unwrap();
    if strongest_tier() == "none" {
        return;
    }
    let copy = finish(&mut fixture.script(&["-q", "--copy"], script));
    assert_eq!(
        (copy.code, copy.stdout.as_str()),
        (Some(0), "x\n"),
        "{copy:?}"
    );
    assert!(!made.exists());
    let read_only = finish(&mut fixture.script(&["-q", "--read-only"], script));
    assert_ne!(read_only.code, Some(0), "{read_only:?}");
    assert!(!made.exists());
}

#[test]
fn the_home_is_hidden_but_for_toolchains_and_what_is_exposed() {
    if strongest_tier() == "none" {
        return;
    }
    let fixture = Fixture::new();
    let home = fixture.home();
    for (path, text) in [
        (".ssh/id_ed25519", "key"),
        (".cargo/credentials.toml", "token"),
        (".cargo/bin/my-tool", "#!/bin/sh\necho tool ran\n"),
        ("shown/file", "shown\n"),
    ] {
        let path = home.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let shown = home.join("shown");
    let script = "my-tool; cat ~/shown/file; cat ~/.ssh/id_ed25519 ~/.cargo/credentials.toml; \
                  echo x > ~/shown/file; echo x > ~/.cargo/bin/my-tool; echo x > ~/own && cat ~/own";
    let mut run = fixture.script(&["-q", "--expose", shown.to_str().unwrap()], script);
    let path = format!("{}:/usr/bin:/bin", home.join(".cargo/bin").display());
    let ran = finish(run.env("PATH", path));
    assert_eq!(ran.stdout, "tool ran\nshown\nx\n", "{ran:?}");
    assert_eq!(
        std::fs::read_to_string(shown.join("file")).unwrap(),
        "shown\n"
    );
    assert!(!home.join("own").exists());
}

#[test]
fn the_command_starts_where_it_is_told() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.workspace().join("sub")).unwrap();
    let ran = finish(&mut fixture.run(&["-q", "--cwd", "sub"], &["pwd"]));
    assert_eq!(
        ran.stdout,
        format!("{}/sub\n", fixture.workspace().display())
    );
}
