use tempfile::TempDir;

use super::*;

/// A repository whose graph can be told as text.
struct Fixture {
    root: TempDir,
    state: TempDir,
}

impl Fixture {
    fn new(files: &[(&str, &str)]) -> Self {
        let fixture = Self {
            root: tempfile::tempdir().unwrap(),
            state: tempfile::tempdir().unwrap(),
        };
        for (path, text) in files {
            fixture.write(path, text);
        }
        fixture
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        std::fs::remove_file(self.root.path().join(path)).unwrap();
    }

    fn analyse(&self) -> Summary {
        analyse_into(self.state.path(), self.root.path())
    }

    fn graph(&self) -> Vec<String> {
        graph(self.state.path(), self.root.path())
    }

    /// What a store made from nothing says must be what this one says.
    #[track_caller]
    fn expect_as_from_scratch(&self) {
        let state = tempfile::tempdir().unwrap();
        analyse_into(state.path(), self.root.path());
        assert_eq!(self.graph(), graph(state.path(), self.root.path()));
    }

    #[track_caller]
    fn expect(&self, edge: &str) {
        let graph = self.graph();
        assert!(graph.iter().any(|found| found == edge), "{graph:#?}");
    }
}

fn analyse_into(state: &Path, root: &Path) -> Summary {
    let mut store = Store::open(state, root).unwrap();
    analyse(&mut store, root, &AtomicBool::new(false), &mut |_| {}).unwrap()
}

/// Every edge as `file:line kind from -> to`, without ids.
fn graph(state: &Path, root: &Path) -> Vec<String> {
    let store = Store::open_read_only(state, root).unwrap();
    let sql = "SELECT f.path || ':' || e.line || ' ' || e.kind || ' ' || coalesce(s.qualified, '-')
            || ' -> ' || tf.path || ' ' || t.qualified || ' ' || printf('%.2f', e.confidence)
        FROM edge e JOIN file f ON f.id = e.file_id
        JOIN symbol t ON t.id = e.target_id JOIN file tf ON tf.id = t.file_id
        LEFT JOIN symbol s ON s.id = e.source_id";
    let mut read = store.connection().prepare(sql).unwrap();
    let rows = read.query_map([], |row| row.get(0)).unwrap();
    let mut lines: Vec<String> = rows.map(Result::unwrap).collect();
    lines.sort();
    lines
}

#[test]
fn rust_names_are_found_across_modules() {
    let fixture = Fixture::new(&[
        ("Cargo.toml", "[package]\nname = \"my-crate\"\n"),
        (
            "src/lib.rs",
            "pub mod store;\npub use store::Store;\nfn helper() {}\n",
        ),
        (
            "src/store.rs",
            "pub struct Store { log: Log }\nimpl Store {\n pub fn open() -> Self { helper() }\n pub fn read(&self) { self.log.tail(); }\n}\nfn helper() {}\nstruct Log;\nimpl Log { fn tail(&self) {} }\n",
        ),
        (
            "src/main.rs",
            "use my_crate::Store;\nfn main() {\n let s = Store::open();\n s.read();\n crate::run();\n}\nfn run() {}\n",
        ),
    ]);
    fixture.analyse();
    fixture.expect("src/store.rs:3 calls Store::open -> src/store.rs helper 1.00");
    fixture.expect("src/store.rs:4 calls Store::read -> src/store.rs Log::tail 0.95");
    fixture.expect("src/main.rs:3 calls main -> src/store.rs Store::open 0.95");
    fixture.expect("src/main.rs:4 calls main -> src/store.rs Store::read 0.95");
}

#[test]
fn python_names_are_found_across_modules() {
    let fixture = Fixture::new(&[
        ("pkg/__init__.py", "from .base import Base\n"),
        ("pkg/base.py", "class Base:\n    def run(self): pass\n"),
        (
            "pkg/job.py",
            "from pkg import Base\nimport pkg.tools as t\nclass Job(Base):\n    def __init__(self, n: Base):\n        self.n = n\n    def go(self):\n        self.run()\n        t.fix(1)\n        len(self.n)\n",
        ),
        ("pkg/tools.py", "def fix(x): return x\ndef len(x): pass\n"),
    ]);
    fixture.analyse();
    fixture.expect("pkg/job.py:3 inherits Job -> pkg/base.py Base 0.95");
    fixture.expect("pkg/job.py:7 calls Job::go -> pkg/base.py Base::run 0.95");
    fixture.expect("pkg/job.py:8 calls Job::go -> pkg/tools.py fix 0.95");
    assert!(!fixture.graph().iter().any(|edge| edge.contains(" len ")));
}

