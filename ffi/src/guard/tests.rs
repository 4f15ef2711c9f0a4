//! Sequences of calls as a C program makes them, small enough for Miri (`.ci/miri.sh`), which sees what no output shows: a
//! pointer that is used after a reference has ended its validity.

use super::{In, Opaque, Out, StatePointer};
use crate::adapter::{Adapter, Assignment};
use crate::batch::{
    BatchState, InputVectors, OutputVectors, phlora_batch_bytes, phlora_batch_down, phlora_batch_forward,
    phlora_batch_init, phlora_batch_up, phlora_batch_work,
};
use crate::combine::{Combined, phlora_combine, phlora_combine_len};
use crate::extract::{Report, phlora_end_pass, phlora_finish, phlora_push, phlora_start, phlora_wants_pass};
use crate::merge::{
    MergeState, phlora_merge_bytes, phlora_merge_init, phlora_merge_rows, phlora_merge_scratch_len,
};
use crate::options::{KernelChoice, Mode, Options, phlora_options_init};
use crate::parts::{MAX_PARTS, PartState, phlora_part_push, phlora_part_rows, phlora_split};
use crate::plan::{Plan, phlora_plan_init};
use crate::registry::{
    PinsState, RegistryState, phlora_pins_bytes, phlora_pins_release, phlora_registry_add,
    phlora_registry_bytes, phlora_registry_init, phlora_registry_pin, phlora_registry_remove,
};
use crate::sized::SizedStruct;
use crate::state::State;
use crate::status::Status;
use core::ffi::c_void;
use core::mem::size_of;
use core::ptr;

const ROWS: usize = 20;
const COLS: usize = 12;
const RANK: usize = 2;
const F32: u32 = 1;
const CAPACITY: usize = 100;

/// Memory at the alignment that states need.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);

fn memory(bytes: usize) -> Vec<Line> {
    vec![Line([0; 64]); bytes.div_ceil(64)]
}

fn out<T>(value: &mut T) -> Out<T> {
    Out(ptr::from_mut(value))
}

fn outs<T>(values: &mut [T]) -> Out<T> {
    Out(values.as_mut_ptr())
}

fn input<T, U>(values: &[T]) -> In<U> {
    In(values.as_ptr().cast())
}

/// What a program keeps of a running extraction.
struct Running {
    /// Owned by the extraction until the end.
    _memory: Vec<Line>,
    state: *mut State,
}

fn start(mode: Mode, parts: usize) -> Running {
    let mut options = Options::DEFAULT;
    assert_eq!(phlora_options_init(out(&mut options), size_of::<Options>()), Status::Ok);
    (options.rank, options.mode, options.parts) = (RANK, mode as u32, parts);
    // Miri cannot ask the processor what it has.
    options.kernel = KernelChoice::Portable as u32;
    let mut plan = Plan::DEFAULT;
    let options = In(ptr::from_ref(&options));
    assert_eq!(phlora_plan_init(options, ROWS, COLS, out(&mut plan), size_of::<Plan>()), Status::Ok);
    let mut memory = memory(plan.memory_bytes);
    let place: Out<c_void> = Out(memory.as_mut_ptr().cast());
    let mut state = StatePointer::<State>(ptr::null_mut());
    assert_eq!(phlora_start(options, ROWS, COLS, place, plan.memory_bytes, out(&mut state)), Status::Ok);
    Running { _memory: memory, state: state.0 }
}

/// Rows of both sides: a difference of rank 2.
fn sides() -> [Vec<f32>; 2] {
    let tuned =
        (0..ROWS * COLS).map(|i| ((i / COLS) % 5) as f32 * ((i % COLS) % 3) as f32 + (i % COLS) as f32);
    [vec![0.0; ROWS * COLS], tuned.collect()]
}

/// Factors, as bits.
fn finish(running: &Running) -> Vec<u32> {
    let (mut a, mut b, mut sigma) = ([0.0; RANK * COLS], [0.0; ROWS * RANK], [0.0; RANK]);
    let mut report = Report::DEFAULT;
    let status = phlora_finish(
        Out(running.state),
        outs(&mut a),
        a.len(),
        outs(&mut b),
        b.len(),
        outs(&mut sigma),
        RANK,
        out(&mut report),
        size_of::<Report>(),
    );
    assert_eq!(status, Status::Ok);
    assert!(report.energy > 0.999, "{report:?}");
    a.iter().chain(&b).chain(&sigma).map(|x| x.to_bits()).collect()
}

