//! Images: layers upon each other, digests, and which image is meant.

use super::*;

fn plain(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

fn import_layers(fixture: &Fixture, layers: &[Tar]) -> Result<Imported, RootfsError> {
    let layers: Vec<Vec<u8>> = layers
        .iter()
        .map(|tar| tar.0.get_ref().clone())
        .map(ended)
        .collect();
    let layout = LayoutBuilder::new(fixture);
    layout.index(&[layout.image(&layers, gzip)]);
    fixture.import(&layout.path, &ImportOptions::default())
}

fn ended(mut tar: Vec<u8>) -> Vec<u8> {
    tar.extend_from_slice(&[0; 1024]);
    tar
}

fn layered(layers: &[Tar]) -> BTreeMap<PathBuf, String> {
    let fixture = Fixture::new();
    match import_layers(&fixture, layers) {
        Ok(imported) => describe(&imported.rootfs.root),
        Err(error) => panic!("{}", chain(&error)),
    }
}

fn small_tree() -> Vec<u8> {
    Tar::new()
        .dir("bin")
        .mode("bin/busybox", 0o755, "elf")
        .hard_link("bin/sh", "bin/busybox")
        .bytes()
}

const SMALL_TREE: &[(&str, &str)] = &[
    ("bin", "dir 755"),
    ("bin/busybox", "755 x2 elf"),
    ("bin/sh", "755 x2 elf"),
];

#[test]
fn a_layout_arrives_from_a_directory_and_from_tarballs() {
    for compress in [plain, gzip, zstd] {
        let fixture = Fixture::new();
        let layout = LayoutBuilder::new(&fixture);
        let manifest = layout.image(&[small_tree()], compress);
        layout.index(&[named(manifest.clone(), "box:1")]);
        let tar = layout.tar();
        for source in [
            layout.path.clone(),
            fixture.source("layout.tar", &tar),
            fixture.source("layout.tar.gz", &gzip(&tar)),
        ] {
            let mut seen = Vec::new();
            let imported = import(
                &source,
                &fixture.store(),
                "it",
                &ImportOptions::default(),
                &mut |progress| seen.push(progress),
            )
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
            expect(&describe(&imported.rootfs.root), SMALL_TREE);
            assert!(matches!(
                seen[..],
                [
                    ..,
                    Progress::Layer {
                        number: 1,
                        count: 1,
                        ..
                    },
                    Progress::Unpacked { entries: 3, .. }
                ]
            ));
            assert_eq!((imported.layers, imported.entries), (1, 3));
            let info = &imported.rootfs.info;
            assert_eq!(info.digest, manifest["digest"]);
            assert_eq!(info.working_dir.as_deref(), Some("/work"));
            let env: Vec<(&str, &str)> = info
                .env
                .iter()
                .map(|(name, value)| (&name[..], &value[..]))
                .collect();
            assert_eq!(env, [("PATH", "/bin"), ("EMPTY", ""), ("EQ", "a=b")]);
            remove(&fixture.store(), "it").unwrap();
        }
    }
}

#[test]
fn upper_layers_cover_and_take_away() {
    let lower = Tar::new()
        .file("keep", "1")
        .file("change", "1")
        .file("gone", "1")
        .dir("gone_dir")
        .file("gone_dir/deep/file", "1")
        .file("opaque/old", "1")
        .file("opaque/sub/old", "1")
        .file("opaque/sub/both", "1")
        .file("was_file", "1")
        .file("was_dir/x", "1");
    let upper = Tar::new()
        .file("change", "2")
        .file(".wh.gone", "")
        .file(".wh.gone_dir", "")
        .file(".wh.never_there", "")
        .file("nowhere/.wh.x", "")
        .file(".wh..wh.plnk", "")
        // Before and after: the mark is about lower layers only.
        .file("opaque/sub/both", "2")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/new", "2")
        .dir("was_file")
        .file("was_file/y", "2")
        .symlink("was_dir", "keep");
    expect(
        &layered(&[lower, upper]),
        &[
            ("keep", "644 x1 1"),
            ("change", "644 x1 2"),
            ("opaque", "dir 755"),
            ("opaque/sub", "dir 755"),
            ("opaque/sub/both", "644 x1 2"),
            ("opaque/new", "644 x1 2"),
            ("was_file", "dir 755"),
            ("was_file/y", "644 x1 2"),
            ("was_dir", "-> keep"),
        ],
    );
}

#[test]
fn a_whiteout_spares_what_its_own_layer_brings() {
    let lower = Tar::new().file("d/old", "1").file("f", "1");
    let upper = Tar::new()
        .file("d/new", "2")
        .file(".wh.d", "")
        .file("f", "2")
        .file(".wh.f", "")
        .file("first/.wh..wh..opq", "");
    expect(
        &layered(&[lower, upper]),
        &[("d", "dir 755"), ("d/new", "644 x1 2"), ("f", "644 x1 2")],
    );
}

#[test]
fn a_link_taken_away_is_not_remembered() {
    let lower = Tar::new().dir("usr").symlink("d", "usr");
    let upper = Tar::new()
        .file("d/one", "2")
        .file(".wh.d", "")
        .file("d/two", "2");
    expect(
        &layered(&[lower, upper]),
        &[
            ("usr", "dir 755"),
            ("usr/one", "644 x1 2"),
            ("d", "dir 755"),
            ("d/two", "644 x1 2"),
        ],
    );
}

#[test]
fn a_third_layer_takes_away_what_the_second_brought() {
    let layers = [
        Tar::new().file("a", "1"),
        Tar::new().file("b", "2").file("c/x", "2"),
        Tar::new().file(".wh.b", "").file("c/.wh..wh..opq", ""),
    ];
    expect(&layered(&layers), &[("a", "644 x1 1"), ("c", "dir 755")]);
}

#[test]
fn whiteouts_in_the_lowest_layer_are_no_files() {
    let layer = Tar::new()
        .file("a", "1")
        .file(".wh.a", "")
        .file("d/.wh..wh..opq", "");
    expect(&layered(&[layer]), &[("a", "644 x1 1")]);
}

#[test]
fn layers_write_through_the_links_of_lower_ones_inside() {
    let lower = Tar::new()
        .dir("usr/lib")
        .symlink("lib", "usr/lib")
        .symlink("abs", "/usr/lib");
    let upper = Tar::new().file("lib/a", "2").file("abs/b", "2");
    let tree = layered(&[lower, upper]);
    assert_eq!(tree[Path::new("usr/lib/a")], "644 x1 2");
    assert_eq!(tree[Path::new("usr/lib/b")], "644 x1 2");
    assert_eq!(tree[Path::new("lib")], "-> usr/lib");
}

#[test]
fn a_whiteout_cannot_reach_outside() {
    let fixture = Fixture::new();
    let outside = fixture.outside();
    for hostile in [
        Tar::new()
            .symlink("o", outside.to_str().unwrap())
            .file("o/.wh.victim", ""),
        Tar::new()
            .symlink("o", outside.to_str().unwrap())
            .file("o/.wh..wh..opq", ""),
        Tar::new()
            .symlink("o", outside.to_str().unwrap())
            .file(".wh.o", ""),
    ] {
        import_layers(&fixture, &[Tar::new().file("a", ""), hostile]).unwrap();
        remove(&fixture.store(), "it").unwrap();
    }
    for name in [".wh...", ".wh..", ".wh.", "a/.wh..."] {
        let hostile = Tar::new().file(name, "");
        let result = import_layers(&fixture, &[Tar::new().file("a/b", ""), hostile]);
        let message = chain(&result.unwrap_err());
        assert!(message.contains("it takes away no name"), "{message}");
    }
}

#[test]
fn bounds_hold_over_all_layers() {
    let fixture = Fixture::new();
    let layout = LayoutBuilder::new(&fixture);
    let layer = |name: &str| Tar::new().file(name, &"x".repeat(600_000)).bytes();
    layout.index(&[layout.image(&[layer("a"), layer("b")], gzip)]);
    let options = ImportOptions {
        bytes_max: 1_000_000,
        ..ImportOptions::default()
    };
    let message = chain(&fixture.import(&layout.path, &options).unwrap_err());
    assert!(message.starts_with("failed to import layer 2"), "{message}");
    assert!(message.contains("more than 1000000 bytes"), "{message}");
}

#[test]
fn changed_content_is_refused() {
    let fixture = Fixture::new();
    let layout = LayoutBuilder::new(&fixture);
    let tar = small_tree();
    let manifest = layout.image(std::slice::from_ref(&tar), plain);
    layout.index(std::slice::from_ref(&manifest));
    let import = || {
        chain(
            &fixture
                .import(&layout.path, &ImportOptions::default())
                .unwrap_err(),
        )
    };

    // The layer, same size.
    let layer = layout.blob_path(&Digest::of(&tar).to_string());
    let mut changed = tar.clone();
    *changed.last_mut().unwrap() = 1; // past the archive's end, which nobody unpacks
    fs::write(&layer, &changed).unwrap();
    let message = import();
    assert!(message.contains("a layer has digest sha256:"), "{message}");
    // Another size.
    fs::write(&layer, &tar[1..]).unwrap();
    let message = import();
    assert!(message.contains("bytes where"), "{message}");
    fs::remove_file(&layer).unwrap();
    assert!(import().contains("is missing"));
    fs::write(&layer, &tar).unwrap();
    // The manifest, same size.
    let path = layout.blob_path(manifest["digest"].as_str().unwrap());
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replace("\"schemaVersion\":2", "\"schemaVersion\":3"),
    )
    .unwrap();
    assert!(import().contains("has digest sha256:"));
    fs::write(&path, &text).unwrap();
    fixture
        .import(&layout.path, &ImportOptions::default())
        .unwrap();
}

