//! What is said of each tensor or module of phlora_diff_files.

use super::module::c_text;
use crate::guard::In;
use core::ffi::{c_char, c_void};
use core::mem::size_of;
use phlora::{ModuleDiff, TensorDiff};

/// A tensor of two models, or a module of two adapters, that differs; what is not known of it is 0.
#[repr(C)]
pub struct Difference {
    /// Size of this struct, which may grow.
    pub struct_size: usize,
    /// Its path.
    pub name: In<c_char>,
    /// What it has in common with tensors of other layers.
    pub kind: In<c_char>,
    /// ‖second − first‖_F.
    pub distance: f64,
    /// Of models: ‖Δ‖/‖W‖, ‖W‖ being an estimate.
    pub change: f64,
    /// Of models: share of ‖Δ‖² over all tensors.
    pub share: f64,
    /// Of models: how many directions of one length would have the same fourth moment.
    pub effective_rank: f64,
    /// Of models: known singular values above the noise floor.
    pub noise_rank: usize,
    /// Of models: 1 where there may be more of them than were looked at.
    pub more_above_noise: usize,
    /// Of adapters: directions of both.
    pub ranks: [usize; 2],
    /// Of adapters: ‖s·B·A‖_F of both.
    pub norms: [f64; 2],
    /// Of adapters: ⟨first, second⟩ / (‖first‖·‖second‖).
    pub cosine: f64,
    /// Of adapters: the share of each one's energy that lies in what the other reads and writes.
    pub shared: [f64; 2],
    /// Of adapters: what that would be by chance.
    pub by_chance: f64,
    /// Of adapters: principal angles between what both write, in degrees, ascending.
    pub out_angles: In<f32>,
    /// Their number.
    pub out_angles_len: usize,
    /// Of adapters: principal angles between what both read.
    pub in_angles: In<f32>,
    /// Their number.
    pub in_angles_len: usize,
}

/// Told of each difference when the job has succeeded, on the thread that called: tensors with what moved most for its size first,
/// modules by name. What it points to ends with the callback. It must not throw or longjmp.
pub type DifferenceCallback = Option<extern "C" fn(user: *mut c_void, difference: *const Difference)>;

const NOTHING: Difference = Difference {
    struct_size: size_of::<Difference>(),
    name: In::NULL,
    kind: In::NULL,
    distance: 0.0,
    change: 0.0,
    share: 0.0,
    effective_rank: 0.0,
    noise_rank: 0,
    more_above_noise: 0,
    ranks: [0; 2],
    norms: [0.0; 2],
    cosine: 0.0,
    shared: [0.0; 2],
    by_chance: 0.0,
    out_angles: In::NULL,
    out_angles_len: 0,
    in_angles: In::NULL,
    in_angles_len: 0,
};

/// What phlora knows of a difference.
pub trait Told {
    /// Its path and kind.
    fn names(&self) -> [&str; 2];
    /// Its figures, without the names; points into `self`.
    fn figures(&self) -> Difference;
}

impl Told for TensorDiff {
    fn names(&self) -> [&str; 2] {
        [&self.name, &self.kind]
    }

    fn figures(&self) -> Difference {
        Difference {
            distance: self.delta_norm,
            change: self.change.unwrap_or(0.0),
            share: self.share,
            effective_rank: self.effective_rank.unwrap_or(0.0),
            noise_rank: self.noise_rank.unwrap_or(0),
            more_above_noise: self.more_above_noise.into(),
            ..NOTHING
        }
    }
}

impl Told for ModuleDiff {
    fn names(&self) -> [&str; 2] {
        [&self.name, &self.kind]
    }

    fn figures(&self) -> Difference {
        Difference {
            distance: self.distance,
            ranks: self.ranks,
            norms: self.norms,
            cosine: self.cosine,
            shared: self.shared,
            by_chance: self.by_chance,
            out_angles: In::of_floats(&self.out_angles),
            out_angles_len: self.out_angles.len(),
            in_angles: In::of_floats(&self.in_angles),
            in_angles_len: self.in_angles.len(),
            ..NOTHING
        }
    }
}

/// Tells of all differences.
pub fn tell<'m, M: Told + 'm>(
    callback: DifferenceCallback,
    user: *mut c_void,
    differences: impl IntoIterator<Item = &'m M>,
) {
    let Some(callback) = callback else { return };
    for of in differences {
        let [name, kind] = of.names().map(c_text);
        let told = Difference { name: In::of_text(&name), kind: In::of_text(&kind), ..of.figures() };
        callback(user, &raw const told);
    }
}
