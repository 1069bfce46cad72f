//! Archives made to harm. The fixture checks that nothing outside the tree changed.

use super::*;

fn refused_entry(tar: Tar, reason: &str) {
    let message = Fixture::new().refusal(&tar.bytes());
    assert!(message.contains(reason), "{message}");
}

#[test]
fn dot_dot_is_refused() {
    for path in [
        "../outside/victim",
        "a/../../outside/victim",
        "..",
        "/../etc",
        "a/..",
    ] {
        refused_entry(Tar::new().file(path, "owned"), "its path has a `..`");
        refused_entry(Tar::new().dir(path), "its path has a `..`");
        refused_entry(Tar::new().symlink(path, "x"), "its path has a `..`");
        refused_entry(
            Tar::new().file("x", "").hard_link("y", path),
            "its path has a `..`",
        );
    }
}

#[test]
fn absolute_paths_stay_inside() {
    let fixture = Fixture::new();
    let victim = fixture.outside().join("victim");
    let tree = fixture.tree(&Tar::new().file(victim.to_str().unwrap(), "inside").bytes());
    assert_eq!(tree[victim.strip_prefix("/").unwrap()], "644 x1 inside");
}

#[test]
fn writing_through_a_link_stays_inside() {
    let fixture = Fixture::new();
    let outside = fixture.outside();
    let outside = outside.to_str().unwrap();
    let up = "../../../../../../../../../..";
    let relative = format!("{up}{outside}");
    // Neither place exists inside, so both links dangle.
    for target in [outside, &relative] {
        let message = fixture.refusal(
            &Tar::new()
                .symlink("out", target)
                .file("out/victim", "owned")
                .bytes(),
        );
        assert!(
            message.contains("leads through a dangling link"),
            "{message}"
        );
    }
    // With the place there, it is the one inside.
    let tree = fixture.tree(
        &Tar::new()
            .dir(outside)
            .symlink("out", target_of(&relative))
            .symlink("two", "out/etc/..")
            .dir("out/etc")
            .file("out/victim", "inside")
            .file("two/second", "inside")
            .hard_link("named", "two/victim")
            .bytes(),
    );
    let inside = outside.strip_prefix('/').unwrap();
    assert_eq!(tree[&Path::new(inside).join("victim")], "644 x2 inside");
    assert_eq!(tree[&Path::new(inside).join("second")], "644 x1 inside");
    assert_eq!(tree[Path::new("named")], "644 x2 inside");
}

fn target_of(text: &str) -> &str {
    assert!(text.len() <= 100, "it has to fit a header");
    text
}

#[test]
fn the_last_component_is_never_followed() {
    let fixture = Fixture::new();
    let victim = fixture.outside().join("victim");
    let victim = victim.to_str().unwrap();
    let tree = fixture.tree(
        &Tar::new()
            .symlink("a", victim)
            .file("a", "inside")
            .symlink("b", victim)
            .dir("b")
            .symlink("c", victim)
            .hard_link("d", "c")
            .file("d", "inside")
            .bytes(),
    );
    expect(
        &tree,
        &[
            ("a", "644 x1 inside"),
            ("b", "dir 755"),
            ("c", &format!("-> {victim}")),
            ("d", "644 x1 inside"),
        ],
    );
}

#[test]
fn a_hard_link_cannot_reach_outside() {
    let fixture = Fixture::new();
    let victim = fixture.outside().join("victim");
    let victim = victim.to_str().unwrap();
    for tar in [
        Tar::new().hard_link("a", victim),
        Tar::new()
            .symlink("o", fixture.outside().to_str().unwrap())
            .hard_link("a", "o/victim"),
    ] {
        let message = fixture.refusal(&tar.bytes());
        assert!(message.contains("No such file or directory"), "{message}");
    }
}

#[test]
fn a_directory_swapped_for_a_link_is_not_remembered() {
    // The second file is in the directory of the first, which has become a link meanwhile.
    let fixture = Fixture::new();
    let outside = fixture.outside();
    let tar = Tar::new()
        .file("d/one", "1")
        .symlink("d", outside.to_str().unwrap())
        .file("d/victim", "owned");
    let message = fixture.refusal(&tar.bytes());
    assert!(
        message.contains("leads through a dangling link"),
        "{message}"
    );
}

