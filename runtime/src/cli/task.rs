//! Which task, as typed on a command line.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::{input, number};
use crate::job::TaskSources;

/// Which task.
#[derive(Debug, Args)]
pub struct TaskOptions {
    /// A FlashInfer-Bench data set, with definitions/, workloads/ and captured tensors in it. What it
    /// holds of the submission's definition goes before what the submission brings [default:
    /// $FIB_DATASET_PATH].
    #[arg(long, value_name = "DIR")]
    pub dataset: Option<PathBuf>,
    /// The definition's file [default: the data set's, else definition.json beside the submission].
    #[arg(long, value_name = "FILE")]
    pub definition: Option<PathBuf>,
    /// Workloads, one JSON document a line [default: the data set's, else workloads.jsonl beside the
    /// definition].
    #[arg(long, value_name = "FILE")]
    pub workloads: Option<PathBuf>,
    /// Only workloads whose first variable axis has one of these values, such as `1,8,64`.
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = number::whole::<u64>)]
    pub batch: Vec<u64>,
    /// At most this many workloads of each axis value.
    #[arg(long, value_name = "N", value_parser = number::whole::<usize>)]
    pub each: Option<usize>,
    /// Folder that the paths of captured tensors start from [default: the data set, else the folder
    /// of the definition or the submission].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl TaskOptions {
    /// Whether the request says where definition and workloads are.
    pub fn is_named(&self) -> bool {
        self.dataset.is_some() || self.definition.is_some() || input::dataset_variable().is_some()
    }

    /// Where the task may come from, beside what the submission brings.
    pub fn sources(&self) -> Result<TaskSources, Failure> {
        Ok(TaskSources {
            dataset: input::dataset(self.dataset.as_deref())?,
            definition: self.definition.clone(),
            workloads: self.workloads.clone(),
            axis_values: self.batch.clone(),
            each: self.each,
            data_root: self.data.clone(),
        })
    }
}
