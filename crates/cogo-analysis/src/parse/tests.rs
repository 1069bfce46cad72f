use super::*;
use crate::facts::{Kind, Use};

fn shown(language: Language, text: &str) -> Vec<String> {
    let facts = parse(language, text.as_bytes());
    let show = |index: usize| {
        let definition = &facts.definitions[index];
        let mark = if definition.is_test { " test" } else { "" };
        format!(
            "{} {}{mark}",
            definition.kind.name(),
            facts.qualified(index)
        )
    };
    (0..facts.definitions.len()).map(show).collect()
}

fn uses(language: Language, text: &str) -> Vec<String> {
    let facts = parse(language, text.as_bytes());
    let calls = facts
        .references
        .iter()
        .filter(|found| found.kind == Use::Call);
    calls
        .map(|found| {
            let receiver = found.receiver.map(|id| format!("{} . ", facts.name(id)));
            format!("{}{}", receiver.unwrap_or_default(), facts.name(found.name))
        })
        .collect()
}

#[test]
fn rust() {
    let text = "/// A store.\n#[derive(Debug)]\npub struct Store { files: Files }\n\
        impl<T> Read for Store<T> { fn open(&self) -> Option<File> { self.files.get(1).x(); f::<u8>() } }\n\
        #[cfg(test)] mod tests { #[test] fn opens() { assert_eq!(a(1), b.c(2), d::e(3)); } }";
    assert_eq!(
        shown(Language::Rust, text),
        [
            "struct Store",
            "field Store::files",
            "method Store::open",
            "module tests test",
            "function tests::opens test"
        ]
    );
    assert_eq!(
        uses(Language::Rust, text),
        [
            "self.files . get",
            "self.files.get() . x",
            "f",
            "a",
            "b . c",
            "d . e"
        ]
    );
    let facts = parse(Language::Rust, text.as_bytes());
    assert_eq!(facts.definitions[0].doc.as_deref(), Some("A store."));
    assert!(facts.definitions[0].is_exported && !facts.definitions[2].is_exported);
    assert_eq!(
        facts.definitions[2].type_name.map(|id| facts.name(id)),
        Some("File")
    );
    let bases: Vec<_> = facts.definitions[0]
        .bases
        .iter()
        .map(|id| facts.name(*id))
        .collect();
    assert_eq!(bases, ["Read"]);
}

#[test]
fn python() {
    let text = "import os.path as p\nfrom .a import b as c, d\nX = 1\nclass A(Base):\n    \"\"\"Says.\"\"\"\n    \
        y: int = 2\n    def __init__(self, s: Store):\n        self.s = s\n        self.s = 1\n        def inner(): pass\n\
        def test_a(): A(1).go(p.join(2))\n";
    assert_eq!(
        shown(Language::Python, text),
        [
            "variable X",
            "class A",
            "field A::y",
            "method A::__init__",
            "field A::s",
            "function A::__init__::inner",
            "function test_a test"
        ]
    );
    assert_eq!(uses(Language::Python, text), ["A", "A() . go", "p . join"]);
    let facts = parse(Language::Python, text.as_bytes());
    assert_eq!(facts.definitions[1].doc.as_deref(), Some("Says."));
    assert_eq!(facts.imports.len(), 3);
}

#[test]
fn typescript() {
    let text = "import d, { a as b } from './x';\nexport class A<T> extends B implements C {\n  private n: Node;\n  \
        constructor(private readonly s: S) {}\n  get(): T { return this.n.make(new Q()); }\n}\n\
        export const f = (x) => x;\ninterface I { m(): void; p: string }\ntype T = I;\nenum E { One, Two = 2 }\n";
    assert_eq!(
        shown(Language::TypeScript, text),
        [
            "class A",
            "field A::n",
            "method A::constructor",
            "field A::s",
            "method A::get",
            "function f",
            "interface I",
            "method I::m",
            "field I::p",
            "type T",
            "enum E",
            "variant E::One",
            "variant E::Two"
        ]
    );
    assert_eq!(uses(Language::TypeScript, text), ["this.n . make", "Q"]);
}

#[test]
fn go() {
    let text = "package p\nimport x \"a/b\"\ntype S struct { n *Node; Base }\ntype I interface { M() error }\n\
        const C = 1\nvar V = New()\nfunc (s *S) Get() *Node { return s.n.Next(x.Y()) }\nfunc TestA(t *testing.T) {}\n";
    assert_eq!(
        shown(Language::Go, text),
        [
            "struct S",
            "field S::n",
            "interface I",
            "method I::M",
            "constant C",
            "variable V",
            "method S::Get",
            "function TestA test"
        ]
    );
    assert_eq!(uses(Language::Go, text), ["New", "s.n . Next", "x . Y"]);
}

