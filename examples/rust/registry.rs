//! Adapters that are replaced while others use them: what is pinned stays as it is until it is released.

use phlora_core::{Error, Registry};
use std::sync::Arc;

fn main() -> Result<(), Error> {
    // At most eight adapters, 1,000 bytes in all. A value is whatever the engine needs to find an adapter's factors.
    let registry: Registry<Arc<str>, 8> = Registry::new(1000);
    registry.add(7, "first version".into(), 600)?;
    let pinned = registry.pin(7)?;
    assert_eq!(
        registry.replace(7, "too large beside the pinned one".into(), 600),
        Err(Error::OverBudget { needed: 1200 })
    );
    // The old version is in use, so it is not handed back yet.
    assert_eq!(registry.replace(7, "second version".into(), 300)?, None);
    assert_eq!(pinned.get(0).map(|value| &**value), Some("first version"));
    assert_eq!(registry.pin(7)?.get(0).map(|value| &**value), Some("second version"));
    println!("while pinned: {:?}", registry.usage());
    drop(pinned);
    let freed = registry.reclaim();
    println!("released: {freed:?}, {:?}", registry.usage());
    assert_eq!(freed.as_deref(), Some("first version"));
    Ok(())
}