#[test]
fn content_must_be_what_the_configuration_says() {
    let fixture = Fixture::new();
    let layout = LayoutBuilder::new(&fixture);
    let other = LayoutBuilder::config(&[b"other".to_vec()]);
    layout.index(&[layout.image_with(&[small_tree()], gzip, &other)]);
    let message = chain(
        &fixture
            .import(&layout.path, &ImportOptions::default())
            .unwrap_err(),
    );
    assert!(
        message.contains("the content of a layer has digest"),
        "{message}"
    );
    let none = LayoutBuilder::config(&[]);
    layout.index(&[layout.image_with(&[small_tree()], gzip, &none)]);
    let message = chain(
        &fixture
            .import(&layout.path, &ImportOptions::default())
            .unwrap_err(),
    );
    assert!(
        message.contains("it names 0 layers where there are 1"),
        "{message}"
    );
}

#[test]
fn the_platform_and_the_name_choose_the_image() {
    let fixture = Fixture::new();
    let layout = LayoutBuilder::new(&fixture);
    let image = |content: &str| layout.image(&[Tar::new().file("who", content).bytes()], gzip);
    let ours = image::architecture();
    let inner = json!({ "schemaVersion": 2, "manifests": [
        on_platform(image("wrong"), "linux", "pdp11"),
        on_platform(image("windows"), "windows", ours),
        on_platform(image("note"), "unknown", "unknown"),
        on_platform(image("new"), "linux", ours),
    ]});
    let inner = layout.blob(inner.to_string().as_bytes());
    layout.index(&[named(inner, "app:new"), named(image("old"), "app:old")]);

    let import_named = |reference: Option<&str>| {
        let reference = reference.map(str::to_owned);
        let options = ImportOptions {
            reference,
            existing: Existing::Replace,
            ..ImportOptions::default()
        };
        let imported = import(&layout.path, &fixture.store(), "it", &options, &mut |_| {})
            .map_err(|error| chain(&error))?;
        Ok::<_, String>(fs::read_to_string(imported.rootfs.root.join("who")).unwrap())
    };
    assert_eq!(import_named(Some("app:new")).unwrap(), "new");
    assert_eq!(import_named(Some("app:old")).unwrap(), "old");
    assert_eq!(
        import_named(None).unwrap_err(),
        format!("more than one image fits linux/{ours}; there is app:new, app:old")
    );
    assert_eq!(
        import_named(Some("app:none")).unwrap_err(),
        format!("no image fits `app:none` on linux/{ours}; there is app:new, app:old")
    );
    layout.index(&[on_platform(image("x"), "linux", "pdp11")]);
    assert!(import_named(None).unwrap_err().ends_with("(linux/pdp11)"));
    // The index says nothing, the configuration does.
    let mut config = LayoutBuilder::config(&[]);
    config["architecture"] = "pdp11".into();
    layout.index(&[layout.image_with(&[], gzip, &config)]);
    assert!(
        import_named(None)
            .unwrap_err()
            .ends_with("there is linux/pdp11")
    );
}

