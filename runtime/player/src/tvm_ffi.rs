//! Calls a compiled kernel through TVM-FFI's C ABI: no Python, no generated bindings.
//!
//! `libtvm_ffi.so` is opened first, by absolute path and globally, so that the kernel's own
//! dependency on it resolves by SONAME without any search path. Kernels then export
//! `__tvm_ffi_<symbol>`. Tensors travel as TVM-FFI objects made from `DLPack`, because parameters
//! declared `ffi::Tensor` refuse a bare `DLTensor*` and `TensorView` takes either.

use std::ffi::{c_char, c_int, c_void};
use std::path::Path;
use std::rc::Rc;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};

use crate::device::error::DeviceError;
use crate::device::loader::loader_words;
use crate::dlpack::{DlDtype, DlTensor, Extents, TensorDevice};

/// `kTVMFFINone`, `kTVMFFIInt`, `kTVMFFIBool`, `kTVMFFIFloat`, `kTVMFFITensor`.
const INDEX_NONE: i32 = 0;
const INDEX_INT: i32 = 1;
const INDEX_BOOL: i32 = 2;
const INDEX_FLOAT: i32 = 3;
const INDEX_TENSOR: i32 = 70;
/// Object types start here; smaller indices are plain values.
const INDEX_OBJECTS: i32 = 64;
/// An object's payload follows a header of this many bytes.
const OBJECT_HEADER_BYTES: usize = 24;
/// Tensor data must be aligned to this many bytes, what `DLPack` asks for.
const DATA_ALIGNMENT: i32 = 16;
/// Whether only contiguous tensors are taken: not so, since strides are the kernel's to follow or to refuse.
const ANY_STRIDES: i32 = 0;
/// Error messages longer than this are cut.
const MESSAGE_LIMIT_BYTES: usize = 64 * 1024;

#[repr(C)]
struct DlManagedTensorVersioned {
    major: u32,
    minor: u32,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Self)>,
    flags: u64,
    tensor: DlTensor,
}

/// One argument or answer: 16 bytes, as the ABI has it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Any {
    type_index: i32,
    small_length: u32,
    value: u64,
}

impl Any {
    /// No value.
    pub const NONE: Self = Self { type_index: INDEX_NONE, small_length: 0, value: 0 };

    /// A whole number.
    pub fn int(value: i64) -> Self {
        Self { type_index: INDEX_INT, small_length: 0, value: value.cast_unsigned() }
    }

    /// A truth value.
    pub fn bool(value: bool) -> Self {
        Self { type_index: INDEX_BOOL, small_length: 0, value: u64::from(value) }
    }

    /// A float.
    pub fn float(value: f64) -> Self {
        Self { type_index: INDEX_FLOAT, small_length: 0, value: value.to_bits() }
    }
}

type SafeCall = unsafe extern "C" fn(*mut c_void, *const Any, i32, *mut Any) -> c_int;
type FromDlpack = unsafe extern "C" fn(*mut DlManagedTensorVersioned, i32, i32, *mut *mut c_void) -> c_int;
type SetStream = unsafe extern "C" fn(i32, i32, *mut c_void, *mut *mut c_void) -> c_int;
type DecRef = unsafe extern "C" fn(*mut c_void) -> c_int;
type MoveError = unsafe extern "C" fn(*mut *mut c_void);
type Allocator = unsafe extern "C" fn(
    *mut DlTensor,
    *mut *mut DlManagedTensorVersioned,
    *mut c_void,
    Option<unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char)>,
) -> c_int;
type SetAllocator = unsafe extern "C" fn(Allocator, c_int, *mut Option<Allocator>) -> c_int;

/// The loaded `libtvm_ffi.so`.
#[derive(Debug)]
pub struct TvmFfi {
    tensor_from_dlpack: FromDlpack,
    set_stream: SetStream,
    dec_ref: DecRef,
    move_error: MoveError,
    // Functions above point into it: it stays mapped for the life of the process.
    _library: Library,
}

