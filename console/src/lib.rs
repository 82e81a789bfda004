//! Shows the pipeline and its lines in a browser.
