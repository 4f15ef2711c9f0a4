//! Generated weights of any size whose differences look like those of full fine-tuning: a power law of
//! directions on a flat bulk.

pub mod apply;
pub mod budget;
pub mod model;
pub mod product;
pub mod spectra;
pub mod weights;
