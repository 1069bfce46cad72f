//! Clones from local repositories and from a Git server over HTTP.

pub(crate) mod origin;
mod server;

use std::ops::ControlFlow;
use std::path::Path;

use cogo_analysis::repository::{CloneError, CloneOptions, Cloned, Credentials, Login, clone};

use origin::Origin;
use server::Server;

fn cloned(url: &str, state: &Path) -> Result<Cloned, CloneError> {
    cloned_with(url, state, CloneOptions::default())
}

fn cloned_with(url: &str, state: &Path, options: CloneOptions) -> Result<Cloned, CloneError> {
    clone(url, state, options, &mut |_| ControlFlow::Continue(()))
}

fn read(cloned: &Cloned, path: &str) -> Option<String> {
    std::fs::read_to_string(cloned.tree.join(path)).ok()
}

#[test]
fn a_clone_follows_its_origin_and_touches_only_what_changed() {
    let origin = Origin::new(&[
        ("a.txt", "one"),
        ("dir/b.txt", "two"),
        ("dir2/c", "gone soon"),
    ]);
    let server = Server::start(origin.parent());
    let state = tempfile::tempdir().unwrap();

    let first = cloned(&server.url("origin"), state.path()).unwrap();
    assert_eq!(read(&first, "dir/b.txt").as_deref(), Some("two"));
    assert_eq!((first.summary.files, first.summary.written), (3, 3));
    assert_eq!(first.commit, origin.git(&["rev-parse", "HEAD"]));
    drop(first);

    origin.git(&["rm", "-q", "dir2/c"]);
    origin.commit(&[("a.txt", "changed"), ("dir2", "a file now")]);
    let second = cloned(&server.url("origin"), state.path()).unwrap();
    assert_eq!(read(&second, "a.txt").as_deref(), Some("changed"));
    assert_eq!(read(&second, "dir2").as_deref(), Some("a file now"));
    assert_eq!((second.summary.files, second.summary.written), (3, 2));
}

#[test]
fn a_path_is_cloned_too_at_a_branch_a_tag_or_a_commit() {
    let origin = Origin::new(&[("a.txt", "one")]);
    let first = origin.git(&["rev-parse", "HEAD"]);
    origin.git(&["tag", "v1"]);
    origin.git(&["checkout", "-q", "-b", "side"]);
    origin.commit(&[("a.txt", "side")]);
    origin.git(&["checkout", "-q", "main"]);
    origin.commit(&[("a.txt", "main")]);
    let state = tempfile::tempdir().unwrap();
    let at = |reference: Option<&str>| {
        let options = CloneOptions {
            reference: reference.map(str::to_owned),
            ..CloneOptions::default()
        };
        let cloned = cloned_with(&origin.url(), state.path(), options).unwrap();
        read(&cloned, "a.txt").unwrap()
    };
    assert_eq!(at(None), "main");
    assert_eq!(at(Some("side")), "side");
    assert_eq!(at(Some("v1")), "one");
    assert_eq!(at(Some("refs/heads/main")), "main");
    assert_eq!(at(Some(&first)), "one");
}

#[test]
fn a_shallow_clone_has_so_many_commits() {
    let origin = Origin::new(&[("a.txt", "one")]);
    for text in ["two", "three", "four"] {
        origin.commit(&[("a.txt", text)]);
    }
    let server = Server::start(origin.parent());
    let state = tempfile::tempdir().unwrap();
    let options = CloneOptions {
        depth: std::num::NonZeroU32::new(2),
        ..CloneOptions::default()
    };
    let cloned = cloned_with(&server.url("origin"), state.path(), options).unwrap();
    let repository = cogo_analysis::repository::open(&cloned.repository).unwrap();
    let head = repository.rev_parse_single(cloned.commit.as_str()).unwrap();
    assert_eq!(repository.rev_walk([head]).all().unwrap().count(), 2);
    assert_eq!(read(&cloned, "a.txt").as_deref(), Some("four"));
}

#[test]
fn a_login_is_needed_right_and_nowhere_to_be_found() {
    let origin = Origin::new(&[("a.txt", "one")]);
    let server = Server::start_with_login(origin.parent(), "me:s3cret");
    let state = tempfile::tempdir().unwrap();
    let url = server.url("origin");
    let with = |secret: &str| CloneOptions {
        credentials: Credentials::Login(Login::from_secret(secret)),
        ..CloneOptions::default()
    };

    let missing = cloned(&url, state.path()).unwrap_err();
    assert!(
        matches!(missing, CloneError::LoginMissing { .. }),
        "{missing:?}"
    );
    let wrong = cloned_with(&url, state.path(), with("me:wr0ng")).unwrap_err();
    assert!(
        matches!(wrong, CloneError::LoginRefused { .. }),
        "{wrong:?}"
    );
    assert!(!format!("{wrong} {wrong:?}").contains("wr0ng"));

    drop(cloned_with(&url, state.path(), with("me:s3cret")).unwrap());
    let inside = url.replace("http://", "http://me:s3cret@");
    let cloned = cloned(&inside, state.path()).unwrap();
    assert_eq!(read(&cloned, "a.txt").as_deref(), Some("one"));
    assert_eq!(files_with("s3cret", state.path()), Vec::<String>::new());
}

