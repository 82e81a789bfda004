//! A drawing as a PNG file. Mail programs show neither SVG nor `data:` addresses.
//!
//! Text is drawn with the letters of `assets/inter-subset.otf`, so that no font must be installed. Pure.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use logferry_chart::{Colour, Drawing, DrawnShape, TextAnchor};
use tiny_skia::{FillRule, LineJoin, Paint, Path, PathBuilder, Pixmap, Stroke, Transform};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

const FONT: &[u8] = include_bytes!("../../assets/inter-subset.otf");

/// Pixels for one of the drawing: mails are read on screens of high density.
const DENSITY: f32 = 2.0;

/// The longest side, in pixels.
const SIDE_MAX: f32 = 8192.0;

/// The PNG, with a transparent background, so that it fits light and dark. `None` for a drawing without size.
pub(crate) fn png(drawing: &Drawing) -> Option<Vec<u8>> {
    let mut pixmap = Pixmap::new(side(drawing.width)?, side(drawing.height)?)?;
    let face = Face::parse(FONT, 0).ok()?;
    let transform = Transform::from_scale(DENSITY, DENSITY);
    for shape in &drawing.shapes {
        match shape {
            DrawnShape::Area { points, fill } => {
                if let Some(path) = path(points, true) {
                    pixmap.fill_path(&path, &paint(*fill), FillRule::Winding, transform, None);
                }
            }
            DrawnShape::Line {
                points,
                stroke,
                width,
            } => {
                let pen = Stroke {
                    width: *width,
                    line_join: LineJoin::Round,
                    ..Stroke::default()
                };
                if let Some(path) = path(points, false) {
                    pixmap.stroke_path(&path, &paint(*stroke), &pen, transform, None);
                }
            }
            DrawnShape::Text {
                at,
                anchor,
                size,
                fill,
                text,
            } => {
                if let Some(path) = text_path(&face, *at, *anchor, *size, text) {
                    pixmap.fill_path(&path, &paint(*fill), FillRule::Winding, transform, None);
                }
            }
        }
    }
    encode(&pixmap)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is positive and small"
)]
fn side(length: f32) -> Option<u32> {
    let pixels = (length * DENSITY).ceil();
    (1.0..=SIDE_MAX).contains(&pixels).then_some(pixels as u32)
}

fn paint(colour: Colour) -> Paint<'static> {
    let [red, green, blue] = colour.rgb;
    let mut paint = Paint {
        anti_alias: true,
        ..Paint::default()
    };
    paint.set_color_rgba8(red, green, blue, colour.opacity);
    paint
}

fn path(points: &[(f32, f32)], is_closed: bool) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for (index, (x, y)) in points.iter().enumerate() {
        if index == 0 {
            builder.move_to(*x, *y);
        } else {
            builder.line_to(*x, *y);
        }
    }
    if is_closed {
        builder.close();
    }
    builder.finish()
}

/// The outline of a letter, placed and scaled.
struct Placed {
    builder: PathBuilder,
    x: f32,
    y: f32,
    scale: f32,
}

impl Placed {
    /// Letters are drawn upwards, pictures downwards.
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (x.mul_add(self.scale, self.x), y.mul_add(-self.scale, self.y))
    }
}

impl OutlineBuilder for Placed {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.builder.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.builder.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.builder.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.builder.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.builder.close();
    }
}

fn text_path(face: &Face<'_>, (x, y): (f32, f32), anchor: TextAnchor, size: f32, text: &str) -> Option<Path> {
    let scale = size / f32::from(face.units_per_em().max(1));
    let glyph = |letter| face.glyph_index(letter).unwrap_or(GlyphId(0));
    let advance = |letter| f32::from(face.glyph_hor_advance(glyph(letter)).unwrap_or(0)) * scale;
    let width: f32 = text.chars().map(advance).sum();
    let mut placed = Placed {
        builder: PathBuilder::new(),
        x: match anchor {
            TextAnchor::Start => x,
            TextAnchor::Middle => x - width / 2.0,
            TextAnchor::End => x - width,
        },
        y,
        scale,
    };
    for letter in text.chars() {
        // A space has no outline.
        let _ = face.outline_glyph(glyph(letter), &mut placed);
        placed.x += advance(letter);
    }
    placed.builder.finish()
}

/// Writes a PNG (<https://www.w3.org/TR/png-3/>): each row as its difference to the row above.
fn encode(pixmap: &Pixmap) -> Option<Vec<u8>> {
    let row_bytes = pixmap.width() as usize * 4;
    let pixels = pixmap.pixels().iter().flat_map(|pixel| {
        let pixel = pixel.demultiply();
        [pixel.red(), pixel.green(), pixel.blue(), pixel.alpha()]
    });
    let pixels: Vec<u8> = pixels.collect();
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    let mut above = vec![0; row_bytes];
    for row in pixels.chunks(row_bytes.max(1)) {
        let differences = row
            .iter()
            .zip(&above)
            .map(|(byte, above)| byte.wrapping_sub(*above));
        let mut filtered = vec![2];
        filtered.extend(differences);
        packed.write_all(&filtered).ok()?;
        above = row.to_vec();
    }
    let mut head = Vec::new();
    head.extend(pixmap.width().to_be_bytes());
    head.extend(pixmap.height().to_be_bytes());
    // Eight bits, red green blue and opacity, the one compression, the one set of filters, not interlaced.
    head.extend([8, 6, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut png, *b"IHDR", &head)?;
    chunk(&mut png, *b"IDAT", &packed.finish().ok()?)?;
    chunk(&mut png, *b"IEND", &[])?;
    Some(png)
}

fn chunk(png: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) -> Option<()> {
    let mut crc = Crc::new();
    crc.update(&kind);
    crc.update(data);
    png.extend(u32::try_from(data.len()).ok()?.to_be_bytes());
    png.extend(kind);
    png.extend(data);
    png.extend(crc.sum().to_be_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use logferry_chart::{ChartSeries, TrafficChart};

    use super::*;

    #[test]
    fn a_chart_becomes_a_png_of_its_size_and_has_colour() {
        let chart = TrafficChart {
            unit: "lines a minute".to_owned(),
            series: vec![ChartSeries {
                name: "a\u{2603}".to_owned(),
                values: vec![1, 5, 3],
            }],
            ..TrafficChart::default()
        };
        let drawing = chart.draw();
        let png = png(&drawing).expect("a picture");
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
        assert_eq!(png[16..20], 1040_u32.to_be_bytes());
        assert!(png.len() > 1000 && png.len() < 100_000, "{}", png.len());
        let nothing = Drawing {
            width: 0.0,
            ..drawing
        };
        assert_eq!(super::png(&nothing), None);
    }
}