fn extract(mode: Mode) {
    let [base, tuned] = sides();
    let running = start(mode, 1);
    while phlora_wants_pass(In(running.state)) == 1 {
        for i in 0..ROWS {
            let (base, tuned) = (&base[i * COLS..][..COLS], &tuned[i * COLS..][..COLS]);
            let status =
                phlora_push(Out(running.state), input(base), 4 * COLS, F32, input(tuned), 4 * COLS, F32);
            assert_eq!(status, Status::Ok);
        }
        assert_eq!(phlora_end_pass(Out(running.state)), Status::Ok);
    }
    finish(&running);
}

#[test]
fn whole_passes() {
    extract(Mode::Exact);
    extract(Mode::StreamOnce);
    extract(Mode::MultiRead);
}

#[test]
fn split_passes_leave_valid_pointers_to_their_parts() {
    let [base, tuned] = sides();
    let running = start(Mode::MultiRead, 2);
    while phlora_wants_pass(In(running.state)) == 1 {
        let mut parts = [const { StatePointer::<PartState>(ptr::null_mut()) }; MAX_PARTS];
        let mut count = 0;
        assert_eq!(
            phlora_split(Out(running.state), outs(&mut parts), MAX_PARTS, out(&mut count)),
            Status::Ok
        );
        assert_eq!(count, 2);
        for part in &parts[..count] {
            let (mut first, mut rows) = (0, 0);
            assert_eq!(phlora_part_rows(Out(part.0), out(&mut first), out(&mut rows)), Status::Ok);
            let (base, tuned) = (&base[first * COLS..], &tuned[first * COLS..]);
            let bytes = 4 * rows * COLS;
            let status = phlora_part_push(Out(part.0), input(base), bytes, F32, input(tuned), bytes, F32);
            assert_eq!(status, Status::Ok);
        }
        assert_eq!(phlora_end_pass(Out(running.state)), Status::Ok);
    }
    finish(&running);
}

#[test]
fn pins_outlive_the_call() {
    let mut place = memory(phlora_registry_bytes(CAPACITY));
    let mut registry = StatePointer::<RegistryState>(ptr::null_mut());
    let (memory_bytes, to) = (64 * place.len(), Out(place.as_mut_ptr().cast()));
    assert_eq!(phlora_registry_init(CAPACITY, usize::MAX, to, memory_bytes, out(&mut registry)), Status::Ok);
    let mut adapters = [1_u8, 2, 3];
    for (id, adapter) in (0..).zip(&mut adapters) {
        let value = Opaque(ptr::from_mut(adapter).cast());
        assert_eq!(phlora_registry_add(Out(registry.0), id, value, 1), Status::Ok);
    }
    let mut list =
        [(0, 2), (1, 0), (2, 2)].map(|(token, adapter)| Assignment { token, adapter, weight: 1.0 });
    let mut pins_place = memory(phlora_pins_bytes(2));
    let mut pins = StatePointer::<PinsState>(ptr::null_mut());
    let (mut values, mut count) = ([Opaque::NULL; 2], 0);
    let status = phlora_registry_pin(
        Out(registry.0),
        outs(&mut list),
        list.len(),
        Out(pins_place.as_mut_ptr().cast()),
        64 * pins_place.len(),
        out(&mut pins),
        outs(&mut values),
        2,
        out(&mut count),
    );
    assert_eq!((status, count), (Status::Ok, 2));
    let mut old = Opaque::NULL;
    assert_eq!(phlora_registry_remove(Out(registry.0), 2, out(&mut old)), Status::Ok);
    assert!(old.is_null(), "pinned");
    assert_eq!(phlora_pins_release(Out(pins.0)), Status::Ok);
    assert_eq!(phlora_pins_release(Out(pins.0)), Status::OutOfOrder);
}

