//! The engine: what the query of a language found, as facts.

use std::collections::{HashMap, HashSet};
use std::ops::{ControlFlow, Range};
use std::time::Instant;

use tree_sitter::{Node, QueryCursor, QueryCursorOptions, StreamingIterator as _, Tree};

use super::grammar::{Grammar, Role};
use super::outline::{Aside, FoundDefinition, Outline, Place};
use super::{receiver, use_tree};
use crate::facts::{Facts, Import, Kind, NameId, Use};
use crate::language::Language;

/// Longest name that is kept; what is longer is not a name.
const NAME_MAX: usize = 256;

/// What one match of the query says, by role.
#[derive(Default)]
struct Match<'t> {
    definition: Option<(Kind, Node<'t>)>,
    scope: Option<Node<'t>>,
    name: Option<Node<'t>>,
    type_name: Option<Node<'t>>,
    value: Option<Node<'t>>,
    owner: Option<Node<'t>>,
    receiver: Option<Node<'t>>,
    used: Option<(Use, Node<'t>)>,
    local: Option<Node<'t>>,
    import_module: Option<Node<'t>>,
    import_name: Option<Node<'t>>,
    import_alias: Option<Node<'t>>,
    is_default: bool,
    is_wildcard: bool,
}

/// The names of a text, each once.
#[derive(Default)]
pub(super) struct Names {
    ids: HashMap<String, NameId>,
    pub(super) list: Vec<String>,
}

impl Names {
    pub(super) fn id(&mut self, name: &str) -> NameId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = self.list.len() as NameId;
        self.ids.insert(name.to_owned(), id);
        self.list.push(name.to_owned());
        id
    }
}

struct Engine<'a> {
    text: &'a [u8],
    language: Language,
    names: Names,
    outline: Outline,
    imports: Vec<Import>,
    package: Option<NameId>,
}

