//! Return addresses on the stacks of machine code, by the names of the functions they lie in.
//!
//! Nothing is stopped, so registers are not known beyond where a sleeping thread's stack ends, and
//! a stack cannot be followed frame by frame. What is read instead is every word of it that points
//! right behind a call. Such a word may be left over from a call that ended: the line says "on its
//! stack", not "called by".

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use goblin::elf::program_header::PT_LOAD;
use goblin::elf::sym::STT_FUNC;
use goblin::elf::{Elf, Sym};
use goblin::strtab::Strtab;

use super::runtime::{FRAMES_MAX, chain};

/// How much of a stack is looked at.
const STACK_MAX: usize = 16 * 1024;
/// Larger files are not searched for names.
const FILE_MAX: u64 = 128 << 20;
/// Most mappings of a process that are looked at.
const MAPPINGS_MAX: usize = 4096;
/// Longest name that is told.
const NAME_MAX: usize = 80;

/// A line for each thread that sleeps.
pub(super) fn stacks(pid: i32, threads_max: usize) -> Vec<String> {
    let Ok(memory) = File::open(format!("/proc/{pid}/mem")) else {
        return Vec::new();
    };
    let mut process = Process {
        memory,
        mappings: mappings(pid),
        files: HashMap::new(),
    };
    let tids = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let tids = tids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let line = |tid: i32| {
        let frames = process.frames(pid, tid)?;
        Some(format!("thread {tid}, on its stack: {}", chain(&frames)))
    };
    tids.take(threads_max).filter_map(line).collect()
}

struct Process {
    memory: File,
    mappings: Vec<Mapping>,
    files: HashMap<PathBuf, Functions>,
}

/// A part of a file that a process may run.
struct Mapping {
    start: u64,
    end: u64,
    offset: u64,
    path: PathBuf,
}

impl Process {
    /// Functions on the stack of a sleeping thread, the innermost one first.
    fn frames(&mut self, pid: i32, tid: i32) -> Option<Vec<String>> {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
        let mut fields = text.split_ascii_whitespace().rev();
        let mut number = || u64::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok();
        let (pointer, top) = (number()?, number()?);
        let mut words = vec![0_u8; STACK_MAX];
        let length = self.memory.read_at(&mut words, top).ok()?;
        let words = words[..length].chunks_exact(8);
        let words = words.filter_map(|word| Some(u64::from_ne_bytes(word.try_into().ok()?)));
        let mut names: Vec<String> = self.name(pointer).into_iter().collect();
        for word in words {
            if names.len() > FRAMES_MAX {
                break;
            }
            if self.follows_call(word)
                && let Some(name) = self.name(word - 1)
                && names.last() != Some(&name)
            {
                names.push(name);
            }
        }
        (!names.is_empty()).then_some(names)
    }

    fn mapping(&self, address: u64) -> Option<&Mapping> {
        let holds = |mapping: &&Mapping| (mapping.start..mapping.end).contains(&address);
        self.mappings.iter().find(holds)
    }

    /// Whether the instruction before the address is a call, as far as its bytes tell.
    fn follows_call(&self, address: u64) -> bool {
        if address < 8 || self.mapping(address - 8).is_none() {
            return false;
        }
        let mut code = [0_u8; 8];
        if self.memory.read_exact_at(&mut code, address - 8).is_err() {
            return false;
        }
        is_call(code)
    }

    /// The function that an address lies in, with its file where that is a library.
    fn name(&mut self, address: u64) -> Option<String> {
        let mapping = self.mapping(address)?;
        let offset = address - mapping.start + mapping.offset;
        let path = mapping.path.clone();
        let functions = self
            .files
            .entry(path)
            .or_insert_with_key(|path| Functions::of(path).unwrap_or_default());
        functions.name(offset)
    }
}

/// A call with its target in it, or by a register or a word of memory.
#[cfg(target_arch = "x86_64")]
fn is_call(before: [u8; 8]) -> bool {
    const DIRECT: u8 = 0xe8;
    const INDIRECT: u8 = 0xff;
    // The second byte of an indirect call has this in its middle bits.
    let is_indirect = |at: usize| before[at] == INDIRECT && before[at + 1] & 0x38 == 0x10;
    before[3] == DIRECT || (1..=6).any(is_indirect)
}

