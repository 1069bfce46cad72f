use super::*;

/// `name requirement kind`, with `=` for exact and `!` for locked, in order.
fn shown(path: &str, text: &str) -> Vec<String> {
    let manifest = read(path, text).unwrap().unwrap();
    let lines = manifest.dependencies.iter().map(|dependency| {
        let exact = if dependency.is_exact { "=" } else { "" };
        let locked = if dependency.is_locked { "!" } else { "" };
        let requirement = dependency.requirement.as_deref().unwrap_or("any");
        format!(
            "{exact}{locked}{} {requirement} {}",
            dependency.name,
            dependency.kind.name()
        )
    });
    lines.collect()
}

fn package(path: &str, text: &str) -> [Option<String>; 3] {
    let manifest = read(path, text).unwrap().unwrap();
    [manifest.package, manifest.version, manifest.license]
}

fn told(values: [&str; 3]) -> [Option<String>; 3] {
    values.map(|value| Some(value.to_owned()).filter(|value| !value.is_empty()))
}

#[test]
fn cargo() {
    let text = "[package]\nname = 'a'\nversion = '1.2.3'\nlicense = 'MIT'\n\
        [dependencies]\nserde = '1'\nother = { package = 'real', version = '=2.0.0', optional = true }\n\
        local = { path = '../x' }\nshared.workspace = true\n\
        [dev-dependencies]\nproptest = '1'\n[target.'cfg(unix)'.build-dependencies]\ncc = '1.0'\n";
    assert_eq!(package("x/Cargo.toml", text), told(["a", "1.2.3", "MIT"]));
    assert_eq!(
        shown("Cargo.toml", text),
        [
            "local any normal",
            "=real =2.0.0 optional",
            "serde 1 normal",
            "shared any normal",
            "proptest 1 development",
            "cc 1.0 build"
        ]
    );
    let lock = "[[package]]\nname = 'ours'\nversion = '0.1.0'\n\
        [[package]]\nname = 'libc'\nversion = '0.2.1'\nsource = 'registry+x'\n";
    assert_eq!(shown("Cargo.lock", lock), ["=!libc 0.2.1 normal"]);
}

#[test]
fn npm() {
    let text = r#"{"name": "@a/b", "version": "1.0.0", "license": {"type": "ISC"},
        "dependencies": {"left": "^1.0.0", "exact": "1.2.3"}, "devDependencies": {"jest": "*"},
        "peerDependencies": {"react": ">=17"}}"#;
    assert_eq!(
        package("package.json", text),
        told(["@a/b", "1.0.0", "ISC"])
    );
    assert_eq!(
        shown("package.json", text),
        [
            "=exact 1.2.3 normal",
            "left ^1.0.0 normal",
            "jest * development",
            "react >=17 peer"
        ]
    );
    let lock = r#"{"lockfileVersion": 3, "packages": {"": {"name": "x", "version": "1.0.0"},
        "node_modules/a": {"version": "1.0.0"},
        "node_modules/a/node_modules/@s/b": {"version": "2.0.0", "dev": true}}}"#;
    assert_eq!(
        shown("package-lock.json", lock),
        ["=!a 1.0.0 normal", "=!@s/b 2.0.0 development"]
    );
    let old = r#"{"dependencies": {"a": {"version": "1.0.0", "dependencies": {"b": {"version": "2.0.0"}}}}}"#;
    assert_eq!(
        shown("package-lock.json", old),
        ["=!a 1.0.0 normal", "=!b 2.0.0 normal"]
    );
    let yarn = "# yarn\n\n\"@s/a@^1.0.0\", \"@s/a@^1.1.0\":\n  version \"1.2.0\"\n  resolved \"x\"\n\nb@*:\n  version: 3.0.0\n";
    assert_eq!(
        shown("yarn.lock", yarn),
        ["=!@s/a 1.2.0 normal", "=!b 3.0.0 normal"]
    );
}

#[test]
fn python() {
    let text = "[project]\nname = 'a'\nversion = '1'\nlicense = {text = 'BSD-3-Clause'}\n\
        dependencies = ['Foo_Bar[x]>=1,<2; python_version<\"3\"', 'pinned==1.2', 'any', 'u @ https://x']\n\
        [project.optional-dependencies]\ncli = ['click']\n[build-system]\nrequires = ['hatchling']\n";
    assert_eq!(
        package("pyproject.toml", text),
        told(["a", "1", "BSD-3-Clause"])
    );
    assert_eq!(
        shown("pyproject.toml", text),
        [
            "foo-bar >=1,<2 normal",
            "=pinned ==1.2 normal",
            "any any normal",
            "u @ https://x normal",
            "click any optional",
            "hatchling any build"
        ]
    );
    let poetry = "[tool.poetry]\nname = 'p'\n[tool.poetry.dependencies]\npython = '^3'\na = '^1'\n\
        b = {version = '2.0', optional = true}\n[tool.poetry.group.dev.dependencies]\nc = '*'\n";
    assert_eq!(
        shown("pyproject.toml", poetry),
        ["a ^1 normal", "=b 2.0 optional", "c any development"]
    );
    let requirements = "# c\n-r other.txt\nrequests==2.0 \\\n  --hash=sha256:x\nflask>=1 # web\n";
    assert_eq!(
        shown("requirements-dev.txt", requirements),
        ["=requests ==2.0 normal", "flask >=1 normal"]
    );
    let setup = "[metadata]\nname = s\nversion = attr: s.version\n[options]\ninstall_requires =\n  a>=1\n  b\n[options.extras_require]\nx = c\n";
    assert_eq!(package("setup.cfg", setup), told(["s", "", ""]));
    assert_eq!(
        shown("setup.cfg", setup),
        ["a >=1 normal", "b any normal", "c any optional"]
    );
}