fn files_with(secret: &str, directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(secret, &path));
        } else {
            let content = std::fs::read(&path).unwrap();
            if content
                .windows(secret.len())
                .any(|window| window == secret.as_bytes())
            {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn what_cannot_be_cloned_is_told_apart() {
    let origin = Origin::new(&[("a.txt", "one")]);
    let server = Server::start(origin.parent());
    let state = tempfile::tempdir().unwrap();

    let absent = cloned(&server.url("absent"), state.path()).unwrap_err();
    assert!(matches!(absent, CloneError::NotFound { .. }), "{absent:?}");

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x.git", closed.local_addr().unwrap());
    drop(closed);
    let unreachable = cloned(&url, state.path()).unwrap_err();
    assert!(
        matches!(unreachable, CloneError::Unreachable { .. }),
        "{unreachable:?}"
    );
    assert!(unreachable.is_transient());

    let options = CloneOptions {
        reference: Some("no-such-branch".to_owned()),
        ..CloneOptions::default()
    };
    let wrong = cloned_with(&server.url("origin"), state.path(), options).unwrap_err();
    assert!(
        matches!(wrong, CloneError::NoSuchReference { .. }),
        "{wrong:?}"
    );

    let unknown = cloned("ext::sh -c whoami", state.path()).unwrap_err();
    assert!(matches!(unknown, CloneError::Url { .. }), "{unknown:?}");
}

#[test]
fn a_limit_ends_a_clone_and_nothing_of_it_is_believed() {
    let noise: String = (0_u64..200_000)
        .map(|n| format!("{:x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
        .collect();
    let origin = Origin::new(&[("a.txt", &noise)]);
    let state = tempfile::tempdir().unwrap();
    let options = |bytes_max| CloneOptions {
        bytes_max,
        ..CloneOptions::default()
    };
    let large = cloned_with(&origin.url(), state.path(), options(10_000)).unwrap_err();
    assert!(matches!(large, CloneError::TooLarge { .. }), "{large:?}");
    cloned_with(&origin.url(), state.path(), options(100_000_000)).unwrap();
}

#[test]
fn what_an_interrupted_clone_leaves_is_not_believed() {
    let origin = Origin::new(&[("a.txt", "one"), ("b.txt", "two")]);
    let state = tempfile::tempdir().unwrap();
    let first = cloned(&origin.url(), state.path()).unwrap();
    let directory = first.tree.parent().unwrap().to_owned();
    drop(first);

    // As after a kill in the middle of a fetch and of a checkout.
    std::fs::create_dir_all(directory.join("repository.partial/objects")).unwrap();
    std::fs::write(directory.join("repository.partial/HEAD"), "half").unwrap();
    std::fs::remove_file(directory.join("tree.commit")).unwrap();
    std::fs::write(directory.join("tree/a.txt"), "torn").unwrap();
    std::fs::write(directory.join("tree/stray"), "torn").unwrap();
    std::fs::remove_dir_all(directory.join("repository.git")).unwrap();
    let second = cloned(&origin.url(), state.path()).unwrap();
    assert_eq!(read(&second, "a.txt").as_deref(), Some("one"));
    assert_eq!(read(&second, "stray"), None);
    assert!(!directory.join("repository.partial").exists());
}

#[test]
fn a_clone_that_went_bad_on_disk_is_fetched_anew() {
    let origin = Origin::new(&[("a.txt", "one")]);
    let state = tempfile::tempdir().unwrap();
    let first = cloned(&origin.url(), state.path()).unwrap();
    let packs = first.repository.join("objects/pack");
    drop(first);
    for entry in std::fs::read_dir(&packs).unwrap() {
        let path = entry.unwrap().path();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "damaged").unwrap();
    }
    let second = cloned(&origin.url(), state.path()).unwrap();
    assert_eq!(read(&second, "a.txt").as_deref(), Some("one"));
}

#[test]
fn a_damaged_origin_is_told() {
    let origin = Origin::new(&[("a.txt", "one")]);
    origin.damage();
    let state = tempfile::tempdir().unwrap();
    let told = cloned(&origin.url(), state.path()).unwrap_err();
    let is_told = matches!(
        told,
        CloneError::Protocol { .. } | CloneError::Damaged { .. }
    );
    assert!(is_told, "{told:?}");
}

#[test]
fn filters_hooks_links_and_large_files_have_no_effect() {
    let proof = tempfile::tempdir().unwrap();
    let proof = proof.path().join("proof");
    let origin = Origin::new(&[
        (".gitattributes", "* filter=evil"),
        ("a.txt", "one"),
        ("large.bin", &"x".repeat(5000)),
    ]);
    let command = format!("touch {}; cat", proof.display());
    origin.git(&["config", "filter.evil.smudge", &command]);
    std::os::unix::fs::symlink("/etc/passwd", origin.path().join("link")).unwrap();
    origin.git(&["add", "link"]);
    origin.git(&["commit", "-q", "-m", "link"]);
    let state = tempfile::tempdir().unwrap();
    let options = CloneOptions {
        file_bytes_max: 1000,
        ..CloneOptions::default()
    };
    let cloned = cloned_with(&origin.url(), state.path(), options).unwrap();
    assert_eq!(read(&cloned, "a.txt").as_deref(), Some("one"));
    assert!(!cloned.tree.join("link").exists());
    assert_eq!((cloned.summary.links, cloned.summary.too_large), (1, 1));
    assert!(!proof.exists());
}

#[test]
fn one_process_clones_a_url_at_a_time() {
    let origin = Origin::new(&[("a.txt", "one")]);
    let state = tempfile::tempdir().unwrap();
    let held = cloned(&origin.url(), state.path()).unwrap();
    let second = cloned(&origin.url(), state.path()).unwrap_err();
    assert!(matches!(second, CloneError::Busy { .. }), "{second:?}");
    drop(held);
    cloned(&origin.url(), state.path()).unwrap();
}