/// Each instruction of this architecture has four bytes.
#[cfg(not(target_arch = "x86_64"))]
fn is_call(before: [u8; 8]) -> bool {
    let instruction = u32::from_le_bytes([before[4], before[5], before[6], before[7]]);
    instruction >> 26 == 0b10_0101 || instruction & 0xffff_fc1f == 0xd63f_0000
}

/// The functions of a file by their place in it, in order.
#[derive(Default)]
struct Functions(Vec<Function>);

struct Function {
    start: u64,
    end: u64,
    name: String,
}

impl Functions {
    fn of(path: &PathBuf) -> Option<Self> {
        let mut bytes = Vec::new();
        let file = File::open(path).ok()?;
        // A pipe put in a file's place must not keep us.
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        file.take(FILE_MAX).read_to_end(&mut bytes).ok()?;
        let elf = Elf::parse(&bytes).ok()?;
        let mut found = functions(&elf, elf.syms.iter(), &elf.strtab);
        found.extend(functions(&elf, elf.dynsyms.iter(), &elf.dynstrtab));
        found.sort_by_key(|function| function.start);
        Some(Self(found))
    }

    fn name(&self, offset: u64) -> Option<String> {
        let after = self.0.partition_point(|function| function.start <= offset);
        let function = self.0.get(after.checked_sub(1)?)?;
        (offset < function.end).then(|| function.name.clone())
    }
}

fn functions(
    elf: &Elf<'_>,
    symbols: impl Iterator<Item = Sym>,
    names: &Strtab<'_>,
) -> Vec<Function> {
    let defined = symbols.filter(|symbol| symbol.st_type() == STT_FUNC && symbol.st_size > 0);
    let function = |symbol: Sym| {
        let holds = |header: &&goblin::elf::ProgramHeader| {
            header.p_type == PT_LOAD && header.vm_range().contains(&(symbol.st_value as usize))
        };
        let header = elf.program_headers.iter().find(holds)?;
        let start = (symbol.st_value - header.p_vaddr).checked_add(header.p_offset)?;
        let name = names.get_at(symbol.st_name)?;
        let name = format!("{:#}", rustc_demangle::demangle(name));
        Some(Function {
            start,
            end: start.checked_add(symbol.st_size)?,
            name: name.chars().take(NAME_MAX).collect(),
        })
    };
    defined.filter_map(function).collect()
}

fn mappings(pid: i32) -> Vec<Mapping> {
    let text = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let lines = text.lines().take(MAPPINGS_MAX);
    lines.filter_map(mapping).collect()
}

/// `start-end permissions offset device inode path`
fn mapping(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let is_code = fields.next()?.contains('x');
    let offset = fields.next()?;
    let path = fields.nth(2)?.trim_start();
    let number = |text| u64::from_str_radix(text, 16).ok();
    (is_code && path.starts_with('/')).then_some(Mapping {
        start: number(start)?,
        end: number(end)?,
        offset: number(offset)?,
        path: path.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_that_may_run_have_a_file() {
        let line = "55d0-55f0 r-xp 00001000 fe:00 77                 /usr/bin/a b";
        let found = mapping(line).unwrap();
        assert_eq!(
            (found.start, found.end, found.offset),
            (0x55d0, 0x55f0, 0x1000)
        );
        assert_eq!(found.path, PathBuf::from("/usr/bin/a b"));
        assert!(mapping("55d0-55f0 rw-p 00001000 fe:00 77   /usr/bin/a").is_none());
        assert!(mapping("55d0-55f0 r-xp 00000000 00:00 0    [vdso]").is_none());
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn calls_are_told_from_other_code() {
        assert!(is_call([0x90, 0x90, 0x90, 0xe8, 1, 2, 3, 4]), "call f");
        assert!(
            is_call([0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0xd0]),
            "call *%rax"
        );
        assert!(!is_call([0x90; 8]));
        assert!(
            !is_call([0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0xc0]),
            "inc %eax"
        );
    }

    #[test]
    fn our_own_functions_have_names() {
        let functions = Functions::of(&std::env::current_exe().unwrap()).unwrap();
        let is_this = |function: &&Function| function.name.contains("our_own_functions_have_names");
        let this = functions.0.iter().find(is_this).expect("a symbol");
        assert!(functions.name(this.start).is_some());
    }
}
