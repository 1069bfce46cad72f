//! The cases that all languages of this project share.

#[test]
fn shared_cases() {
    let cases = include_str!("../../cases.tsv");
    let mut checked = 0;
    for line in cases.lines().filter(|line| !line.starts_with('#')) {
        let [pattern, text, answer] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("malformed case `{line}`");
        };
        assert_eq!(
            wildcard::matches(pattern, text),
            answer == "yes",
            "case `{line}`"
        );
        checked += 1;
    }
    assert!(checked > 40, "only {checked} cases were read");
}
