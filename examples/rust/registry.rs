//! Adapters that are replaced while others use them: what is pinned stays as it is until it is released.

use phlora_core::{Error, Place, Registry};
use std::sync::Arc;

fn main() -> Result<(), Error> {
    // At most eight adapters, 1,000 bytes in all. A value is whatever the engine needs to find an adapter's factors.
    let mut places = [const { Place::<Arc<str>>::EMPTY }; 8];
    let registry = Registry::new(&mut places, 1000);
    registry.add(7, "first version".into(), 600)?;
    let held = registry.pin(7)?;
    assert_eq!(
        registry.replace(7, "too large beside the pinned one".into(), 600),
        Err(Error::OverBudget { needed: 1200 })
    );
    // The old version is in use, so it is not handed back yet.
    assert_eq!(registry.replace(7, "second version".into(), 300)?, None);
    assert_eq!(&**held.value(), "first version");
    assert_eq!(&**registry.pin(7)?.value(), "second version");
    println!("while pinned: {:?}", registry.usage());
    drop(held);
    let freed = registry.reclaim();
    println!("released: {freed:?}, {:?}", registry.usage());
    assert_eq!(freed.as_deref(), Some("first version"));
    Ok(())
}
