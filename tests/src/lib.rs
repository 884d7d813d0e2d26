//! placeholder

pub mod fuzz;
pub mod programs;
pub mod scenarios;
pub mod world;
