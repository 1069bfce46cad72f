//! Takes secret values out of an output stream.
//!
//! Every byte that belongs to an occurrence of a secret is taken out, and each run of overlapping
//! occurrences is replaced by one `[redacted]`; so the longest match wins, and two secrets that
//! overlap leave no remains of either. Occurrences may be split over any number of pushes.
//!
//! What is looked for:
//! - each secret without its trailing line breaks, at least 4 bytes;
//! - a secret of several lines also with the `\r\n` of a terminal, and each of its lines alone, if
//!   it has at least 8 bytes between its white space.
//!
//! Text that may be the start of a secret is held back until more output decides. A caller that
//! wants a prompt to appear gives it out with [`Redactor::flush`]. What was given out stays known:
//! if it turns out to be the start of a secret, the rest of the secret is redacted. More than half
//! of a secret is never given out by a flush, nor at the end of the stream, so a secret that comes
//! in drops or is cut off by a kill does not leak either.
//!
//! Deliberately absent: encoded forms of a secret (base64, URL escapes), and a secret broken by
//! inserted bytes such as terminal colors.

use std::fmt;
use std::mem;
use std::ops::Range;

use memchr::memchr_iter;
use memchr::memmem::Finder;

const MARK: &[u8] = b"[redacted]";
const SECRET_MIN: usize = 4;
const LINE_MIN: usize = 8;

/// Why a set of secrets is refused.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// A short secret would occur everywhere and shred the output.
    #[error("secret {index} has {len} bytes; fewer than {SECRET_MIN} cannot be redacted")]
    TooShort {
        /// Which of the secrets, counted from 0.
        index: usize,
        /// Its length in bytes.
        len: usize,
    },
}

/// Replaces secrets in one stream. Two streams need two, made by `clone`.
#[derive(Clone)]
pub struct Redactor {
    patterns: Vec<Finder<'static>>,
    /// The end of the stream so far that may be the start of a secret.
    held: Vec<u8>,
    /// How much of `held` was already given out, as text or as a mark.
    given: usize,
    /// How much of `held` belongs to the run of occurrences that has the latest mark.
    marked: usize,
    /// How much of `held` a flush may have given out.
    flushable: usize,
}

impl Redactor {
    /// Prepares to look for `secrets`.
    ///
    /// # Errors
    ///
    /// [`RedactError::TooShort`] for a secret of fewer than 4 bytes.
    pub fn new(secrets: Vec<Vec<u8>>) -> Result<Self, RedactError> {
        let mut patterns = Vec::new();
        for (index, secret) in secrets.into_iter().enumerate() {
            let secret = trim_line_breaks(&secret);
            if secret.len() < SECRET_MIN {
                return Err(RedactError::TooShort {
                    index,
                    len: secret.len(),
                });
            }
            add_patterns(secret, &mut patterns);
        }
        patterns.sort_unstable();
        patterns.dedup();
        let patterns = patterns
            .iter()
            .map(|pattern| Finder::new(pattern).into_owned())
            .collect();
        Ok(Self {
            patterns,
            held: Vec::new(),
            given: 0,
            marked: 0,
            flushable: 0,
        })
    }

