//! A registry under load: hot swap, and how long its lock is held.

use crate::*;

/// Factors of one adapter in memory that is written again once it is free. The lock is never waited for: that it is
/// free is what the registry promises.
type Memory = Arc<RwLock<Vec<u8>>>;

const RANK: usize = 3;
const LAYER: Shape = Shape { rows: 40, cols: 24 };

fn fill(memory: &Memory, version: usize) {
    let mut bytes = memory.try_write().expect("nobody reads what was handed out");
    let value = ((version % 251) as f32).to_le_bytes();
    bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|bytes| *bytes = value);
}

/// Readers apply what they have pinned, two adapters at a time that are always changed together by version, while one
/// thread replaces, removes and adds. PHLORA_STRESS_SECONDS makes it longer.
#[test]
fn hot_swap_under_load_tears_nothing() {
    let seconds =
        std::env::var("PHLORA_STRESS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0.5);
    let mut places = [const { Place::<Memory>::EMPTY }; 16];
    let registry = Registry::new(&mut places, usize::MAX);
    let len = RANK * (LAYER.rows + LAYER.cols) * 4;
    let new = |version| {
        let memory: Memory = Arc::new(RwLock::new(vec![0; len]));
        fill(&memory, version);
        memory
    };
    for id in 0..4 {
        registry.add(id, new(1 + id as usize), len).unwrap();
    }
    let (stop, batches) = (AtomicBool::new(false), AtomicUsize::new(0));
    let start = Instant::now();
    thread::scope(|scope| {
        for reader in 0..3_u32 {
            let (registry, stop, batches) = (&registry, &stop, &batches);
            scope.spawn(move || {
                let mut turn = reader;
                while !stop.load(Ordering::Relaxed) {
                    turn = turn.wrapping_add(1);
                    read(registry, turn);
                    batches.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let (mut version, mut free) = (5, vec![new(0), new(0)]);
        // For the time asked for, and on a busy machine until enough has happened to mean something.
        let enough = |version| version > 100 && batches.load(Ordering::Relaxed) > 50;
        while start.elapsed().as_secs_f64() < seconds
            || !enough(version) && start.elapsed() < Duration::from_secs(60)
        {
            version += 1;
            let id = version as u32 % 4;
            while let Some(memory) = registry.reclaim() {
                free.push(memory);
            }
            let Some(memory) = free.pop() else {
                thread::yield_now();
                continue;
            };
            fill(&memory, version);
            if version.is_multiple_of(5) {
                free.extend(registry.remove(id).unwrap());
                registry.add(id, memory, len).unwrap();
            } else {
                match registry.replace(id, memory.clone(), len) {
                    Ok(old) => free.extend(old),
                    Err(error) => {
                        assert_eq!(error, Error::RegistryFull { capacity: 16 });
                        free.push(memory);
                    }
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(enough(version), "{version} versions, {batches:?} batches in a minute");
    });
    while registry.reclaim().is_some() {}
    assert_eq!(registry.usage().retired, 0, "every pin was dropped");
}

/// One batch: what every token gets must be one version's alone.
fn read(registry: &Registry<'_, Memory>, turn: u32) {
    let mut list = uses(&[(0, turn % 4, 1.0), (1, (turn + 1) % 4, 1.0), (2, turn % 4, 2.0)]);
    let mut pins = [const { Pin::EMPTY }; 2];
    // While the swapper is between remove and add the id does not exist.
    let Ok(pinned) = registry.pin_all(&mut list, &mut pins) else { return };
    let memories: Vec<_> =
        pinned.values().map(|memory| memory.try_read().expect("nobody writes it")).collect();
    let views: Vec<Option<Adapter<'_>>> = memories
        .iter()
        .map(|bytes| {
            let (a, b) = bytes.split_at(RANK * LAYER.cols * 4);
            Adapter::new(LAYER, RANK, Rows::new(Dtype::F32, a), Rows::new(Dtype::F32, b), 1.0).ok()
        })
        .collect();
    let apply = Apply::routed(Kernel::detect(), LAYER, 3, &list, &views).unwrap();
    let (x, mut y) = (vec![1.0; 3 * LAYER.cols], vec![0.0; 3 * LAYER.rows]);
    let mut scratch = vec![0.0; apply.t_len() + apply.scratch_len()];
    let mut outputs = OutputsF32 { values: &mut y, stride: LAYER.rows };
    apply.run(Inputs::f32(&x, LAYER.cols), &mut outputs, &mut scratch).unwrap();
    for of in &list {
        let values = &y[of.token as usize * LAYER.rows..][..LAYER.rows];
        // v·v·rank·cols·weight, exact in f32 for every version.
        let version = f32::from_le_bytes(memories[of.adapter as usize][..4].try_into().unwrap());
        let expected = version * version * (RANK * LAYER.cols) as f32 * of.weight;
        assert!(values.iter().all(|&value| value == expected), "{values:?} against {expected}");
    }
}

/// The longest that a look at the registry takes while a batch of `list` is pinned, and how long the pin takes.
fn longest_wait(registry: &Registry<'_, u32>, list: &[Assignment]) -> (Duration, Duration) {
    let done = AtomicBool::new(false);
    let (mut list, mut pins) = (list.to_vec(), [const { Pin::EMPTY }; 64]);
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                let start = Instant::now();
                registry.usage();
                longest = longest.max(start.elapsed());
                thread::yield_now();
            }
            longest
        });
        let start = Instant::now();
        drop(registry.pin_all(&mut list, &mut pins).unwrap());
        let took = start.elapsed();
        done.store(true, Ordering::Relaxed);
        (looking.join().unwrap(), took)
    })
}

#[test]
fn a_long_list_does_not_hold_the_lock() {
    let mut places = [const { Place::<u32>::EMPTY }; 64];
    let registry = Registry::new(&mut places, usize::MAX);
    for id in 0..64 {
        registry.add(id, id, 1).unwrap();
    }
    // Two adapters by turns, the last ones of the table.
    let list: Vec<_> =
        (0..2_000_000).map(|token| Assignment { token, adapter: 62 + token % 2, weight: 1.0 }).collect();
    // A thread that is interrupted waits as well: it has some attempts.
    let waits: Vec<_> = (0..8).map(|_| longest_wait(&registry, &list)).collect();
    assert!(waits.iter().any(|(wait, took)| *wait < *took / 8), "{waits:?}");
}

#[test]
fn more_ids_than_places_are_unknown_where_the_first_is() {
    let mut places = [const { Place::<u32>::EMPTY }; 4];
    let registry = Registry::new(&mut places, usize::MAX);
    for id in 0..4 {
        registry.add(id, id, 1).unwrap();
    }
    let pin = |ids: &[u32]| {
        let mut list = uses(&ids.iter().map(|&id| (0, id, 1.0)).collect::<Vec<_>>());
        let before = list.clone();
        let mut pins = [const { Pin::EMPTY }; 4];
        let result = registry.pin_all(&mut list, &mut pins);
        let result = result.map(|pinned| pinned.values().copied().collect::<Vec<_>>());
        assert!(result.is_ok() || list == before, "a refused list is as it was");
        result
    };
    assert_eq!(pin(&[3, 1, 1, 3, 0, 2, 1]), Ok(vec![0, 1, 2, 3]));
    assert_eq!(pin(&[0, 1, 2, 3, 0, 4]), Err(Error::UnknownAdapter { index: 5 }));
    assert_eq!(pin(&[0, 9, 1, 2, 3, 4]), Err(Error::UnknownAdapter { index: 1 }));
    assert_eq!(registry.usage().retired, 0);
}