#[test]
fn a_link_replaced_through_itself_is_not_remembered() {
    let tar = Tar::new().symlink("l", ".").file("l/l", "").file("l/x", "");
    refused_entry(tar, "leads through a file");
}

#[test]
fn links_that_turn_in_circles_are_refused() {
    let tar = Tar::new()
        .symlink("a", "b")
        .symlink("b", "a")
        .file("a/x", "");
    refused_entry(tar, "Too many levels of symbolic links");
}

#[test]
fn odd_names_are_refused() {
    refused_entry(
        Tar::new().symlink(".", "x"),
        "it is the root and not a directory",
    );
    refused_entry(
        Tar::new().hard_link("a", "/"),
        "it is the root and not a directory",
    );
    refused_entry(
        Tar::new().file("f", "").file("f/below", ""),
        "leads through a file",
    );
    refused_entry(
        Tar::new().dir("d").hard_link("e", "d"),
        "failed to unpack `e`",
    );
    let mut tar = Tar::new();
    tar.0
        .append_pax_extensions([("path", &b"a\0b"[..])])
        .unwrap();
    refused_entry(tar.file("x", ""), "its path has a null byte");
    let mut tar = Tar::new();
    let path = "d/".repeat(2048);
    tar.0
        .append_pax_extensions([("path", path.as_bytes())])
        .unwrap();
    refused_entry(tar.dir("x"), "its path is longer than 4095 bytes");
    let mut tar = Tar::new();
    tar.0
        .append_pax_extensions([("path", "n".repeat(256).as_bytes())])
        .unwrap();
    refused_entry(tar.file("x", ""), "File name too long");
}

#[test]
fn a_tree_deeper_than_any_path_is_removed() {
    // Each entry starts from a link that leads to the end of the last, so depth adds up.
    let mut tar = Tar::new();
    let step = "d/".repeat(1000);
    for number in 0..3 {
        let path = if number == 0 {
            step.clone()
        } else {
            format!("link{}/{step}", number - 1)
        };
        tar.0
            .append_pax_extensions([("path", path.as_bytes())])
            .unwrap();
        tar = tar.dir("x");
        let target = path.trim_end_matches('/');
        tar.0
            .append_pax_extensions([("linkpath", target.as_bytes())])
            .unwrap();
        tar = tar.symlink(&format!("link{number}"), "x");
    }
    let fixture = Fixture::new();
    let source = fixture.source("deep.tar", &tar.bytes());
    let imported = fixture.import(&source, &ImportOptions::default()).unwrap();
    assert!(imported.entries > 3000);
    remove(&fixture.store(), "it").unwrap();
    fixture.check_nothing_else_changed(false);
    assert_eq!(list(&fixture.store()).unwrap(), []);
}

#[test]
fn bytes_are_bounded_before_they_are_on_disk() {
    let options = ImportOptions {
        bytes_max: 1 << 20,
        ..ImportOptions::default()
    };
    let zeros = "\0".repeat(2 << 20);
    let bomb = gzip(&Tar::new().file("bomb", &zeros).bytes());
    assert!(bomb.len() < 20_000);
    // What is skipped must be decompressed too.
    let skipped = gzip(
        &Tar::new()
            .raw("v", EntryType::new(b'V'), "", 0, zeros.as_bytes())
            .bytes(),
    );
    let mut trailing = Tar::new().file("small", "").bytes();
    trailing.extend_from_slice(zeros.as_bytes());
    let many_files = (0..40).fold(Tar::new(), |tar, number| {
        tar.file(&format!("f{number}"), &zeros[..1 << 15])
    });
    for bytes in [
        bomb.clone(),
        zstd(&gunzip(&bomb)),
        skipped,
        gzip(&trailing),
        many_files.bytes(),
    ] {
        let fixture = Fixture::new();
        let source = fixture.source("bomb", &bytes);
        let message = chain(&fixture.import(&source, &options).unwrap_err());
        assert!(
            message.ends_with("the archive holds more than 1048576 bytes after decompression"),
            "{message}"
        );
    }
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_end(&mut all)
        .unwrap();
    all
}

