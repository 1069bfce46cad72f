//! Words in code: identifiers are taken apart, so that `parseHttpRequest` is found by `http`.

/// Words that say nothing in a question about code.
const STOP_WORDS: [&str; 36] = [
    "a", "an", "and", "are", "as", "at", "be", "by", "can", "do", "does", "for", "from", "how",
    "if", "in", "into", "is", "it", "its", "of", "on", "or", "that", "the", "this", "to", "was",
    "we", "what", "when", "where", "which", "who", "will", "with",
];

/// Longest run of letters that is a word. Longer ones are data.
const WORD_BYTES_MAX: usize = 64;

/// The parts of an identifier in lower case: at `_`, where capitals begin, and at digits.
///
/// `HTTPServer2` has the parts `http`, `server` and `2`.
pub fn split_identifier(identifier: &str) -> Vec<String> {
    let characters: Vec<char> = identifier.chars().collect();
    let mut parts = Vec::new();
    let mut part = String::new();
    for (at, &character) in characters.iter().enumerate() {
        if begins_part(&characters, at) && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
        }
        if character.is_alphanumeric() {
            part.extend(character.to_lowercase());
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

fn begins_part(characters: &[char], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|at| characters[at]) else {
        return false;
    };
    let here = characters[at];
    if !here.is_alphanumeric() || here.is_numeric() != before.is_numeric() {
        return true;
    }
    let lower_follows = characters.get(at + 1).is_some_and(|c| c.is_lowercase());
    here.is_uppercase() && (before.is_lowercase() || lower_follows)
}

/// All words of a text: identifiers as they are, followed by their parts where they have several.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for identifier in identifiers(text) {
        let parts = split_identifier(identifier);
        if parts.len() > 1 {
            let joined: String = parts.concat();
            words.push(joined);
        }
        words.extend(parts);
    }
    words
}

/// The words of a question, without those that say nothing, unless it has no others.
pub(crate) fn query_words(query: &str) -> Vec<String> {
    let mut all = words(query);
    all.dedup();
    let told: Vec<String> = all
        .iter()
        .filter(|word| !STOP_WORDS.contains(&word.as_str()))
        .cloned()
        .collect();
    if told.is_empty() { all } else { told }
}

/// A text as a language model reads it best: identifiers in parts, the punctuation of code gone.
pub fn embeddable(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for identifier in identifiers(text) {
        for part in split_identifier(identifier) {
            plain.push_str(&part);
            plain.push(' ');
        }
    }
    plain
}

fn identifiers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty() && word.len() <= WORD_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_taken_apart() {
        let cases = [
            ("parseHttpRequest", "parse http request"),
            ("parse_http_request", "parse http request"),
            ("HTTPServer2", "http server 2"),
            ("__init__", "init"),
            ("sha256sum", "sha 256 sum"),
            ("ÜberGröße", "über größe"),
            ("x", "x"),
        ];
        for (identifier, parts) in cases {
            assert_eq!(split_identifier(identifier).join(" "), parts);
        }
    }

    #[test]
    fn an_identifier_is_found_whole_and_in_parts() {
        assert_eq!(words("openFile(x)").join(" "), "openfile open file x");
    }

    #[test]
    fn a_question_keeps_what_it_asks_for() {
        assert_eq!(
            query_words("where is the lease renewed?"),
            ["lease", "renewed"]
        );
        assert_eq!(query_words("what is this"), ["what", "is", "this"]);
        assert!(query_words("?!").is_empty());
    }
}
