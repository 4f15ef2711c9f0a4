//! Adapters by id, changed while they are used: the core's registry over the caller's pointers.

use crate::adapter::Assignment;
use crate::guard::{In, Opaque, Out, StatePointer, guarded, list_bytes};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::c_void;
use core::mem::{offset_of, size_of};
use phlora_core::{Pin, Pinned, Place, Registry};

/// A registry in the caller's memory.
#[derive(Debug)]
pub struct RegistryState(Registry<'static, Opaque>);

/// The entries that a batch has pinned, in the caller's memory.
#[derive(Debug)]
pub struct PinsState(Option<Pinned<'static, 'static, Opaque>>);

/// What a registry holds.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Size of what was written.
    pub struct_size: usize,
    /// Entries that have an id.
    pub entries: usize,
    /// Entries that were replaced or removed and are still pinned, or wait for phlora_registry_reclaim.
    pub retired: usize,
    /// Bytes of both, as they were given.
    pub bytes: usize,
    /// Most bytes.
    pub budget: usize,
    /// Most entries of both.
    pub capacity: usize,
}

impl SizedStruct for Usage {
    const FIRST_SIZE: usize = offset_of!(Self, capacity);
    const DEFAULT: Self =
        Self { struct_size: size_of::<Self>(), entries: 0, retired: 0, bytes: 0, budget: 0, capacity: 0 };
}

/// Gets an id and the value of an entry that had to go.
pub type EvictedCallback = Option<extern "C" fn(user: *mut c_void, id: u32, value: *mut c_void)>;

/// Bytes of memory for a registry of at most `capacity` entries, those included that are retired and not yet reclaimed; 0
/// for more than the address range has. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_registry_bytes(capacity: usize) -> usize {
    list_bytes::<RegistryState, Place<Opaque>>(capacity, 0).unwrap_or(0)
}

/// Bytes of memory for the pins of a batch that uses at most `count` adapters; 0 for more than the address range has. Any
/// thread.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_pins_bytes(count: usize) -> usize {
    list_bytes::<PinsState, Pin<Opaque>>(count, 0).unwrap_or(0)
}

/// Starts an empty registry: adapters by id, each of them a pointer of yours (to the adapters of all layers, say, so
/// that a whole model's adapter changes at once), which phlora hands out and never follows.
///
/// After this call every function on the registry may be called from any thread at any time. They use one spin lock
/// that is held for one search through the entries, never while an adapter is used, a callback runs or a list of
/// assignments is walked; do not call from code that interrupts another call on the same core. Nothing has to be freed: when no thread uses it any more, its memory is
/// yours again.
///
/// - `capacity`: most entries, those included that are retired and not yet reclaimed.
/// - `budget`: most bytes, as the entries state them; SIZE_MAX for no limit.
/// - `memory`, `memory_bytes`: at least phlora_registry_bytes(capacity), aligned to PHLORA_ALIGNMENT.
/// - `registry`: set to the registry.
///
/// Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, TOO_LARGE, MEMORY_TOO_SMALL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_registry_init(
    capacity: usize,
    budget: usize,
    memory: Out<c_void>,
    memory_bytes: usize,
    registry: Out<StatePointer<RegistryState>>,
) -> Status {
    guarded(|guard| {
        let slot = guard.slot(registry)?;
        slot.write(guard.place_list(
            memory,
            memory_bytes,
            (capacity, 0),
            |_, _| Ok(Place::EMPTY),
            |places, _| Ok(RegistryState(Registry::new(places, budget))),
        )?);
        Ok(())
    })
}

/// Adds an entry.
///
/// - `id`, `value`, `bytes`: the entry; the value may not be NULL.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, NOT_STARTED, ID_TAKEN, REGISTRY_FULL, OVER_BUDGET.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_registry_add(
    registry: Out<RegistryState>,
    id: u32,
    value: Opaque,
    bytes: usize,
) -> Status {
    guarded(|guard| {
        let registry = guard.look(registry.shared())?;
        Ok(registry.0.add(id, some(value)?, bytes)?)
    })
}

/// Adds an entry in the place of those used least recently, as many as must go; those that are pinned stay.
///
/// - `id`, `value`, `bytes`: the entry; the value may not be NULL.
/// - `evicted`, `user`: NULL, or called for each entry that went, when the new one is in; the memory of its value is
///   free. It may call phlora.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, NOT_STARTED, ID_TAKEN; REGISTRY_FULL and OVER_BUDGET where even
/// without all that could go there is no room: then nothing has gone.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_registry_add_evicting(
    registry: Out<RegistryState>,
    id: u32,
    value: Opaque,
    bytes: usize,
    evicted: EvictedCallback,
    user: *mut c_void,
) -> Status {
    guarded(|guard| {
        let registry = guard.look(registry.shared())?;
        Ok(registry.0.add_evicting(id, some(value)?, bytes, |id, value| {
            if let Some(evicted) = evicted {
                evicted(user, id, value.pointer());
            }
        })?)
    })
}

