//! Puts what was found in its place: which definition is in which, which comment belongs to what,
//! and where each name is used.

use std::collections::HashSet;
use std::ops::Range;

use super::extract::{Names, slice};
use crate::facts::{Definition, Kind, Local, NameId, Reference, Use};
use crate::language::Language;

mod documentation;

/// A comment or an attribute.
pub(super) struct Aside {
    pub(super) range: Range<usize>,
    /// From 0.
    pub(super) start_line: u32,
    /// From 0.
    pub(super) end_line: u32,
    pub(super) is_comment: bool,
}

/// Where a definition is.
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) name_byte: u32,
    pub(super) end_line: u32,
    pub(super) range: Range<usize>,
    /// Where all of it starts, from 0.
    pub(super) start_line: u32,
}

pub(super) struct FoundDefinition {
    pub(super) kind: Kind,
    pub(super) name: NameId,
    pub(super) place: Place,
    /// The type that it belongs to, where that is written elsewhere.
    pub(super) owner: Option<NameId>,
    pub(super) type_name: Option<NameId>,
    /// Which pattern of the query found it.
    pub(super) pattern: usize,
    pub(super) signature: String,
    /// Whether it stands in an `export`.
    pub(super) is_exported_here: bool,
}

struct FoundReference {
    byte: u32,
    pattern: usize,
    reference: Reference,
}

struct FoundLocal {
    byte: u32,
    local: Local,
}

/// All that was found, in no order.
#[derive(Default)]
pub(super) struct Outline {
    definitions: Vec<FoundDefinition>,
    scopes: Vec<(Range<usize>, NameId)>,
    references: Vec<FoundReference>,
    locals: Vec<FoundLocal>,
    pub(super) asides: Vec<Aside>,
    pub(super) docstrings: Vec<Range<usize>>,
}

/// All that was found, in its place.
pub(super) struct Parts {
    pub(super) definitions: Vec<Definition>,
    pub(super) references: Vec<Reference>,
    pub(super) locals: Vec<Local>,
}

/// Something that others are in: a definition, or the scope of a type.
struct Open {
    start: usize,
    end: usize,
    definition: Option<u32>,
    owner: Option<NameId>,
}

impl Outline {
    pub(super) fn definition(&mut self, found: FoundDefinition) {
        self.definitions.push(found);
    }

    pub(super) fn scope(&mut self, range: Range<usize>, owner: NameId) {
        self.scopes.push((range, owner));
    }

    pub(super) fn reference(
        &mut self,
        kind: Use,
        name: NameId,
        receiver: Option<NameId>,
        byte: u32,
        (line, column): (u32, u32),
        pattern: usize,
    ) {
        let reference = Reference {
            name,
            kind,
            scope: None,
            receiver,
            line,
            column,
        };
        self.references.push(FoundReference {
            byte,
            pattern,
            reference,
        });
    }

    pub(super) fn local(
        &mut self,
        name: NameId,
        type_name: Option<NameId>,
        value: Option<NameId>,
        byte: u32,
    ) {
        let local = Local {
            name,
            scope: None,
            type_name,
            value,
        };
        self.locals.push(FoundLocal { byte, local });
    }

    /// Puts everything in its place.
    pub(super) fn finish(mut self, language: Language, text: &[u8], names: &mut Names) -> Parts {
        self.keep_first_of_each_name();
        let (mut definitions, ranges) = self.nest(language, names);
        self.asides.sort_by_key(|aside| aside.range.start);
        documentation::attach(
            &mut definitions,
            &self.definitions_places(),
            &self.asides,
            language,
            text,
            names,
        );
        let within = Within::new(&ranges);
        for range in &self.docstrings {
            if let Some(index) = within.innermost(range.start) {
                let text = slice(text, range);
                let doc = documentation::cleaned(&text);
                definitions[index as usize].doc.get_or_insert(doc);
            }
        }
        let references = self.place_references(&within, &mut definitions);
        let locals = self.place_locals(&within);
        Parts {
            definitions,
            references,
            locals,
        }
    }

