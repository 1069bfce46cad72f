//! Which language a file is in: by its name, else by the interpreter its first line names.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

macro_rules! languages {
    ($($variant:ident $name:literal [$($extension:literal)*] [$($file:literal)*] [$($program:literal)*])*) => {
        /// A language whose files are parsed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum Language {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Language {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in results and in the store: lower case, without spaces.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The language with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            fn from_extension(extension: &str) -> Option<Self> {
                match extension { $($($extension)|* => Some(Self::$variant),)* _ => None }
            }

            fn from_file_name(name: &str) -> Option<Self> {
                match name { $($($file => Some(Self::$variant),)*)* _ => None }
            }

            fn from_interpreter(program: &str) -> Option<Self> {
                match program { $($($program => Some(Self::$variant),)*)* _ => None }
            }
        }
    };
}

languages! {
    Rust "rust" ["rs"] [] []
    Python "python" ["py" "pyi" "pyw"] ["SConstruct" "SConscript"] ["python" "python2" "python3"]
    TypeScript "typescript" ["ts" "mts" "cts"] [] ["deno" "ts-node" "tsx"]
    Tsx "tsx" ["tsx"] [] []
    JavaScript "javascript" ["js" "mjs" "cjs" "jsx"] ["Jakefile"] ["node" "nodejs" "bun"]
    Go "go" ["go"] [] []
    Java "java" ["java"] [] []
    C "c" ["c" "h"] [] []
    Cpp "cpp" ["cc" "cpp" "cxx" "c++" "hh" "hpp" "hxx" "h++" "ipp" "inl" "tpp"] [] []
    CSharp "csharp" ["cs"] [] []
    Ruby "ruby" ["rb" "rake" "gemspec" "ru"] ["Rakefile" "Gemfile" "Vagrantfile" "Podfile"] ["ruby"]
    Php "php" ["php" "phtml"] [] ["php"]
    Kotlin "kotlin" ["kt" "kts"] [] ["kotlin"]
    Swift "swift" ["swift"] [] ["swift"]
    Dart "dart" ["dart"] [] ["dart"]
    Bash "bash" ["sh" "bash"] [".bashrc" ".profile" "PKGBUILD"] ["sh" "bash" "dash" "ksh"]
    Sql "sql" ["sql"] [] []
    Html "html" ["html" "htm" "xhtml"] [] []
    Css "css" ["css"] [] []
    Json "json" ["json"] [".babelrc" ".eslintrc"] []
    Yaml "yaml" ["yaml" "yml"] [".clang-format"] []
    Toml "toml" ["toml"] ["Cargo.lock" "poetry.lock" "Pipfile"] []
    Markdown "markdown" ["md" "markdown"] [] []
}

impl Language {
    /// The language of a file, from its path and the start of its content.
    ///
    /// A header `*.h` is C++ where its text shows that it is.
    pub fn detect(path: &Path, start: &[u8]) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        if let Some(language) = Self::from_file_name(name) {
            return Some(language);
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("h") => Some(header(start)),
            Some(extension) => Self::from_extension(&extension.to_ascii_lowercase()),
            None => interpreter(start).and_then(Self::from_interpreter),
        }
    }

    /// Whether it has definitions that others use, rather than data or text.
    pub const fn is_code(self) -> bool {
        !matches!(
            self,
            Self::Html | Self::Css | Self::Json | Self::Yaml | Self::Toml | Self::Markdown
        )
    }

    /// Languages whose definitions this one can use are of the same family.
    #[must_use]
    pub const fn family(self) -> Self {
        match self {
            Self::Tsx | Self::JavaScript => Self::TypeScript,
            Self::Cpp => Self::C,
            Self::Kotlin => Self::Java,
            other => other,
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Tells a C++ header from a C one by words that no C header has at the start of a line.
fn header(start: &[u8]) -> Language {
    const WORDS: [&[u8]; 7] = [
        b"namespace ",
        b"template",
        b"class ",
        b"using ",
        b"public:",
        b"private:",
        b"protected:",
    ];
    let lines = start.split(|byte| *byte == b'\n');
    let is_cpp = lines
        .map(<[u8]>::trim_ascii_start)
        .any(|line| WORDS.iter().any(|word| line.starts_with(word)));
    if is_cpp { Language::Cpp } else { Language::C }
}

/// The program a `#!` line names, without its path and version.
fn interpreter(start: &[u8]) -> Option<&str> {
    let line = start.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let mut program = words.next()?.rsplit('/').next()?;
    if program == "env" {
        program = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
    }
    Some(program.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(path: &str, start: &str) -> Option<&'static str> {
        Language::detect(Path::new(path), start.as_bytes()).map(Language::name)
    }

    #[test]
    fn names_tell() {
        assert_eq!(detect("src/lib.rs", ""), Some("rust"));
        assert_eq!(detect("a/B.TSX", ""), Some("tsx"));
        assert_eq!(detect("Rakefile", ""), Some("ruby"));
        assert_eq!(detect("photo.png", ""), None);
        assert_eq!(detect("README", ""), None);
    }

    #[test]
    fn first_lines_tell() {
        assert_eq!(detect("run", "#!/usr/bin/env python3\n"), Some("python"));
        assert_eq!(
            detect("run", "#!/usr/bin/env -S node --x\n"),
            Some("javascript")
        );
        assert_eq!(detect("run", "#! /bin/sh -e\n"), Some("bash"));
        assert_eq!(detect("run", "#!/usr/bin/python3.11"), Some("python"));
        assert_eq!(detect("run", "#!"), None);
    }

    #[test]
    fn headers_are_told_apart() {
        assert_eq!(detect("a.h", "struct a { int x; };\n"), Some("c"));
        assert_eq!(detect("a.h", "#pragma once\nnamespace a {\n"), Some("cpp"));
    }

    #[test]
    fn every_name_is_read_back() {
        for language in Language::ALL {
            assert_eq!(Language::from_name(language.name()), Some(*language));
        }
    }
}