/// The facts of a tree, or `None` when the deadline passed.
pub(super) fn facts(
    grammar: &Grammar,
    language: Language,
    text: &[u8],
    tree: &Tree,
    deadline: Instant,
) -> Option<Facts> {
    let mut engine = Engine {
        text,
        language,
        names: Names::default(),
        outline: Outline::default(),
        imports: Vec::new(),
        package: None,
    };
    let mut is_late = |_: &tree_sitter::QueryCursorState| {
        if Instant::now() < deadline {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    let options = QueryCursorOptions::new().progress_callback(&mut is_late);
    let mut cursor = QueryCursor::new();
    let mut matches = cursor.matches_with_options(&grammar.query, tree.root_node(), text, options);
    while let Some(found) = matches.next() {
        let mut by_role = Match::default();
        for capture in found.captures() {
            let role = grammar.roles[capture.index as usize];
            engine.capture(&mut by_role, role, capture.node);
        }
        engine.matched(&by_role, found.pattern_index);
    }
    if Instant::now() >= deadline {
        return None;
    }
    Some(engine.finish())
}

impl<'a> Engine<'a> {
    fn capture<'t>(&mut self, found: &mut Match<'t>, role: Role, node: Node<'t>) {
        match role {
            Role::Definition(kind) => found.definition = Some((kind, node)),
            Role::Scope => found.scope = Some(node),
            Role::Name => found.name = Some(node),
            Role::Type => found.type_name = Some(node),
            Role::Value => found.value = Some(node),
            Role::Owner => found.owner = Some(node),
            Role::Receiver => found.receiver = Some(node),
            Role::Call => found.used = Some((Use::Call, node)),
            Role::Macro => found.used = Some((Use::Macro, node)),
            Role::TypeUse => found.used = Some((Use::Type, node)),
            Role::Inherit => found.used = Some((Use::Inherit, node)),
            Role::ValueUse => found.used = Some((Use::Value, node)),
            Role::Local => found.local = Some(node),
            Role::ImportModule => found.import_module = Some(node),
            Role::ImportName => found.import_name = Some(node),
            Role::ImportDefault => {
                found.is_default = true;
                found.import_alias = Some(node);
            }
            Role::ImportAlias => found.import_alias = Some(node),
            Role::ImportWildcard => found.is_wildcard = true,
            Role::UseTree => self.use_tree(node),
            Role::Package => {
                let package = self.words(node).replace([' ', '\n'], "");
                self.package = Some(self.names.id(&package));
            }
            Role::Comment => self.outline.asides.push(aside(node, true)),
            Role::Attribute => self.outline.asides.push(aside(node, false)),
            Role::Docstring => self.outline.docstrings.push(node.byte_range()),
            Role::Condition => {}
        }
    }

    fn matched(&mut self, found: &Match<'_>, pattern: usize) {
        if let Some((kind, node)) = found.definition {
            self.definition(found, kind, node, pattern);
        } else if let (Some(node), Some(name)) = (found.scope, found.name) {
            if let Some(owner) = receiver::type_name(&self.words(name)) {
                let owner = self.names.id(last(&owner));
                self.outline.scope(node.byte_range(), owner);
            }
        } else if let Some((kind, node)) = found.used {
            self.used(found, kind, node, pattern);
        } else if let Some(node) = found.local {
            self.local(found, node);
        } else if let Some(node) = found.import_module {
            self.import(found, node);
        }
    }

    fn definition(&mut self, found: &Match<'_>, kind: Kind, node: Node<'_>, pattern: usize) {
        let Some(name_node) = found.name else { return };
        let Some(name) = self.name(name_node) else {
            return;
        };
        let type_name = self.type_of(found);
        let owner = found
            .owner
            .and_then(|owner| Self::owner(&self.words(owner)))
            .map(|owner| self.names.id(&owner));
        let place = Place {
            line: name_node.start_position().row as u32 + 1,
            column: name_node.start_position().column as u32,
            name_byte: name_node.start_byte() as u32,
            end_line: end_line(node),
            range: node.byte_range(),
            start_line: node.start_position().row as u32,
        };
        let (signature, is_exported_here) = self.head(node);
        self.outline.definition(FoundDefinition {
            kind,
            name,
            place,
            owner,
            type_name,
            pattern,
            signature,
            is_exported_here,
        });
    }

    /// The head of a definition on one line, and whether it stands in an `export`.
    fn head(&self, node: Node<'_>) -> (String, bool) {
        let body = node
            .child_by_field_name("body")
            .filter(|body| body.start_byte() > node.start_byte());
        let end = body.map_or(node.end_byte(), |body| body.start_byte());
        let mut range = node.start_byte()..end;
        let mut is_exported = false;
        if self.language.family() == Language::TypeScript {
            let mut outer = node.parent();
            for _ in 0..2 {
                let Some(parent) = outer else { break };
                if parent.kind() == "export_statement" {
                    range.start = parent.start_byte();
                    is_exported = true;
                }
                outer = parent.parent();
            }
        }
        (signature(&self.text[range]), is_exported)
    }

    fn owner(text: &str) -> Option<String> {
        let text = text.trim_end_matches(".prototype");
        let owner = receiver::type_name(text.trim_matches(['(', ')']))?;
        let owner = last(&owner);
        // These stand for the module, or for nothing that has a name.
        (!["exports", "module", "this", "self", "window"].contains(&owner))
            .then(|| owner.to_owned())
    }

    fn used(&mut self, found: &Match<'_>, kind: Use, node: Node<'_>, pattern: usize) {
        let Some(name) = self.name(node) else { return };
        let receiver = match found.receiver {
            Some(receiver) => Some(self.chain(receiver)),
            None => self.chain_before(node.start_byte()),
        };
        let receiver = receiver.map(|receiver| self.names.id(&receiver));
        let point = node.start_position();
        self.outline.reference(
            kind,
            name,
            receiver,
            node.start_byte() as u32,
            (point.row as u32 + 1, point.column as u32),
            pattern,
        );
    }

    /// What stands before a name in a form of the [`receiver`]; `?` if it has none.
    fn chain(&self, node: Node<'_>) -> String {
        receiver::chain(&self.words(node)).unwrap_or_else(|| "?".to_owned())
    }

    /// The same where there is no tree, as in what a Rust macro is given.
    fn chain_before(&self, byte: usize) -> Option<String> {
        if self.language != Language::Rust {
            return None;
        }
        let before = &self.text[byte.saturating_sub(80)..byte];
        let is_part = |b: &u8| b.is_ascii_alphanumeric() || b"_.:".contains(b);
        let length = before.iter().rev().take_while(|b| is_part(b)).count();
        let text = std::str::from_utf8(&before[before.len() - length..]).ok()?;
        let text = text.strip_suffix("::").or_else(|| text.strip_suffix('.'))?;
        if text.is_empty() || text.ends_with('.') {
            return (!text.ends_with('.')).then(|| "?".to_owned());
        }
        receiver::chain(text)
    }

    fn local(&mut self, found: &Match<'_>, node: Node<'_>) {
        let Some(name) = self.name(node) else { return };
        let type_name = found
            .type_name
            .and_then(|node| receiver::type_name(&self.words(node)));
        let type_name = type_name.map(|name| self.names.id(&name));
        let value = found
            .value
            .and_then(|node| receiver::chain(&self.words(node)));
        let value = value.map(|value| self.names.id(&value));
        self.outline
            .local(name, type_name, value, node.start_byte() as u32);
    }

    fn type_of(&mut self, found: &Match<'_>) -> Option<NameId> {
        let written = found
            .type_name
            .and_then(|node| receiver::type_name(&self.words(node)));
        let name = written.or_else(|| {
            let value = found
                .value
                .and_then(|node| receiver::chain(&self.words(node)))?;
            // What is made by a type's constructor is of that type.
            let name = value.strip_suffix("()")?;
            let of_type = last(name).starts_with(|c: char| c.is_uppercase());
            of_type.then(|| name.to_owned())
        })?;
        Some(self.names.id(&name))
    }

    fn import(&mut self, found: &Match<'_>, node: Node<'_>) {
        let module = self.words(node);
        let module = module
            .trim_matches(['"', '`', '\'', '<', '>'])
            .replace(' ', "");
        let mut module = &*module;
        let mut name = found.import_name.and_then(|node| self.name(node));
        // Java imports a name by one path.
        if self.language == Language::Java
            && !found.is_wildcard
            && let Some((package, class)) = module.rsplit_once('.')
        {
            name = Some(self.names.id(class));
            module = package;
        }
        if found.is_default {
            name = Some(self.names.id("default"));
        }
        let import = Import {
            module: self.names.id(module),
            name,
            alias: found.import_alias.and_then(|node| self.name(node)),
            is_wildcard: found.is_wildcard || self.language.family() == Language::C,
            line: node.start_position().row as u32 + 1,
        };
        if !self.imports.contains(&import) {
            self.imports.push(import);
        }
    }

    fn use_tree(&mut self, node: Node<'_>) {
        for used in use_tree::expand(&self.words(node)) {
            let import = Import {
                module: self.names.id(&used.module),
                name: used.name.map(|name| self.names.id(&name)),
                alias: used.alias.map(|alias| self.names.id(&alias)),
                is_wildcard: used.is_wildcard,
                line: node.start_position().row as u32 + 1,
            };
            self.imports.push(import);
        }
    }

    fn finish(mut self) -> Facts {
        let outline = std::mem::take(&mut self.outline);
        let parts = outline.finish(self.language, self.text, &mut self.names);
        // `import a.b` within Java says a whole package when a wildcard follows.
        let wild: HashSet<(NameId, u32)> = self
            .imports
            .iter()
            .filter(|import| import.is_wildcard)
            .map(|import| (import.module, import.line))
            .collect();
        let names = &mut self.names;
        if self.language == Language::Java {
            self.imports.retain(|import| {
                let Some(name) = import.name else { return true };
                let module = &names.list[import.module as usize];
                let whole = format!("{module}.{}", names.list[name as usize]);
                let whole = names.ids.get(&whole);
                whole.is_none_or(|whole| !wild.contains(&(*whole, import.line)))
            });
        }
        Facts {
            package: self.package,
            definitions: parts.definitions,
            references: parts.references,
            locals: parts.locals,
            imports: self.imports,
            names: self.names.list,
            ..Facts::default()
        }
    }

    fn name(&mut self, node: Node<'_>) -> Option<NameId> {
        let bytes = &self.text[node.byte_range()];
        if bytes.is_empty() || bytes.len() > NAME_MAX {
            return None;
        }
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_matches(['"', '\'', '`']);
        (!text.is_empty()).then(|| self.names.id(text))
    }

    fn words(&self, node: Node<'_>) -> std::borrow::Cow<'a, str> {
        let range = node.byte_range();
        let end = range.end.min(range.start + 4096);
        String::from_utf8_lossy(&self.text[range.start..end])
    }
}

fn aside(node: Node<'_>, is_comment: bool) -> Aside {
    Aside {
        range: node.byte_range(),
        start_line: node.start_position().row as u32,
        // A line comment may hold the line break that ends it.
        end_line: end_line(node) - 1,
        is_comment,
    }
}

/// The last line of a node, from 1.
fn end_line(node: Node<'_>) -> u32 {
    let end = node.end_position();
    let row = end.row as u32;
    if end.column == 0 && row > node.start_position().row as u32 {
        row
    } else {
        row + 1
    }
}

/// The first words of a text on one line.
fn signature(text: &[u8]) -> String {
    const LENGTH_MAX: usize = 200;
    let text = String::from_utf8_lossy(&text[..text.len().min(2 * LENGTH_MAX)]);
    let lines = text.lines().map(str::trim);
    // Annotations stand before the head.
    let lines = lines.skip_while(|line| line.starts_with('@') || line.starts_with('['));
    let mut head = String::new();
    for word in lines.flat_map(str::split_whitespace) {
        if !head.is_empty() {
            head.push(' ');
        }
        head.push_str(word);
        if head.len() > LENGTH_MAX {
            break;
        }
    }
    let cut = head
        .char_indices()
        .nth(LENGTH_MAX)
        .map_or(head.len(), |(at, _)| at);
    head.truncate(cut);
    let end = head.trim_end_matches(['{', ' ', ';', ':', '=']).len();
    head.truncate(end);
    head
}

/// The last part of a path.
pub(super) fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// The text of a range, for documentation.
pub(super) fn slice(text: &[u8], range: &Range<usize>) -> String {
    String::from_utf8_lossy(text.get(range.clone()).unwrap_or_default()).into_owned()
}
