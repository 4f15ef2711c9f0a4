//! LoRA extraction from whole checkpoints.
