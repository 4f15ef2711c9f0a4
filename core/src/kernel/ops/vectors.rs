//! Operations on vectors of f32, and prefetching alone.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use crate::{
    format::convert::Convert,
    kernel::{
        Kernel, Prefetch,
        isa::{AutoVectorized, Isa, Op},
        portable,
        vector::{Vector, ask},
    },
};

struct Dot<'a>(&'a [f32], &'a [f32]);

impl AutoVectorized for Dot<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<C: Convert>(self) -> f32 {
        portable::dot(self.0, self.1)
    }
}

struct SubtractScaled<'a>(&'a mut [f32], f32, &'a [f32]);

impl AutoVectorized for SubtractScaled<'_> {
    type Output = ();
    #[inline(always)]
    fn run<C: Convert>(self) {
        portable::subtract_scaled(self.0, self.1, self.2);
    }
}

/// Two vectors of one length, and the cosine and sine that they are rotated by.
struct Rotate<'a> {
    x: &'a mut [f32],
    y: &'a mut [f32],
    c: f32,
    s: f32,
}

impl Op for Rotate<'_> {
    type Output = ();
    #[inline(always)]
    fn portable(self) {
        portable::rotate(self.x, self.y, self.c, self.s);
    }
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: the caller's promise; both have one length.
        let done = unsafe { rotate::<I::Vector>(self.x, self.y, self.c, self.s) };
        portable::rotate(&mut self.x[done..], &mut self.y[done..], self.c, self.s);
    }
}

/// (x, y) ← (c·x − s·y, s·x + c·y) as far as whole vectors go; gives how many elements these are. In the form of
/// `portable::rotate`, with τ = s/(1 + c).
///
/// # Safety
/// `y` is as long as `x`; the processor has the vector's features.
#[inline(always)]
unsafe fn rotate<V: Vector>(x: &mut [f32], y: &mut [f32], c: f32, s: f32) -> usize {
    let whole = x.len() / V::LANES * V::LANES;
    let (x, y, tau) = (x.as_mut_ptr(), y.as_mut_ptr(), s / (1.0 + c));
    // SAFETY: i stays below `whole`, a multiple of the lanes.
    unsafe {
        let [tau, less_tau, sine, less_sine] = [tau, -tau, s, -s].map(|value| V::splat(&raw const value));
        for i in (0..whole).step_by(V::LANES) {
            let (a, b) = (V::load(x.add(i)), V::load(y.add(i)));
            a.fused(less_sine, b.fused(tau, a)).store(x.add(i));
            b.fused(sine, a.fused(less_tau, b)).store(y.add(i));
        }
    }
    whole
}

struct Ask<'a>(&'a [u8]);

impl Op for Ask<'_> {
    type Output = ();
    #[inline(always)]
    fn portable(self) {}
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        ask::<I::Vector>(self.0);
    }
}

impl Kernel {
    /// x·y over min(x, y) elements, in a fixed order of lanes.
    pub(crate) fn dot(self, x: &[f32], y: &[f32]) -> f32 {
        self.run(Dot(x, y))
    }

    /// x −= f·y, elementwise.
    pub(crate) fn subtract_scaled(self, x: &mut [f32], f: f32, y: &[f32]) {
        self.run(SubtractScaled(x, f, y));
    }

    /// (x, y) ← (c·x − s·y, s·x + c·y) over min(x, y) elements.
    pub(crate) fn rotate(self, x: &mut [f32], y: &mut [f32], c: f32, s: f32) {
        let len = x.len().min(y.len());
        self.run(Rotate { x: &mut x[..len], y: &mut y[..len], c, s });
    }

    /// One step of `ahead`, for loops that multiply nothing.
    pub(crate) fn ask(self, ahead: &mut Prefetch<'_>) {
        self.run(Ask(ahead.step()));
    }
}
