//! Every kernel against f64 and against the portable one, and the decoders against a reference over every value.

mod dots;
mod merged;
mod products;
mod rows;
mod strips;
mod support;
mod vectors;