impl TvmFfi {
    /// Loads the library for the whole process and gives kernels an allocator on the CPU or GPU.
    pub fn load(path: &Path) -> Result<Rc<Self>, DeviceError> {
        let refuse = |error: libloading::Error| library_error(path, &error);
        // SAFETY: the library is the one that kernels were built against; its initialisers register
        // types and replace signal handlers, which the player puts back.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.map_err(refuse)?;
        // SAFETY: the type is that of c_env_api.h.
        let set_allocator: SetAllocator =
            unsafe { look_up(&library, "TVMFFIEnvSetDLPackManagedTensorAllocator") }.map_err(refuse)?;
        // SAFETY: the type is that of c_api.h.
        let tensor_from_dlpack = unsafe { look_up(&library, "TVMFFITensorFromDLPackVersioned") };
        // SAFETY: the type is that of c_env_api.h.
        let set_stream = unsafe { look_up(&library, "TVMFFIEnvSetStream") };
        // SAFETY: the type is that of c_api.h.
        let dec_ref = unsafe { look_up(&library, "TVMFFIObjectDecRef") };
        // SAFETY: the type is that of c_api.h.
        let move_error = unsafe { look_up(&library, "TVMFFIErrorMoveFromRaised") };
        let loaded = Self {
            tensor_from_dlpack: tensor_from_dlpack.map_err(refuse)?,
            set_stream: set_stream.map_err(refuse)?,
            dec_ref: dec_ref.map_err(refuse)?,
            move_error: move_error.map_err(refuse)?,
            _library: library,
        };
        // SAFETY: `allocate` lives for ever and follows the allocator's contract; the earlier one is not
        // asked for.
        unsafe { set_allocator(allocate, 1, std::ptr::null_mut()) };
        Ok(Rc::new(loaded))
    }

    /// Tells kernels of this thread which CUDA stream to use.
    ///
    /// # Safety
    /// The stream must outlive every call that uses it.
    pub unsafe fn set_stream(&self, stream: *mut c_void) {
        // SAFETY: a thread-local assignment; the caller answers for the stream.
        unsafe { (self.set_stream)(TensorDevice::Cuda.device_type(), 0, stream, std::ptr::null_mut()) };
    }

    fn take_error(&self) -> CallError {
        let mut handle = std::ptr::null_mut();
        // SAFETY: the handle is written to a live variable.
        unsafe { (self.move_error)(&raw mut handle) };
        if handle.is_null() {
            return CallError { kind: "Error".to_owned(), message: "no message was left".to_owned() };
        }
        let payload = handle.wrapping_byte_add(OBJECT_HEADER_BYTES).cast::<[ByteArray; 2]>();
        // SAFETY: an error object's payload starts with kind and message, each pointer and length; the
        // object lives until it is released below.
        let [kind, message] = unsafe { &*payload };
        // SAFETY: the object's own text, which lives as long as the object.
        let kind = unsafe { kind.text() };
        // SAFETY: as above.
        let message = unsafe { message.text() };
        // SAFETY: the handle was moved to us above and is released once.
        unsafe { (self.dec_ref)(handle) };
        CallError { kind, message }
    }
}

#[repr(C)]
struct ByteArray {
    data: *const u8,
    length: usize,
}

impl ByteArray {
    /// Copies the text.
    ///
    /// # Safety
    /// A pointer that is not null must be valid for the length.
    unsafe fn text(&self) -> String {
        if self.data.is_null() {
            return String::new();
        }
        let length = self.length.min(MESSAGE_LIMIT_BYTES);
        // SAFETY: the caller answers for the pointer; the length was only shortened.
        String::from_utf8_lossy(unsafe { std::slice::from_raw_parts(self.data, length) }).into_owned()
    }
}

/// What a kernel raised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct CallError {
    /// The kind, such as `TypeError`.
    pub kind: String,
    /// The message; it names the signature and the argument.
    pub message: String,
}

/// A tensor as kernels take it. The memory stays its owner's.
#[derive(Debug)]
pub struct Tensor {
    handle: *mut c_void,
    ffi: Rc<TvmFfi>,
}

