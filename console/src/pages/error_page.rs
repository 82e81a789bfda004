//! A problem as a page. Pure.

use askama::Template;

use super::parts::frame::{Frame, Tab};
use crate::answer::problem::Problem;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    problem: &'a Problem,
}

/// The page, whole.
pub(crate) fn error_page(problem: &Problem) -> String {
    let frame = Frame::plain(Tab::Other);
    // The template writes into a text, which does not fail.
    ErrorPage { frame, problem }.render().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_problem_quotes_is_no_markup() {
        let page = error_page(&Problem::bad_request("`<script>` is no query"));
        assert!(
            page.contains("is no query") && !page.contains("<script>`"),
            "{page}"
        );
    }
}