#[test]
fn a_size_beyond_reason_is_refused_at_once() {
    for size in [u64::MAX, u64::MAX - 600, 1 << 62, 1 << 40] {
        let mut header = raw_header("huge", EntryType::Regular, "", 0o644);
        header.set_size(size);
        header.set_cksum();
        let message = Fixture::new().refusal(header.as_bytes());
        assert!(
            message.contains("more than") || message.contains("overflows"),
            "{message}"
        );
    }
}

#[test]
fn entries_are_bounded_with_the_directories_they_imply() {
    let options = ImportOptions {
        entries_max: 50,
        ..ImportOptions::default()
    };
    let files = (0..51).fold(Tar::new(), |tar, number| {
        tar.file(&format!("f{number}"), "")
    });
    let implied = Tar::new()
        .file(&"d/".repeat(49), "")
        .file(&format!("{}f", "e/".repeat(49)), "");
    for tar in [files, implied] {
        let fixture = Fixture::new();
        let source = fixture.source("tree.tar", &tar.bytes());
        let message = chain(&fixture.import(&source, &options).unwrap_err());
        assert!(
            message.ends_with("the archive holds more than 50 files, directories and links"),
            "{message}"
        );
    }
}

#[test]
fn endless_extension_headers_are_refused() {
    for kind in [
        EntryType::GNULongName,
        EntryType::GNULongLink,
        EntryType::XHeader,
    ] {
        let mut header = raw_header("././@LongLink", kind, "", 0o644);
        header.set_size(10 << 30);
        header.set_cksum();
        let message = Fixture::new().refusal(header.as_bytes());
        assert!(
            message.contains("extension headers are larger than 1 MiB"),
            "{message}"
        );
    }
    // Many small ones for one entry add up.
    let data = "x".repeat(100_000);
    let tar = (0..20).fold(Tar::new(), |tar, _| {
        tar.raw("l", EntryType::GNULongName, "", 0, data.as_bytes())
    });
    refused_entry(tar, "extension headers are larger than 1 MiB");
}

#[test]
fn broken_headers_are_refused() {
    let mut bytes = Tar::new().file("a", "").bytes();
    bytes[0] = b'b';
    let message = Fixture::new().refusal(&bytes);
    assert!(message.contains("checksum is wrong"), "{message}");
    for record in [
        "",
        "5",
        "99 path=x\n",
        "0 path=x\n",
        "+9 path=x\n",
        "9 path+x\n",
        "8 path=x\n",
    ] {
        let tar = Tar::new().raw("x", EntryType::XHeader, "", 0, record.as_bytes());
        if record.is_empty() {
            expect(
                &Fixture::new().tree(&tar.file("a", "").bytes()),
                &[("a", "644 x1 ")],
            );
        } else {
            refused_entry(tar.file("a", ""), "a pax record is broken");
        }
    }
    let mut tar = Tar::new();
    tar.0.append_pax_extensions([("size", &b"-1"[..])]).unwrap();
    refused_entry(tar.file("a", ""), "broken number");
    let mut tar = Tar::new();
    tar.0.append_pax_extensions([("path", &b"a"[..])]).unwrap();
    refused_entry(tar, "it ends after an extension header");
}

#[test]
fn sparse_files_are_refused_and_not_written_wrong() {
    refused_entry(
        Tar::new().raw("s", EntryType::GNUSparse, "", 0, b""),
        "a sparse file",
    );
    let mut tar = Tar::new();
    tar.0
        .append_pax_extensions([("GNU.sparse.major", &b"1"[..])])
        .unwrap();
    refused_entry(tar.file("s", "1\n0\n"), "a sparse file");
}

#[test]
fn links_and_directories_carry_no_data() {
    // Their size field says that a header follows as data; it is an entry, as others read it.
    for kind in [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Directory,
        EntryType::Fifo,
    ] {
        let mut header = raw_header("x", kind, "a", 0o755);
        header.set_size(512);
        header.set_cksum();
        let mut bytes = Tar::new().file("a", "").bytes();
        bytes.truncate(512);
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend(Tar::new().file("seen", "").bytes());
        assert!(
            Fixture::new().tree(&bytes).contains_key(Path::new("seen")),
            "{kind:?}"
        );
    }
}
