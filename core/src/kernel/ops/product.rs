//! The thin product of any matrix, C += A·X.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use crate::kernel::{
    Kernel, Strided,
    isa::{Isa, Op},
    operands::holds,
    portable,
    registers::Registers,
};

/// C += A·X: `a` is `rows` × `depth`, `x` `depth` × `W`, `c` `rows` × `W`.
struct Product<'a, const W: usize> {
    a: Strided<'a>,
    rows: usize,
    depth: usize,
    x: &'a [f32],
    c: &'a mut [f32],
}

impl<const W: usize> Op for Product<'_, W> {
    type Output = ();
    #[inline(always)]
    fn portable(self) {
        let Self { a, rows, depth, x, c } = self;
        portable::product::<W>(a, rows, depth, x, c);
    }
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let Self { a, rows, depth, x, c } = self;
        // SAFETY: the operands hold the shapes; the caller's promise.
        unsafe {
            match W {
                8 => I::Thin8::product(a, rows, depth, x, c),
                16 => I::Thin16::product(a, rows, depth, x, c),
                _ => portable::product::<W>(a, rows, depth, x, c),
            }
        }
    }
}

impl Kernel {
    /// C += A·X for a thin X: `a` is `rows` × `depth` with any strides, `x` is `depth` × `W` and `c` is
    /// `rows` × `W`, both row-major. `W` is 8 or 16.
    ///
    /// # Panics
    /// When a buffer is too short.
    pub fn product<const W: usize>(
        self,
        a: Strided<'_>,
        rows: usize,
        depth: usize,
        x: &[f32],
        c: &mut [f32],
    ) {
        assert!(
            a.holds(rows, depth) && holds(x, depth, W) && holds(c, rows, W),
            "product: operands too short"
        );
        // Of nothing there is nothing to add, and no element of A that a pointer to a row could point to.
        if rows > 0 && depth > 0 {
            self.run(Product::<W> { a, rows, depth, x, c });
        }
    }
}
