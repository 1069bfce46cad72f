//! Which files an import means, by the rules of each language.

use super::universe::{File, Package, Symbol};
use super::{Candidates, Subject};
use crate::facts::{Facts, Import};
use crate::language::Language;

/// Longest chain of re-exports that is followed.
const DEPTH_MAX: usize = 5;

/// What an import is called in its file; `None` if it brings no name of its own.
pub(super) fn local_name<'a>(
    facts: &'a Facts,
    import: &Import,
    language: Language,
) -> Option<&'a str> {
    if let Some(alias) = import.alias {
        return Some(facts.name(alias));
    }
    if let Some(name) = import.name {
        return Some(facts.name(name));
    }
    if import.is_wildcard {
        return None;
    }
    let module = facts.name(import.module);
    match language {
        // `import a.b` brings `a`, and `a.b` is written in full.
        Language::Python => Some(module),
        Language::Go => {
            let mut parts = module.rsplit('/');
            let last = parts.next()?;
            // A version is not the name of a package.
            let is_version = last.len() > 1
                && last.starts_with('v')
                && last[1..].bytes().all(|byte| byte.is_ascii_digit());
            if is_version { parts.next() } else { Some(last) }
        }
        _ => None,
    }
}

/// A module: files, and names within them that are still to be gone down.
pub(super) struct Module {
    pub(super) files: Vec<i64>,
    /// Inner modules or types below the file.
    pub(super) rest: Vec<String>,
}

impl<'a> Subject<'a> {
    /// The files that an import means, the module's own first.
    pub(super) fn files_of_import(&self, import: &Import) -> Vec<i64> {
        let module = self.facts.name(import.module);
        let name = import.name.map(|name| self.facts.name(name));
        // What is taken may be a module itself.
        if let Some(name) = name {
            let inner = self.module_files(self.file, &joined(self.language, module, name));
            if let Some(inner) = inner.filter(|inner| inner.rest.is_empty()) {
                return inner.files;
            }
        }
        if let Some(name) = name
            && matches!(self.language, Language::Java | Language::Kotlin)
        {
            let found = self.imported(import, name);
            return found.iter().map(|(symbol, _)| symbol.file_id).collect();
        }
        self.module_files(self.file, module)
            .map(|module| module.files)
            .unwrap_or_default()
    }

