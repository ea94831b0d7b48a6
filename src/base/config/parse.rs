//! Values that are native in the file and text in the environment.

use std::{fmt::Display, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

/// A number or boolean, also as text.
pub fn number<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = match Scalar::deserialize(deserializer)? {
        Scalar::Bool(flag) => flag.to_string(),
        Scalar::Integer(number) => number.to_string(),
        Scalar::Float(number) => number.to_string(),
        Scalar::Text(text) => text,
    };
    text.trim().parse().map_err(|error| D::Error::custom(format!("`{text}`: {error}")))
}

/// [`number`], or absent.
pub fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    #[derive(Deserialize)]
    #[serde(bound = "T: FromStr<Err: Display>")]
    struct Wrapped<T: FromStr<Err: Display>>(#[serde(deserialize_with = "number")] T);
    Ok(Option::<Wrapped<T>>::deserialize(deserializer)?.map(|wrapped| wrapped.0))
}

/// A [`Switch`] that has a default.
pub fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(number::<D, Switch>(deserializer)?.0)
}

/// A list; as text, separated by commas.
pub fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum List {
        Many(Vec<String>),
        Text(String),
    }
    let parts = match List::deserialize(deserializer)? {
        List::Many(parts) => parts,
        List::Text(text) => text.split(',').map(|part| part.trim().to_owned()).filter(|p| !p.is_empty()).collect(),
    };
    parts.iter().map(|part| part.parse().map_err(|error| D::Error::custom(format!("`{part}`: {error}")))).collect()
}

/// What [`list`] reads.
pub fn texts<S: Serializer>(values: &[impl Display], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

/// `true`/`false`, `on`/`off`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Switch(pub bool);

impl FromStr for Switch {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "true" | "on" | "1" => Ok(Self(true)),
            "false" | "off" | "0" => Ok(Self(false)),
            _ => Err("expected on or off"),
        }
    }
}
