//! Licences by their text.

/// Sentences that only one licence has, most telling first.
const TEXTS: [(&str, &[&str]); 17] = [
    (
        "AGPL-3.0",
        &["gnu affero general public license", "version 3"],
    ),
    (
        "LGPL-3.0",
        &["gnu lesser general public license", "version 3"],
    ),
    (
        "LGPL-2.1",
        &["gnu lesser general public license", "version 2 1"],
    ),
    (
        "GPL-3.0",
        &["gnu general public license", "version 3 29 june 2007"],
    ),
    (
        "GPL-2.0",
        &["gnu general public license", "version 2 june 1991"],
    ),
    ("MPL-2.0", &["mozilla public license", "2 0"]),
    ("EPL-2.0", &["eclipse public license v 2 0"]),
    ("Apache-2.0", &["apache license", "version 2 0"]),
    ("BSL-1.0", &["boost software license version 1 0"]),
    (
        "Unlicense",
        &["this is free and unencumbered software released into the public domain"],
    ),
    ("CC0-1.0", &["cc0 1 0 universal"]),
    (
        "Zlib",
        &["altered source versions must be plainly marked as such"],
    ),
    (
        "BSD-3-Clause",
        &[
            "redistribution and use in source and binary forms",
            "neither the name",
        ],
    ),
    (
        "BSD-2-Clause",
        &["redistribution and use in source and binary forms"],
    ),
    (
        "MIT",
        &["permission is hereby granted free of charge to any person obtaining a copy"],
    ),
    (
        "ISC",
        &[
            "permission to use copy modify and or distribute this software",
            "provided that the above copyright",
        ],
    ),
    (
        "0BSD",
        &["permission to use copy modify and or distribute this software"],
    ),
];

/// A licence names others only past its beginning; what it is itself, it says there.
const HEAD_BYTES: usize = 12 * 1024;

/// Whether a file is a licence, by its name.
pub fn is_license_file(path: &str) -> bool {
    let name = path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let is_text = ![
        "rs", "py", "js", "ts", "go", "java", "c", "h", "html", "json",
    ]
    .iter()
    .any(|ending| name.ends_with(&format!(".{ending}")));
    let stems = ["license", "licence", "copying", "unlicense"];
    is_text && stems.iter().any(|stem| name.starts_with(stem))
}

/// The SPDX id of a licence's text, or `None` for one that is not known.
pub fn identify(text: &str) -> Option<&'static str> {
    let head = &text[..text.floor_char_boundary(HEAD_BYTES)];
    let words = head
        .to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    let fits = |phrases: &[&str]| phrases.iter().all(|phrase| words.contains(phrase));
    TEXTS
        .iter()
        .find(|(_, phrases)| fits(phrases))
        .map(|(id, _)| *id)
}
