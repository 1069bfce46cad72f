//! Names with something before them: what stands there is followed, part by part.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::modules::Module;
use super::names::shared;
use super::universe::Symbol;
use super::{Candidates, Subject, Wanted};
use crate::facts::Kind;
use crate::language::Language;

/// Longest chain that is followed, and deepest inheritance.
const DEPTH_MAX: usize = 8;
/// Methods of one name that an unknown value may have.
const METHODS_MAX: usize = 4;

/// What a part of a chain stands for.
enum Meaning<'a> {
    /// A module.
    Module(Module),
    /// A type, or a value of it.
    Type(&'a Symbol),
    /// Something outside of the repository.
    Foreign,
    /// Something that cannot be told.
    Unknown,
}

impl<'a> Subject<'a> {
    /// What a name behind a chain means.
    pub(super) fn by_receiver(
        &self,
        chain: &str,
        name: &str,
        scope: Option<u32>,
        wanted: Wanted,
    ) -> Candidates<'a> {
        match self.meaning(chain, scope, 0) {
            Meaning::Module(module) => shared(self.in_module(&module, name, 5), 0.95),
            Meaning::Type(found) => {
                let members = self.members(found, name);
                if members.is_empty() {
                    self.members_of_heirs(found, name)
                } else {
                    shared(members, 0.95)
                }
            }
            Meaning::Unknown if wanted == Wanted::Callable => self.methods_named(name),
            Meaning::Unknown | Meaning::Foreign => Vec::new(),
        }
    }

    fn meaning(&self, chain: &str, scope: Option<u32>, depth: usize) -> Meaning<'a> {
        if depth > DEPTH_MAX || chain == "?" {
            return Meaning::Unknown;
        }
        if let Some(whole) = self.whole_module(chain) {
            return Meaning::Module(whole);
        }
        let mut parts = chain.split('.');
        let Some(first) = parts.next() else {
            return Meaning::Unknown;
        };
        let mut meaning = self.head(first, scope, depth);
        for part in parts.take(DEPTH_MAX) {
            meaning = self.member_meaning(meaning, part);
        }
        meaning
    }

    /// A chain that is the path of a module as a whole.
    fn whole_module(&self, chain: &str) -> Option<Module> {
        let is_path = !chain.contains(['(', '[']);
        match self.language {
            Language::Rust if is_path => {
                let first = chain.split('.').next()?;
                let is_rooted = matches!(first, "crate" | "super" | "self");
                // `self.x` is a field; `self::x` reads the same here and is rare.
                (is_rooted && first != "self")
                    .then(|| self.module_files(self.file, &chain.replace('.', "::")))
                    .flatten()
            }
            Language::Python if is_path && self.imports.contains_key(chain) => {
                self.module_named(chain)
            }
            _ => None,
        }
    }

    fn head(&self, part: &str, scope: Option<u32>, depth: usize) -> Meaning<'a> {
        let name = part.trim_end_matches("()").trim_end_matches("[]");
        let is_called = part.ends_with("()");
        match name {
            "self" | "this" | "Self" | "cls" | "static" | "$this" => {
                return self
                    .type_around(scope)
                    .map_or(Meaning::Unknown, Meaning::Type);
            }
            "super" | "base" | "parent" => {
                let found = self.type_around(scope);
                let base = found.and_then(|found| self.bases(found).first().copied());
                return base.map_or(Meaning::Unknown, Meaning::Type);
            }
            _ => {}
        }
        if let Some(meaning) = self.local_meaning(name, scope, depth) {
            return meaning;
        }
        if !is_called
            && let Some(module) = self.module_named(name)
            && module.rest.is_empty()
        {
            return Meaning::Module(module);
        }
        let id = self.name_id(name);
        let found = self.by_plain_name(name, id, scope, Wanted::Anything);
        if let Some((symbol, _)) = found.first() {
            return self.value_of(symbol, is_called);
        }
        if self.imports.contains_key(name) {
            return Meaning::Foreign;
        }
        // A type that nothing here defines or takes comes from the language itself.
        if name.starts_with(|c: char| c.is_uppercase()) {
            Meaning::Foreign
        } else {
            Meaning::Unknown
        }
    }

    fn local_meaning(&self, name: &str, scope: Option<u32>, depth: usize) -> Option<Meaning<'a>> {
        let id = *self.name_ids.get(name)?;
        let (around, local) = self.around(scope).find_map(|index| {
            let local = self.locals.get(&(Some(index), id))?;
            Some((index, &self.facts.locals[*local as usize]))
        })?;
        if let Some(type_name) = local.type_name {
            return Some(self.type_meaning(self.facts.name(type_name), Some(around)));
        }
        let Some(value) = local.value else {
            return Some(Meaning::Unknown);
        };
        let value = self.facts.name(value);
        // `x = x.next()` would look for itself for ever.
        let first = value.split(['.', '(', '[']).next().unwrap_or(value);
        if first == name {
            return Some(Meaning::Unknown);
        }
        Some(self.meaning(value, Some(around), depth + 1))
    }

    fn type_meaning(&self, name: &str, scope: Option<u32>) -> Meaning<'a> {
        if name == "Self" || name == "self" {
            return self
                .type_around(scope)
                .map_or(Meaning::Unknown, Meaning::Type);
        }
        match self.type_named(name, scope) {
            Some(found) => Meaning::Type(found),
            None if is_type_parameter(name) => Meaning::Unknown,
            None => Meaning::Foreign,
        }
    }

    /// What using a symbol gives: its type, or what it returns when called.
    fn value_of(&self, symbol: &'a Symbol, is_called: bool) -> Meaning<'a> {
        if symbol.kind == Kind::Variant {
            return self.parent(symbol).map_or(Meaning::Unknown, Meaning::Type);
        }
        if symbol.kind.is_type() && symbol.kind != Kind::Type {
            return Meaning::Type(symbol);
        }
        if symbol.kind.is_callable() && !is_called {
            return Meaning::Unknown;
        }
        let Some(type_name) = &symbol.type_name else {
            return match symbol.kind {
                Kind::Type => Meaning::Type(symbol),
                _ => Meaning::Unknown,
            };
        };
        if &**type_name == "Self" || &**type_name == "self" {
            let owner = self.parent(symbol).or_else(|| {
                let owner = symbol.owner.as_deref()?;
                self.type_near(owner, symbol.file_id)
            });
            return owner.map_or(Meaning::Unknown, Meaning::Type);
        }
        let last = type_name.rsplit('.').next().unwrap_or(type_name);
        match self.type_near(last, symbol.file_id) {
            Some(found) => Meaning::Type(found),
            None if is_type_parameter(last) => Meaning::Unknown,
            None => Meaning::Foreign,
        }
    }

    fn member_meaning(&self, meaning: Meaning<'a>, part: &str) -> Meaning<'a> {
        let name = part.trim_end_matches("()").trim_end_matches("[]");
        let is_called = part.ends_with("()");
        match meaning {
            Meaning::Module(module) => {
                if let Some(symbol) = self.in_module(&module, name, 5).first() {
                    return self.value_of(symbol, is_called);
                }
                let mut module = module;
                module.rest.push(name.to_owned());
                Meaning::Module(module)
            }
            Meaning::Type(found) => {
                const SAME: [&str; 16] = [
                    "clone",
                    "unwrap",
                    "expect",
                    "borrow",
                    "borrow_mut",
                    "lock",
                    "as_ref",
                    "as_mut",
                    "iter",
                    "iter_mut",
                    "to_owned",
                    "unwrap_or_default",
                    "await",
                    "take",
                    "into_iter",
                    "ok",
                ];
                if let Some(member) = self.members(found, name).first() {
                    return self.value_of(member, is_called);
                }
                if SAME.contains(&name) {
                    Meaning::Type(found)
                } else {
                    Meaning::Unknown
                }
            }
            Meaning::Foreign => Meaning::Foreign,
            Meaning::Unknown => Meaning::Unknown,
        }
    }

    /// The members of a type with a name: its own, else those of what it extends.
    pub(super) fn members(&self, found: &'a Symbol, name: &str) -> Vec<&'a Symbol> {
        let named = self.universe.named(self.asked, name);
        let mut level = vec![found];
        for _ in 0..DEPTH_MAX {
            let here: Vec<&Symbol> = named
                .iter()
                .filter(|symbol| level.iter().any(|found| self.is_member(symbol, found)))
                .collect();
            if !here.is_empty() {
                return here;
            }
            level = level.iter().flat_map(|found| self.bases(found)).collect();
            level.dedup_by_key(|found| found.id);
            if level.is_empty() {
                break;
            }
        }
        Vec::new()
    }

    fn is_member(&self, symbol: &Symbol, of: &Symbol) -> bool {
        if symbol.parent_id == Some(of.id) {
            return true;
        }
        // Written outside of its type, in another file.
        symbol.owner.as_deref() == Some(&*of.name)
            && symbol.file_id != of.file_id
            && self.is_near(symbol.file_id, of.file_id)
    }

    /// Whether two files may belong to one package.
    fn is_near(&self, one: i64, other: i64) -> bool {
        let folder = |id| self.universe.file(id).map(super::universe::File::folder);
        match self.language {
            Language::Go => folder(one) == folder(other),
            _ => true,
        }
    }

    /// What implements an interface may be meant by a call on it, though its own method is first.
    fn members_of_heirs(&self, found: &'a Symbol, name: &str) -> Candidates<'a> {
        let named = self.universe.named(self.asked, name).iter();
        let heirs: Vec<&Symbol> = named
            .filter(|symbol| symbol.kind == Kind::Method)
            .filter(|symbol| {
                let parent = self.parent(symbol);
                parent.is_some_and(|parent| parent.bases.contains(&found.name))
            })
            .collect();
        match heirs.len() {
            1..=METHODS_MAX => shared(heirs, 0.6),
            _ => Vec::new(),
        }
    }

    fn bases(&self, found: &Symbol) -> Vec<&'a Symbol> {
        let bases = found.bases.iter();
        bases
            .filter_map(|base| self.type_near(base, found.file_id))
            .filter(|base| base.id != found.id)
            .collect()
    }

    /// The type around a symbol.
    fn parent(&self, symbol: &Symbol) -> Option<&'a Symbol> {
        let parent_id = symbol.parent_id?;
        self.universe.by_id(self.asked, parent_id)
    }

    /// The type of a name that a file most likely means.
    fn type_near(&self, name: &str, file_id: i64) -> Option<&'a Symbol> {
        let folder = self
            .universe
            .file(file_id)
            .map(super::universe::File::folder);
        let named = self.universe.named(self.asked, name).iter();
        let types = named.filter(|symbol| symbol.kind.is_type() && self.is_of_family(symbol));
        types.min_by_key(|symbol| {
            let its = self
                .universe
                .file(symbol.file_id)
                .map(super::universe::File::folder);
            (symbol.file_id != file_id, its != folder, symbol.id)
        })
    }

    /// Methods that a value of unknown type may have: few of one name, and not a name that the
    /// standard library has too.
    fn methods_named(&self, name: &str) -> Candidates<'a> {
        if is_common(name) {
            return Vec::new();
        }
        let named = self.universe.named(self.asked, name).iter();
        let mut found: Vec<&Symbol> = named
            .filter(|symbol| symbol.kind == Kind::Method && self.is_of_family(symbol))
            .collect();
        if found.len() > METHODS_MAX {
            self.keep_nearest(&mut found);
        }
        match found.len() {
            1..=METHODS_MAX => shared(found, 0.5),
            _ => Vec::new(),
        }
    }
}

/// `T`, `K1`: what stands for any type.
fn is_type_parameter(name: &str) -> bool {
    name.len() <= 2 && name.starts_with(|c: char| c.is_ascii_uppercase())
}

/// Whether a method has a name that values from outside of a repository often have, too.
fn is_common(name: &str) -> bool {
    static COMMON: LazyLock<HashSet<&str>> =
        LazyLock::new(|| include_str!("common_methods.txt").lines().collect());
    COMMON.contains(name)
}
