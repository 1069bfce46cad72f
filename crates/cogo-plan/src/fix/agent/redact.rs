//! Keeps secrets out of what an agent gets.

use std::sync::LazyLock;

use regex::Regex;

/// What takes the place of a secret.
const REDACTED: &str = "[redacted]";

static SECRETS: LazyLock<Regex> = LazyLock::new(|| {
    let patterns = [
        // A private key in text form.
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
        // Keys of well-known services, by their beginnings.
        r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
        r"\bgh[pousr]_[A-Za-z0-9]{20,}",
        r"\bgithub_pat_[A-Za-z0-9_]{20,}",
        r"\bglpat-[A-Za-z0-9_-]{16,}",
        r"\bsk-[A-Za-z0-9_-]{16,}",
        r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
        r"\bAIza[0-9A-Za-z_-]{30,}",
        r"\bnpm_[A-Za-z0-9]{30,}",
        r"\bpypi-[A-Za-z0-9_-]{30,}",
        // A token of three parts, as sessions have them.
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
        r"(?i)\bbearer [A-Za-z0-9._~+/-]{16,}=*",
        // A user's password in an address.
        r"://[^/\s:@]+:[^/\s@]+@",
    ];
    Regex::new(&patterns.join("|")).expect("the patterns are sound")
});

/// A value that its name calls secret.
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    let name =
        r"(?:password|passwd|secret|api[_-]?key|access[_-]?key|auth[_-]?token|private[_-]?key)";
    let pattern = format!(r#"(?i)({name}["']?\s*[:=]\s*["'`])([^"'`\n]{{4,}})(["'`])"#);
    Regex::new(&pattern).expect("the pattern is sound")
});

/// Finds secrets by what they look like, and by what they are.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    known: Vec<String>,
}

impl Redactor {
    /// One that also knows these values.
    pub fn knowing(values: impl IntoIterator<Item = String>) -> Self {
        let known = values.into_iter().filter(|value| value.len() >= 4);
        Self {
            known: known.collect(),
        }
    }

    /// The text without secrets.
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in &self.known {
            text = text.replace(value, REDACTED);
        }
        let text = SECRETS.replace_all(&text, REDACTED);
        NAMED
            .replace_all(&text, format!("${{1}}{REDACTED}${{3}}"))
            .into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_and_code_stays() {
        let redactor = Redactor::knowing(["hunter22".to_owned()]);
        let cases = [
            ("x = \"AKIAIOSFODNN7EXAMPLE\"", "x = \"[redacted]\""),
            (
                "const password = 'abcd1234';",
                "const password = '[redacted]';",
            ),
            ("let p = hunter22;", "let p = [redacted];"),
            (
                "fn password(text: &str) -> bool",
                "fn password(text: &str) -> bool",
            ),
            ("token = next_token();", "token = next_token();"),
            ("postgres://u:pw@host/db", "postgres[redacted]host/db"),
            ("-----BEGIN RSA PRIVATE KEY-----\nabc", "[redacted]"),
        ];
        for (text, expected) in cases {
            assert_eq!(redactor.redact(text), expected);
        }
    }
}
