use std::cell::Cell;

use super::*;

/// Counts letters: enough to tell near from far, and to count what is embedded.
struct Letters {
    embedded: Cell<usize>,
}

impl Embedder for Letters {
    fn name(&self) -> &'static str {
        "letters"
    }

    fn dimensions(&self) -> usize {
        26
    }

    fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, SearchError> {
        self.embedded.set(self.embedded.get() + texts.len());
        let counted = texts.iter().map(|text| {
            let mut counts = [0.0_f32; 26];
            for letter in text.bytes().filter(u8::is_ascii_lowercase) {
                counts[usize::from(letter - b'a')] += 1.0;
            }
            let norm = counts.iter().map(|x| x * x).sum::<f32>().sqrt().max(1.0);
            counts.iter().map(|x| x / norm).collect()
        });
        Ok(counted.collect())
    }
}

struct Fixture {
    directory: tempfile::TempDir,
    index: Index,
    files: Vec<(String, String)>,
    letters: Letters,
}

impl Fixture {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut fixture = Self {
            index: Index::open(directory.path()).unwrap(),
            directory,
            files: Vec::new(),
            letters: Letters {
                embedded: Cell::new(0),
            },
        };
        fixture.set(files);
        fixture
    }

    fn set(&mut self, files: &[(&str, &str)]) -> Updated {
        let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        self.files = files.iter().map(owned).collect();
        let sources: Vec<SourceFile> = self.files.iter().map(source).collect();
        let read = |path: &str| {
            let found = self.files.iter().find(|(name, _)| name == path);
            found.map(|(_, text)| text.clone())
        };
        let go_on = &mut |_| ControlFlow::Continue(());
        self.index.update(&sources, &read, go_on).unwrap()
    }

    fn embed(&mut self) -> usize {
        let before = self.letters.embedded.get();
        let go_on = &mut |_| ControlFlow::Continue(());
        let ended = self.index.embed(&self.letters, go_on).unwrap();
        assert!(ended.is_continue());
        self.letters.embedded.get() - before
    }

    fn found(&mut self, query: &str, mode: Mode) -> Vec<String> {
        let embedder: &dyn Embedder = &self.letters;
        let hits = self.index.search(query, mode, Some(embedder), 10).unwrap();
        hits.into_iter().map(|hit| hit.path).collect()
    }
}

/// Every line is a symbol of its own.
fn source((path, text): &(String, String)) -> SourceFile {
    let spans = text.lines().enumerate().map(|(at, line)| Span {
        name: line.split('(').next().unwrap_or_default().to_owned(),
        kind: "function".to_owned(),
        line: at + 1,
        end_line: at + 1,
    });
    SourceFile {
        path: path.clone(),
        stamp: text.as_bytes().to_vec(),
        spans: spans.collect(),
    }
}

#[test]
fn identifiers_are_found_by_their_parts() {
    let mut fixture = Fixture::new(&[
        ("a.py", "parseHttpRequest(socket)"),
        ("b.py", "write_log_line(line)"),
    ]);
    assert_eq!(
        fixture.found("where are requests parsed", Mode::Lexical),
        ["a.py"]
    );
    assert_eq!(fixture.found("write_log_line", Mode::Lexical), ["b.py"]);
    assert_eq!(fixture.found("NOT logs*", Mode::Lexical), ["b.py"]);
    assert!(fixture.found("absent", Mode::Lexical).is_empty());
}

#[test]
fn an_update_reads_what_changed_and_forgets_what_is_gone() {
    let mut fixture = Fixture::new(&[("a.py", "alpha()"), ("b.py", "beta()")]);
    assert_eq!(
        fixture.set(&[("a.py", "alpha()"), ("b.py", "beta()")]),
        Updated::default()
    );
    let updated = fixture.set(&[("a.py", "gamma()"), ("c.py", "beta()")]);
    assert_eq!((updated.files, updated.removed), (2, 1));
    assert!(fixture.found("alpha", Mode::Lexical).is_empty());
    assert_eq!(fixture.found("beta", Mode::Lexical), ["c.py"]);
}

#[test]
fn nothing_is_embedded_twice_even_after_a_new_version() {
    let mut fixture = Fixture::new(&[("a.py", "alpha()\nbeta()")]);
    assert_eq!(fixture.embed(), 2);
    assert_eq!(fixture.embed(), 0);
    fixture.set(&[("a.py", "beta()\nalpha()\ngamma()")]);
    assert_eq!(fixture.embed(), 1);

    let version = fixture
        .index
        .connection
        .pragma_update(None, "user_version", 99);
    version.unwrap();
    fixture.index = Index::open(fixture.directory.path()).unwrap();
    assert_eq!(fixture.set(&[("a.py", "alpha()\nbeta()")]).files, 1);
    assert_eq!(fixture.embed(), 0);
    let coverage = fixture.index.coverage("letters").unwrap();
    assert_eq!((coverage.chunks, coverage.embedded), (2, 2));
}

#[test]
fn ended_embedding_goes_on_where_it_stopped() {
    let lines: String = (0..100).map(|n| format!("f{n}(x)\n")).collect();
    let mut fixture = Fixture::new(&[("a.py", &lines)]);
    let after_one = &mut |progress: Progress| {
        if progress.done == 0 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    let ended = fixture.index.embed(&fixture.letters, after_one).unwrap();
    assert!(ended.is_break());
    assert_eq!(fixture.letters.embedded.get(), EMBEDDED_AT_ONCE);
    assert_eq!(fixture.embed(), 100 - EMBEDDED_AT_ONCE);
}

#[test]
fn meaning_and_words_are_joined() {
    let mut fixture = Fixture::new(&[("z.py", "zzz(y)"), ("b.py", "abba(c)"), ("q.py", "q(q)")]);
    fixture.embed();
    assert_eq!(fixture.found("baab", Mode::Semantic)[0], "b.py");
    assert!(fixture.found("baab", Mode::Lexical).is_empty());
    assert_eq!(fixture.found("zzz baab", Mode::Hybrid)[0], "z.py");
}

#[test]
fn a_query_without_words_is_refused() {
    let mut fixture = Fixture::new(&[("a.py", "alpha()")]);
    let refused = fixture.index.search("?!", Mode::Lexical, None, 5);
    assert!(matches!(refused, Err(SearchError::EmptyQuery(_))));
}

#[test]
fn a_damaged_index_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("search.db"), vec![7; 8192]).unwrap();
    let index = Index::open(directory.path()).unwrap();
    assert_eq!(index.coverage("none").unwrap(), Coverage::default());
}
