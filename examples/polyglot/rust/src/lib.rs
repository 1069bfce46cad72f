//! Shell-like wildcards: `*` matches any run of characters, `?` exactly one, `\` takes the next
//! character as it is.

/// One element of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    AnyRun,
    AnyOne,
    Literal(char),
}

/// Whether `pattern` matches the whole of `text`.
///
/// Only the last `*` is ever tried again, so the time is bounded by the product of both lengths.
pub fn matches(pattern: &str, text: &str) -> bool {
    let tokens = tokens(pattern);
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut read) = (0, 0);
    let mut retry = None;
    while read < text.len() {
        match tokens.get(at) {
            Some(Token::AnyRun) => {
                retry = Some((at + 1, read));
                at += 1;
            }
            Some(token) if token.accepts(text[read]) => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((after_run, run_end)) = retry else {
                    return false;
                };
                retry = Some((after_run, run_end + 1));
                (at, read) = (after_run, run_end + 1);
            }
        }
    }
    tokens[at..].iter().all(|token| *token == Token::AnyRun)
}

impl Token {
    fn accepts(self, character: char) -> bool {
        match self {
            Self::AnyRun => false,
            Self::AnyOne => true,
            Self::Literal(literal) => literal == character,
        }
    }
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut characters = pattern.chars();
    let mut tokens = Vec::new();
    while let Some(character) = characters.next() {
        tokens.push(match character {
            '*' => Token::AnyRun,
            '?' => Token::AnyOne,
            // A backslash at the end stands for itself.
            '\\' => Token::Literal(characters.next().unwrap_or('\\')),
            other => Token::Literal(other),
        });
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backslash_takes_the_next_character_as_it_is() {
        assert_eq!(tokens(r"a\*"), [Token::Literal('a'), Token::Literal('*')]);
    }

    #[test]
    fn backslash_at_the_end_stands_for_itself() {
        assert_eq!(tokens(r"\"), [Token::Literal('\\')]);
    }
}
