//! What a maintainer asks of every file of a release, and what changed between two releases.
//!
//! | file | noun |
//! |---|---|
//! | `policy_file` | the policy as written, and everything that is wrong with it |
//! | `policy` | rules and waivers, held against one file after the other |
//! | `finding` | one thing that is not as the policy asks |
//! | `preset` | policies that need no file: `only:sm_100a`, `like:old.whl` |
//! | `survey` | every file with what it holds, and what of it is not known |
//! | `inventory` | the device code of a wheel or folder, by file |
//! | `difference` | what appeared and what went between two inventories |

mod difference;
mod finding;
mod inventory;
mod policy;
mod policy_file;
mod preset;
mod survey;

pub use difference::{Comparison, Difference, FileDifference, ImageDifference};
pub use finding::{Finding, FindingKind};
pub use inventory::{FileInventory, Form, Inventory};
pub use policy::{Allowed, Pattern, ReleasePolicy, Rule, Waiver};
pub use policy_file::{FORMAT_VERSION, PolicyFileError};
pub use preset::like;
pub use survey::{Surveyed, doubts, inner_name, survey};
