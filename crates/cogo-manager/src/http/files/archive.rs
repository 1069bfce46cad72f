//! Trees of a workspace as tar archives.
//!
//! An archive from elsewhere is not trusted: each entry is resolved beneath the workspace, what
//! was there under its name goes first, and only files, directories and links that stay inside are
//! taken.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use tar::{Archive, Builder, Entry, EntryType, Header};

use super::beneath::{errno, make_directories, names, open, parent_of};
use super::body::{BodyReader, BodyWriter};
use super::workspace::relative;

/// Entries of an archive at most, and directories within each other.
const ENTRIES_MAX: usize = 1_000_000;
const DEPTH_MAX: usize = 128;
/// What is written at once.
const PIECE_LEN: usize = 64 << 10;

/// Writes everything beneath a path into an archive, as long as that stays below a bound.
pub(super) fn pack(root: &OwnedFd, path: &Path, bytes_max: usize, out: BodyWriter) {
    let mut builder = Builder::new(BufWriter::with_capacity(PIECE_LEN, out));
    let mut packing = Packing {
        root,
        left: bytes_max as u64,
        entries: 0,
    };
    let packed = packing.add(&mut builder, path, Path::new("."), 0);
    let packed = packed.and_then(|()| builder.finish());
    match builder.into_inner().map(BufWriter::into_parts) {
        Ok((out, Ok(rest))) => end(out, packed, &rest),
        // A buffer that panicked, or an archive that cannot be closed: the answer breaks off.
        Ok((_, Err(_))) | Err(_) => {}
    }
}

/// Sends what is left, or breaks off.
fn end(mut out: BodyWriter, packed: io::Result<()>, rest: &[u8]) {
    if let Err(error) = packed.and_then(|()| out.write_all(rest)) {
        out.break_off(error);
    }
}

struct Packing<'a> {
    root: &'a OwnedFd,
    left: u64,
    entries: usize,
}

impl Packing<'_> {
    fn add(
        &mut self,
        builder: &mut Builder<impl Write>,
        path: &Path,
        name: &Path,
        depth: usize,
    ) -> io::Result<()> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX || depth > DEPTH_MAX {
            return Err(Errno::FBIG.into());
        }
        let (parent, last) = parent_of(self.root, path)?;
        let stat = rustix::fs::statat(&parent, last, AtFlags::SYMLINK_NOFOLLOW)?;
        let mut header = header(&stat);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let file = open(
                    self.root,
                    path,
                    OFlags::RDONLY | OFlags::NOFOLLOW,
                    Mode::empty(),
                )?;
                // Taken anew: another file may have this name by now.
                let size = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(0);
                self.left = self.left.checked_sub(size).ok_or(Errno::FBIG)?;
                header.set_entry_type(EntryType::Regular);
                header.set_size(size);
                builder.append_data(&mut header, file_name(name, last), exactly(file, size))
            }
            FileType::Directory => {
                header.set_entry_type(EntryType::Directory);
                builder.append_data(&mut header, name, io::empty())?;
                let directory = open(
                    self.root,
                    path,
                    OFlags::RDONLY | OFlags::DIRECTORY,
                    Mode::empty(),
                )?;
                for child in names(&directory)? {
                    self.add(builder, &path.join(&child), &name.join(&child), depth + 1)
                        .or_else(pass_over_what_is_gone)?;
                }
                Ok(())
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&parent, last, Vec::new())?;
                header.set_entry_type(EntryType::Symlink);
                let target: &std::ffi::OsStr =
                    std::os::unix::ffi::OsStrExt::from_bytes(target.as_bytes());
                builder.append_link(&mut header, file_name(name, last), target)
            }
            // Pipes, sockets and devices have nothing to be kept.
            _ => Ok(()),
        }
    }
}

/// A file that is asked for by itself has its own name in the archive.
fn file_name<'a>(name: &'a Path, last: &'a Path) -> &'a Path {
    if name == Path::new(".") { last } else { name }
}

/// What the task removed while its directory was read was not there.
fn pass_over_what_is_gone(error: io::Error) -> io::Result<()> {
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT) => Ok(()),
        _ => Err(error),
    }
}

fn header(stat: &Stat) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(stat.st_mode & 0o777);
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(0);
    header
}

/// A file of a known length. One that shrinks meanwhile cannot be told whole.
fn exactly(file: OwnedFd, size: u64) -> impl Read {
    struct Exactly(io::Take<File>);
    impl Read for Exactly {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = self.0.read(buffer)?;
            if len == 0 && self.0.limit() > 0 && !buffer.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(len)
        }
    }
    Exactly(File::from(file).take(size))
}

