//! Tarballs of a tree: what honest ones become.

use super::*;

#[test]
fn files_directories_and_links_arrive() {
    let fixture = Fixture::new();
    let tar = Tar::new()
        .dir("./")
        .dir("./bin/")
        .mode("./bin/sh", 0o755, "#!")
        .hard_link("./bin/ash", "./bin/sh")
        .symlink("./sbin", "bin")
        .symlink("./etc/mtab", "/proc/mounts")
        .raw("./tmp", EntryType::Directory, "", 0o1777, b"")
        .file("./sbin/init", "i");
    expect(
        &fixture.tree(&tar.bytes()),
        &[
            ("bin", "dir 755"),
            ("bin/sh", "755 x2 #!"),
            ("bin/ash", "755 x2 #!"),
            ("bin/init", "644 x1 i"),
            ("sbin", "-> bin"),
            ("etc", "dir 755"),
            ("etc/mtab", "-> /proc/mounts"),
            ("tmp", "dir 1777"),
        ],
    );
}

#[test]
fn compression_is_told_by_the_bytes() {
    let tar = Tar::new().file("a", &"text ".repeat(100_000)).bytes();
    let two_members = [gzip(&tar[..1000]), gzip(&tar[1000..])].concat();
    let skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc";
    let frames = [
        &skippable[..],
        &zstd(&tar[..1000]),
        skippable,
        &zstd(&tar[1000..]),
        skippable,
    ];
    for (name, bytes) in [
        ("plain", tar.clone()),
        ("gzip", gzip(&tar)),
        ("gzip in two members", two_members),
        ("zstd", zstd(&tar)),
        ("zstd in frames", frames.concat()),
    ] {
        let fixture = Fixture::new();
        let source = fixture.source("anything", &bytes);
        let imported = fixture
            .import(&source, &ImportOptions::default())
            .expect(name);
        let content = fs::read_to_string(imported.rootfs.root.join("a")).unwrap();
        assert!(content == "text ".repeat(100_000), "{name}");
        assert_eq!(
            imported.rootfs.info.digest,
            Digest::of(&bytes).to_string(),
            "{name}"
        );
        assert_eq!(imported.bytes, tar.len() as u64, "{name}");
    }
}

#[test]
fn other_compressions_are_named() {
    for (start, name) in [(&b"\xfd7zXZ\0rest"[..], "xz"), (b"BZh91AY", "bzip2")] {
        let message = Fixture::new().refusal(start);
        assert!(
            message.ends_with(&format!(
                "{name} compression (only gzip and zstd are) is not supported"
            )),
            "{message}"
        );
    }
}

#[test]
fn what_is_no_tarball_is_refused() {
    for bytes in [&b""[..], &[0; 1024], b"hello", &[b'x'; 2048]] {
        let message = Fixture::new().refusal(bytes);
        assert!(
            message.contains("neither an OCI image layout")
                || message.contains("the tar archive is malformed"),
            "{message}"
        );
    }
}

#[test]
fn a_cut_archive_is_refused() {
    let tar = Tar::new()
        .file("a", &"x".repeat(5000))
        .file("b", "y")
        .bytes();
    let gz = gzip(&tar);
    for cut in [512 + 100, 512 + 4999, 512 + 5120 + 100] {
        let message = Fixture::new().refusal(&tar[..cut]);
        assert!(message.contains("end"), "{message}");
    }
    Fixture::new().refusal(&gz[..gz.len() - 9]);
    Fixture::new().refusal(&zstd(&tar)[..60]);
}

#[test]
fn long_names_arrive_in_every_format() {
    let long = format!(
        "{}/{}/{}",
        "d".repeat(120),
        "e".repeat(200),
        "f".repeat(255)
    );
    let target = format!("/{}", "t/".repeat(150));
    let mut gnu = Builder::new(Vec::new());
    let mut header = raw_header("", EntryType::Regular, "", 0o644);
    header.set_size(3);
    gnu.append_data(&mut header, &long, &b"gnu"[..]).unwrap();
    let mut header = raw_header("", EntryType::Symlink, "", 0o777);
    header.set_size(0);
    gnu.append_link(&mut header, "link", &target).unwrap();

    let mut pax = Tar::new();
    pax.0
        .append_pax_extensions([
            ("path", long.as_bytes()),
            ("SCHILY.xattr.security.capability", b"\x01\n\0= \xff\n"),
            ("mtime", b"1400000000.25"),
        ])
        .unwrap();
    let pax = pax.file("short", "pax");
    let mut pax = pax;
    pax.0
        .append_pax_extensions([("linkpath", target.as_bytes())])
        .unwrap();
    let pax = pax.symlink("link", "short").bytes();

    for (tar, content, mtime) in [
        (gnu.into_inner().unwrap(), "gnu", 1_500_000_000),
        (pax, "pax", 1_400_000_000),
    ] {
        let fixture = Fixture::new();
        let tree = fixture.tree(&tar);
        assert_eq!(tree[Path::new(&long)], format!("644 x1 {content}"));
        assert_eq!(tree[Path::new("link")], format!("-> {target}"));
        let metadata = fs::metadata(fixture.store().join("it/root").join(&long)).unwrap();
        assert_eq!(metadata.mtime(), mtime);
    }
}

