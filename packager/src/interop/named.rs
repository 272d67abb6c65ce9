//! A map that keeps the order of the document it came from.

/// Values by name, in document order. A definition's order is its call order.
#[derive(Debug, Clone, PartialEq)]
pub struct Named<T>(Vec<(String, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Named<T> {
    /// The value with this name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether the name stands.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &T)> + Clone {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The names in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The values in order.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &T> + Clone {
        self.0.iter().map(|(_, value)| value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> FromIterator<(String, T)> for Named<T> {
    /// Keeps the order; a later value with a known name takes the place of the earlier one, as in
    /// a JSON object.
    fn from_iter<I: IntoIterator<Item = (String, T)>>(items: I) -> Self {
        let mut named = Self::default();
        for (name, value) in items {
            match named.0.iter_mut().find(|(known, _)| *known == name) {
                Some(slot) => slot.1 = value,
                None => named.0.push((name, value)),
            }
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_of_the_document() {
        let named: Named<u8> =
            [("q", 1), ("A_log", 2), ("a", 3)].map(|(n, v)| (n.to_owned(), v)).into_iter().collect();
        assert_eq!(named.names().collect::<Vec<_>>(), ["q", "A_log", "a"]);
        assert_eq!(named.get("a"), Some(&3));
        assert_eq!(named.get("A"), None);
    }
}
