//! The overview: its charts, and its weight.

mod charts;
mod first_page;