#[test]
fn a_pax_size_counts_and_not_the_header() {
    let mut tar = Tar::new();
    tar.0.append_pax_extensions([("size", &b"5"[..])]).unwrap();
    let mut bytes = tar.bytes();
    bytes.truncate(bytes.len() - 1024); // the end of the archive
    let mut header = raw_header("a", EntryType::Regular, "", 0o644);
    header.set_size(0);
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(b"hello");
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes.extend(Tar::new().file("b", "next").bytes());
    expect(
        &Fixture::new().tree(&bytes),
        &[("a", "644 x1 hello"), ("b", "644 x1 next")],
    );
}

#[test]
fn the_last_of_equal_names_stays() {
    let tar = Tar::new()
        .file("a", "one")
        .hard_link("b", "a")
        .file("a", "two")
        .dir("d")
        .file("d/x", "x")
        .file("d", "now a file")
        .file("f", "f")
        .dir("f")
        .file("f/y", "y")
        .symlink("s", "a")
        .file("s", "not through the link")
        .hard_link("b", "b");
    expect(
        &Fixture::new().tree(&tar.bytes()),
        &[
            ("a", "644 x1 two"),
            ("b", "644 x1 one"),
            ("d", "644 x1 now a file"),
            ("f", "dir 755"),
            ("f/y", "644 x1 y"),
            ("s", "644 x1 not through the link"),
        ],
    );
}

#[test]
fn files_belong_to_the_importer_who_can_read_them() {
    let fixture = Fixture::new();
    let tree = fixture.tree(
        &Tar::new()
            .mode("su", 0o6755, "s")
            .mode("shadow", 0o000, "h")
            .raw("locked", EntryType::Directory, "", 0o555, b"")
            .file("locked/in", "i")
            .raw("group", EntryType::Directory, "", 0o2775, b"")
            .bytes(),
    );
    expect(
        &tree,
        &[
            ("su", "755 x1 s"),
            ("shadow", "400 x1 h"),
            ("locked", "dir 755"),
            ("locked/in", "644 x1 i"),
            ("group", "dir 775"),
        ],
    );
    let metadata = fs::metadata(fixture.store().join("it/root/su")).unwrap();
    let me = rustix::process::geteuid().as_raw();
    assert_eq!(metadata.uid(), me);
}

#[test]
fn a_setgid_store_gives_no_bits_away() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.store()).unwrap();
    fs::set_permissions(fixture.store(), fs::Permissions::from_mode(0o2755)).unwrap();
    let tree = fixture.tree(&Tar::new().dir("d").file("e/f", "").bytes());
    expect(
        &tree,
        &[("d", "dir 755"), ("e", "dir 755"), ("e/f", "644 x1 ")],
    );
    let root = fs::metadata(fixture.store().join("it/root")).unwrap();
    assert_eq!(root.mode() & 0o7777, 0o755);
}

#[test]
fn whiteout_names_are_plain_files_in_a_tree() {
    let tar = Tar::new()
        .file("a", "")
        .file(".wh.a", "")
        .file(".wh..wh..opq", "");
    expect(
        &Fixture::new().tree(&tar.bytes()),
        &[
            ("a", "644 x1 "),
            (".wh.a", "644 x1 "),
            (".wh..wh..opq", "644 x1 "),
        ],
    );
}

#[test]
fn special_files_are_left_out_and_counted() {
    let fixture = Fixture::new();
    let tar = Tar::new()
        .raw("dev/null", EntryType::Char, "", 0o666, b"")
        .raw("dev/sda", EntryType::Block, "", 0o666, b"")
        .raw("pipe", EntryType::Fifo, "", 0o666, b"")
        .raw("odd", EntryType::new(b'V'), "", 0o666, b"volume")
        .file("after", "a");
    let source = fixture.source("tree.tar", &tar.bytes());
    let imported = fixture.import(&source, &ImportOptions::default()).unwrap();
    assert_eq!(imported.skipped, 4);
    expect(&describe(&imported.rootfs.root), &[("after", "644 x1 a")]);
}