/// Changes what an id stands for. Batches that have it pinned keep the old value, batches from now on get the new one.
///
/// - `id`, `value`, `bytes`: the entry; the value may not be NULL.
/// - `old`: set to the old value if nobody has it pinned: its memory is free. Otherwise set to NULL, and
///   phlora_registry_reclaim will hand it out.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, NOT_STARTED, UNKNOWN_ADAPTER, REGISTRY_FULL (the old
/// entry is pinned, and there is no place for the new one beside it), OVER_BUDGET.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_registry_replace(
    registry: Out<RegistryState>,
    id: u32,
    value: Opaque,
    bytes: usize,
    old: Out<Opaque>,
) -> Status {
    guarded(|guard| {
        let registry = guard.look(registry.shared())?;
        let slot = guard.slot(old)?;
        slot.write(registry.0.replace(id, some(value)?, bytes)?.unwrap_or(Opaque::NULL));
        Ok(())
    })
}

/// Takes an id away; `old` as for phlora_registry_replace.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, NOT_STARTED, UNKNOWN_ADAPTER.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_registry_remove(registry: Out<RegistryState>, id: u32, old: Out<Opaque>) -> Status {
    guarded(|guard| {
        let registry = guard.look(registry.shared())?;
        let slot = guard.slot(old)?;
        slot.write(registry.0.remove(id)?.unwrap_or(Opaque::NULL));
        Ok(())
    })
}

/// Hands out a value that was replaced or removed and is no longer pinned: its memory is free, and so is its place.
///
/// - `value`: set to it, or to NULL when there is none now.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, NOT_STARTED.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_registry_reclaim(registry: Out<RegistryState>, value: Out<Opaque>) -> Status {
    guarded(|guard| {
        let registry = guard.look(registry.shared())?;
        guard.slot(value)?.write(registry.0.reclaim().unwrap_or(Opaque::NULL));
        Ok(())
    })
}

/// What a registry holds.
///
/// - `usage`, `usage_size`: written on success; sizeof(phlora_usage).
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, STRUCT_SIZE, NOT_STARTED.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_registry_usage(
    registry: In<RegistryState>,
    usage: Out<Usage>,
    usage_size: usize,
) -> Status {
    guarded(|guard| {
        let registry = guard.look(registry)?;
        let slot = guard.sized_slot(usage, usage_size)?;
        let found = registry.0.usage();
        slot.write(Usage {
            struct_size: usage_size.min(size_of::<Usage>()),
            entries: found.entries,
            retired: found.retired,
            bytes: found.bytes,
            budget: found.budget,
            capacity: registry.0.capacity(),
        });
        Ok(())
    })
}

/// Pins every entry that a batch uses, each once, all as they are at one moment, until phlora_pins_release.
///
/// - `assignments`, `assignments_len`: who uses what, by id; on return ordered, with each id replaced by the place of
///   its entry among those pinned.
/// - `memory`, `memory_bytes`: at least phlora_pins_bytes(values_len), aligned to PHLORA_ALIGNMENT.
/// - `pins`: set to the pins. The registry must stay in place until they are released.
/// - `values`, `values_len`: set to the values pinned, ordered by their ids; room for as many as the batch uses, for which
///   the capacity of the registry always does.
/// - `count`: set to their number.
///
/// Any thread; the pins are used by one thread at a time. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, TOO_LARGE,
/// NOT_STARTED, MEMORY_TOO_SMALL (also for more adapters than values_len), UNKNOWN_ADAPTER; unless OK, nothing is pinned and no assignment has
/// changed.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_registry_pin(
    registry: Out<RegistryState>,
    assignments: Out<Assignment>,
    assignments_len: usize,
    memory: Out<c_void>,
    memory_bytes: usize,
    pins: Out<StatePointer<PinsState>>,
    values: Out<Opaque>,
    values_len: usize,
    count: Out<usize>,
) -> Status {
    guarded(|guard| {
        let registry = guard.look_lasting(registry.shared())?;
        let assignments = guard.assignments_mut(assignments, assignments_len)?;
        let (slot, values) = (guard.slot(pins)?, guard.output(values, values_len)?);
        let count = guard.slot(count)?;
        let lens = (values.len(), 0);
        slot.write(guard.place_list(
            memory,
            memory_bytes,
            lens,
            |_, _| Ok(Pin::EMPTY),
            |pins, _| {
                let pinned = registry.0.pin_all(assignments, pins)?;
                count.write(pinned.len());
                for (to, value) in values.iter_mut().zip(pinned.values()) {
                    *to = *value;
                }
                Ok(PinsState(Some(pinned)))
            },
        )?);
        Ok(())
    })
}

/// Lets go of what was pinned; the pins' memory is yours again.
///
/// One thread at a time. Returns OK, NULL_POINTER, MISALIGNED, NOT_STARTED, OUT_OF_ORDER (released before).
#[unsafe(no_mangle)]
pub extern "C" fn phlora_pins_release(pins: Out<PinsState>) -> Status {
    guarded(|guard| {
        drop(guard.resume(pins)?.0.take().ok_or(Status::OutOfOrder)?);
        Ok(())
    })
}

fn some(value: Opaque) -> Result<Opaque, Status> {
    if value.is_null() { Err(Status::NullPointer) } else { Ok(value) }
}
