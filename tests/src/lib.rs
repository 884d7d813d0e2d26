//! placeholder

pub mod fuzz;
