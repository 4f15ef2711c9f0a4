//! What is said of each module of a job.

use crate::guard::In;
use core::ffi::{c_char, c_void};
use core::mem::size_of;
use phlora::{ModuleReport, PrunedModule, VerifiedModule};
use std::ffi::CString;

/// A module of a job; what a job does not know is 0.
#[repr(C)]
pub struct Module {
    /// Size of this struct, which may grow.
    pub struct_size: usize,
    /// Its path.
    pub name: In<c_char>,
    /// Outputs of its weight.
    pub rows: usize,
    /// Inputs of its weight.
    pub cols: usize,
    /// Rank of its factors; 0: it is dropped.
    pub rank: usize,
    /// Rank before, of a module that is pruned.
    pub rank_before: usize,
    /// Known singular values of its difference, descending, and their number.
    pub singular_values: In<f32>,
    /// See above.
    pub singular_values_len: usize,
    /// Kept energy.
    pub energy: f64,
    /// ‖Δ‖_F; of a module that is pruned ‖s·B·A‖_F.
    pub delta_norm: f64,
}

/// Told of each module when the job has succeeded, on the thread that called, adapter after adapter where there are
/// several. The module and what it points to end with the callback. It must not throw or longjmp.
pub type ModuleCallback = Option<extern "C" fn(user: *mut c_void, module: *const Module)>;

/// Tells of all modules.
pub fn tell<'m, M: 'm>(callback: ModuleCallback, user: *mut c_void, modules: impl IntoIterator<Item = &'m M>)
where
    for<'a> Told: From<&'a M>,
{
    let Some(callback) = callback else { return };
    for module in modules {
        let Told { mut module, name, singular_values } = Told::from(module);
        let name = c_text(&name);
        module.name = In::of_text(&name);
        module.singular_values = In::of_floats(&singular_values);
        module.singular_values_len = singular_values.len();
        callback(user, &raw const module);
    }
}

/// A module, and what it is to point to.
pub struct Told {
    module: Module,
    name: String,
    singular_values: Vec<f32>,
}

const NOTHING: Module = Module {
    struct_size: size_of::<Module>(),
    name: In::NULL,
    rows: 0,
    cols: 0,
    rank: 0,
    rank_before: 0,
    singular_values: In::NULL,
    singular_values_len: 0,
    energy: 0.0,
    delta_norm: 0.0,
};

impl From<&ModuleReport> for Told {
    fn from(of: &ModuleReport) -> Self {
        let [rows, cols] = of.shape;
        let (energy, delta_norm) = (of.energy, of.delta_norm);
        let module = Module { rows, cols, rank: of.rank, energy, delta_norm, ..NOTHING };
        Self { module, name: of.name.clone(), singular_values: of.spectrum() }
    }
}

impl From<&VerifiedModule> for Told {
    fn from(of: &VerifiedModule) -> Self {
        let [rows, cols] = of.shape;
        let (energy, delta_norm) = (of.energy, of.delta_norm);
        let module = Module { rows, cols, rank: of.rank, energy, delta_norm, ..NOTHING };
        Self { module, name: of.name.clone(), singular_values: Vec::new() }
    }
}

impl From<&PrunedModule> for Told {
    fn from(of: &PrunedModule) -> Self {
        let (energy, delta_norm) = (of.energy, of.sum_squares.sqrt());
        let module = Module { rank: of.rank, rank_before: of.before, energy, delta_norm, ..NOTHING };
        Self { module, name: of.name.clone(), singular_values: Vec::new() }
    }
}

/// A text for C; what stands after a zero byte in a name is cut.
pub fn c_text(text: &str) -> CString {
    CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default()
}
