//! Choices that the bytes of an input make.

use arbitrary::Unstructured;
use phlora_tests::matrix::Normal;

/// The bytes of an input, taken one after another; zeros when they are used up.
pub struct Draw<'d>(Unstructured<'d>);

impl<'d> Draw<'d> {
    /// From the beginning of `data`.
    pub fn new(data: &'d [u8]) -> Self {
        Self(Unstructured::new(data))
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.int_in_range(0..=end.saturating_sub(1)).unwrap_or(0)
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// True in one of `times` cases; false where nothing is left.
    pub fn rarely(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or(0)
    }

    /// Any number, often one at the edge of what sizes can be.
    pub fn size(&mut self) -> u64 {
        let edges = [0, 1, 31, 32, 255, 1 << 16, 1 << 31, u64::from(u32::MAX), 1 << 32, 1 << 61, 1 << 62, 1 << 63, u64::MAX];
        if self.rarely(2) { self.0.arbitrary().unwrap_or(0) } else { self.pick(&edges).wrapping_sub(self.below(3) as u64) }
    }

    /// Any f32.
    pub fn float(&mut self) -> f32 {
        f32::from_bits(self.0.arbitrary().unwrap_or(0))
    }

    /// `len` bytes: what is left of the input, again and again.
    pub fn fill(&mut self, len: usize) -> Vec<u8> {
        let from = self.0.bytes((len).min(self.0.len())).unwrap_or_default();
        if from.is_empty() { vec![0; len] } else { from.iter().copied().cycle().take(len).collect() }
    }

    /// Deviates that follow from the input.
    pub fn normal(&mut self) -> Normal {
        Normal::new(self.0.arbitrary().unwrap_or(1))
    }

    /// A short text of whatever characters.
    pub fn text(&mut self) -> String {
        let characters = ['a', 'b', '.', '_', '0', '9', '-', '/', '"', '\\', '\n', '\0', 'é', '\u{202e}', '\u{200b}', '𝄞'];
        (0..self.below(9)).map(|_| self.pick(&characters)).collect()
    }
}
