//! The pages of a search, and what they come to. Pure.

use logferry_store::{SearchEnd, SearchPage};

/// Most hits of one page. The memory is bounded by the store, which ends a page earlier; a page that is large reads frames of the
/// same times once for more hits.
const PAGE_MAX: u64 = 100_000;

/// A search, page by page.
#[derive(Debug)]
pub struct SearchPages {
    next: SearchPage,
    /// Hits that are still wanted.
    left: u64,
    end: SearchEnd,
}

impl SearchPages {
    /// `first`: where the first page begins; its limit does not matter. `limit`: hits of all pages; `u64::MAX`: all there are.
    pub fn new(first: SearchPage, limit: u64) -> Self {
        let mut pages = Self {
            next: first,
            left: limit,
            end: SearchEnd::default(),
        };
        pages.set_limit();
        pages
    }

    /// The page to be searched next.
    pub fn next(&self) -> &SearchPage {
        &self.next
    }

    /// Takes the end of that page.
    pub fn add(&mut self, end: SearchEnd) {
        self.left -= end.progress.hits.min(self.left);
        let before = std::mem::replace(&mut self.end, end);
        self.end.progress.hits += before.progress.hits;
        // A later page does not look again at what an earlier one could not read.
        let new = std::mem::replace(&mut self.end.damage, before.damage);
        for damage in new {
            if !self.end.damage.contains(&damage) {
                self.end.damage.push(damage);
            }
        }
        self.next.after = self.end.next.clone();
        self.set_limit();
    }

    /// Whether everything was searched, or the limit is reached.
    pub fn is_done(&self) -> bool {
        self.end.is_complete || self.left == 0
    }

    /// How the search ended: where its last page did, with hits and damage of all.
    pub fn end(self) -> SearchEnd {
        self.end
    }

    fn set_limit(&mut self) {
        self.next.limit = usize::try_from(self.left.min(PAGE_MAX)).unwrap_or(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use logferry_store::SearchCursor;

    use super::*;

    fn end(hits: u64, next: Option<&str>, damage: &[&str]) -> SearchEnd {
        let next: Option<SearchCursor> = next.map(|text| text.parse().expect("a cursor"));
        let mut end = SearchEnd {
            is_complete: next.is_none(),
            next,
            damage: damage.iter().map(ToString::to_string).collect(),
            ..SearchEnd::default()
        };
        end.progress.hits = hits;
        end
    }

    #[test]
    fn damage_and_hits_of_all_pages_are_told_at_the_end() {
        let mut pages = SearchPages::new(SearchPage::default(), 250_000);
        assert_eq!(pages.next().limit, 100_000);
        pages.add(end(100_000, Some("7"), &["a is damaged", "b is damaged"]));
        assert!(!pages.is_done());
        assert_eq!(
            pages.next().after.as_ref().map(ToString::to_string),
            Some("7".to_owned())
        );
        pages.add(end(100_000, Some("6"), &["b is damaged", "c is damaged"]));
        assert_eq!(pages.next().limit, 50_000);
        pages.add(end(3, None, &[]));
        assert!(pages.is_done());
        let end = pages.end();
        assert_eq!(end.progress.hits, 200_003);
        assert_eq!(end.damage, ["a is damaged", "b is damaged", "c is damaged"]);
    }

    #[test]
    fn search_ends_at_its_limit() {
        let mut pages = SearchPages::new(SearchPage::default(), 3);
        assert_eq!(pages.next().limit, 3);
        pages.add(end(3, Some("7"), &[]));
        assert!(pages.is_done());
        assert!(!pages.end().is_complete);
    }
}