    /// Whether there is nothing to look for, so that the stream need not pass through here.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Takes the next piece of the stream and appends to `out` what is decided.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        // Most of the time nothing is held, and the input need not be copied to be searched.
        let mut held = mem::take(&mut self.held);
        if held.is_empty() {
            let keep_from = self.push_text(input, out);
            held.extend_from_slice(&input[keep_from..]);
        } else {
            held.extend_from_slice(input);
            let keep_from = self.push_text(&held, out);
            held.drain(..keep_from);
        }
        self.held = held;
    }

    /// Bytes that [`Redactor::flush`] would decide about now. Zero right after it.
    pub fn pending(&self) -> usize {
        self.flushable.saturating_sub(self.given)
    }

    /// Gives out held text for a reader who waits for it, such as a prompt.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        let held = mem::take(&mut self.held);
        self.give(&held, self.flushable, &self.occurrences(&held), out);
        self.held = held;
    }

    /// Ends the stream: gives out or redacts everything held. The next push starts a new stream.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let held = mem::take(&mut self.held);
        let mut occurrences = self.occurrences(&held);
        let mostly_secret = self.most_of_a_secret_from(&held)..held.len();
        if !mostly_secret.is_empty() {
            occurrences.push(mostly_secret);
        }
        self.give(&held, held.len(), &merge_overlaps(occurrences), out);
        (self.given, self.marked, self.flushable) = (0, 0, 0);
    }

    /// Gives out the start of `text` that is decided and returns its length.
    fn push_text(&mut self, text: &[u8], out: &mut Vec<u8>) -> usize {
        let keep_from = self.start_of_a_secret_from(text);
        self.give(text, keep_from, &self.occurrences(text), out);
        self.given -= keep_from;
        self.marked = self.marked.saturating_sub(keep_from);
        self.flushable = self.most_of_a_secret_from(text) - keep_from;
        keep_from
    }

    /// Gives out `text` up to `end`, with a mark for each run of occurrences that begins there.
    fn give(&mut self, text: &[u8], end: usize, occurrences: &[Range<usize>], out: &mut Vec<u8>) {
        let mut at = self.given.max(self.marked.min(end));
        for occurrence in occurrences
            .iter()
            .take_while(|occurrence| occurrence.start < end)
        {
            if occurrence.end <= at {
                continue;
            }
            // The mark of an overlapping occurrence stands for this one too, unless text was given
            // out after it.
            let has_mark = occurrence.start < self.marked && at <= self.marked;
            if !has_mark {
                out.extend_from_slice(text.get(at..occurrence.start).unwrap_or_default());
                out.extend_from_slice(MARK);
            }
            self.marked = occurrence.end;
            at = at.max(occurrence.end.min(end));
        }
        out.extend_from_slice(text.get(at..end).unwrap_or_default());
        self.given = at.max(end);
    }

    /// Runs of overlapping occurrences, in order.
    fn occurrences(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        for pattern in &self.patterns {
            let len = pattern.needle().len();
            let mut from = 0;
            while let Some(at) = pattern.find(&text[from..]) {
                let start = from + at;
                match found.last_mut() {
                    // A long run of one secret, such as `aaaa` in many `a`, stays one entry.
                    Some(run) if run.contains(&start) => run.end = run.end.max(start + len),
                    Some(_) | None => found.push(start..start + len),
                }
                // An occurrence may overlap the next one of the same secret.
                from = start + 1;
            }
        }
        merge_overlaps(found)
    }

    /// Where the longest end of `text` begins that may become a secret.
    fn start_of_a_secret_from(&self, text: &[u8]) -> usize {
        let starts = self
            .patterns
            .iter()
            .map(|pattern| beginning_at_end(text, pattern.needle(), 1));
        starts.min().unwrap_or(text.len())
    }

    /// Where the longest end of `text` begins that is more than half of a secret.
    fn most_of_a_secret_from(&self, text: &[u8]) -> usize {
        let starts = self.patterns.iter().map(|pattern| {
            let secret = pattern.needle();
            beginning_at_end(text, secret, secret.len() / 2 + 1)
        });
        starts.min().unwrap_or(text.len())
    }
}

impl fmt::Debug for Redactor {
    /// Tells nothing of the secrets, nor of held text, which may be one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("pending", &self.pending())
            .finish_non_exhaustive()
    }
}

fn add_patterns(secret: &[u8], patterns: &mut Vec<Vec<u8>>) {
    patterns.push(secret.to_vec());
    let lines: Vec<&[u8]> = secret
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .collect();
    if lines.len() > 1 {
        patterns.push(lines.join(&b"\n"[..]));
        patterns.push(lines.join(&b"\r\n"[..]));
        let lines = lines.iter().map(|line| line.trim_ascii());
        patterns.extend(
            lines
                .filter(|line| line.len() >= LINE_MIN)
                .map(<[u8]>::to_vec),
        );
    }
}

fn trim_line_breaks(mut secret: &[u8]) -> &[u8] {
    while let Some(rest) = secret
        .strip_suffix(b"\n")
        .or_else(|| secret.strip_suffix(b"\r"))
    {
        secret = rest;
    }
    secret
}

/// Where the longest end of `text` begins that `secret` begins with, `len_min` bytes or more but not
/// all of it. The length of `text` if there is none.
fn beginning_at_end(text: &[u8], secret: &[u8], len_min: usize) -> usize {
    let from = text.len().saturating_sub(secret.len() - 1);
    memchr_iter(secret[0], &text[from..])
        .map(|at| from + at)
        .take_while(|start| text.len() - start >= len_min)
        .find(|&start| secret.starts_with(&text[start..]))
        .unwrap_or(text.len())
}