    /// Where two patterns found the same name, the earlier one counts; then by start, outer first.
    fn keep_first_of_each_name(&mut self) {
        self.definitions
            .sort_by_key(|found| (found.place.name_byte, found.pattern));
        self.definitions.dedup_by_key(|found| found.place.name_byte);
        self.definitions
            .sort_by_key(|found| (found.place.range.start, usize::MAX - found.place.range.end));
        self.references
            .sort_by_key(|found| (found.byte, found.pattern));
        self.references.dedup_by_key(|found| found.byte);
        let defined: HashSet<u32> = self.definitions.iter().map(|d| d.place.name_byte).collect();
        self.references
            .retain(|found| !defined.contains(&found.byte) || found.reference.kind == Use::Inherit);
        self.locals.sort_by_key(|found| {
            let is_plain = found.local.type_name.is_none() && found.local.value.is_none();
            (found.byte, is_plain)
        });
        self.locals.dedup_by_key(|found| found.byte);
        self.locals.retain(|found| !defined.contains(&found.byte));
    }

    fn definitions_places(&self) -> Vec<(u32, usize)> {
        let places = self.definitions.iter().map(|found| &found.place);
        places
            .map(|place| (place.start_line, place.range.start))
            .collect()
    }

    /// Which definition is in which.
    fn nest(&mut self, language: Language, names: &Names) -> (Vec<Definition>, Vec<Range<usize>>) {
        self.scopes.sort_by_key(|(range, _)| range.start);
        let mut scopes = self.scopes.iter().peekable();
        let mut open: Vec<Open> = Vec::new();
        let mut definitions: Vec<Definition> = Vec::with_capacity(self.definitions.len());
        let mut ranges = Vec::with_capacity(self.definitions.len());
        let mut fields: HashSet<(Option<u32>, NameId)> = HashSet::new();
        for found in &mut self.definitions {
            let range = found.place.range.clone();
            while let Some((scope, owner)) = scopes.next_if(|(scope, _)| scope.start <= range.start)
            {
                open.retain(|open| open.end > scope.start);
                open.push(Open {
                    start: scope.start,
                    end: scope.end,
                    definition: open.last().and_then(|open| open.definition),
                    owner: Some(*owner),
                });
            }
            // Names of one declaration, such as `int x, y`, are not in each other.
            while open.last().is_some_and(|open| {
                open.end <= range.start || open.owner.is_none() && (open.start..open.end) == range
            }) {
                open.pop();
            }
            let mut parent = open.last().and_then(|open| open.definition);
            let mut owner = found
                .owner
                .or_else(|| open.last().and_then(|open| open.owner));
            if found.kind == Kind::Field {
                // `self.x = …` in a method makes a field of the class around it, once.
                let written_in = parent;
                while let Some(index) = parent
                    && definitions[index as usize].kind.is_callable()
                {
                    owner = definitions[index as usize].owner;
                    parent = definitions[index as usize].parent;
                }
                let is_new = fields.insert((parent, found.name));
                if !is_new && written_in != parent {
                    found.kind = Kind::Variable;
                    ranges.push(range);
                    definitions.push(placeholder(found));
                    continue;
                }
            }
            let kind = kind_within(found.kind, parent, owner, &definitions);
            if kind == Kind::Variable
                && language.family() == Language::C
                && parent.is_some_and(|index| definitions[index as usize].kind.is_callable())
            {
                // A variable of a function is a local.
                ranges.push(range);
                definitions.push(placeholder(found));
                continue;
            }
            let name = &names.list[found.name as usize];
            let index = definitions.len() as u32;
            definitions.push(Definition {
                name: found.name,
                kind,
                parent,
                owner,
                line: found.place.line,
                column: found.place.column,
                end_line: found.place.end_line,
                start_byte: range.start as u32,
                end_byte: range.end as u32,
                is_exported: found.is_exported_here
                    || documentation::is_exported(language, name, &found.signature, kind),
                is_test: kind == Kind::Test,
                signature: std::mem::take(&mut found.signature),
                doc: None,
                type_name: found.type_name,
                bases: Vec::new(),
            });
            if holds_others(language, kind) {
                open.push(Open {
                    start: range.start,
                    end: range.end,
                    definition: Some(index),
                    owner: None,
                });
            }
            ranges.push(range);
        }
        self.drop_placeholders(&mut definitions, &mut ranges);
        (definitions, ranges)
    }

