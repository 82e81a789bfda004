//! A drawing as a list of shapes, and its SVG.

use std::fmt::Write;

/// A colour with its opacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    /// Red, green and blue.
    pub rgb: [u8; 3],
    /// 0: nothing is seen; 255: nothing is seen through it.
    pub opacity: u8,
}

impl Colour {
    /// A colour that nothing is seen through.
    pub const fn solid(rgb: u32) -> Self {
        let [_, red, green, blue] = rgb.to_be_bytes();
        Self {
            rgb: [red, green, blue],
            opacity: 255,
        }
    }

    /// The same colour with another opacity.
    #[must_use]
    pub const fn with_opacity(self, opacity: u8) -> Self {
        Self { opacity, ..self }
    }

    fn svg(self, property: &str) -> String {
        let [red, green, blue] = self.rgb;
        let colour = format!(" {property}=\"#{red:02x}{green:02x}{blue:02x}\"");
        if self.opacity == 255 {
            return colour;
        }
        let opacity = f32::from(self.opacity) / 255.0;
        format!("{colour} {property}-opacity=\"{opacity:.2}\"")
    }
}

/// Which end of a text is at its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextAnchor {
    /// Its first letter.
    Start,
    /// Its middle.
    Middle,
    /// Its last letter.
    End,
}

/// A point: right and down from the upper left corner, in pixels.
pub(crate) type Point = (f32, f32);

/// Something to draw.
#[derive(Debug, Clone, PartialEq)]
pub enum DrawnShape {
    /// A filled polygon.
    Area {
        /// Its corners.
        points: Vec<Point>,
        /// Its colour.
        fill: Colour,
    },
    /// A line through points.
    Line {
        /// The points.
        points: Vec<Point>,
        /// Its colour.
        stroke: Colour,
        /// Its width.
        width: f32,
    },
    /// A line of text.
    Text {
        /// Where its base line begins, or ends.
        at: Point,
        /// Which end is there.
        anchor: TextAnchor,
        /// Size of the letters.
        size: f32,
        /// Their colour.
        fill: Colour,
        /// The text, without control characters.
        text: String,
    },
}

/// A drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    /// Width in pixels.
    pub width: f32,
    /// Height in pixels.
    pub height: f32,
    /// What it is, for people who do not see it.
    pub title: String,
    /// What is to be seen in it, for the same.
    pub description: String,
    /// What is drawn, the lowest first.
    pub shapes: Vec<DrawnShape>,
}

impl Drawing {
    pub(crate) fn rectangle(&mut self, (left, top): Point, (right, bottom): Point, fill: Colour) {
        let points = vec![(left, top), (right, top), (right, bottom), (left, bottom)];
        self.shapes.push(DrawnShape::Area { points, fill });
    }

    pub(crate) fn line(&mut self, points: Vec<Point>, stroke: Colour, width: f32) {
        self.shapes.push(DrawnShape::Line {
            points,
            stroke,
            width,
        });
    }

    pub(crate) fn text(&mut self, at: Point, anchor: TextAnchor, size: f32, fill: Colour, text: &str) {
        let text = text.chars().filter(|c| !c.is_control()).collect();
        self.shapes.push(DrawnShape::Text {
            at,
            anchor,
            size,
            fill,
            text,
        });
    }

    /// The drawing as an SVG document.
    pub fn svg(&self) -> String {
        let (width, height) = (self.width, self.height);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
             font-family=\"Inter, system-ui, sans-serif\">\n<title>{}</title>\n<desc>{}</desc>\n",
            escaped(&self.title),
            escaped(&self.description)
        );
        for shape in &self.shapes {
            // Writing to a text cannot fail.
            let _ = match shape {
                DrawnShape::Area { points, fill } => {
                    writeln!(svg, "<path d=\"{}Z\"{}/>", path(points), fill.svg("fill"))
                }
                DrawnShape::Line {
                    points,
                    stroke,
                    width,
                } => writeln!(
                    svg,
                    "<path d=\"{}\" fill=\"none\"{} stroke-width=\"{width}\" stroke-linejoin=\"round\"/>",
                    path(points),
                    stroke.svg("stroke")
                ),
                DrawnShape::Text {
                    at: (x, y),
                    anchor,
                    size,
                    fill,
                    text,
                } => {
                    let anchor = match anchor {
                        TextAnchor::Start => "start",
                        TextAnchor::Middle => "middle",
                        TextAnchor::End => "end",
                    };
                    let (fill, text) = (fill.svg("fill"), escaped(text));
                    writeln!(
                        svg,
                        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"{anchor}\"{fill}>{text}</text>"
                    )
                }
            };
        }
        svg + "</svg>\n"
    }
}

fn path(points: &[Point]) -> String {
    let mut path = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        let _ = write!(path, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
    }
    path
}

pub(crate) fn escaped(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_become_markup() {
        let mut drawing = Drawing {
            width: 10.0,
            height: 10.0,
            title: "</title><script>".to_owned(),
            description: "a\u{1b}[31m\"b".to_owned(),
            shapes: Vec::new(),
        };
        drawing.text(
            (1.0, 2.0),
            TextAnchor::End,
            12.0,
            Colour::solid(0x00ff_8000),
            "<a\n&b>",
        );
        let svg = drawing.svg();
        assert!(
            svg.contains("<title>&lt;/title&gt;&lt;script&gt;</title>"),
            "{svg}"
        );
        assert!(svg.contains("<desc>a[31m&quot;b</desc>"), "{svg}");
        assert!(
            svg.contains(" text-anchor=\"end\" fill=\"#ff8000\">&lt;a&amp;b&gt;</text>"),
            "{svg}"
        );
    }
}
