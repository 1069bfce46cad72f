//! From names in use to what they mean: the edges of the graph.
//!
//! A name is looked for where its language looks: in the function, the file, what is imported, the
//! package, and last anywhere. What stands before it is followed type by type. Each edge says how
//! sure it is; where several definitions fit, each gets its share.
//!
//! Every question to the [`universe`] is noted. A file is resolved again when an answer changed,
//! and only then.

mod chain;
mod modules;
mod names;
pub mod universe;

use std::collections::HashMap;

use crate::facts::{Facts, Kind, NameId, Use};
use crate::language::Language;
use universe::{Asked, File, Symbol, Universe};

/// At most so many definitions are taken to be meant by one name.
const CANDIDATES_MAX: usize = 6;

/// One use of one symbol.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// The symbol around the place; `None` for the file itself.
    pub source_id: Option<i64>,
    /// What is used.
    pub target_id: i64,
    /// How.
    pub kind: EdgeKind,
    /// From 1.
    pub line: u32,
    /// In bytes from 0.
    pub column: u32,
    /// Above 0, at most 1.
    pub confidence: f64,
}

/// How one symbol uses another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EdgeKind {
    /// It calls it.
    Calls,
    /// It names it.
    References,
    /// It extends or implements it.
    Inherits,
    /// It takes it from another module.
    Imports,
}

impl EdgeKind {
    /// Its name in results and in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::References => "references",
            Self::Inherits => "inherits",
            Self::Imports => "imports",
        }
    }
}

/// What one file uses.
#[derive(Debug, Default)]
pub struct Resolved {
    /// Sorted by place.
    pub edges: Vec<Edge>,
    /// For each import of the facts, the file it means.
    pub import_targets: Vec<Option<i64>>,
}

/// A file that is resolved.
pub(crate) struct Subject<'a> {
    pub(crate) file: &'a File,
    pub(crate) language: Language,
    pub(crate) facts: &'a Facts,
    /// The ids of its definitions, by position.
    pub(crate) ids: &'a [i64],
    pub(crate) universe: &'a Universe,
    pub(crate) asked: &'a Asked,
    /// The numbers of names.
    name_ids: HashMap<&'a str, NameId>,
    /// Positions of definitions by name.
    by_name: HashMap<NameId, Vec<u32>>,
    /// Positions of locals by scope and name.
    locals: HashMap<(Option<u32>, NameId), u32>,
    /// Positions of imports by what they are called here.
    imports: HashMap<&'a str, Vec<u32>>,
}

/// Definitions with how sure it is that they are meant.
pub(crate) type Candidates<'a> = Vec<(&'a Symbol, f64)>;

/// A name in use, with what it depends on: how it is used, what stands before it, and where.
type Words = (Use, NameId, Option<NameId>, Option<u32>);

/// Finds what a file uses.
pub fn resolve(
    universe: &Universe,
    asked: &Asked,
    file_id: i64,
    facts: &Facts,
    ids: &[i64],
) -> Resolved {
    let Some(file) = universe.file(file_id) else {
        return Resolved::default();
    };
    let Some(language) = file.language else {
        return Resolved::default();
    };
    let subject = Subject::new(universe, asked, file, language, facts, ids);
    let mut resolved = Resolved {
        edges: Vec::new(),
        import_targets: subject.import_targets(),
    };
    let mut known: HashMap<Words, Vec<(i64, f64)>> = HashMap::new();
    for reference in &facts.references {
        // The same words in the same function mean the same.
        let key = (
            reference.kind,
            reference.name,
            reference.receiver,
            reference.scope,
        );
        let targets = known.entry(key).or_insert_with(|| {
            let found = subject.targets(reference);
            found
                .into_iter()
                .map(|(symbol, sure)| (symbol.id, sure))
                .collect()
        });
        let source_id = reference
            .scope
            .and_then(|scope| ids.get(scope as usize).copied());
        let kind = match reference.kind {
            Use::Call | Use::Macro => EdgeKind::Calls,
            Use::Inherit => EdgeKind::Inherits,
            Use::Type | Use::Value => EdgeKind::References,
        };
        resolved
            .edges
            .extend(targets.iter().map(|(target_id, confidence)| Edge {
                source_id,
                target_id: *target_id,
                kind,
                line: reference.line,
                column: reference.column,
                confidence: *confidence,
            }));
    }
    subject.import_edges(&mut resolved.edges);
    resolved
}

