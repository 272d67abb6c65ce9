//! Captured inputs: a safetensors file opened once, its tensors checked against the definition.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use proofmark_packager::interop::flashinfer::{Dtype, Tensor};
use safetensors::{SafeTensorError, SafeTensors, tensor};

/// How a Git LFS pointer begins: a file that was cloned, but whose content was not fetched.
const LFS_POINTER: &[u8] = b"version https://git-lfs";

/// Why a captured input could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum TensorFileError {
    /// The file could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file's content was never fetched.
    #[error("`{}` is a Git LFS pointer, not its content: run `git lfs pull` in the data set", path.display())]
    NotFetched {
        /// The file.
        path: PathBuf,
    },
    /// The file breaks its format.
    #[error("`{}` is no safetensors file", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: SafeTensorError,
    },
    /// No tensor has that key.
    #[error("`{}` holds no tensor `{key}`: it holds {}", path.display(), known.join(", "))]
    Missing {
        /// The file.
        path: PathBuf,
        /// The key asked for.
        key: String,
        /// The keys that stand, sorted.
        known: Vec<String>,
    },
    /// A tensor has another shape or element type than the definition says.
    #[error("tensor `{key}` in `{}`: expected {expected}, found {found}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
        /// Element type and shape of the definition at this workload.
        expected: String,
        /// Element type and shape in the file.
        found: String,
    },
}

/// An opened file.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl TensorFile {
    /// Reads a file and checks its header against its length.
    pub fn open(path: &Path) -> Result<Self, TensorFileError> {
        let bytes =
            fs::read(path).map_err(|source| TensorFileError::Read { path: path.to_owned(), source })?;
        if bytes.starts_with(LFS_POINTER) {
            return Err(TensorFileError::NotFetched { path: path.to_owned() });
        }
        let capture = Self { path: path.to_owned(), bytes };
        capture.parse()?;
        Ok(capture)
    }

    fn parse(&self) -> Result<SafeTensors<'_>, TensorFileError> {
        SafeTensors::deserialize(&self.bytes)
            .map_err(|source| TensorFileError::Format { path: self.path.clone(), source })
    }

    /// The dense bytes of one tensor, which must have exactly this shape and element type.
    pub fn tensor(&self, key: &str, expected: &Tensor) -> Result<Vec<u8>, TensorFileError> {
        let tensors = self.parse()?;
        let Ok(view) = tensors.tensor(key) else {
            let mut known: Vec<String> = tensors.names().into_iter().map(str::to_owned).collect();
            known.sort_unstable();
            return Err(TensorFileError::Missing { path: self.path.clone(), key: key.to_owned(), known });
        };
        let shape: Vec<u64> = view.shape().iter().map(|&extent| extent as u64).collect();
        let same_shape = Some(&shape) == expected.shape.as_ref();
        if !same_shape || view.dtype() != name_of(expected.dtype) {
            return Err(TensorFileError::Mismatch {
                path: self.path.clone(),
                key: key.to_owned(),
                expected: format!(
                    "{:?} {:?}",
                    name_of(expected.dtype),
                    expected.shape.as_deref().unwrap_or(&[])
                ),
                found: format!("{:?} {shape:?}", view.dtype()),
            });
        }
        Ok(view.data().to_vec())
    }
}

fn name_of(dtype: Dtype) -> tensor::Dtype {
    match dtype {
        Dtype::Float32 => tensor::Dtype::F32,
        Dtype::Float16 => tensor::Dtype::F16,
        Dtype::Bfloat16 => tensor::Dtype::BF16,
        Dtype::Float8E4m3fn => tensor::Dtype::F8_E4M3,
        Dtype::Float8E5m2 => tensor::Dtype::F8_E5M2,
        Dtype::Float4E2m1 => tensor::Dtype::F4,
        Dtype::Int64 => tensor::Dtype::I64,
        Dtype::Int32 => tensor::Dtype::I32,
        Dtype::Int16 => tensor::Dtype::I16,
        Dtype::Int8 => tensor::Dtype::I8,
        Dtype::Bool => tensor::Dtype::BOOL,
        Dtype::Uint8 => tensor::Dtype::U8,
        Dtype::Float64 => tensor::Dtype::F64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    fn valid() -> Vec<u8> {
        let data = [0_u8; 12];
        let view = tensor::TensorView::new(tensor::Dtype::BF16, vec![2, 3], &data).unwrap();
        safetensors::serialize([("q", view)], None).unwrap()
    }

    fn expecting(dtype: Dtype, shape: &[u64]) -> Tensor {
        let element_count = shape.iter().product();
        let size_bytes = dtype.size_bytes(element_count).unwrap();
        Tensor { dtype, shape: Some(shape.to_vec()), element_count, size_bytes }
    }

    #[test]
    fn hands_out_a_tensor_of_the_expected_shape_and_type_only() {
        let (_folder, path) = written(&valid());
        let file = TensorFile::open(&path).unwrap();
        assert_eq!(file.tensor("q", &expecting(Dtype::Bfloat16, &[2, 3])).unwrap().len(), 12);
        for wrong in [
            expecting(Dtype::Bfloat16, &[3, 2]),
            expecting(Dtype::Bfloat16, &[6]),
            expecting(Dtype::Float16, &[2, 3]),
            expecting(Dtype::Int16, &[2, 3]),
        ] {
            assert!(matches!(file.tensor("q", &wrong), Err(TensorFileError::Mismatch { .. })), "{wrong:?}");
        }
        let missing = file.tensor("k", &expecting(Dtype::Bfloat16, &[2, 3])).unwrap_err();
        assert!(missing.to_string().ends_with("it holds q"), "{missing}");
    }

    #[test]
    fn refuses_torn_foreign_and_unfetched_files() {
        let valid = valid();
        for torn in [0, 7, 20, valid.len() - 1] {
            let (_folder, path) = written(&valid[..torn]);
            assert!(matches!(TensorFile::open(&path), Err(TensorFileError::Format { .. })), "{torn}");
        }
        let (_folder, path) = written(&[0xff; 64]);
        assert!(matches!(TensorFile::open(&path), Err(TensorFileError::Format { .. })));
        let (_folder, path) = written(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
        assert!(matches!(TensorFile::open(&path), Err(TensorFileError::NotFetched { .. })));
    }
}
