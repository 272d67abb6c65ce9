//! Machine code that is loaded and launched as recorded.

use std::ffi::{CStr, CString, c_void};
use std::rc::Rc;

use cudarc::driver::sys::{
    self, CUfunction_attribute as FunctionAttribute, CUlaunchAttributeID as LaunchAttribute,
};

use super::context::Gpu;
use super::error::{DeviceError, check};
use super::memory::Region;
use super::stream::Stream;
use crate::recording::{CopyRows, FillRows, Launch, RecordedKernel};

/// A loaded image.
#[derive(Debug)]
pub(crate) struct LoadedImage {
    module: sys::CUmodule,
    _gpu: Rc<Gpu>,
}

impl LoadedImage {
    /// Loads machine code. PTX is refused: the driver would compile it.
    pub(crate) fn load(gpu: &Rc<Gpu>, bytes: &[u8]) -> Result<Self, DeviceError> {
        if !bytes.starts_with(b"\x7fELF") {
            let detail = "it is no machine code".to_owned();
            return Err(DeviceError::Library { library: "the image".to_owned(), detail });
        }
        let mut module = std::ptr::null_mut();
        // SAFETY: an ELF image; the driver refuses one that is damaged. The handle is a live variable.
        check("cuModuleLoadData", unsafe { sys::cuModuleLoadData(&raw mut module, bytes.as_ptr().cast()) })?;
        Ok(Self { module, _gpu: Rc::clone(gpu) })
    }

    /// Where a variable lies.
    pub(crate) fn variable(&self, name: &CStr) -> Result<Region, DeviceError> {
        let (mut address, mut size) = (0, 0);
        // SAFETY: the module lives, the name is terminated, and both answers are live variables.
        check("cuModuleGetGlobal", unsafe {
            sys::cuModuleGetGlobal_v2(&raw mut address, &raw mut size, self.module, name.as_ptr())
        })?;
        Ok(Region::at(address, size as u64))
    }

    /// Prepares a launch; `None` where the kernel takes other parameters than were recorded.
    pub(crate) fn configure(
        &self,
        kernel: &RecordedKernel,
        launch: &Launch,
    ) -> Result<Option<Configured>, DeviceError> {
        let function = self.function(&kernel.name)?;
        let set = |which: FunctionAttribute, value: i32| {
            // SAFETY: the function lives; a value out of range is refused.
            check("cuFuncSetAttribute", unsafe { sys::cuFuncSetAttribute(function, which, value) })
        };
        // Never less than before: launches of one kernel may want different sizes.
        let most = kernel.max_dynamic_shared_bytes.max(launch.shared_bytes);
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        let mut allowed = 0;
        let which = FunctionAttribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function lives; the answer is a live variable.
        check("cuFuncGetAttribute", unsafe { sys::cuFuncGetAttribute(&raw mut allowed, which, function) })?;
        if allowed < most {
            set(which, most)?;
        }
        if kernel.shared_carveout >= 0 {
            set(
                FunctionAttribute::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
                kernel.shared_carveout,
            )?;
        }
        if kernel.non_portable_clusters {
            set(FunctionAttribute::CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1)?;
        }
        if parameters(function) != kernel.parameters {
            return Ok(None);
        }
        let total: usize = kernel.parameters.iter().map(|(_, size)| *size as usize).sum();
        if total != launch.parameters.len() {
            return Ok(None);
        }
        let mut values = Vec::new();
        let mut rest = launch.parameters.as_slice();
        for (_, size) in &kernel.parameters {
            let (value, behind) = rest.split_at(*size as usize);
            values.push(aligned(value));
            rest = behind;
        }
        let mut local_bytes = 0;
        let which = FunctionAttribute::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES;
        // SAFETY: the function lives; the answer is a live variable.
        check("cuFuncGetAttribute", unsafe {
            sys::cuFuncGetAttribute(&raw mut local_bytes, which, function)
        })?;
        let local_bytes = u32::try_from(local_bytes).unwrap_or(u32::MAX);
        Ok(Some(Configured { function, launch: launch.clone(), values, local_bytes }))
    }

    fn function(&self, name: &str) -> Result<sys::CUfunction, DeviceError> {
        let mut function = std::ptr::null_mut();
        let name = CString::new(name).unwrap_or_default();
        // SAFETY: the module lives, the name is terminated, and the handle is a live variable.
        check("cuModuleGetFunction", unsafe {
            sys::cuModuleGetFunction(&raw mut function, self.module, name.as_ptr())
        })?;
        Ok(function)
    }
}

impl Drop for LoadedImage {
    fn drop(&mut self) {
        // SAFETY: unloaded once.
        let _ = unsafe { sys::cuModuleUnload(self.module) };
    }
}

/// Offset and size of each parameter, as the driver reads them from the image.
fn parameters(function: sys::CUfunction) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    loop {
        let (mut offset, mut size) = (0, 0);
        // SAFETY: the function lives; the answers are live variables; a number too large is refused.
        let code = unsafe { sys::cuFuncGetParamInfo(function, found.len(), &raw mut offset, &raw mut size) };
        if code != sys::CUresult::CUDA_SUCCESS {
            return found;
        }
        let narrow = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        found.push((narrow(offset), narrow(size)));
    }
}

/// A parameter's bytes where any type may be read.
fn aligned(bytes: &[u8]) -> Vec<u64> {
    let word = |bytes: &[u8]| {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        u64::from_ne_bytes(whole)
    };
    // One more than needed, so that no parameter is without an address.
    bytes.chunks(8).map(word).chain([0]).collect()
}

