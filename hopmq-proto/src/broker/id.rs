use alloc::vec::Vec;

/// Where a value lies in a [`Slab`], and which of the values that ever lay there it is.
///
/// The serial number is never used twice, so an id that outlives its value finds nothing, and never another value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    serial: u64,
    slot: usize,
}

/// Declares an id of its own type over a [`Place`].
macro_rules! id {
    ($($(#[$doc:meta])* $visibility:vis $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
            $visibility struct $name(Place);

            impl From<Place> for $name {
                fn from(place: Place) -> Self {
                    Self(place)
                }
            }

            impl From<$name> for Place {
                fn from(id: $name) -> Self {
                    id.0
                }
            }

            impl core::fmt::Debug for $name {
                fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                    write!(f, concat!(stringify!($name), "({})"), self.0.serial)
                }
            }
        )*
    };
}

id! {
    /// One connection of a [`Broker`](super::Broker), from accept to release. Never used twice.
    pub ConnectionId;
    pub(super) QueueId;
    pub(super) ExchangeId;
    pub(super) ConsumerId;
}

/// Values that are found by an id in constant time.
#[derive(Debug)]
pub(super) struct Slab<K, V> {
    slots: Vec<Option<(u64, V)>>,
    free: Vec<usize>,
    last_serial: u64,
    marker: core::marker::PhantomData<fn() -> K>,
}

impl<K, V> Slab<K, V> {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), last_serial: 0, marker: core::marker::PhantomData }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

impl<K: From<Place>, V> Slab<K, V>
where
    Place: From<K>,
{
    pub(super) fn insert(&mut self, value: V) -> K {
        self.last_serial += 1;
        let serial = self.last_serial;
        let slot = self.free.pop().unwrap_or(self.slots.len());
        match self.slots.get_mut(slot) {
            Some(free) => *free = Some((serial, value)),
            None => self.slots.push(Some((serial, value))),
        }
        K::from(Place { serial, slot })
    }

    pub(super) fn get(&self, id: K) -> Option<&V> {
        let Place { serial, slot } = id.into();
        match self.slots.get(slot) {
            Some(Some((found, value))) if *found == serial => Some(value),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, id: K) -> Option<&mut V> {
        let Place { serial, slot } = id.into();
        match self.slots.get_mut(slot) {
            Some(Some((found, value))) if *found == serial => Some(value),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, id: K) -> Option<V> {
        let Place { serial, slot } = id.into();
        let found = self.slots.get_mut(slot)?;
        if found.as_ref().is_none_or(|(at, _)| *at != serial) {
            return None;
        }
        self.free.push(slot);
        found.take().map(|(_, value)| value)
    }

    /// The ids, in the order of the slots.
    pub(super) fn ids(&self) -> impl Iterator<Item = K> + '_ {
        self.slots.iter().enumerate().filter_map(|(slot, value)| {
            value.as_ref().map(|(serial, _)| K::from(Place { serial: *serial, slot }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again_but_an_id_is_not() {
        let mut slab: Slab<QueueId, &str> = Slab::new();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&"second")));
        assert_eq!(slab.remove(first), None);
        assert_eq!((slab.len(), slab.slots.len()), (1, 1));
    }
}
