//! placeholder

pub mod fuzz;
pub mod scenarios;