#[test]
fn hostile_documents_are_refused() {
    let fixture = Fixture::new();
    let layout = LayoutBuilder::new(&fixture);
    let import = || {
        chain(
            &fixture
                .import(&layout.path, &ImportOptions::default())
                .unwrap_err(),
        )
    };
    let passwd = fixture.outside().join("etc/passwd");

    for digest in [
        "sha256:../../../outside/victim",
        "sha256:AA",
        "sha256:",
        "../../outside/victim",
        "sha256:é000000000000000000000000000000000000000000000000000000000000000",
    ] {
        layout.index(&[json!({ "digest": digest, "size": 4 })]);
        assert!(import().contains("digest `"), "{digest}");
    }
    layout.index(&[json!({ "digest": format!("sha512:{}", "0".repeat(128)), "size": 4 })]);
    assert!(import().contains("is not supported"));
    // A blob that is a link to a file outside, of the right digest.
    let outside = Digest::of(b"keep").to_string();
    symlink(&passwd, layout.blob_path(&outside)).unwrap();
    layout.index(&[json!({ "digest": outside, "size": 4 })]);
    let message = import();
    assert!(message.contains("Invalid cross-device link"), "{message}");
    // A pipe must not be waited for.
    fs::remove_file(layout.path.join("index.json")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        layout.path.join("index.json"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert!(import().contains("no file"));
    fs::remove_file(layout.path.join("index.json")).unwrap();
    for (text, reason) in [
        ("{".to_owned(), "`index.json` is malformed"),
        (" ".repeat(5 << 20), "it is larger than 4 MiB"),
        ("{\"manifests\":null}".to_owned(), "there is none"),
    ] {
        fs::write(layout.path.join("index.json"), text).unwrap();
        assert!(import().contains(reason), "{}", import());
    }
    // Two readers could see two images in it.
    let image = layout.image(&[small_tree()], gzip);
    let both = json!({ "manifests": [image], "config": image, "layers": [] });
    layout.index(&[layout.blob(both.to_string().as_bytes())]);
    assert!(import().contains("neither manifest nor index"));
    let mut nested = layout.image(&[small_tree()], gzip);
    for _ in 0..5 {
        nested = layout.blob(json!({ "manifests": [nested] }).to_string().as_bytes());
    }
    layout.index(&[nested]);
    assert!(import().contains("too deep"));
}

#[test]
fn hostile_configurations_are_refused() {
    for (run, reason) in [
        (json!({ "Env": ["A=\u{0}"] }), "is no environment variable"),
        (json!({ "Env": ["=x"] }), "is no environment variable"),
        (json!({ "Env": ["novalue"] }), "is no environment variable"),
        (json!({ "WorkingDir": "../.." }), "is not absolute"),
    ] {
        let fixture = Fixture::new();
        let layout = LayoutBuilder::new(&fixture);
        let mut config = LayoutBuilder::config(&[small_tree()]);
        config["config"] = run;
        layout.index(&[layout.image_with(&[small_tree()], gzip, &config)]);
        let message = chain(
            &fixture
                .import(&layout.path, &ImportOptions::default())
                .unwrap_err(),
        );
        assert!(message.contains(reason), "{message}");
    }
}

/// What old versions of `docker save` wrote, with one layer as a link to another's.
fn docker_save(layer: &[u8], config: &Value) -> Vec<u8> {
    let manifest = json!([
        { "Config": "c.json", "RepoTags": ["box:1"], "Layers": ["one/layer.tar", "two/layer.tar"] },
        { "Config": "none.json", "RepoTags": null, "Layers": null },
    ]);
    let mut tar = Tar::new();
    tar.0
        .append_data(&mut data_header(layer.len()), "one/layer.tar", layer)
        .unwrap();
    tar.symlink("two/layer.tar", "../one/layer.tar")
        .file("c.json", &config.to_string())
        .file("manifest.json", &manifest.to_string())
        .bytes()
}

fn data_header(size: usize) -> Header {
    let mut header = raw_header("", EntryType::Regular, "", 0o644);
    header.set_size(size as u64);
    header
}

#[test]
fn a_docker_save_tarball_arrives() {
    let fixture = Fixture::new();
    let config = LayoutBuilder::config(&[small_tree(), small_tree()]);
    let source = fixture.source("save.tar", &docker_save(&small_tree(), &config));
    let options = ImportOptions {
        reference: Some("box:1".into()),
        ..ImportOptions::default()
    };
    let imported = fixture
        .import(&source, &options)
        .unwrap_or_else(|e| panic!("{}", chain(&e)));
    expect(&describe(&imported.rootfs.root), SMALL_TREE);
    assert_eq!(imported.layers, 2);
    assert_eq!(
        imported.rootfs.info.digest,
        Digest::of(config.to_string().as_bytes()).to_string()
    );
    assert_eq!(imported.rootfs.info.env.len(), 3);
    let message = chain(
        &import(
            &source,
            &fixture.store(),
            "two",
            &ImportOptions::default(),
            &mut |_| {},
        )
        .unwrap_err(),
    );
    assert!(message.starts_with("more than one image fits"), "{message}");
}

#[test]
fn a_changed_docker_layer_is_refused() {
    let fixture = Fixture::new();
    let config = LayoutBuilder::config(&[small_tree(), small_tree()]);
    let changed = Tar::new().file("bin/sh", "evil").bytes();
    let source = fixture.source("save.tar", &docker_save(&changed, &config));
    let options = ImportOptions {
        reference: Some("box:1".into()),
        ..ImportOptions::default()
    };
    let message = chain(&fixture.import(&source, &options).unwrap_err());
    assert!(
        message.contains("the content of a layer has digest"),
        "{message}"
    );
}

#[test]
fn a_tree_with_a_manifest_of_its_own_is_a_tree() {
    let tree = Fixture::new().tree(
        &Tar::new()
            .file("manifest.json", "{\"name\":\"app\"}")
            .file("index.json", "{}")
            .bytes(),
    );
    assert_eq!(tree.len(), 2);
}

#[test]
fn a_directory_that_is_no_layout_is_refused() {
    let fixture = Fixture::new();
    let message = chain(
        &fixture
            .import(&fixture.outside(), &ImportOptions::default())
            .unwrap_err(),
    );
    assert!(
        message.contains("is neither an OCI image layout"),
        "{message}"
    );
}
