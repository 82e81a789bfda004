//! Pictures of numbers over time. Pure: from data to shapes, and from shapes to SVG. No I/O.
//!
//! One picture serves mails, where it becomes a PNG, and pages, which show the SVG. So it is a list of few kinds of shapes
//! ([`DrawnShape`]), which a small rasteriser can draw without reading SVG.
//!
//! Invariant: a text of the data (a source's name) is escaped and has no control characters, whatever it contains.

mod drawing;
mod panel;
mod scale;
mod traffic;

pub use drawing::{Colour, Drawing, DrawnShape, TextAnchor};
pub use panel::{Panel, PanelUnit};
pub use traffic::{ChartSeries, DelayBars, TrafficChart};
