//! How often each level comes.

use std::str::FromStr;

use crate::random::Random;

/// Levels and their weights: `INFO=70,WARN=15,ERROR=10,DEBUG=5`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelMix {
    levels: Vec<(String, u32)>,
    total: u32,
}

/// Why a text is no mix of levels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a level and its share; write levels as INFO=70,WARN=15,ERROR=10,DEBUG=5")]
pub struct LevelMixError(String);

/// The largest weight: their sum stays a number of 32 bits.
const WEIGHT_MAX: u32 = 1_000_000;
const LEVELS_MAX: usize = 100;

impl LevelMix {
    pub(crate) fn pick(&self, random: &mut Random) -> &str {
        let mut at = random.below(self.total);
        for (level, weight) in &self.levels {
            if at < *weight {
                return level;
            }
            at -= weight;
        }
        "INFO"
    }
}

/// As the LogFlow generator mixes them.
impl Default for LevelMix {
    fn default() -> Self {
        let levels = [("INFO", 70), ("WARN", 15), ("ERROR", 10), ("DEBUG", 5)];
        Self {
            levels: levels.map(|(level, weight)| (level.to_owned(), weight)).to_vec(),
            total: 100,
        }
    }
}

impl FromStr for LevelMix {
    type Err = LevelMixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut levels = Vec::new();
        for part in text.split(',') {
            let error = || LevelMixError(part.to_owned());
            let (level, weight) = part.trim().split_once('=').ok_or_else(error)?;
            let is_name = !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_alphabetic());
            let weight = weight.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
            let weight = weight
                .filter(|_| is_name && levels.len() < LEVELS_MAX)
                .ok_or_else(error)?;
            levels.push((level.to_ascii_uppercase(), weight));
        }
        let total = levels.iter().map(|(_, weight)| weight).sum();
        if total == 0 {
            return Err(LevelMixError(text.to_owned()));
        }
        Ok(Self { levels, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_levels_are_as_asked() {
        let mix: LevelMix = "info=3,ERROR=1,DEBUG=0".parse().expect("a mix");
        let mut random = Random::new(1);
        let picked: Vec<_> = (0..4_000).map(|_| mix.pick(&mut random)).collect();
        let errors = picked.iter().filter(|level| **level == "ERROR").count();
        assert!((900..1_100).contains(&errors), "{errors}");
        assert!(picked.iter().all(|level| ["INFO", "ERROR"].contains(level)));
    }

    #[test]
    fn text_that_is_no_mix_names_its_fault_and_an_example() {
        for (text, fault) in [
            ("", ""),
            ("INFO", "INFO"),
            ("INFO=1,WARN=x", "WARN=x"),
            ("A1=1", "A1=1"),
            ("INFO=0", "INFO=0"),
            ("INFO=1000001", "INFO=1000001"),
        ] {
            let error = text.parse::<LevelMix>().expect_err(text).to_string();
            let expected = format!(
                "`{fault}` is not a level and its share; write levels as INFO=70,WARN=15,ERROR=10,DEBUG=5"
            );
            assert_eq!(error, expected);
        }
    }
}