#[test]
fn java() {
    let text = "package a.b;\nimport java.util.List;\nimport a.c.*;\npublic class A extends B implements C {\n  int x, y;\n  \
        A() {}\n  @Test\n  public List<D> get() { return x.f(new D()); }\n}\nenum E { ONE }\n";
    assert_eq!(
        shown(Language::Java, text),
        [
            "class A",
            "field A::x",
            "field A::y",
            "method A::A",
            "method A::get test",
            "enum E",
            "variant E::ONE"
        ]
    );
    assert_eq!(uses(Language::Java, text), ["x . f", "D"]);
    assert_eq!(parse(Language::Java, text.as_bytes()).imports.len(), 2);
}

#[test]
fn c_and_cpp() {
    let text = "#include \"a.h\"\n#define M 1\ntypedef struct node { int v; struct node *next; } node_t;\n\
        static node_t *head;\nenum e { ONE };\nint add(int a) { int local; return sub(head->f(a)); }\n";
    let expected = [
        "macro M",
        "struct node",
        "field node::v",
        "field node::next",
        "type node_t",
        "variable head",
        "enum e",
        "variant e::ONE",
        "function add",
    ];
    let mut found = shown(Language::C, text);
    found.sort();
    let mut sorted = expected.to_vec();
    sorted.sort_unstable();
    assert_eq!(found, sorted);
    assert_eq!(uses(Language::C, text), ["sub", "head . f"]);

    let text = "namespace n { class A : public B { int x_; void in() {} }; }\nvoid n::A::out() { in(); x.y(); }\n";
    let found = shown(Language::Cpp, text);
    assert!(found.contains(&"method n::A::in".to_owned()), "{found:?}");
    assert!(found.contains(&"method A::out".to_owned()), "{found:?}");
}

#[test]
fn more_languages() {
    let cases: [(Language, &str, &[&str]); 14] = [
        (
            Language::CSharp,
            "namespace N { public class A : B { int x; public void Go() { x.Y(); } } }",
            &["class A", "field A::x", "method A::Go"],
        ),
        (
            Language::Ruby,
            "module M\n class A < B\n  def go; stop(1); end\n end\nend\n",
            &["module M", "class M::A", "method M::A::go"],
        ),
        (
            Language::Php,
            "<?php class A extends B { private $x; function go() { $this->stop(); } }",
            &["class A", "field A::x", "method A::go"],
        ),
        (
            Language::Kotlin,
            "class A : B() { val x: C = 1\n fun go() { x.stop() } }",
            &["class A", "field A::x", "method A::go"],
        ),
        (
            Language::Swift,
            "struct A { var x: B\n func go() { x.stop() } }",
            &["struct A", "field A::x", "method A::go"],
        ),
        (
            Language::Dart,
            "class A { void go() { stop(); } }\nvoid main() {}",
            &["class A", "method A::go", "function main"],
        ),
        (
            Language::Bash,
            "go() { stop; }\nX=1\n",
            &["function go", "variable X"],
        ),
        (Language::Sql, "CREATE TABLE t (x INT);", &["table t"]),
        (Language::Html, "<p id=\"a\">x</p>", &["rule a"]),
        (Language::Css, ".a { color: red }", &["rule .a"]),
        (Language::Json, "{\"a\": {\"b\": 1}}", &["key a"]),
        (Language::Yaml, "a:\n  b: 1\n", &["key a"]),
        (
            Language::Toml,
            "a = 1\n[b.c]\nd = 2\n",
            &["key a", "table b.c"],
        ),
        (
            Language::Markdown,
            "# A\n\ntext\n\n## B\n",
            &["heading A", "heading A::B"],
        ),
    ];
    for (language, text, expected) in cases {
        assert_eq!(shown(language, text), expected, "{language}");
    }
}

#[test]
fn deep_nesting_and_nonsense_come_to_an_end() {
    for language in Language::ALL {
        for unit in [
            "(", "{", "[", "fn f(){", "((a)=>", "<a>", "\"", "/*", "\u{0}", "if x {",
        ] {
            let text = unit.repeat(300);
            parse(*language, text.as_bytes());
        }
        parse(*language, &[0xff, 0xfe, b'\n', 0xc3]);
    }
}

#[test]
fn tests_are_found_by_their_calls() {
    let text = "describe('store', () => { it('opens', () => { open(); }); });";
    let facts = parse(Language::JavaScript, text.as_bytes());
    let tests: Vec<_> = facts
        .definitions
        .iter()
        .filter(|d| d.kind == Kind::Test)
        .collect();
    assert_eq!(tests.len(), 2);
    assert_eq!(tests[1].parent, Some(0));
}