impl Tensor {
    /// Describes memory as a tensor.
    ///
    /// # Safety
    /// `data` must hold the elements where the extents place them, for as long as kernels may use the tensor.
    pub(crate) unsafe fn over(
        ffi: &Rc<TvmFfi>,
        place: TensorDevice,
        data: u64,
        dtype: DlDtype,
        extents: Extents,
    ) -> Result<Self, CallError> {
        let managed = manage(place, data as *mut c_void, dtype, extents);
        let mut handle = std::ptr::null_mut();
        // SAFETY: the managed tensor is complete and owned by the library from here on.
        let code = unsafe { (ffi.tensor_from_dlpack)(managed, DATA_ALIGNMENT, ANY_STRIDES, &raw mut handle) };
        if code != 0 {
            return Err(ffi.take_error());
        }
        Ok(Self { handle, ffi: Rc::clone(ffi) })
    }

    /// The tensor as an argument; borrowed, so the tensor must outlive the call.
    pub fn argument(&self) -> Any {
        Any { type_index: INDEX_TENSOR, small_length: 0, value: self.handle as u64 }
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        // SAFETY: the handle was given to us and is released once.
        unsafe { (self.ffi.dec_ref)(self.handle) };
    }
}

fn manage(
    place: TensorDevice,
    data: *mut c_void,
    dtype: DlDtype,
    extents: Extents,
) -> *mut DlManagedTensorVersioned {
    let mut extents = Box::new(extents);
    let tensor = extents.tensor(place, data, dtype);
    Box::into_raw(Box::new(DlManagedTensorVersioned {
        major: 1,
        minor: 1,
        context: Box::into_raw(extents).cast(),
        deleter: Some(forget),
        flags: 0,
        tensor,
    }))
}

/// Releases a managed tensor, and leaves its data to whom it belongs.
unsafe extern "C" fn forget(managed: *mut DlManagedTensorVersioned) {
    // SAFETY: made by `manage` and released once, by the library or by the allocator's deleters below.
    let managed = unsafe { Box::from_raw(managed) };
    // SAFETY: the context was made by `manage` beside it and is released with it.
    drop(unsafe { Box::from_raw(managed.context.cast::<Extents>()) });
}

/// Serves kernels that return tensors: memory comes from the C or the CUDA allocator and goes back
/// when the last reference is gone.
unsafe extern "C" fn allocate(
    prototype: *mut DlTensor,
    out: *mut *mut DlManagedTensorVersioned,
    error_context: *mut c_void,
    set_error: Option<unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char)>,
) -> c_int {
    // SAFETY: the library passes a complete prototype, which lives across the call.
    let wanted = unsafe { &*prototype };
    let rank = usize::try_from(wanted.ndim).unwrap_or(0);
    let shape = match rank {
        0 => &[][..],
        // SAFETY: a prototype's shape has as many extents as it says.
        rank => unsafe { std::slice::from_raw_parts(wanted.shape, rank) },
    };
    let elements =
        shape.iter().fold(1_u64, |count, extent| count.saturating_mul(u64::try_from(*extent).unwrap_or(0)));
    let bytes = elements.saturating_mul(u64::from(wanted.dtype.bits)).div_ceil(8).max(1);
    let (place, data) = if wanted.device_type == TensorDevice::Cuda.device_type() {
        (TensorDevice::Cuda, allocate_device(bytes))
    } else {
        (TensorDevice::Cpu, allocate_host(bytes))
    };
    if data.is_null() {
        if let Some(set_error) = set_error {
            // SAFETY: both texts are terminated and static.
            unsafe { set_error(error_context, c"MemoryError".as_ptr(), c"out of memory".as_ptr()) };
        }
        return -1;
    }
    let managed = manage(place, data, wanted.dtype, Extents::contiguous(shape));
    // SAFETY: freshly made, and not shared yet.
    let fresh = unsafe { &mut *managed };
    fresh.deleter = Some(if place == TensorDevice::Cuda { free_device_tensor } else { free_host_tensor });
    // SAFETY: the library's own variable.
    unsafe { out.write(managed) };
    0
}

fn allocate_device(bytes: u64) -> *mut c_void {
    let mut pointer = 0;
    // SAFETY: only CUDA kernels ask for device memory, so the driver is loaded and a context current.
    let code = unsafe {
        cudarc::driver::sys::cuMemAlloc_v2(&raw mut pointer, usize::try_from(bytes).unwrap_or(usize::MAX))
    };
    if code == cudarc::driver::sys::CUresult::CUDA_SUCCESS {
        pointer as *mut c_void
    } else {
        std::ptr::null_mut()
    }
}