#[test]
fn typescript_names_are_found_across_modules() {
    let fixture = Fixture::new(&[
        ("src/index.ts", "export * from './store';\n"),
        (
            "src/store.ts",
            "export class Store {\n  read(): Row { return this.next(); }\n  next() {}\n}\nexport default function make() {}\nexport class Row { id() {} }\n",
        ),
        (
            "app.ts",
            "import { Store as S } from './src/index.js';\nimport make from './src/store';\nfunction main(s: S) {\n  s.read().id();\n  make();\n  new S();\n}\n",
        ),
    ]);
    fixture.analyse();
    fixture.expect("src/store.ts:2 calls Store::read -> src/store.ts Store::next 0.95");
    fixture.expect("app.ts:4 calls main -> src/store.ts Store::read 0.95");
    fixture.expect("app.ts:4 calls main -> src/store.ts Row::id 0.95");
    fixture.expect("app.ts:5 calls main -> src/store.ts make 0.95");
    fixture.expect("app.ts:6 calls main -> src/store.ts Store 0.95");
}

#[test]
fn go_java_and_c_names_are_found() {
    let fixture = Fixture::new(&[
        ("go.mod", "module example.com/m\n"),
        (
            "a/a.go",
            "package a\ntype T struct{}\nfunc (t *T) Run() { help() }\n",
        ),
        ("a/b.go", "package a\nfunc help() {}\n"),
        (
            "main.go",
            "package main\nimport \"example.com/m/a\"\nfunc main() {\n var t a.T\n t.Run()\n}\n",
        ),
        (
            "j/A.java",
            "package j;\nclass A { B b; void go() { b.stop(); own(); } void own() {} }\n",
        ),
        ("j/B.java", "package j;\nclass B { void stop() {} }\n"),
        ("c/x.h", "int twice(int);\n"),
        (
            "c/x.c",
            "#include \"x.h\"\nint twice(int a) { return a; }\n",
        ),
        (
            "c/main.c",
            "#include \"x.h\"\nint main() { return twice(2); }\n",
        ),
    ]);
    fixture.analyse();
    fixture.expect("a/a.go:3 calls T::Run -> a/b.go help 0.95");
    fixture.expect("main.go:5 calls main -> a/a.go T::Run 0.95");
    fixture.expect("j/A.java:2 calls A::go -> j/B.java B::stop 0.95");
    fixture.expect("j/A.java:2 calls A::go -> j/A.java A::own 1.00");
    fixture.expect("c/main.c:2 calls main -> c/x.c twice 0.80");
}

#[test]
fn what_is_unchanged_is_neither_read_nor_parsed() {
    let fixture = Fixture::new(&[
        ("a.py", "def f(): pass\n"),
        ("b.py", "from a import f\nf()\n"),
    ]);
    let first = fixture.analyse();
    assert_eq!((first.read, first.parsed, first.resolved), (2, 2, 2));
    let second = fixture.analyse();
    assert_eq!((second.read, second.parsed, second.resolved), (0, 0, 0));

    // A copy has a content that is known.
    fixture.write("c.py", "def f(): pass\n");
    let third = fixture.analyse();
    assert_eq!((third.read, third.parsed), (1, 0));
    fixture.expect_as_from_scratch();
}

#[test]
fn a_change_touches_what_asked_for_its_names() {
    let fixture = Fixture::new(&[
        ("a.py", "def f(): pass\ndef g(): pass\n"),
        ("b.py", "from a import f\nf()\n"),
        ("c.py", "def h(): h()\n"),
    ]);
    fixture.analyse();
    // The body of a function is nobody else's matter.
    fixture.write("a.py", "\n\ndef f(): return 1\ndef g(): pass\n");
    assert_eq!(fixture.analyse().resolved, 1);
    fixture.expect_as_from_scratch();
    // A name that is gone is that of those who used it.
    fixture.write("a.py", "def f2(): return 1\n");
    assert_eq!(fixture.analyse().resolved, 2);
    fixture.expect_as_from_scratch();
    fixture.remove("a.py");
    fixture.analyse();
    fixture.expect_as_from_scratch();
    fixture.write("a/__init__.py", "def f(): pass\n");
    fixture.analyse();
    fixture.expect("b.py:2 calls - -> a/__init__.py f 0.95");
    fixture.expect_as_from_scratch();
}

#[test]
fn a_cancelled_analysis_goes_on_where_it_stopped() {
    let files: Vec<(String, String)> = (0..40)
        .map(|n| {
            (
                format!("m{n}.py"),
                format!(
                    "from m{} import f{}\ndef f{n}(): f{}()\n",
                    (n + 1) % 40,
                    (n + 1) % 40,
                    (n + 1) % 40
                ),
            )
        })
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (&**p, &**t)).collect();
    let fixture = Fixture::new(&files);
    let mut store = Store::open(fixture.state.path(), fixture.root.path()).unwrap();
    let cancelled = AtomicBool::new(false);
    let result = analyse(&mut store, fixture.root.path(), &cancelled, &mut |event| {
        if matches!(event, Event::FileStored { done: 7, .. }) {
            cancelled.store(true, Ordering::Relaxed);
        }
    });
    assert!(matches!(result, Err(AnalysisError::Cancelled)));
    drop(store);
    fixture.analyse();
    fixture.expect_as_from_scratch();
    assert_eq!(fixture.graph().len(), 80);
}