#[test]
fn go_maven_and_gradle() {
    let go = "module example.org/a\n\ngo 1.22\nrequire example.org/b v1.0.0\nrequire (\n\texample.org/c v2.0.0 // indirect\n)\nreplace (\n\tx => y v1.0.0\n)\n";
    assert_eq!(package("go.mod", go), told(["example.org/a", "", ""]));
    assert_eq!(
        shown("go.mod", go),
        ["example.org/b v1.0.0 normal", "example.org/c v2.0.0 normal"]
    );
    let pom = "<project><parent><groupId>g</groupId><version>9</version></parent><artifactId>a</artifactId>\
        <properties><v>4.0</v></properties><dependencyManagement><dependencies><dependency>\
        <groupId>m</groupId><artifactId>n</artifactId></dependency></dependencies></dependencyManagement>\
        <dependencies><dependency><groupId>j</groupId><artifactId>junit</artifactId><version>${v}</version>\
        <scope>test</scope></dependency><dependency><groupId>k</groupId><artifactId>l</artifactId>\
        <version>[1,2)</version></dependency></dependencies></project>";
    assert_eq!(package("pom.xml", pom), told(["g:a", "9", ""]));
    assert_eq!(
        shown("pom.xml", pom),
        ["=j:junit 4.0 development", "k:l [1,2) normal"]
    );
    let gradle = "version = '1.0'\ndependencies {\n  implementation 'g:a:1.0'\n  testImplementation(\"g:b:2.+\")\n  api platform('x:y:1')\n  kapt(\"g:c\")\n}\n";
    assert_eq!(
        shown("build.gradle.kts", gradle),
        ["=g:a 1.0 normal", "g:b 2.+ development", "g:c any build"]
    );
    assert_eq!(
        shown("gradle.lockfile", "# x\ng:a:1.0=compileClasspath\nempty=\n"),
        ["=!g:a 1.0 normal"]
    );
}

#[test]
fn what_is_not_what_its_name_says_is_an_error() {
    for (path, text) in [
        ("Cargo.toml", "[package"),
        ("package.json", "[1]"),
        ("package-lock.json", "{"),
        ("pyproject.toml", "= 1"),
        ("pom.xml", "<project></other>"),
    ] {
        assert!(read(path, text).unwrap().is_err(), "{path}");
    }
    assert!(read("main.rs", "").is_none());
    let deep = "<a>".repeat(100_000);
    let _ = read("pom.xml", &deep).unwrap();
}

#[test]
fn licenses_are_known_by_their_text() {
    let mit = "MIT License\n\nCopyright (c) 2024 X\n\nPermission is hereby granted, free of charge, to any person\nobtaining a copy of this software";
    assert_eq!(identify(mit), Some("MIT"));
    assert_eq!(
        identify("Apache License\n  Version 2.0, January 2004"),
        Some("Apache-2.0")
    );
    assert_eq!(identify("All rights reserved."), None);
    assert!(is_license_file("a/LICENSE-MIT"));
    assert!(!is_license_file("src/license.rs"));
    let ours = include_str!("../../../../LICENSE");
    assert_eq!(identify(ours), Some("Apache-2.0"));
}

#[test]
fn the_last_rule_that_matches_names_the_owners() {
    let owners = Owners::read(
        "# all\n* @all\n*.js @js # scripts\n/build/logs/ @ops\ndocs/* docs@example.org\napps/ @apps\n\
         /apps/github\n**/logs @logs\n",
    );
    let of = |path: &str| owners.of_path(path).join(" ");
    assert_eq!(of("main.rs"), "@all");
    assert_eq!(of("a/b.js"), "@js");
    assert_eq!(of("build/logs/x/y"), "@logs");
    assert_eq!(of("docs/a.md"), "docs@example.org");
    assert_eq!(of("docs/deep/a.md"), "@all");
    assert_eq!(of("x/apps/y.c"), "@apps");
    assert_eq!(of("apps/github/x"), "");
    assert_eq!(of("a/logs/x"), "@logs");
    assert!(Owners::read("").of_path("x").is_empty());
}
