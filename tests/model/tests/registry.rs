//! The registry under every order in which its threads can take the lock: what is pinned stays, what nobody has is handed out once,
//! and nothing is lost.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use loom::thread;
use phlora_model::{Assignment, Error, Pin, Place, Registry};

/// What an entry stands for: memory that is freed once, when nobody uses it.
#[derive(Default)]
struct Memory {
    users: AtomicUsize,
    freed: AtomicBool,
}

#[derive(Clone)]
struct Value(Arc<Memory>);

impl Value {
    fn new() -> Self {
        Self(Arc::new(Memory::default()))
    }

    /// Uses the memory for a moment.
    fn used(&self) {
        self.0.users.fetch_add(1, SeqCst);
        assert!(!self.0.freed.load(SeqCst), "used after it was freed");
        thread::yield_now();
        assert!(!self.0.freed.load(SeqCst), "freed while it was used");
        self.0.users.fetch_sub(1, SeqCst);
    }

    fn free(&self) {
        assert_eq!(self.0.users.load(SeqCst), 0, "freed while it was used");
        assert!(!self.0.freed.swap(true, SeqCst), "freed twice");
    }

    fn is_free(&self) -> bool {
        self.0.freed.load(SeqCst)
    }
}

fn uses(ids: &[u32]) -> Vec<Assignment> {
    ids.iter().map(|&adapter| Assignment { token: 0, adapter, weight: 1.0 }).collect()
}

/// A registry for threads that outlive this function; what it holds is to be taken out at the end.
fn made<T>(capacity: usize, budget: usize) -> Arc<Registry<'static, T>> {
    let places: Vec<_> = (0..capacity).map(|_| Place::EMPTY).collect();
    Arc::new(Registry::new(places.leak(), budget))
}

fn free_all(registry: &Registry<'_, Value>) {
    while let Some(value) = registry.reclaim() {
        value.free();
    }
}

#[test]
fn a_value_is_freed_once_and_never_while_it_is_pinned() {
    loom::model(|| {
        let registry = made::<Value>(3, 100);
        let (first, second) = (Value::new(), Value::new());
        registry.add(1, first.clone(), 10).unwrap();
        let user = {
            let registry = registry.clone();
            thread::spawn(move || {
                let (mut list, mut pins) = (uses(&[1, 1]), [const { Pin::EMPTY }; 3]);
                if let Ok(pinned) = registry.pin_all(&mut list, &mut pins) {
                    assert_eq!(pinned.len(), 1);
                    pinned.get(0).unwrap().used();
                } else {
                    assert!(registry.pin(1).is_err(), "it is gone for good");
                }
            })
        };
        let cleaner = {
            let registry = registry.clone();
            thread::spawn(move || free_all(&registry))
        };
        if let Some(old) = registry.replace(1, second.clone(), 20).unwrap() {
            old.free();
        }
        if let Some(old) = registry.remove(1).unwrap() {
            old.free();
        }
        user.join().unwrap();
        cleaner.join().unwrap();
        free_all(&registry);
        assert!(first.is_free() && second.is_free(), "every value is handed out");
        let usage = registry.usage();
        assert_eq!((usage.entries, usage.retired, usage.bytes), (0, 0, 0));
    });
}

#[test]
fn a_batch_is_pinned_as_it_is_at_one_moment() {
    loom::model(|| {
        let registry = made::<(u32, u32)>(6, usize::MAX);
        // Both are replaced by one thread, the first before the second.
        registry.add(1, (1, 0), 0).unwrap();
        registry.add(2, (2, 0), 0).unwrap();
        let writer = {
            let registry = registry.clone();
            thread::spawn(move || {
                registry.replace(1, (1, 1), 0).unwrap();
                registry.replace(2, (2, 1), 0).unwrap();
            })
        };
        let (mut list, mut pins) = (uses(&[2, 1, 2]), [const { Pin::EMPTY }; 2]);
        let pinned = registry.pin_all(&mut list, &mut pins).unwrap();
        let of = |id: u32| pinned.values().find(|value| value.0 == id).copied().unwrap();
        assert!(of(1).1 >= of(2).1, "the second was replaced after the first");
        for of in &list {
            assert!(pinned.get(of.adapter as usize).is_some(), "every assignment has its adapter");
        }
        drop(pinned);
        writer.join().unwrap();
        while registry.reclaim().is_some() {}
        assert_eq!(registry.usage().retired, 0);
    });
}

#[test]
fn eviction_keeps_the_budget_and_what_is_pinned() {
    loom::model(|| {
        let registry = made::<Value>(3, 30);
        let first = Value::new();
        registry.add(1, first.clone(), 20).unwrap();
        let user = {
            let registry = registry.clone();
            thread::spawn(move || {
                if let Ok(held) = registry.pin(1) {
                    held.value().used();
                }
            })
        };
        let added = registry.add_evicting(2, Value::new(), 20, |id, value| {
            assert_eq!(id, 1);
            value.free();
        });
        match added {
            Ok(()) => assert!(first.is_free() && registry.pin(1).is_err()),
            Err(error) => {
                assert!(matches!(error, Error::OverBudget { .. }), "{error:?}");
                assert!(!first.is_free());
            }
        }
        assert!(registry.usage().bytes <= 30);
        user.join().unwrap();
        for id in [1, 2] {
            drop(registry.remove(id));
        }
    });
}
