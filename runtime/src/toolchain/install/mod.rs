//! Installs pinned components: fetch, check, unpack, one rename.
//!
//! Everything happens in a fresh folder beside the place of the component, under one lock. Killed
//! at any moment, it leaves a folder named `.partial-…`, which the next installation removes, and
//! nothing that looks installed.
//!
//! | file | noun |
//! |---|---|
//! | `request` | what to install, and what there is to see meanwhile |
//! | `error` | why it did not happen |
//! | `installation` | several components under one lock |
//! | `component` | one component on its way to its place |
//! | `pip`, `ranges` | where wheels, or parts of them, come from |
//! | `wheel`, `part` | how they are unpacked |

mod component;
mod error;
mod installation;
mod part;
mod pip;
mod ranges;
mod request;
mod wheel;

pub use error::{InstallError, ObtainError};
pub use installation::{find_or_install, install};
pub use pip::PipError;
pub use request::{Existing, InstallRequest, Progress, Step, Unwatched, WheelSource};
pub use wheel::WheelError;
