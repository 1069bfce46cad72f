//! What commits tell, from real repositories.

use std::ops::ControlFlow;

use cogo_analysis::history::{self, HistoryOptions, HistoryUpdate};
use cogo_analysis::store::Store;

use crate::clone::origin::Origin;

fn update(origin: &Origin, store: &mut Store, options: HistoryOptions) -> HistoryUpdate {
    let repository = cogo_analysis::repository::open(&origin.path()).unwrap();
    let head = repository.head_id().unwrap().detach();
    let go_on = &mut |_| ControlFlow::Continue(());
    history::update(&repository, head, store.connection_mut(), options, go_on).unwrap()
}

#[test]
fn files_that_change_together_are_known_and_only_new_commits_are_read() {
    let origin = Origin::new(&[("a", "1"), ("b", "1"), ("dir/c", "1")]);
    origin.commit(&[("a", "2"), ("b", "2")]);
    origin.commit(&[("a", "3"), ("b", "3")]);
    origin.commit(&[("dir/c", "2")]);
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), &origin.path()).unwrap();
    let options = HistoryOptions {
        pair_files_max: 2,
        ..HistoryOptions::default()
    };

    let first = update(&origin, &mut store, options);
    assert_eq!((first.commits, first.is_anew), (4, true));
    assert_eq!(
        update(&origin, &mut store, options),
        HistoryUpdate::default()
    );
    origin.commit(&[("a", "4")]);
    let next = update(&origin, &mut store, options);
    assert_eq!((next.commits, next.is_anew), (1, false));

    let churn = history::churn(store.connection(), 10).unwrap();
    let counts: Vec<_> = churn
        .iter()
        .map(|file| (&*file.path, file.commits))
        .collect();
    assert_eq!(counts, [("a", 4), ("b", 3), ("dir/c", 2)]);
    let together = history::co_changes(store.connection(), "a", 10).unwrap();
    assert_eq!((&*together[0].path, together[0].commits), ("b", 2));
    assert!((together[0].share - 0.5).abs() < 1e-9);
    assert_eq!(together.len(), 1);
    let authors = history::authors(store.connection(), "a").unwrap();
    assert_eq!((&*authors[0].name, authors[0].commits), ("Ada", 4));
}

#[test]
fn a_rewritten_history_is_read_anew() {
    let origin = Origin::new(&[("a", "1")]);
    origin.commit(&[("b", "1")]);
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), &origin.path()).unwrap();
    update(&origin, &mut store, HistoryOptions::default());
    origin.git(&["reset", "-q", "--hard", "HEAD~1"]);
    origin.commit(&[("c", "1")]);
    let anew = update(&origin, &mut store, HistoryOptions::default());
    assert_eq!((anew.commits, anew.is_anew), (2, true));
    let churn = history::churn(store.connection(), 10).unwrap();
    let paths: Vec<_> = churn.iter().map(|file| &*file.path).collect();
    assert_eq!(paths, ["a", "c"]);
}
