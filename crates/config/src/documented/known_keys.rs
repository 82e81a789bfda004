//! The keys that the configuration accepts, from its types: a YAML reader that offers each structure all of its fields.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// The last step of the path of a mapping whose keys the operator chooses.
pub(super) const ANY_NAME: &str = "*";

/// The paths of all keys of `T`, such as `relay.groups.name`: a list adds no step.
pub(super) fn known_keys<T: for<'de> Deserialize<'de>>() -> BTreeSet<String> {
    let keys = RefCell::default();
    let offer = KeyOffer {
        path: String::new(),
        keys: &keys,
    };
    T::deserialize(offer).map(drop).unwrap();
    keys.into_inner()
}

pub(super) fn below(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// The value at a path, whatever type is asked for.
struct KeyOffer<'k> {
    path: String,
    keys: &'k RefCell<BTreeSet<String>>,
}

impl<'de> Deserializer<'de> for KeyOffer<'_> {
    type Error = Error;

    /// A setting of several forms takes its form without settings below it.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str("")
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(false)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(OneItem(Some(self)))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(EachKey::of(self, vec![ANY_NAME]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(EachKey::of(self, fields.to_vec()))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct tuple
        tuple_struct enum identifier ignored_any
    }
}

struct OneItem<'k>(Option<KeyOffer<'k>>);

impl<'de> SeqAccess<'de> for OneItem<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.take().map(|item| seed.deserialize(item)).transpose()
    }
}

struct EachKey<'k> {
    mapping: KeyOffer<'k>,
    left: std::vec::IntoIter<&'static str>,
    current: &'static str,
}

impl<'k> EachKey<'k> {
    fn of(mapping: KeyOffer<'k>, keys: Vec<&'static str>) -> Self {
        Self {
            mapping,
            left: keys.into_iter(),
            current: "",
        }
    }
}

impl<'de> MapAccess<'de> for EachKey<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(key) = self.left.next() else {
            return Ok(None);
        };
        self.current = key;
        self.mapping
            .keys
            .borrow_mut()
            .insert(below(&self.mapping.path, key));
        let name: StrDeserializer<'_, Error> = key.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(KeyOffer {
            path: below(&self.mapping.path, self.current),
            keys: self.mapping.keys,
        })
    }
}

#[test]
fn keys_below_lists_names_and_options_are_found() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its keys count")]
    struct WithMappings {
        list: Vec<OfValues>,
        named: std::collections::BTreeMap<String, OfValues>,
        maybe: Option<OfValues>,
    }
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its keys count")]
    struct OfValues {
        word: String,
        flag: bool,
    }
    let found: Vec<_> = known_keys::<WithMappings>().into_iter().collect();
    let expected = [
        "list",
        "list.flag",
        "list.word",
        "maybe",
        "maybe.flag",
        "maybe.word",
        "named",
        "named.*",
        "named.*.flag",
        "named.*.word",
    ];
    assert_eq!(found, expected);
}