    /// The definitions that an import of a name means.
    pub(super) fn imported(&self, import: &Import, name: &str) -> Candidates<'a> {
        let module = self.facts.name(import.module);
        let found = self.exported(self.file, module, name, DEPTH_MAX);
        let share = 0.95 / found.len().max(1) as f64;
        found.into_iter().map(|symbol| (symbol, share)).collect()
    }

    /// What a module, as a file writes it, has under a name.
    pub(super) fn exported(
        &self,
        from: &File,
        module: &str,
        name: &str,
        depth: usize,
    ) -> Vec<&'a Symbol> {
        match self.module_files(from, module) {
            Some(module) => self.in_module(&module, name, depth),
            None => Vec::new(),
        }
    }

    /// What a module has under a name: its own, or what it takes from others.
    pub(super) fn in_module(&self, module: &Module, name: &str, depth: usize) -> Vec<&'a Symbol> {
        let named = self.universe.named(self.asked, name);
        let inner = module.rest.last();
        let own: Vec<&Symbol> = named
            .iter()
            .filter(|symbol| module.files.contains(&symbol.file_id))
            .filter(|symbol| match inner {
                Some(inner) => self.is_in(symbol, inner),
                None => self.is_top(symbol),
            })
            .collect();
        if !own.is_empty() {
            return own;
        }
        if name == "default" || self.language.family() == Language::TypeScript {
            let default = self.default_export(module, name);
            if !default.is_empty() {
                return default;
            }
        }
        if depth == 0 {
            return Vec::new();
        }
        self.re_exported(module, name, depth)
    }

    fn re_exported(&self, module: &Module, name: &str, depth: usize) -> Vec<&'a Symbol> {
        for file in module.files.iter().filter_map(|id| self.universe.file(*id)) {
            for import in self.universe.imports_of(self.asked, file) {
                let called = import.alias.as_deref().or(import.name.as_deref());
                if !import.is_wildcard && called != Some(name) {
                    continue;
                }
                let taken = if import.is_wildcard {
                    Some(name)
                } else {
                    import.name.as_deref()
                };
                let Some(taken) = taken else { continue };
                let found = self.exported(file, &import.module, taken, depth - 1);
                if !found.is_empty() {
                    return found;
                }
            }
        }
        Vec::new()
    }

    /// What `import x from` takes.
    fn default_export(&self, module: &Module, name: &str) -> Vec<&'a Symbol> {
        if name != "default" {
            return Vec::new();
        }
        let locals = self.facts.imports.iter().filter_map(|import| {
            let is_default = import
                .name
                .is_some_and(|name| self.facts.name(name) == "default");
            is_default.then_some(import.alias?)
        });
        for local in locals {
            let named = self.universe.named(self.asked, self.facts.name(local));
            let found: Vec<&Symbol> = named
                .iter()
                .filter(|symbol| module.files.contains(&symbol.file_id) && self.is_top(symbol))
                .collect();
            if !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }

    /// Whether nothing but its file is around a symbol.
    pub(super) fn is_top(&self, symbol: &Symbol) -> bool {
        // A class of Java is within the file, and a name of C is within nothing.
        symbol.parent_id.is_none() && symbol.owner.is_none()
            || matches!(symbol.kind, crate::facts::Kind::Variant)
                && self.language.family() == Language::C
    }

    /// Whether a symbol is in one of this name, in the same file.
    fn is_in(&self, symbol: &Symbol, outer: &str) -> bool {
        if symbol.owner.as_deref() == Some(outer) {
            return true;
        }
        let outers = self.universe.named(self.asked, outer);
        outers
            .iter()
            .any(|outer| Some(outer.id) == symbol.parent_id && outer.file_id == symbol.file_id)
    }

    /// The module that a path means where a file writes it; `None` for one outside of the
    /// repository.
    pub(super) fn module_files(&self, from: &File, module: &str) -> Option<Module> {
        let files = match self.language.family() {
            Language::Rust => return self.rust_module(from, module),
            Language::Python => self.python_module(from, module),
            Language::TypeScript => self.script_module(from, module),
            Language::Go => self.go_package(module),
            Language::Java | Language::CSharp | Language::Php => {
                self.universe.in_package(self.asked, module).to_vec()
            }
            _ => self.included(from, module),
        };
        (!files.is_empty()).then_some(Module {
            files,
            rest: Vec::new(),
        })
    }

    fn rust_module(&self, from: &File, module: &str) -> Option<Module> {
        let module = module.replace('.', "::");
        let mut parts = module
            .split("::")
            .filter(|part| !part.is_empty())
            .peekable();
        let mut folder;
        let mut file;
        match parts.peek().copied() {
            None => return None,
            Some("crate") => {
                parts.next();
                (file, folder) = self.crate_root(&from.path)?;
            }
            Some("self") => {
                parts.next();
                (file, folder) = (from.id, rust_folder(&from.path));
            }
            Some("super") => {
                (file, folder) = (from.id, rust_folder(&from.path));
                while parts.next_if_eq(&"super").is_some() {
                    let parent = folder.rsplit_once('/').map_or("", |(parent, _)| parent);
                    folder = parent.to_owned();
                    file = self.rust_file_of(&folder)?;
                }
            }
            Some(first) => {
                let here = rust_folder(&from.path);
                if self.rust_child(&here, first).is_some() {
                    (file, folder) = (from.id, here);
                } else {
                    let package = self.package("Cargo.toml", first)?;
                    parts.next();
                    let source = under(&package.folder, "src");
                    file = ["lib.rs", "main.rs"]
                        .iter()
                        .find_map(|root| self.universe.at(self.asked, &under(&source, root)))?;
                    folder = source;
                }
            }
        }
        let mut rest = Vec::new();
        for part in parts {
            match self.rust_child(&folder, part) {
                Some(child) if rest.is_empty() => {
                    file = child;
                    folder = under(&folder, part);
                }
                _ => rest.push(part.to_owned()),
            }
        }
        Some(Module {
            files: vec![file],
            rest,
        })
    }

    fn rust_child(&self, folder: &str, name: &str) -> Option<i64> {
        let at = |path: String| self.universe.at(self.asked, &path);
        at(under(folder, &format!("{name}.rs")))
            .or_else(|| at(under(folder, &format!("{name}/mod.rs"))))
    }

    /// The file whose children are in a folder.
    fn rust_file_of(&self, folder: &str) -> Option<i64> {
        let at = |path: String| self.universe.at(self.asked, &path);
        ["mod.rs", "lib.rs", "main.rs"]
            .iter()
            .find_map(|name| at(under(folder, name)))
            .or_else(|| at(format!("{folder}.rs")))
    }

    /// The root of the crate that a file is in, and the folder of its modules.
    fn crate_root(&self, path: &str) -> Option<(i64, String)> {
        let mut folder = path;
        while let Some((parent, _)) = folder.rsplit_once('/') {
            for name in ["lib.rs", "main.rs"] {
                if let Some(file) = self.universe.at(self.asked, &under(parent, name)) {
                    return Some((file, parent.to_owned()));
                }
            }
            folder = parent;
        }
        None
    }

    fn python_module(&self, from: &File, module: &str) -> Vec<i64> {
        let dots = module.bytes().take_while(|byte| *byte == b'.').count();
        let path = module[dots..].replace('.', "/");
        if dots > 0 {
            let mut folder = from.folder();
            for _ in 1..dots {
                folder = folder.rsplit_once('/').map_or("", |(parent, _)| parent);
            }
            return self.python_at(&under(folder, &path)).into_iter().collect();
        }
        // From the root, or from any folder above; the nearest one counts.
        let mut folder = from.folder();
        loop {
            if let Some(file) = self.python_at(&under(folder, &path)) {
                return vec![file];
            }
            match folder.rsplit_once('/') {
                Some((parent, _)) => folder = parent,
                None if folder.is_empty() => break,
                None => folder = "",
            }
        }
        // From a folder of sources such as `src`.
        let last = path.rsplit('/').next().unwrap_or(&path);
        let modules = self.universe.with_stem(self.asked, last);
        let packages = self.universe.with_stem(self.asked, "__init__");
        let endings = [format!("/{path}.py"), format!("/{path}/__init__.py")];
        let mut found: Vec<&File> = modules
            .iter()
            .chain(packages)
            .filter_map(|id| self.universe.file(*id))
            .filter(|file| {
                endings
                    .iter()
                    .any(|ending| file.path.ends_with(ending.as_str()))
            })
            .collect();
        found.sort_by_key(|file| file.path.len());
        // One word is too little to find a file deep in another tree by.
        found.retain(|file| path.contains('/') || file.path.split('/').count() <= 3);
        found.first().map(|file| file.id).into_iter().collect()
    }

    fn python_at(&self, path: &str) -> Option<i64> {
        let at = |path: String| self.universe.at(self.asked, &path);
        let path = path.trim_end_matches('/');
        at(format!("{path}.py"))
            .or_else(|| at(under(path, "__init__.py")))
            .or_else(|| at(format!("{path}.pyi")))
    }

    fn script_module(&self, from: &File, module: &str) -> Vec<i64> {
        let base = if module.starts_with('.') {
            normalized(&under(from.folder(), module))
        } else if let Some(rest) = module.strip_prefix("@/").or(module.strip_prefix("~/")) {
            Some(under("src", rest))
        } else {
            self.script_package(module)
        };
        base.and_then(|base| self.script_at(&base))
            .into_iter()
            .collect()
    }

    fn script_package(&self, module: &str) -> Option<String> {
        let packages = self.universe.packages.iter();
        let package = packages
            .filter(|package| package.manifest == "package.json")
            .filter(|package| {
                let rest = module.strip_prefix(&package.name);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
            .max_by_key(|package| package.name.len())?;
        let rest = module[package.name.len()..].trim_start_matches('/');
        if rest.is_empty() && self.script_at(&package.folder).is_none() {
            return Some(under(&package.folder, "src"));
        }
        Some(under(&package.folder, rest))
    }

    fn script_at(&self, base: &str) -> Option<i64> {
        const ENDINGS: [&str; 8] = ["", ".ts", ".tsx", ".d.ts", ".js", ".jsx", ".mjs", ".cjs"];
        let base = base.trim_end_matches('/');
        let at = |path: &str| self.universe.at(self.asked, path);
        let direct = ENDINGS
            .iter()
            .find_map(|ending| at(&format!("{base}{ending}")));
        // `./x.js` is written for what is `x.ts` before it is compiled.
        let compiled = || {
            let (stem, ending) = base.rsplit_once('.')?;
            ["js", "jsx", "mjs", "cjs"]
                .contains(&ending)
                .then_some(())?;
            [".ts", ".tsx", ".mts", ".cts"]
                .iter()
                .find_map(|ending| at(&format!("{stem}{ending}")))
        };
        let index = || {
            let mut endings = ENDINGS[1..].iter();
            endings.find_map(|ending| at(&under(base, &format!("index{ending}"))))
        };
        direct.or_else(compiled).or_else(index)
    }

    fn go_package(&self, module: &str) -> Vec<i64> {
        let packages = self.universe.packages.iter();
        let folder = packages
            .filter(|package| package.manifest == "go.mod")
            .find_map(|package| {
                let rest = module.strip_prefix(&package.name)?;
                (rest.is_empty() || rest.starts_with('/'))
                    .then(|| under(&package.folder, rest.trim_start_matches('/')))
            });
        match folder {
            Some(folder) => self.universe.in_folder(self.asked, &folder).to_vec(),
            None if self
                .universe
                .packages
                .iter()
                .any(|found| found.manifest == "go.mod") =>
            {
                Vec::new()
            }
            // Without a manifest, a folder whose whole path ends the module's.
            None => {
                let last = module.rsplit('/').next().unwrap_or(module);
                self.universe.in_folder(self.asked, last);
                let folder = self
                    .universe
                    .folders()
                    .find(|folder| !folder.is_empty() && module.ends_with(&format!("/{folder}")));
                folder.map_or(Vec::new(), |folder| {
                    self.universe.in_folder(self.asked, folder).to_vec()
                })
            }
        }
    }

    /// A file that another includes: beside it, else by the end of its path.
    fn included(&self, from: &File, module: &str) -> Vec<i64> {
        let beside = normalized(&under(from.folder(), module));
        if let Some(file) = beside.and_then(|path| self.universe.at(self.asked, &path)) {
            return vec![file];
        }
        let name = module.rsplit('/').next().unwrap_or(module);
        let stem = name.split('.').next().unwrap_or(name);
        let ending = format!("/{module}");
        let candidates = self.universe.with_stem(self.asked, stem).iter().copied();
        let mut found = candidates.filter(|id| {
            let path = self.universe.file(*id).map_or("", |file| &file.path);
            path == module || path.ends_with(&ending)
        });
        found.next().into_iter().collect()
    }

    fn package(&self, manifest: &str, name: &str) -> Option<&'a Package> {
        let mut packages = self.universe.packages.iter();
        packages.find(|package| package.manifest == manifest && package.name == name)
    }
}

/// The folder of the modules below a Rust file.
fn rust_folder(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        name => under(folder, name.trim_end_matches(".rs")),
    }
}

fn under(folder: &str, path: &str) -> String {
    match (folder, path) {
        ("", path) => path.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, path) => format!("{folder}/{path}"),
    }
}

/// A path without `.` and `..`; `None` if it leads out of the repository.
fn normalized(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn joined(language: Language, module: &str, name: &str) -> String {
    match language {
        Language::Rust if module.is_empty() => name.to_owned(),
        Language::Rust => format!("{module}::{name}"),
        Language::Python if module.ends_with('.') => format!("{module}{name}"),
        Language::Python => format!("{module}.{name}"),
        // Elsewhere a name is never a module.
        _ => format!("{module}\u{0}{name}"),
    }
}
