//! What others get: SARIF, annotations, JSON.

use cogo_plan::diagnostic::{Diagnostic, github, sarif};
use serde_json::{Value, json};

use crate::parsed;

fn found() -> Vec<Diagnostic> {
    let recording = include_bytes!("outputs/cargo-json.txt");
    parsed(recording)
}

#[test]
fn sarif_has_places_rules_notes_and_fixes() {
    let log = sarif(&found());
    assert_eq!(log["version"], "2.1.0");
    assert_eq!(log["runs"][0]["tool"]["driver"]["name"], "rustc");
    let result = &log["runs"][0]["results"][1];
    assert_eq!(result["ruleId"], "E0061");
    assert_eq!(result["level"], "error");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "src/main.rs");
    assert_eq!(place["region"]["startLine"], 8);
    assert!(result["relatedLocations"][0]["message"]["text"].is_string());
    let change = &result["fixes"][0]["artifactChanges"][0]["replacements"][0];
    assert_eq!(change["insertedContent"]["text"], "");
}

#[test]
fn sarif_can_be_read_back() {
    let found = found();
    let again = parsed(sarif(&found).to_string().as_bytes());
    let key = |d: &Diagnostic| (d.file.clone(), d.line, d.column, d.severity, d.code.clone());
    assert_eq!(
        again.iter().map(key).collect::<Vec<_>>(),
        found.iter().map(key).collect::<Vec<_>>()
    );
}

#[test]
fn a_whole_file_has_no_region() {
    let log = sarif(&[Diagnostic {
        file: Some("a.c".to_owned()),
        line: Some(0),
        ..Diagnostic::default()
    }]);
    let place = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(*place, json!({ "artifactLocation": { "uri": "a.c" } }));
}

#[test]
fn annotations_are_one_line_and_escaped() {
    let diagnostic = Diagnostic {
        file: Some("a,b:c.rs".to_owned()),
        line: Some(3),
        column: Some(5),
        code: Some("E1".to_owned()),
        message: "50 %\nmore".to_owned(),
        ..Diagnostic::default()
    };
    assert_eq!(
        github(&diagnostic),
        "::error file=a%2Cb%3Ac.rs,line=3,col=5,title=E1::50 %25%0Amore"
    );
}

#[test]
fn json_leaves_out_what_is_not_known() {
    let diagnostic = Diagnostic {
        tool: "x".to_owned(),
        message: "wrong".to_owned(),
        ..Diagnostic::default()
    };
    let value: Value = serde_json::to_value(&diagnostic).expect("a value");
    assert_eq!(
        value,
        json!({ "tool": "x", "severity": "error", "message": "wrong" })
    );
    assert_eq!(
        serde_json::from_value::<Diagnostic>(value).expect("a diagnostic"),
        diagnostic
    );
}