/// A launch that is ready to be queued.
#[derive(Debug)]
pub(crate) struct Configured {
    function: sys::CUfunction,
    launch: Launch,
    values: Vec<Vec<u64>>,
    local_bytes: u32,
}

impl Configured {
    /// Memory of its own that each thread has, in bytes.
    pub(crate) fn local_bytes(&self) -> u32 {
        self.local_bytes
    }

    /// Queues the launch.
    pub(crate) fn launch(&self, stream: &Stream) -> Result<(), DeviceError> {
        let mut pointers: Vec<*mut c_void> =
            self.values.iter().map(|value| value.as_ptr().cast_mut().cast()).collect();
        let mut attributes = Vec::new();
        if let Some([x, y, z]) = self.launch.cluster {
            let mut one = attribute(LaunchAttribute::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
            one.value.clusterDim = sys::CUlaunchAttributeValue_union__bindgen_ty_1 { x, y, z };
            attributes.push(one);
        }
        if self.launch.cooperative {
            let mut one = attribute(LaunchAttribute::CU_LAUNCH_ATTRIBUTE_COOPERATIVE);
            one.value.cooperative = 1;
            attributes.push(one);
        }
        if self.launch.programmatic {
            let mut one = attribute(LaunchAttribute::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION);
            one.value.programmaticStreamSerializationAllowed = 1;
            attributes.push(one);
        }
        let ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]) = (self.launch.grid, self.launch.block);
        let config = sys::CUlaunchConfig {
            gridDimX: grid_x,
            gridDimY: grid_y,
            gridDimZ: grid_z,
            blockDimX: block_x,
            blockDimY: block_y,
            blockDimZ: block_z,
            sharedMemBytes: self.launch.shared_bytes,
            hStream: stream.raw(),
            attrs: attributes.as_mut_ptr(),
            numAttrs: u32::try_from(attributes.len()).expect("three at most"),
        };
        // SAFETY: the function lives with its image; there is a pointer for each of its parameters, to at least
        // as many bytes as the driver reads, as was checked when it was prepared.
        check("cuLaunchKernelEx", unsafe {
            sys::cuLaunchKernelEx(
                &raw const config,
                self.function,
                pointers.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        })
    }
}

fn attribute(id: LaunchAttribute) -> sys::CUlaunchAttribute {
    // SAFETY: all zeros is a valid value of this structure of numbers and pointers.
    let mut attribute: sys::CUlaunchAttribute = unsafe { std::mem::zeroed() };
    attribute.id = id;
    attribute
}

/// Queues a recorded copy.
pub(crate) fn copy_rows(work: &CopyRows, stream: &Stream) -> Result<(), DeviceError> {
    let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    if work.rows <= 1 {
        // SAFETY: plain numbers; what is not mapped is the driver's to refuse.
        return check("cuMemcpyDtoDAsync", unsafe {
            sys::cuMemcpyDtoDAsync_v2(work.to, work.from, size(work.width_bytes), stream.raw())
        });
    }
    let rows = sys::CUDA_MEMCPY2D {
        srcXInBytes: 0,
        srcY: 0,
        srcMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_DEVICE,
        srcHost: std::ptr::null(),
        srcDevice: work.from,
        srcArray: std::ptr::null_mut(),
        srcPitch: size(work.from_pitch),
        dstXInBytes: 0,
        dstY: 0,
        dstMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_DEVICE,
        dstHost: std::ptr::null_mut(),
        dstDevice: work.to,
        dstArray: std::ptr::null_mut(),
        dstPitch: size(work.to_pitch),
        WidthInBytes: size(work.width_bytes),
        Height: size(work.rows),
    };
    // SAFETY: as above; the description lives across the call.
    check("cuMemcpy2DAsync", unsafe { sys::cuMemcpy2DAsync_v2(&raw const rows, stream.raw()) })
}

/// Queues a recorded fill.
pub(crate) fn fill_rows(work: &FillRows, stream: &Stream) -> Result<(), DeviceError> {
    let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let (to, pitch, width, rows) = (work.to, size(work.pitch), size(work.width), size(work.rows));
    let [low, high, ..] = work.value.to_le_bytes();
    let half = u16::from_le_bytes([low, high]);
    let code = match (work.element_bytes, rows) {
        // SAFETY: plain numbers; what is not mapped is the driver's to refuse.
        (1, 0 | 1) => unsafe { sys::cuMemsetD8Async(to, low, width, stream.raw()) },
        // SAFETY: as above.
        (2, 0 | 1) => unsafe { sys::cuMemsetD16Async(to, half, width, stream.raw()) },
        // SAFETY: as above.
        (_, 0 | 1) => unsafe { sys::cuMemsetD32Async(to, work.value, width, stream.raw()) },
        // SAFETY: as above.
        (1, _) => unsafe { sys::cuMemsetD2D8Async(to, pitch, low, width, rows, stream.raw()) },
        // SAFETY: as above.
        (2, _) => unsafe { sys::cuMemsetD2D16Async(to, pitch, half, width, rows, stream.raw()) },
        // SAFETY: as above.
        (..) => unsafe { sys::cuMemsetD2D32Async(to, pitch, work.value, width, rows, stream.raw()) },
    };
    check("cuMemsetAsync", code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_keep_their_bytes_and_get_room() {
        let bytes: Vec<u8> = (1..=70).collect();
        let flat: Vec<u8> = aligned(&bytes).iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!((&flat[..70], flat.len()), (bytes.as_slice(), 80));
        assert_eq!(aligned(&[]).len(), 1);
    }
}