    /// Takes out what turned out to be no definition, and renumbers parents.
    fn drop_placeholders(
        &mut self,
        definitions: &mut Vec<Definition>,
        ranges: &mut Vec<Range<usize>>,
    ) {
        let keep: Vec<bool> = definitions.iter().map(|found| found.line != 0).collect();
        if keep.iter().all(|kept| *kept) {
            return;
        }
        let mut numbers = Vec::with_capacity(keep.len());
        let mut next = 0_u32;
        for kept in &keep {
            numbers.push(next);
            next += u32::from(*kept);
        }
        let mut kept = keep.iter();
        definitions.retain(|_| *kept.next().unwrap_or(&true));
        let mut kept = keep.iter();
        ranges.retain(|_| *kept.next().unwrap_or(&true));
        let mut kept = keep.iter();
        self.definitions.retain(|_| *kept.next().unwrap_or(&true));
        for definition in definitions {
            definition.parent = definition.parent.map(|parent| numbers[parent as usize]);
        }
    }

    fn place_references(
        &mut self,
        within: &Within,
        definitions: &mut [Definition],
    ) -> Vec<Reference> {
        let mut references = Vec::with_capacity(self.references.len());
        for found in std::mem::take(&mut self.references) {
            let mut reference = found.reference;
            reference.scope = within.innermost(found.byte as usize);
            if reference.kind == Use::Inherit {
                let owner = self
                    .scopes
                    .iter()
                    .rfind(|(range, _)| range.contains(&(found.byte as usize)))
                    .map(|(_, owner)| *owner);
                let heir = match owner {
                    Some(owner) => definitions
                        .iter_mut()
                        .find(|definition| definition.name == owner && definition.kind.is_type()),
                    None => reference
                        .scope
                        .map(|index| &mut definitions[index as usize]),
                };
                if let Some(heir) = heir
                    && !heir.bases.contains(&reference.name)
                {
                    heir.bases.push(reference.name);
                }
            }
            references.push(reference);
        }
        references
    }

    fn place_locals(&mut self, within: &Within) -> Vec<Local> {
        let mut seen = HashSet::new();
        let mut locals = Vec::with_capacity(self.locals.len());
        for found in std::mem::take(&mut self.locals) {
            let mut local = found.local;
            local.scope = within.innermost(found.byte as usize);
            // The first binding that says what it is counts.
            let says = local.type_name.is_some() || local.value.is_some();
            if local.scope.is_some() && seen.insert((local.scope, local.name, says)) {
                locals.push(local);
            }
        }
        locals
    }
}

fn placeholder(found: &FoundDefinition) -> Definition {
    Definition {
        name: found.name,
        kind: found.kind,
        parent: None,
        owner: None,
        line: 0,
        column: 0,
        end_line: 0,
        start_byte: 0,
        end_byte: 0,
        signature: String::new(),
        doc: None,
        type_name: None,
        bases: Vec::new(),
        is_exported: false,
        is_test: false,
    }
}

/// In C a `typedef` or a variable may stand around the type that it is of, whose name is as global.
fn holds_others(language: Language, kind: Kind) -> bool {
    language.family() != Language::C
        || kind.is_callable()
        || kind == Kind::Module
        || kind.is_type() && kind != Kind::Type
}

/// A function of a type is a method.
fn kind_within(
    kind: Kind,
    parent: Option<u32>,
    owner: Option<NameId>,
    definitions: &[Definition],
) -> Kind {
    let in_type =
        owner.is_some() || parent.is_some_and(|parent| definitions[parent as usize].kind.is_type());
    match kind {
        Kind::Function if in_type => Kind::Method,
        kind => kind,
    }
}

/// Finds the innermost of nested ranges around a place.
struct Within<'a> {
    ranges: &'a [Range<usize>],
    parents: Vec<Option<u32>>,
}

impl<'a> Within<'a> {
    /// The ranges are sorted by start, outer ones first.
    fn new(ranges: &'a [Range<usize>]) -> Self {
        let mut open: Vec<u32> = Vec::new();
        let mut parents = Vec::with_capacity(ranges.len());
        for (index, range) in ranges.iter().enumerate() {
            while open
                .last()
                .is_some_and(|last| ranges[*last as usize].end <= range.start)
            {
                open.pop();
            }
            parents.push(open.last().copied());
            open.push(index as u32);
        }
        Self { ranges, parents }
    }

    fn innermost(&self, byte: usize) -> Option<u32> {
        let after = self.ranges.partition_point(|range| range.start <= byte);
        let mut next = after.checked_sub(1).map(|index| index as u32);
        while let Some(index) = next {
            if self.ranges[index as usize].end > byte {
                return Some(index);
            }
            next = self.parents[index as usize];
        }
        None
    }
}
