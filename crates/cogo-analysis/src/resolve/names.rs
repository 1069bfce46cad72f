//! Names with nothing before them: where each language looks for their definition.

use super::modules::Module;
use super::universe::Symbol;
use super::{CANDIDATES_MAX, Candidates, Subject, Wanted};
use crate::facts::{Kind, NameId};
use crate::language::Language;

impl<'a> Subject<'a> {
    /// What a name means in a scope.
    pub(super) fn by_plain_name(
        &self,
        name: &str,
        id: NameId,
        scope: Option<u32>,
        wanted: Wanted,
    ) -> Candidates<'a> {
        // `let rows = rows(path)` calls the function, also where variables may be called.
        let calls_functions_only = wanted == Wanted::Callable
            && matches!(
                self.language,
                Language::Rust | Language::Java | Language::Kotlin | Language::CSharp
            );
        let may_be_local = wanted != Wanted::Type && !calls_functions_only;
        if may_be_local && self.is_local(id, scope) {
            return Vec::new();
        }
        if name == "Self" || wanted == Wanted::Callable && name == "super" {
            return self
                .type_around(scope)
                .map(|found| (found, 1.0))
                .into_iter()
                .collect();
        }
        if let Some(found) = self.in_scopes(name, id, scope, wanted) {
            return found;
        }
        if let Some(found) = self.by_import(name) {
            return found;
        }
        if let Some(found) = self.in_package_of_file(name, wanted) {
            return found;
        }
        if let Some(found) = self.by_wildcard(name) {
            return found;
        }
        self.anywhere(name, wanted)
    }

    /// Whether a name is a parameter or a variable here.
    fn is_local(&self, name: NameId, scope: Option<u32>) -> bool {
        self.around(scope)
            .any(|index| self.locals.contains_key(&(Some(index), name)))
    }

    /// In the functions, modules and types around, and in the file.
    fn in_scopes(
        &self,
        name: &str,
        id: NameId,
        scope: Option<u32>,
        wanted: Wanted,
    ) -> Option<Candidates<'a>> {
        let empty = Vec::new();
        let own = self.by_name.get(&id).unwrap_or(&empty);
        let fits = |index: &&u32| wanted.fits(self.facts.definitions[**index as usize].kind);
        for around in self.around(scope).map(Some).chain([None]) {
            let is_type =
                around.is_some_and(|index| self.facts.definitions[index as usize].kind.is_type());
            if is_type && !self.members_are_plain() {
                continue;
            }
            let here: Vec<&Symbol> = own
                .iter()
                .filter(fits)
                .filter(|index| self.parent_is(**index, around))
                .filter_map(|index| self.own(*index))
                .collect();
            if !here.is_empty() {
                return Some(shared(here, 1.0));
            }
            if is_type && let Some(found) = self.inherited_plain(name, around, wanted) {
                return Some(found);
            }
        }
        // A method written outside of its type sees the type's members.
        if self.members_are_plain()
            && let Some(found) = self.type_around(scope)
        {
            let members = self.members(found, name);
            let members: Vec<_> = members
                .into_iter()
                .filter(|m| wanted.fits(m.kind))
                .collect();
            if !members.is_empty() {
                return Some(shared(members, 0.95));
            }
        }
        None
    }

    fn parent_is(&self, index: u32, around: Option<u32>) -> bool {
        let definition = &self.facts.definitions[index as usize];
        if definition.owner.is_some() && !self.members_are_plain() {
            return false;
        }
        definition.parent == around
            || around.is_none()
                && self.language.family() == Language::C
                && (definition.kind == Kind::Variant || definition.kind.is_type())
    }

    fn inherited_plain(
        &self,
        name: &str,
        around: Option<u32>,
        wanted: Wanted,
    ) -> Option<Candidates<'a>> {
        let members = self.members(self.own(around?)?, name);
        let members: Vec<_> = members
            .into_iter()
            .filter(|m| wanted.fits(m.kind))
            .collect();
        (!members.is_empty()).then(|| shared(members, 0.9))
    }

    /// Whether members of a type are used without anything before them.
    fn members_are_plain(&self) -> bool {
        matches!(
            self.language,
            Language::Java
                | Language::Kotlin
                | Language::CSharp
                | Language::Cpp
                | Language::Ruby
                | Language::Swift
                | Language::Dart
        )
    }

    /// By an import of that name. An import of something outside of the repository ends the search.
    pub(super) fn by_import(&self, name: &str) -> Option<Candidates<'a>> {
        let imports = self.imports.get(name)?;
        let mut found = Candidates::new();
        for index in imports {
            let import = &self.facts.imports[*index as usize];
            let Some(taken) = import.name else { continue };
            found.extend(self.imported(import, self.facts.name(taken)));
        }
        found.dedup_by_key(|(symbol, _)| symbol.id);
        Some(found)
    }

    /// In other files of the same package, where files of a package share their names.
    fn in_package_of_file(&self, name: &str, wanted: Wanted) -> Option<Candidates<'a>> {
        let files = match self.language {
            Language::Go => self.universe.in_folder(self.asked, self.file.folder()),
            Language::Java | Language::Kotlin | Language::CSharp | Language::Php => {
                let package = self.file.package.as_deref()?;
                self.universe.in_package(self.asked, package)
            }
            _ => return None,
        };
        let named = self.universe.named(self.asked, name).iter();
        let found: Vec<&Symbol> = named
            .filter(|symbol| files.contains(&symbol.file_id) && self.is_top(symbol))
            .filter(|symbol| wanted.fits(symbol.kind))
            .collect();
        (!found.is_empty()).then(|| shared(found, 0.95))
    }

    /// By an import of everything of some module.
    fn by_wildcard(&self, name: &str) -> Option<Candidates<'a>> {
        for import in self
            .facts
            .imports
            .iter()
            .filter(|import| import.is_wildcard)
        {
            let module = self.facts.name(import.module);
            let mut found = match self.module_files(self.file, module) {
                Some(module) => self.in_module(&module, name, 3),
                None => Vec::new(),
            };
            found.retain(|symbol| symbol.file_id != self.file.id);
            if !found.is_empty() {
                return Some(shared(found, 0.85));
            }
        }
        None
    }

    /// Anywhere, in languages whose names are known everywhere.
    fn anywhere(&self, name: &str, wanted: Wanted) -> Candidates<'a> {
        let is_global = matches!(
            self.language.family(),
            Language::C
                | Language::Ruby
                | Language::Swift
                | Language::Php
                | Language::Bash
                | Language::Sql
                | Language::CSharp
                | Language::Dart
        );
        // Macros of Rust are known in the whole crate.
        if !is_global && wanted != Wanted::Macro {
            return Vec::new();
        }
        let named = self.universe.named(self.asked, name).iter();
        let mut found: Vec<&Symbol> = named
            .filter(|symbol| self.is_top(symbol) && wanted.fits(symbol.kind))
            .filter(|symbol| self.is_of_family(symbol))
            .filter(|symbol| {
                symbol.is_exported
                    || symbol.file_id == self.file.id
                    || self.is_header(symbol)
                    || wanted == Wanted::Macro
            })
            .collect();
        if found.len() > CANDIDATES_MAX {
            self.keep_nearest(&mut found);
        }
        match found.len() {
            0 => Vec::new(),
            n if n > CANDIDATES_MAX => Vec::new(),
            _ => shared(found, 0.8),
        }
    }

    fn is_header(&self, symbol: &Symbol) -> bool {
        let file = self.universe.file(symbol.file_id);
        file.is_some_and(|file| file.path.ends_with(".h") || file.path.ends_with(".hpp"))
    }

    /// Whether a symbol is in a language that this file can use.
    pub(super) fn is_of_family(&self, symbol: &Symbol) -> bool {
        let language = self
            .universe
            .file(symbol.file_id)
            .and_then(|file| file.language);
        language.is_some_and(|language| language.family() == self.language.family())
    }

    /// Those in the same folder, if there are any.
    pub(super) fn keep_nearest(&self, found: &mut Vec<&Symbol>) {
        let folder = self.file.folder();
        let is_near = |symbol: &&Symbol| {
            let file = self.universe.file(symbol.file_id);
            file.is_some_and(|file| file.folder() == folder)
        };
        if found.iter().any(&is_near) {
            found.retain(|symbol| is_near(symbol));
        }
    }

    /// The module that a plain name means here.
    pub(super) fn module_named(&self, name: &str) -> Option<Module> {
        if let Some(imports) = self.imports.get(name) {
            for index in imports {
                let import = &self.facts.imports[*index as usize];
                let module = self.facts.name(import.module);
                let path = match import.name {
                    Some(taken) => {
                        let taken = self.facts.name(taken);
                        let separator = if self.language == Language::Rust {
                            "::"
                        } else {
                            "."
                        };
                        let open = module.is_empty() || module.ends_with('.');
                        if open {
                            format!("{module}{taken}")
                        } else {
                            format!("{module}{separator}{taken}")
                        }
                    }
                    None => module.to_owned(),
                };
                if let Some(found) = self.module_files(self.file, &path) {
                    return Some(found);
                }
            }
            return None;
        }
        match self.language {
            Language::Rust => self.module_files(self.file, name),
            _ => None,
        }
    }
}

/// Candidates that share what is known.
pub(super) fn shared(found: Vec<&Symbol>, sure: f64) -> Candidates<'_> {
    let share = sure / found.len().max(1) as f64;
    found.into_iter().map(|symbol| (symbol, share)).collect()
}
