//! The grammar and the query of each language, made when first used.

use std::sync::OnceLock;

use tree_sitter::Query;

use crate::facts::Kind;
use crate::language::Language;

/// What is needed to read one language.
pub(super) struct Grammar {
    pub(super) language: tree_sitter::Language,
    pub(super) query: Query,
    /// What each capture of the query means, by its index.
    pub(super) roles: Vec<Role>,
}

/// What a capture means; see `queries/README.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Definition(Kind),
    Scope,
    Name,
    Type,
    Value,
    Owner,
    Receiver,
    Call,
    Macro,
    TypeUse,
    Inherit,
    ValueUse,
    Local,
    ImportModule,
    ImportName,
    ImportDefault,
    ImportAlias,
    ImportWildcard,
    UseTree,
    Package,
    Comment,
    Attribute,
    Docstring,
    /// Only for a condition within the query.
    Condition,
}

impl Role {
    fn of(capture: &str) -> Option<Self> {
        if let Some(kind) = capture.strip_prefix("def.") {
            return Kind::from_name(kind).map(Self::Definition);
        }
        Some(match capture {
            "scope" => Self::Scope,
            "name" => Self::Name,
            "type" => Self::Type,
            "value" => Self::Value,
            "owner" => Self::Owner,
            "receiver" => Self::Receiver,
            "call" => Self::Call,
            "macro" => Self::Macro,
            "type_use" => Self::TypeUse,
            "inherit" => Self::Inherit,
            "value_use" => Self::ValueUse,
            "local" => Self::Local,
            "import.module" => Self::ImportModule,
            "import.name" => Self::ImportName,
            "import.default" => Self::ImportDefault,
            "import.alias" => Self::ImportAlias,
            "import.wildcard" => Self::ImportWildcard,
            "use_tree" => Self::UseTree,
            "package" => Self::Package,
            "comment" => Self::Comment,
            "attribute" => Self::Attribute,
            "docstring" => Self::Docstring,
            capture if capture.starts_with('_') => Self::Condition,
            _ => return None,
        })
    }
}

macro_rules! queries {
    ($($file:literal)*) => { concat!($(include_str!(concat!("../../queries/", $file, ".scm"))),*) };
}

/// The grammar of a language.
pub(super) fn of(language: Language) -> &'static Grammar {
    static GRAMMARS: [OnceLock<Grammar>; Language::ALL.len()] =
        [const { OnceLock::new() }; Language::ALL.len()];
    GRAMMARS[language as usize].get_or_init(|| make(language))
}

fn make(language: Language) -> Grammar {
    let (language, query) = source(language);
    let language = tree_sitter::Language::new(language);
    let query = Query::new(&language, query).unwrap_or_else(|error| {
        // Every query is compiled by a test.
        panic!("a query does not fit its grammar: {error}")
    });
    let roles = query
        .capture_names()
        .iter()
        .map(|name| Role::of(name).unwrap_or_else(|| panic!("unknown capture `@{name}`")))
        .collect();
    Grammar {
        language,
        query,
        roles,
    }
}

fn source(language: Language) -> (tree_sitter_language::LanguageFn, &'static str) {
    match language {
        Language::Rust => (tree_sitter_rust::LANGUAGE, queries!("rust")),
        Language::Python => (tree_sitter_python::LANGUAGE, queries!("python")),
        Language::TypeScript => (
            tree_sitter_typescript::LANGUAGE_TYPESCRIPT,
            queries!("typescript" "javascript"),
        ),
        Language::Tsx => (
            tree_sitter_typescript::LANGUAGE_TSX,
            queries!("typescript" "javascript" "jsx"),
        ),
        Language::JavaScript => (
            tree_sitter_javascript::LANGUAGE,
            queries!("javascript" "javascript_only" "jsx"),
        ),
        Language::Go => (tree_sitter_go::LANGUAGE, queries!("go")),
        Language::Java => (tree_sitter_java::LANGUAGE, queries!("java")),
        Language::C => (tree_sitter_c::LANGUAGE, queries!("c")),
        Language::Cpp => (tree_sitter_cpp::LANGUAGE, queries!("cpp" "c")),
        Language::CSharp => (tree_sitter_c_sharp::LANGUAGE, queries!("csharp")),
        Language::Ruby => (tree_sitter_ruby::LANGUAGE, queries!("ruby")),
        Language::Php => (tree_sitter_php::LANGUAGE_PHP, queries!("php")),
        Language::Kotlin => (tree_sitter_kotlin_ng::LANGUAGE, queries!("kotlin")),
        Language::Swift => (tree_sitter_swift::LANGUAGE, queries!("swift")),
        Language::Dart => (tree_sitter_dart::LANGUAGE, queries!("dart")),
        Language::Bash => (tree_sitter_bash::LANGUAGE, queries!("bash")),
        Language::Sql => (tree_sitter_sequel::LANGUAGE, queries!("sql")),
        Language::Html => (tree_sitter_html::LANGUAGE, queries!("html")),
        Language::Css => (tree_sitter_css::LANGUAGE, queries!("css")),
        Language::Json => (tree_sitter_json::LANGUAGE, queries!("json")),
        Language::Yaml => (tree_sitter_yaml::LANGUAGE, queries!("yaml")),
        Language::Toml => (tree_sitter_toml_ng::LANGUAGE, queries!("toml")),
        Language::Markdown => (tree_sitter_md::LANGUAGE, queries!("markdown")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_fits_its_grammar() {
        for language in Language::ALL {
            let (grammar, query) = source(*language);
            let grammar = tree_sitter::Language::new(grammar);
            let query = Query::new(&grammar, query);
            let query = query.unwrap_or_else(|error| panic!("{language}: {error}"));
            for name in query.capture_names() {
                assert!(Role::of(name).is_some(), "{language}: @{name}");
            }
        }
    }
}
