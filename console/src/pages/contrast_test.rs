//! The colours of the style sheet, measured: texts on their backgrounds have the contrast of WCAG 2.2, AA.

use std::collections::BTreeMap;

const SHEET: &str = include_str!("../../assets/console.css");

/// Contrast of text (WCAG 2.2, 1.4.3).
const TEXT: f64 = 4.5;

/// Contrast of shapes that say something (WCAG 2.2, 1.4.11).
const SHAPE: f64 = 3.0;

/// The variables of a block that begins with `start`.
fn variables(start: &str) -> BTreeMap<&'static str, [u8; 3]> {
    let block = SHEET
        .split_once(start)
        .and_then(|(_, rest)| rest.split_once('}'))
        .unwrap()
        .0;
    let lines = block.lines().filter_map(|line| {
        line.trim()
            .strip_prefix("--")?
            .strip_suffix(';')?
            .split_once(": #")
    });
    lines
        .map(|(name, colour)| {
            let number = u32::from_str_radix(colour, 16).unwrap();
            let [_, red, green, blue] = number.to_be_bytes();
            (name, [red, green, blue])
        })
        .collect()
}

fn light() -> BTreeMap<&'static str, [u8; 3]> {
    variables(":root {")
}

fn dark() -> BTreeMap<&'static str, [u8; 3]> {
    let (_, dark) = SHEET.split_once("prefers-color-scheme: dark").unwrap();
    let start = SHEET.len() - dark.len();
    assert!(
        SHEET[start..]
            .trim_start_matches(") {\n")
            .trim_start()
            .starts_with(":root {"),
        "dark comes first there"
    );
    let mut whole = light();
    let block = dark
        .split_once('{')
        .unwrap()
        .1
        .split_once('{')
        .unwrap()
        .1
        .split_once('}')
        .unwrap()
        .0;
    for line in block.lines() {
        let Some((name, colour)) = line
            .trim()
            .strip_prefix("--")
            .and_then(|line| line.strip_suffix(';')?.split_once(": #"))
        else {
            continue;
        };
        let number = u32::from_str_radix(colour, 16).unwrap();
        let [_, red, green, blue] = number.to_be_bytes();
        assert!(
            whole.insert(name, [red, green, blue]).is_some(),
            "{name} has no light colour"
        );
    }
    whole
}

/// WCAG 2.2, relative luminance.
fn luminance(colour: [u8; 3]) -> f64 {
    let [red, green, blue] = colour.map(|part| {
        let part = f64::from(part) / 255.0;
        if part <= 0.04045 {
            part / 12.92
        } else {
            ((part + 0.055) / 1.055).powf(2.4)
        }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn contrast(a: [u8; 3], b: [u8; 3]) -> f64 {
    let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
    if a > b { a / b } else { b / a }
}

#[test]
fn colours_have_enough_contrast() {
    assert!((contrast([0; 3], [255; 3]) - 21.0).abs() < 0.001);
    for (scheme, colours) in [("light", light()), ("dark", dark())] {
        let check = |text: &str, back: &str, least: f64| {
            let found = contrast(colours[text], colours[back]);
            assert!(
                found >= least,
                "{scheme}: {text} on {back} has {found:.2}, not {least}"
            );
        };
        for back in ["page", "surface", "raised"] {
            for text in ["ink", "muted", "accent"] {
                check(text, back, TEXT);
            }
        }
        for state in ["well", "warn", "bad", "calm"] {
            check(state, &format!("{state}-back"), TEXT);
            check(state, "surface", TEXT);
            check("ink", &format!("{state}-back"), TEXT);
            check("muted", &format!("{state}-back"), TEXT);
        }
        check("on-accent", "accent", TEXT);
        check("page", "ink", TEXT);
        check("ink", "mark", TEXT);
        check("surface", "bad", TEXT);
        check("accent", "page", SHAPE);
    }
}
