//! What is found in one content, whatever file has it: the unit that is kept by blob id.

use serde::{Deserialize, Serialize};

/// Counted up when the same content would give other facts.
pub const REVISION: u8 = 2;

/// An index into [`Facts::names`].
pub type NameId = u32;

/// All that parsing found in one content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Every name that the rest refers to, each once.
    pub names: Vec<String>,
    /// How many lines it has.
    pub lines: u32,
    /// The package it says to be in, as in Go, Java and PHP.
    pub package: Option<NameId>,
    /// In the order of their start.
    pub definitions: Vec<Definition>,
    /// In the order of their place.
    pub references: Vec<Reference>,
    /// What it takes from other modules.
    pub imports: Vec<Import>,
    /// Names bound inside of functions: parameters and variables.
    pub locals: Vec<Local>,
    /// Why not all of it was understood.
    pub trouble: Option<Trouble>,
}

/// Why facts are incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// Parts are not in the language.
    Syntax,
    /// It took too long; nothing of it is known.
    TimeLimit,
    /// The parser failed; nothing of it is known.
    Failure,
}

/// Something with a name that others can use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Its name.
    pub name: NameId,
    /// What it is.
    pub kind: Kind,
    /// The definition around it.
    pub parent: Option<u32>,
    /// The type it is a member of, where that is defined elsewhere: that of a Rust `impl`, or a Go
    /// receiver.
    pub owner: Option<NameId>,
    /// The line of its name, from 1.
    pub line: u32,
    /// The column of its name, in bytes from 0.
    pub column: u32,
    /// The last line of all of it.
    pub end_line: u32,
    /// Where it starts.
    pub start_byte: u32,
    /// Where it ends.
    pub end_byte: u32,
    /// Its head on one line.
    pub signature: String,
    /// What its documentation says.
    pub doc: Option<String>,
    /// What a function returns, or what a field or variable is.
    pub type_name: Option<NameId>,
    /// The types it extends or implements.
    pub bases: Vec<NameId>,
    /// Whether it can be used from outside of its module.
    pub is_exported: bool,
    /// Whether it is a test.
    pub is_test: bool,
}

macro_rules! kinds {
    ($($variant:ident $name:literal)*) => {
        /// What a definition is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum Kind {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Kind {
            /// Its name in results and in queries.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The kind with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    Function "function"
    Method "method"
    Class "class"
    Struct "struct"
    Enum "enum"
    Variant "variant"
    Union "union"
    Trait "trait"
    Interface "interface"
    Type "type"
    Module "module"
    Macro "macro"
    Constant "constant"
    Variable "variable"
    Field "field"
    Test "test"
    Table "table"
    Heading "heading"
    Key "key"
    Rule "rule"
}

impl Kind {
    /// Whether it has members.
    pub const fn is_type(self) -> bool {
        matches!(
            self,
            Self::Class
                | Self::Struct
                | Self::Enum
                | Self::Union
                | Self::Trait
                | Self::Interface
                | Self::Type
        )
    }

    /// Whether it can be called by its name.
    pub const fn is_callable(self) -> bool {
        matches!(self, Self::Function | Self::Method | Self::Macro)
    }
}

/// A place where a name is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The name.
    pub name: NameId,
    /// How it is used.
    pub kind: Use,
    /// The definition around it.
    pub scope: Option<u32>,
    /// What stands before the name, see [`crate::parse::receiver`]; `None` if nothing does.
    pub receiver: Option<NameId>,
    /// From 1.
    pub line: u32,
    /// In bytes from 0.
    pub column: u32,
}

/// How a name is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Use {
    /// Called, or made with `new`.
    Call,
    /// As a macro.
    Macro,
    /// As a type.
    Type,
    /// As a type to extend or implement.
    Inherit,
    /// As a value.
    Value,
}

/// A name, or all names, taken from another module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// The module as it is written: `os.path`, `./x`, `crate::store`.
    pub module: NameId,
    /// What of it; `None` for the module itself, or all of it.
    pub name: Option<NameId>,
    /// What it is called here, where that differs.
    pub alias: Option<NameId>,
    /// Whether all names of the module are taken.
    pub is_wildcard: bool,
    /// From 1.
    pub line: u32,
}

/// A name bound inside of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Local {
    /// The name.
    pub name: NameId,
    /// The definition it is known in.
    pub scope: Option<u32>,
    /// What it is, where that is written.
    pub type_name: Option<NameId>,
    /// What it was made from, as a receiver: `Store.open()`.
    pub value: Option<NameId>,
}

impl Facts {
    /// The text of a name.
    pub fn name(&self, id: NameId) -> &str {
        self.names.get(id as usize).map_or("", String::as_str)
    }

    /// The names of the definitions around one, outermost first, and its own.
    pub fn qualified(&self, index: usize) -> String {
        let mut parts = Vec::new();
        let mut next = Some(index);
        while let Some(index) = next {
            let definition = &self.definitions[index];
            parts.push(self.name(definition.name));
            if let Some(owner) = definition.owner {
                parts.push(self.name(owner));
            }
            next = definition.parent.map(|parent| parent as usize);
        }
        parts.reverse();
        parts.join("::")
    }
}