impl<'a> Subject<'a> {
    fn new(
        universe: &'a Universe,
        asked: &'a Asked,
        file: &'a File,
        language: Language,
        facts: &'a Facts,
        ids: &'a [i64],
    ) -> Self {
        let mut by_name: HashMap<NameId, Vec<u32>> = HashMap::new();
        for (index, definition) in facts.definitions.iter().enumerate() {
            by_name
                .entry(definition.name)
                .or_default()
                .push(index as u32);
        }
        let mut locals = HashMap::new();
        for (index, local) in facts.locals.iter().enumerate() {
            let key = (local.scope, local.name);
            let says = local.type_name.is_some() || local.value.is_some();
            let known: &mut u32 = locals.entry(key).or_insert(index as u32);
            let before = &facts.locals[*known as usize];
            if says && before.type_name.is_none() && before.value.is_none() {
                *known = index as u32;
            }
        }
        let mut imports: HashMap<&str, Vec<u32>> = HashMap::new();
        for (index, import) in facts.imports.iter().enumerate() {
            if let Some(name) = modules::local_name(facts, import, language) {
                imports.entry(name).or_default().push(index as u32);
            }
        }
        Self {
            file,
            language,
            facts,
            ids,
            universe,
            asked,
            name_ids: (0..)
                .zip(&facts.names)
                .map(|(id, name)| (name.as_str(), id))
                .collect(),
            by_name,
            locals,
            imports,
        }
    }

    /// What a name in use means.
    fn targets(&self, reference: &crate::facts::Reference) -> Candidates<'a> {
        let name = self.facts.name(reference.name);
        let wanted = Wanted::of(reference.kind);
        let mut found = match reference.receiver {
            None => self.by_plain_name(name, reference.name, reference.scope, wanted),
            Some(receiver) => {
                let chain = self.facts.name(receiver);
                self.by_receiver(chain, name, reference.scope, wanted)
            }
        };
        found.retain(|(symbol, _)| wanted.fits(symbol.kind));
        // A definition does not use itself by being the place where it is used; calls may recur.
        found.truncate(CANDIDATES_MAX);
        found
    }

    /// The definitions around one, innermost first.
    fn around(&self, scope: Option<u32>) -> impl Iterator<Item = u32> {
        std::iter::successors(scope, |index| {
            self.facts.definitions[*index as usize].parent
        })
    }

    /// The id of the type that a scope is a member of.
    fn type_around(&self, scope: Option<u32>) -> Option<&'a Symbol> {
        for index in self.around(scope) {
            let definition = &self.facts.definitions[index as usize];
            if let Some(owner) = definition.owner {
                let owner = self.facts.name(owner);
                return (owner != "Self").then(|| self.type_named(owner, Some(index)))?;
            }
            if definition.kind.is_type() {
                return self.own(index);
            }
        }
        None
    }

    /// The symbol of one of this file's definitions.
    fn own(&self, index: u32) -> Option<&'a Symbol> {
        let id = *self.ids.get(index as usize)?;
        let definition = self.facts.definitions.get(index as usize)?;
        let named = self
            .universe
            .named(self.asked, self.facts.name(definition.name));
        named.iter().find(|symbol| symbol.id == id)
    }

    /// The type that a name means here.
    fn type_named(&self, name: &str, scope: Option<u32>) -> Option<&'a Symbol> {
        let found = if let Some((before, last)) = name.rsplit_once('.') {
            // A path of types begins with a module or a type, never with a variable.
            self.by_receiver(before, last, None, Wanted::Type)
        } else {
            let id = self.name_id(name);
            self.by_plain_name(name, id, scope, Wanted::Type)
        };
        let found = found.into_iter().map(|(symbol, _)| symbol);
        found.into_iter().find(|symbol| symbol.kind.is_type())
    }

    /// The number of a name in the facts; one that no definition has if it is not there.
    fn name_id(&self, name: &str) -> NameId {
        self.name_ids.get(name).copied().unwrap_or(NameId::MAX)
    }

    fn import_targets(&self) -> Vec<Option<i64>> {
        let imports = self.facts.imports.iter();
        imports
            .map(|import| {
                let found = self.files_of_import(import);
                found.into_iter().find(|id| *id != self.file.id)
            })
            .collect()
    }

    /// What is imported by name is used by the file.
    fn import_edges(&self, edges: &mut Vec<Edge>) {
        for import in &self.facts.imports {
            let Some(name) = import.name else { continue };
            for (symbol, confidence) in self.imported(import, self.facts.name(name)) {
                edges.push(Edge {
                    source_id: None,
                    target_id: symbol.id,
                    kind: EdgeKind::Imports,
                    line: import.line,
                    column: 0,
                    confidence,
                });
            }
        }
    }
}

/// What kind of thing a name in use can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Callable,
    Macro,
    Type,
    Anything,
}

impl Wanted {
    fn of(kind: Use) -> Self {
        match kind {
            Use::Call => Self::Callable,
            Use::Macro => Self::Macro,
            Use::Type | Use::Inherit => Self::Type,
            Use::Value => Self::Anything,
        }
    }

    pub(crate) fn fits(self, kind: Kind) -> bool {
        match self {
            // Types are called where that makes one; fields and variables may hold a function.
            Self::Callable => !matches!(
                kind,
                Kind::Module | Kind::Heading | Kind::Key | Kind::Test | Kind::Table | Kind::Rule
            ),
            Self::Macro => kind == Kind::Macro,
            Self::Type => kind.is_type() || kind == Kind::Variable || kind == Kind::Constant,
            Self::Anything => kind != Kind::Heading && kind != Kind::Key && kind != Kind::Test,
        }
    }
}

#[cfg(test)]
mod tests;