/// An adapter of rank 1 over factors of ones, for a weight of 2 × 3.
fn adapter(a: &[f32], b: &[f32], scale: f32) -> Adapter {
    Adapter {
        rows: 2,
        cols: 3,
        rank: 1,
        a: input(a),
        a_bytes: 12,
        b: input(b),
        b_bytes: 8,
        a_dtype: F32,
        b_dtype: F32,
        scale,
        ..Adapter::DEFAULT
    }
}

#[test]
fn batches_and_merges_outlive_the_call() {
    let (a, b) = ([1.0; 3], [1.0; 2]);
    let adapters = [adapter(&a, &b, 1.0), adapter(&a, &b, 10.0)];
    let list: Vec<In<Adapter>> = adapters.iter().map(|adapter| In(ptr::from_ref(adapter))).collect();
    let uses = [(0, 0), (1, 1)].map(|(token, adapter)| Assignment { token, adapter, weight: 1.0 });
    let mut place = memory(phlora_batch_bytes(2));
    let mut batch = StatePointer::<BatchState>(ptr::null_mut());
    let (bytes, to) = (64 * place.len(), Out(place.as_mut_ptr().cast()));
    let status = phlora_batch_init(2, 3, 2, input(&list), 2, input(&uses), 2, to, bytes, out(&mut batch));
    assert_eq!(status, Status::Ok);
    let (x, mut y) = ([1.0_f32, 0.0, 0.0, 0.0, 2.0, 0.0], [0.0_f32; 4]);
    let inputs = InputVectors { data: input(&x), bytes: 24, stride: 3, dtype: F32, reserved: 0 };
    let outputs =
        OutputVectors { data: Out(y.as_mut_ptr().cast()), bytes: 16, stride: 2, dtype: F32, reserved: 0 };
    let mut work = vec![0.0; phlora_batch_work(In(batch.0), 2)];
    let (x, y_of) = (In(ptr::from_ref(&inputs)), In(ptr::from_ref(&outputs)));
    for ith in 0..2 {
        let status = phlora_batch_down(In(batch.0), x, ith, 2, outs(&mut work), work.len());
        assert_eq!(status, Status::Ok);
    }
    for ith in 0..2 {
        let status = phlora_batch_up(In(batch.0), y_of, ith, 2, outs(&mut work), work.len());
        assert_eq!(status, Status::Ok);
    }
    assert_eq!(phlora_batch_forward(In(batch.0), x, y_of, outs(&mut work), work.len()), Status::Ok);
    assert_eq!(y, [2.0, 2.0, 40.0, 40.0], "both ways together");

    let mut place = memory(phlora_merge_bytes(3, 2, 2));
    let mut merge = StatePointer::<MergeState>(ptr::null_mut());
    let (bytes, to) = (64 * place.len(), Out(place.as_mut_ptr().cast()));
    let status = phlora_merge_init(input(&list), In(ptr::null()), 2, to, bytes, out(&mut merge));
    assert_eq!(status, Status::Ok);
    let (mut weight, mut stash) = ([0.0_f32; 6], [0.0_f32; 6]);
    let mut scratch = vec![0.0; phlora_merge_scratch_len(In(merge.0))];
    let rows = Out(weight.as_mut_ptr().cast());
    let stashed = Out(stash.as_mut_ptr().cast());
    let (room, len) = (outs(&mut scratch), scratch.len());
    assert_eq!(phlora_merge_rows(In(merge.0), 0, rows, 24, F32, stashed, room, len), Status::Ok);
    assert_eq!(weight, [11.0; 6]);

    let mut scratch = vec![0.0; phlora_combine_len(2, 3, 2, 1)];
    let (mut a, mut b, mut sigma) = ([0.0; 3], [0.0; 2], [0.0; 1]);
    let mut combined = Combined::DEFAULT;
    let status = phlora_combine(
        input(&list),
        In(ptr::null()),
        2,
        1,
        outs(&mut scratch),
        scratch.len(),
        outs(&mut a),
        3,
        outs(&mut b),
        2,
        outs(&mut sigma),
        1,
        out(&mut combined),
        size_of::<Combined>(),
    );
    assert_eq!(status, Status::Ok);
    assert!((b[0] * a[0] - 11.0).abs() < 1e-3, "{a:?} {b:?}");
}