/// Unpacks an archive into a directory, which is made if it does not exist.
pub(super) fn unpack(root: &OwnedFd, path: &Path, body: &mut BodyReader) -> Result<(), Errno> {
    make_directories(root, path)?;
    let unpacked = take_entries(root, path, &mut *body);
    // The body's own failure says more than what the archive's reader made of it.
    body.failure.map_or(unpacked, Err)
}

fn take_entries(root: &OwnedFd, path: &Path, archive: impl Read) -> Result<(), Errno> {
    let mut archive = Archive::new(archive);
    let entries = archive.entries().map_err(|_| Errno::BADMSG)?;
    for (number, entry) in entries.enumerate() {
        if number >= ENTRIES_MAX {
            return Err(Errno::FBIG);
        }
        take(root, path, &mut entry.map_err(|_| Errno::BADMSG)?)?;
    }
    Ok(())
}

fn take(root: &OwnedFd, base: &Path, entry: &mut Entry<'_, impl Read>) -> Result<(), Errno> {
    let inside = entry.path().map_err(|_| Errno::BADMSG)?;
    let inside = relative(inside.to_str().ok_or(Errno::BADMSG)?)?;
    let path = relative(base.join(&inside).to_str().ok_or(Errno::BADMSG)?)?;
    let mode = Mode::from_raw_mode(entry.header().mode().map_err(|_| Errno::BADMSG)? & 0o777);
    match entry.header().entry_type() {
        EntryType::Directory => make_directories(root, &path),
        EntryType::Regular | EntryType::Continuous => {
            let parent = path.parent().unwrap_or(Path::new("."));
            make_directories(root, parent)?;
            let (parent, name) = parent_of(root, &path)?;
            make_room(&parent, name)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o600))?;
            let mut file = File::from(file);
            io::copy(entry, &mut file).map_err(|error| match errno(&error) {
                // An archive that ends within a file.
                Errno::IO => Errno::BADMSG,
                errno => errno,
            })?;
            rustix::fs::fchmod(&file, mode)
        }
        EntryType::Symlink => {
            let target = entry.link_name().map_err(|_| Errno::BADMSG)?;
            let target = target.ok_or(Errno::BADMSG)?.into_owned();
            if !stays_inside(&path, &target) {
                return Err(Errno::XDEV);
            }
            make_directories(root, path.parent().unwrap_or(Path::new(".")))?;
            let (parent, name) = parent_of(root, &path)?;
            make_room(&parent, name)?;
            rustix::fs::symlinkat(target, &parent, name)
        }
        // Attributes for entries that follow.
        EntryType::XGlobalHeader => Ok(()),
        // Hard links, devices, pipes, and what is not known.
        _ => Err(Errno::BADMSG),
    }
}

