//! Says a lasting failure when it begins, and then only what is new of it.
//!
//! Texts alone do not tell whether a failure is the same: a path or a number in them may be another one each time.

use std::time::{Duration, Instant};

/// Another text of a known kind of failure is said at most so often.
const OTHER_TEXT_INTERVAL: Duration = Duration::from_mins(1);

/// The kinds of failure that were said since all was well. `K` has few values.
#[derive(Debug)]
pub struct RepeatLimit<K> {
    said: Vec<(K, String, Instant)>,
}

impl<K> Default for RepeatLimit<K> {
    fn default() -> Self {
        Self { said: Vec::new() }
    }
}

impl<K: PartialEq> RepeatLimit<K> {
    /// There was a failure. Whether to say it: its kind is new, or its text is and the kind was not said for a minute.
    pub fn is_news(&mut self, kind: K, text: &str, now: Instant) -> bool {
        let Some((_, said, at)) = self.said.iter_mut().find(|(said, ..)| *said == kind) else {
            self.said.push((kind, text.to_owned(), now));
            return true;
        };
        let is_news = said != text && now.duration_since(*at) >= OTHER_TEXT_INTERVAL;
        if is_news {
            (*said, *at) = (text.to_owned(), now);
        }
        is_news
    }

    /// All is well again. Whether a failure was said before.
    pub fn is_over(&mut self) -> bool {
        let was_said = !self.said.is_empty();
        self.said.clear();
        was_said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_whose_text_has_another_path_each_time_is_said_once_a_minute() {
        let (mut limit, start) = (RepeatLimit::default(), Instant::now());
        let said = (0..180).filter(|second| {
            let text = format!("the server refused /drop/{second}.part");
            limit.is_news("permission", &text, start + Duration::from_secs(*second))
        });
        assert_eq!(said.collect::<Vec<_>>(), [0, 60, 120]);
    }

    #[test]
    fn same_text_is_said_once_another_kind_at_once_and_all_anew_after_the_end() {
        let (mut limit, now) = (RepeatLimit::default(), Instant::now());
        assert!(limit.is_news("full", "no space", now));
        assert!(limit.is_news("refused", "no", now));
        for later in [now, now + 2 * OTHER_TEXT_INTERVAL] {
            assert!(!limit.is_news("full", "no space", later));
            assert!(!limit.is_news("refused", "no", later), "they alternate");
        }
        assert!(limit.is_over() && !limit.is_over());
        assert!(limit.is_news("full", "no space", now));
    }
}
