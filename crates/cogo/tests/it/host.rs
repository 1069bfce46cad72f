//! `cogo doctor` and `cogo rootfs`.

use std::process::Command;

use crate::fixture::{Fixture, finish};

#[test]
fn doctor_is_right_about_every_tier() {
    let fixture = Fixture::new();
    let ran = finish(&mut fixture.cogo(["doctor", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let tiers = report["tiers"].as_array().unwrap();
    assert_eq!(tiers.len(), 3);
    for tier in tiers {
        let name = tier["isolation"].as_str().unwrap();
        let run = finish(&mut fixture.cogo(["run", "-q", "--isolation", name, "--", "true"]));
        let expected = if tier["available"].as_bool().unwrap() {
            0
        } else {
            125
        };
        assert_eq!(run.code, Some(expected), "{name}: {run:?}");
    }
    let strict = tiers[0]["available"].as_bool().unwrap();
    assert_eq!(ran.code, Some(i32::from(!strict)));
    let table = finish(&mut fixture.cogo(["doctor"]));
    assert!(
        table.stdout.contains("\n--isolation strict      "),
        "{table:?}"
    );
}

#[test]
fn a_tree_is_imported_listed_and_removed() {
    let fixture = Fixture::new();
    let tree = fixture.home().join("tree");
    std::fs::create_dir_all(tree.join("etc")).unwrap();
    std::fs::write(tree.join("etc/issue"), "imported\n").unwrap();
    let tar = fixture.home().join("tree.tar");
    let made = Command::new("tar")
        .arg("-cf")
        .arg(&tar)
        .arg("-C")
        .arg(&tree)
        .arg(".")
        .status();
    assert!(made.unwrap().success());
    let tar = tar.to_str().unwrap();

    let import = || finish(&mut fixture.cogo(["rootfs", "import", "-q", tar, "--name", "mine"]));
    let imported = import();
    assert_eq!(imported.code, Some(0), "{imported:?}");
    assert!(
        imported.stdout.starts_with("imported `mine`: "),
        "{imported:?}"
    );
    let again = import();
    assert_eq!(again.code, Some(1), "{again:?}");
    let listed = finish(&mut fixture.cogo(["rootfs", "ls"]));
    assert!(listed.stdout.contains(tar), "{listed:?}");

    let missing = finish(&mut fixture.cogo(["run", "--rootfs", "other", "--", "true"]));
    assert_eq!(missing.code, Some(125));
    assert!(
        missing
            .stderr
            .starts_with("error: there is no root file system `other`\nhint: ")
    );

    assert_eq!(
        finish(&mut fixture.cogo(["rootfs", "rm", "mine"])).code,
        Some(0)
    );
    assert_eq!(
        finish(&mut fixture.cogo(["rootfs", "ls"]))
            .stdout
            .lines()
            .count(),
        1
    );
}