/// Removes what has a name, unless it is a directory.
fn make_room(parent: &OwnedFd, name: &Path) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Whether a link at a path leads to a place in the workspace. The kernel checks again whenever
/// somebody follows it through us; this is for those who follow it themselves.
fn stays_inside(path: &Path, target: &Path) -> bool {
    let mut place: PathBuf = path.parent().map(Path::to_owned).unwrap_or_default();
    target.components().all(|component| match component {
        Component::Normal(name) => {
            place.push(name);
            true
        }
        Component::CurDir => true,
        Component::ParentDir => place.pop(),
        Component::RootDir | Component::Prefix(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use futures_util::StreamExt;
    use rustix::fs::CWD;

    use super::*;

    fn root(place: &Path) -> OwnedFd {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        rustix::fs::openat(CWD, place, flags, Mode::empty()).unwrap()
    }

    /// What arrives of an archive; an error if it broke off.
    async fn packed(place: &Path, path: &str, bytes_max: usize) -> io::Result<Vec<u8>> {
        let (writer, pieces) = BodyWriter::new();
        let (root, path) = (root(place), PathBuf::from(path));
        let packing = tokio::task::spawn_blocking(move || pack(&root, &path, bytes_max, writer));
        let pieces: Vec<io::Result<_>> = pieces.collect().await;
        packing.await.unwrap();
        let mut bytes = Vec::new();
        for piece in pieces {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }

    async fn unpacked(place: &Path, path: &str, archive: Vec<u8>, max: usize) -> Result<(), Errno> {
        let (pieces, mut reader) = BodyReader::new(max);
        let (root, path) = (root(place), PathBuf::from(path));
        let unpacking = tokio::task::spawn_blocking(move || unpack(&root, &path, &mut reader));
        super::super::body::feed(archive.into(), pieces).await;
        unpacking.await.unwrap()
    }

    /// An archive with one entry of a type, which may lie.
    fn evil(kind: EntryType, path: &[u8], target: &str) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path);
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o644);
        header.set_link_name_literal(target).unwrap();
        header.set_cksum();
        let mut builder = Builder::new(Vec::new());
        builder.append(&header, io::empty()).unwrap();
        builder.into_inner().unwrap()
    }

    #[tokio::test]
    async fn a_tree_comes_through_whole() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let deep = from
            .path()
            .join("a")
            .join("b".repeat(120))
            .join("c".repeat(120));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("run"), vec![7; 300_000]).unwrap();
        std::fs::set_permissions(deep.join("run"), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir(from.path().join("empty")).unwrap();
        symlink("a", from.path().join("link")).unwrap();
        let archive = packed(from.path(), ".", 1 << 20).await.unwrap();
        std::fs::write(to.path().join("link"), "in the way").unwrap();
        unpacked(to.path(), "x/y", archive, 1 << 20).await.unwrap();
        let there = to.path().join("x/y");
        let run = there
            .join("a")
            .join("b".repeat(120))
            .join("c".repeat(120))
            .join("run");
        assert_eq!(std::fs::read(&run).unwrap(), vec![7; 300_000]);
        assert_eq!(
            std::fs::metadata(&run).unwrap().permissions().mode() & 0o777,
            0o755
        );
        assert!(there.join("empty").is_dir());
        assert_eq!(
            std::fs::read_link(there.join("link")).unwrap(),
            Path::new("a")
        );
        let one = packed(
            &run.parent().unwrap().canonicalize().unwrap(),
            "run",
            1 << 20,
        )
        .await;
        let mut one = Archive::new(io::Cursor::new(one.unwrap()));
        let names: Vec<_> = one
            .entries()
            .unwrap()
            .map(|it| it.unwrap().path().unwrap().into_owned())
            .collect();
        assert_eq!(names, [Path::new("run")]);
    }

    #[tokio::test]
    async fn nothing_that_leads_out_is_taken() {
        let (place, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(outside.path(), place.path().join("out")).unwrap();
        for (kind, path, target) in [
            (EntryType::Regular, &b"../x"[..], ""),
            (EntryType::Regular, b"/tmp/cogo-x", ""),
            (EntryType::Regular, b"out/x", ""),
            (EntryType::Directory, b"out/x/", ""),
            (EntryType::Symlink, b"up", "../.."),
            (EntryType::Symlink, b"d/up", "../../x"),
            (EntryType::Symlink, b"absolute", "/etc"),
            (EntryType::Symlink, b"out/link", "x"),
            (EntryType::Link, b"hard", "/etc/passwd"),
            (EntryType::Char, b"device", ""),
            (EntryType::Block, b"device", ""),
            (EntryType::Fifo, b"pipe", ""),
        ] {
            let archive = evil(kind, path, target);
            let taken = unpacked(place.path(), ".", archive, 1 << 20).await;
            assert!(taken.is_err(), "{kind:?} {}", String::from_utf8_lossy(path));
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        assert_eq!(
            std::fs::read_link(place.path().join("out")).unwrap(),
            outside.path()
        );
        // A link in the way is replaced, not written through.
        unpacked(
            place.path(),
            ".",
            evil(EntryType::Regular, b"out", ""),
            1 << 20,
        )
        .await
        .unwrap();
        assert!(place.path().join("out").is_file());
    }

    #[tokio::test]
    async fn bounds_hold_in_both_directions() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("big"), vec![1; 200_000]).unwrap();
        let archive = packed(place.path(), ".", 1 << 20).await.unwrap();
        assert!(packed(place.path(), ".", 100_000).await.is_err());
        let taken = unpacked(place.path(), "x", archive.clone(), 100_000).await;
        assert_eq!(taken, Err(Errno::FBIG));
        let cut = archive[..archive.len() / 2].to_vec();
        assert!(unpacked(place.path(), "x", cut, 1 << 20).await.is_err());
        assert_eq!(
            unpacked(place.path(), "x", vec![9; 5_000], 1 << 20).await,
            Err(Errno::BADMSG)
        );
    }
}