fn allocate_host(bytes: u64) -> *mut c_void {
    let Ok(size) = usize::try_from(bytes) else { return std::ptr::null_mut() };
    // SAFETY: 64 is a power of two that every kernel's alignment divides; `aligned_alloc` wants the
    // size rounded to it.
    unsafe { libc::aligned_alloc(64, size.next_multiple_of(64)) }
}

unsafe extern "C" fn free_host_tensor(managed: *mut DlManagedTensorVersioned) {
    // SAFETY: made by `allocate`, not released yet.
    let data = unsafe { (*managed).tensor.data };
    // SAFETY: allocated by `aligned_alloc`, freed once.
    unsafe { libc::free(data) };
    // SAFETY: released once.
    unsafe { forget(managed) };
}

unsafe extern "C" fn free_device_tensor(managed: *mut DlManagedTensorVersioned) {
    // SAFETY: made by `allocate`, not released yet.
    let data = unsafe { (*managed).tensor.data };
    // SAFETY: allocated by the driver, freed once. An error means a dead context, which frees everything.
    unsafe { cudarc::driver::sys::cuMemFree_v2(data as u64) };
    // SAFETY: released once.
    unsafe { forget(managed) };
}

/// A kernel's entry point.
#[derive(Debug)]
pub struct Entry {
    call: SafeCall,
    ffi: Rc<TvmFfi>,
    // The function points into it.
    _library: Library,
}

impl Entry {
    /// Loads a kernel library and finds `__tvm_ffi_<symbol>` in it.
    ///
    /// # Safety
    /// Loading runs the library's own code: do it only in a process that can be lost.
    pub unsafe fn load(ffi: &Rc<TvmFfi>, path: &Path, symbol: &str) -> Result<Self, DeviceError> {
        let refuse = |error: libloading::Error| library_error(path, &error);
        // SAFETY: the caller answers for the library's initialisers.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(refuse)?;
        let name = format!("__tvm_ffi_{symbol}");
        // SAFETY: symbols of this name have this type by TVM-FFI's convention.
        let call: SafeCall = unsafe { look_up(&library, &name) }.map_err(refuse)?;
        Ok(Self { call, ffi: Rc::clone(ffi), _library: library })
    }

    /// Calls the kernel.
    ///
    /// # Safety
    /// Tensors behind the arguments must live, and the kernel is foreign code: only in a process
    /// that can be lost.
    pub unsafe fn call(&self, arguments: &[Any]) -> Result<(), CallError> {
        let mut answer = Any::NONE;
        let count = i32::try_from(arguments.len()).unwrap_or(i32::MAX);
        // SAFETY: the ABI's own shape; the caller answers for the rest.
        let code = unsafe { (self.call)(std::ptr::null_mut(), arguments.as_ptr(), count, &raw mut answer) };
        if code != 0 {
            return Err(self.ffi.take_error());
        }
        if answer.type_index >= INDEX_OBJECTS {
            // SAFETY: a returned object is owned by the caller and released once.
            unsafe { (self.ffi.dec_ref)(answer.value as *mut c_void) };
        }
        Ok(())
    }
}

/// Looks one function up and copies its address.
///
/// # Safety
/// `T` must be the function's true type, and the address must not be used when the library is gone.
unsafe fn look_up<T: Copy>(library: &Library, name: &str) -> Result<T, libloading::Error> {
    // SAFETY: the caller answers for the type.
    unsafe { library.get::<T>(name.as_bytes()) }.map(|found| *found)
}

fn library_error(path: &Path, error: &libloading::Error) -> DeviceError {
    DeviceError::Library { library: path.display().to_string(), detail: loader_words(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lays_values_out_as_the_abi_has_them() {
        assert_eq!(size_of::<Any>(), 16);
        assert_eq!(size_of::<DlManagedTensorVersioned>(), 80);
        assert_eq!(Any::float(1.0).value, 0x3ff0_0000_0000_0000);
        assert_eq!(Any::int(-1).value, u64::MAX);
    }

    #[test]
    fn says_which_library_is_missing() {
        let error = TvmFfi::load(Path::new("/nowhere/libtvm_ffi.so")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/libtvm_ffi.so"), "{error}");
    }
}