fn merge_overlaps(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, merged| {
        let overlaps = next.start < merged.end;
        if overlaps {
            merged.end = merged.end.max(next.end);
        }
        overlaps
    });
    ranges
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        Redactor::new(
            secrets
                .iter()
                .map(|secret| secret.as_bytes().to_vec())
                .collect(),
        )
        .unwrap()
    }

    fn redact(secrets: &[&str], pieces: &[&str]) -> String {
        let (mut redactor, mut out) = (redactor(secrets), Vec::new());
        for piece in pieces {
            redactor.push(piece.as_bytes(), &mut out);
        }
        redactor.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// The rule in its plainest form: mark the bytes, then replace the runs.
    fn redact_plainly(secrets: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
        let mut ranges = Vec::new();
        for secret in secrets {
            for start in 0..text.len() {
                let rest = &text[start..];
                let tail = secret.starts_with(rest) && rest.len() > secret.len() / 2;
                if rest.starts_with(secret) || tail {
                    ranges.push((start, (start + secret.len()).min(text.len())));
                }
            }
        }
        ranges.sort_unstable();
        let (mut out, mut at) = (Vec::new(), 0);
        for (start, end) in ranges {
            if start >= at {
                out.extend_from_slice(&text[at..start]);
                out.extend_from_slice(MARK);
            }
            at = at.max(end);
        }
        out.extend_from_slice(&text[at..]);
        out
    }

    fn contains(text: &[u8], part: &[u8]) -> bool {
        text.windows(part.len()).any(|window| window == part)
    }

    /// Few letters, none of them in the mark, so that matches overlap in every possible way.
    fn any_secret() -> impl Strategy<Value = Vec<u8>> {
        vec(
            prop_oneof![3 => Just(b'x'), 2 => Just(b'y'), 1 => Just(b'z')],
            4..10,
        )
    }

    /// Secrets and a stream made of them, of parts of them, and of other text.
    fn any_stream() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<Vec<u8>>)> {
        vec(any_secret(), 1..4).prop_flat_map(|secrets| {
            let piece = (any::<prop::sample::Selector>(), 0..10_usize, 0..10_usize);
            let known = secrets.clone();
            let piece = piece.prop_map(move |(selector, from, to)| {
                let secret = selector.select(&known);
                let to = to.min(secret.len());
                secret[from.min(to)..to].to_vec()
            });
            (
                Just(secrets),
                vec(prop_oneof![3 => piece, 1 => vec(b'w'..=b'z', 0..6)], 0..24),
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_chunking_gives_the_same_and_no_secret((secrets, pieces) in any_stream()) {
            let mut redactor = Redactor::new(secrets.clone()).unwrap();
            let mut out = Vec::new();
            for piece in &pieces {
                redactor.push(piece, &mut out);
            }
            redactor.finish(&mut out);

            prop_assert_eq!(&out, &redact_plainly(&secrets, &pieces.concat()));
            for secret in &secrets {
                prop_assert!(!contains(&out, secret));
            }
        }

        #[test]
        fn only_what_may_become_a_secret_is_held((secrets, pieces) in any_stream()) {
            let mut redactor = Redactor::new(secrets.clone()).unwrap();
            let mut seen = Vec::new();
            for piece in &pieces {
                redactor.push(piece, &mut Vec::new());
                seen.extend_from_slice(piece);
                let longest = (0..=seen.len()).find(|&start| {
                    let end = &seen[start..];
                    secrets.iter().any(|secret| secret.len() > end.len() && secret.starts_with(end))
                });
                prop_assert_eq!(&redactor.held, &seen[longest.unwrap()..]);
            }
        }

        #[test]
        fn flushes_never_leak_a_secret(
            (secrets, pieces) in any_stream(),
            flushes in vec(any::<bool>(), 24),
        ) {
            let mut redactor = Redactor::new(secrets.clone()).unwrap();
            let mut out = Vec::new();
            for (piece, flush) in pieces.iter().zip(flushes) {
                redactor.push(piece, &mut out);
                if flush {
                    redactor.flush(&mut out);
                    prop_assert_eq!(redactor.pending(), 0);
                }
            }
            redactor.finish(&mut out);

            for secret in &secrets {
                prop_assert!(!contains(&out, secret));
            }
            // Text between marks is text of the stream, in order.
            let text = pieces.concat();
            let mut from = 0;
            for kept in String::from_utf8(out).unwrap().split("[redacted]") {
                let at = text[from..].windows(kept.len().max(1)).position(|w| w == kept.as_bytes());
                prop_assert!(kept.is_empty() || at.is_some());
                from += at.map_or(0, |at| at + kept.len());
            }
        }
    }

    #[test]
    fn secrets_are_replaced_across_pushes() {
        let secrets = ["hunter2!", "hunter2!-long"];
        assert_eq!(
            redact(&secrets, &["my hun", "ter", "2! ok"]),
            "my [redacted] ok"
        );
        assert_eq!(redact(&secrets, &["hunter2!", "-long"]), "[redacted]");
        assert_eq!(
            redact(&secrets, &["hunter2!", "-lon", "e"]),
            "[redacted]-lone"
        );
        assert_eq!(
            redact(&secrets, &["hunter2!hunter2!"]),
            "[redacted][redacted]"
        );
        assert_eq!(redact(&secrets, &["hunt"]), "hunt");
        assert_eq!(
            redact(&secrets, &["cut off in hunter"]),
            "cut off in [redacted]"
        );
    }

    #[test]
    fn overlapping_secrets_leave_no_remains() {
        assert_eq!(
            redact(&["abcdef", "defghi"], &["<abcdefghi>"]),
            "<[redacted]>"
        );
        assert_eq!(redact(&["aaaa"], &["aaaaa", "a b"]), "[redacted] b");
    }

    #[test]
    fn a_flush_inside_a_longer_secret_gets_its_own_mark() {
        let (mut redactor, mut out) = (redactor(&["bcde", "abcdefghijklmnop"]), Vec::new());
        redactor.push(b"abcdef", &mut out);
        redactor.flush(&mut out);
        assert_eq!(out, b"a[redacted]f");
        redactor.push(b"ghijklmnop.", &mut out);
        assert_eq!(out, b"a[redacted]f[redacted].");
    }

    #[test]
    fn lines_of_a_secret_are_secrets() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n}\n-----END KEY-----\n";
        assert_eq!(redact(&[key], &[key]), "[redacted]\n");
        assert_eq!(
            redact(&[key], &[&key.replace('\n', "\r\n")]),
            "[redacted]\r\n"
        );
        assert_eq!(redact(&[key], &["{ MIIEvQIBADANBg }"]), "{ [redacted] }");
    }

    #[test]
    fn a_flush_shows_a_prompt_but_not_most_of_a_secret() {
        let (mut redactor, mut out) = (redactor(&["password: 1234"]), Vec::new());
        redactor.push(b"> pass", &mut out);
        assert_eq!((out.as_slice(), redactor.pending()), (&b"> "[..], 4));
        redactor.flush(&mut out);
        assert_eq!((out.as_slice(), redactor.pending()), (&b"> pass"[..], 0));
        redactor.push(b"word: 1", &mut out);
        assert_eq!(redactor.pending(), 0, "most of a secret waits");
        redactor.flush(&mut out);
        assert_eq!(out, b"> pass");
        let mut other = redactor.clone();
        redactor.push(b"234\n", &mut out);
        assert_eq!(out, b"> pass[redacted]\n");

        let mut out = b"> pass".to_vec();
        other.push(b"99\n", &mut out);
        assert_eq!(out, b"> password: 199\n");
    }

    #[test]
    fn short_secrets_are_refused() {
        let refused = |secret: &str| Redactor::new(vec![b"long enough".to_vec(), secret.into()]);
        for secret in ["", "abc", "abc\n\n"] {
            let error = refused(secret).unwrap_err();
            assert!(
                matches!(
                    error,
                    RedactError::TooShort {
                        index: 1,
                        len: 0 | 3
                    }
                ),
                "{error:?}"
            );
        }
        assert!(refused("abcd").is_ok());
    }

    #[test]
    fn no_secrets_cost_nothing() {
        let mut redactor = redactor(&[]);
        let mut out = Vec::new();
        redactor.push(b"text", &mut out);
        assert!(redactor.is_empty());
        assert_eq!(out, b"text");
    }

    #[test]
    fn debug_output_tells_no_secret() {
        let mut redactor = redactor(&["hunter2!"]);
        redactor.push(b"hunt", &mut Vec::new());
        assert!(!format!("{redactor:?}").contains("hunt"));
    }
}
