//! Names: taken, free, replaced, listed, removed; and imports that were killed.

use super::*;

fn tree(fixture: &Fixture, content: &str) -> PathBuf {
    fixture.source(
        &format!("{content}.tar"),
        &Tar::new().file("who", content).bytes(),
    )
}

fn who(rootfs: &Rootfs) -> String {
    fs::read_to_string(rootfs.root.join("who")).unwrap()
}

fn names(fixture: &Fixture) -> Vec<String> {
    list(&fixture.store())
        .unwrap()
        .into_iter()
        .map(|rootfs| rootfs.name)
        .collect()
}

#[test]
fn names_that_could_be_paths_are_refused() {
    let fixture = Fixture::new();
    let source = tree(&fixture, "one");
    let long = "n".repeat(65);
    for name in [
        "",
        ".",
        "..",
        ".import-0",
        "a/b",
        "../outside",
        "/etc",
        "-x",
        "a b",
        "ä",
        &long,
    ] {
        let import = import(
            &source,
            &fixture.store(),
            name,
            &ImportOptions::default(),
            &mut |_| {},
        );
        for result in [import.map(drop), remove(&fixture.store(), name)] {
            assert!(
                matches!(result, Err(RootfsError::InvalidName { .. })),
                "{name:?}: {result:?}"
            );
        }
        assert!(find(&fixture.store(), name).is_err());
    }
    fixture.check_nothing_else_changed(false);
}

#[test]
fn a_taken_name_is_kept_unless_told() {
    let fixture = Fixture::new();
    let keep = ImportOptions::default();
    let replace = ImportOptions {
        existing: Existing::Replace,
        ..ImportOptions::default()
    };
    fixture.import(&tree(&fixture, "one"), &keep).unwrap();
    let two = tree(&fixture, "two");
    assert!(matches!(
        import(&two, &fixture.store(), "it", &keep, &mut |_| {}),
        Err(RootfsError::Exists { .. })
    ));
    assert_eq!(who(&find(&fixture.store(), "it").unwrap()), "one");
    let replaced = import(&two, &fixture.store(), "it", &replace, &mut |_| {}).unwrap();
    assert_eq!(who(&replaced.rootfs), "two");
    fixture.check_nothing_else_changed(true);
    // A failed replacement keeps the old one.
    let broken = fixture.source("broken.tar", b"not a tarball");
    import(&broken, &fixture.store(), "it", &replace, &mut |_| {}).unwrap_err();
    assert_eq!(who(&find(&fixture.store(), "it").unwrap()), "two");
    fixture.check_nothing_else_changed(true);
}

#[test]
fn what_was_imported_is_listed_and_goes() {
    let fixture = Fixture::new();
    assert_eq!(names(&fixture), [""; 0]);
    let source = tree(&fixture, "one");
    for name in ["zebra", "alpine-3.22"] {
        import(
            &source,
            &fixture.store(),
            name,
            &ImportOptions::default(),
            &mut |_| {},
        )
        .unwrap();
    }
    fs::create_dir(fixture.store().join(".import-77")).unwrap();
    assert_eq!(names(&fixture), ["alpine-3.22", "zebra"]);
    remove(&fixture.store(), "zebra").unwrap();
    assert_eq!(names(&fixture), ["alpine-3.22"]);
    assert!(matches!(
        remove(&fixture.store(), "zebra"),
        Err(RootfsError::NotFound { .. })
    ));
    assert!(matches!(
        find(&fixture.store(), "zebra"),
        Err(RootfsError::NotFound { .. })
    ));
}

#[test]
fn the_description_is_written_beside_the_tree() {
    let fixture = Fixture::new();
    let source = tree(&fixture, "one");
    let imported = fixture.import(&source, &ImportOptions::default()).unwrap();
    let text = fs::read_to_string(fixture.store().join("it/rootfs.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        json,
        json!({
            "source": source.to_str().unwrap(),
            "digest": imported.rootfs.info.digest,
            "env": [],
            "workingDir": null,
            "importedAtMs": imported.rootfs.info.imported_at_ms,
        })
    );
    assert!(imported.rootfs.info.imported_at_ms > 1_600_000_000_000);
    assert_eq!(find(&fixture.store(), "it").unwrap(), imported.rootfs);
}

/// Runs in the process that [`a_killed_import_leaves_no_name_and_is_cleaned_up`] starts.
#[test]
#[ignore = "only for the test that kills it"]
fn importer_to_be_killed() {
    let Some(place) = std::env::var_os("COGO_TEST_KILLED_IMPORT").map(PathBuf::from) else {
        return;
    };
    let options = ImportOptions {
        existing: Existing::Replace,
        ..ImportOptions::default()
    };
    let _ = import(
        &place.join("pipe"),
        &place.join("store"),
        "it",
        &options,
        &mut |_| {},
    );
}

#[test]
fn a_killed_import_leaves_no_name_and_is_cleaned_up() {
    let fixture = Fixture::new();
    let pipe = fixture.temp.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let mut importer = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "rootfs::tests::names::importer_to_be_killed",
            "--ignored",
        ])
        .env("COGO_TEST_KILLED_IMPORT", fixture.temp.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Opens when the importer opens its end; then gives it less than the archive it was promised.
    let mut writer = File::options().write(true).open(&pipe).unwrap();
    writer
        .write_all(&Tar::new().file("who", "x").bytes()[..1024])
        .unwrap();
    let unpacked = fixture.store().join(".import-0/outer/who");
    wait_until(|| unpacked.exists());

    // Another import does not touch the one under way.
    let other = tree(&fixture, "other");
    let options = ImportOptions::default();
    import(&other, &fixture.store(), "other", &options, &mut |_| {}).unwrap();
    assert!(unpacked.exists());

    importer.kill().unwrap();
    importer.wait().unwrap();
    assert_eq!(names(&fixture), ["other"]);
    assert!(unpacked.exists());
    import(&other, &fixture.store(), "it", &options, &mut |_| {}).unwrap();
    remove(&fixture.store(), "other").unwrap();
    fixture.check_nothing_else_changed(true);
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed().as_secs() < 60, "it never came");
        std::thread::yield_now();
    }
}
