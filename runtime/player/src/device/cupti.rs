//! Activity records from CUPTI: what really ran on the GPU, and from when to when.
//!
//! CUPTI is found at run time and never shipped. Its records grow with each release but keep their
//! beginning, so they are read by the offsets of that stable beginning, never by the size of a type.
//! One recorder a process: CUPTI's callbacks carry no context of ours, and before CUDA 13.2 there is
//! room for one subscriber only.

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use cudarc::cupti::sys::{self, CUpti_ActivityKind as Kind, CUptiResult};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use proofmark_packager::Digest;

use super::error::DeviceError;
use super::loader::loader_words;

/// Size and alignment of the buffers that CUPTI fills. Records are taken after every call, so a buffer
/// holds a handful of them; the 8 MiB of NVIDIA's samples cost half a millisecond of page faults each
/// time.
const BUFFER_BYTES: usize = 64 * 1024;
const BUFFER_ALIGNMENT: usize = 8;
/// `CUPTI_ACTIVITY_FLAG_FLUSH_FORCED`.
const FLUSH_FORCED: u32 = 1;
/// Offsets in kernel records, the same in every version since Kernel3.
const KERNEL_STREAM: usize = 48;
const KERNEL_NAME: usize = 104;
/// Offsets in copy and set records.
const TRANSFER_STREAM: usize = 40;
/// Offsets that all three share.
const START: usize = 16;
const END: usize = 24;
/// Functions without which nothing here works.
const NEEDED: [&str; 7] = [
    "cuptiSubscribe",
    "cuptiEnableCallback",
    "cuptiActivityRegisterCallbacks",
    "cuptiActivityEnable",
    "cuptiActivityDisable",
    "cuptiActivityFlushAll",
    "cuptiActivityGetNextRecord",
];

/// What kind of work a record speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivityKind {
    /// A kernel.
    Kernel,
    /// A copy.
    Copy,
    /// A fill.
    Fill,
}

/// One piece of work on the GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityRecord {
    /// What kind of work.
    pub work: ActivityKind,
    /// Start in CUPTI's nanoseconds.
    pub start_ns: u64,
    /// End in CUPTI's nanoseconds.
    pub end_ns: u64,
    /// CUPTI's number for the stream.
    pub stream: u32,
    /// The kernel's mangled name; empty for copies and fills.
    pub name: String,
}

#[derive(Debug, Default)]
struct Collected {
    records: Vec<ActivityRecord>,
    modules: BTreeSet<Digest>,
}

fn collected() -> MutexGuard<'static, Collected> {
    static COLLECTED: OnceLock<Mutex<Collected>> = OnceLock::new();
    COLLECTED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where CUPTI may be, best guess first: the named file, the toolkit's folders, the loader's search.
pub fn candidates(explicit: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = explicit {
        return vec![path.to_owned()];
    }
    let homes = ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(std::env::var_os).map(PathBuf::from);
    let mut found = Vec::new();
    for home in homes.chain([PathBuf::from("/usr/local/cuda")]) {
        for folder in ["extras/CUPTI/lib64", "lib64", "targets/x86_64-linux/lib", "lib"] {
            found.push(home.join(folder).join("libcupti.so.13"));
        }
    }
    found.retain(|path| path.is_file());
    found.push(PathBuf::from("libcupti.so.13"));
    found
}

/// Opens CUPTI for the whole process and checks that it has what is needed. The library stays
/// mapped, so that later look-ups by its SONAME find this one.
pub fn load(candidates: &[PathBuf]) -> Result<PathBuf, DeviceError> {
    let mut detail = "no candidate".to_owned();
    for path in candidates {
        // SAFETY: the driver's own tracing library; its initialisers are what every profiler runs.
        let library = match unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) } {
            Ok(library) => library,
            Err(error) => {
                detail = loader_words(&error);
                continue;
            }
        };
        for name in NEEDED {
            // SAFETY: looked up, not called.
            if unsafe { library.get::<unsafe extern "C" fn()>(name.as_bytes()) }.is_err() {
                return Err(DeviceError::Library {
                    library: path.display().to_string(),
                    detail: format!("it lacks {name}"),
                });
            }
        }
        std::mem::forget(library);
        return Ok(path.clone());
    }
    Err(DeviceError::Library { library: "libcupti.so.13".to_owned(), detail })
}

/// The process's one recorder.
#[derive(Debug)]
pub struct Tracer(());

impl Tracer {
    /// Starts to note which modules are loaded. Call it before any context exists, after [`load`].
    pub fn subscribe() -> Result<Self, DeviceError> {
        let mut subscriber: sys::CUpti_SubscriberHandle = std::ptr::null_mut();
        // SAFETY: the handle is written to a live variable; the callback lives for ever.
        check("cuptiSubscribe", unsafe {
            sys::cuptiSubscribe(&raw mut subscriber, Some(on_callback), std::ptr::null_mut())
        })?;
        let domain = sys::CUpti_CallbackDomain::CUPTI_CB_DOMAIN_RESOURCE;
        let event = sys::CUpti_CallbackIdResource::CUPTI_CBID_RESOURCE_MODULE_LOADED as u32;
        // SAFETY: the subscriber was just made.
        check("cuptiEnableCallback", unsafe { sys::cuptiEnableCallback(1, subscriber, domain, event) })?;
        // SAFETY: both callbacks live for ever and follow CUPTI's contract.
        check("cuptiActivityRegisterCallbacks", unsafe {
            sys::cuptiActivityRegisterCallbacks(Some(on_buffer_wanted), Some(on_buffer_full))
        })?;
        Ok(Self(()))
    }

    /// Starts to record kernels, copies and fills.
    pub fn start(&self) -> Result<(), DeviceError> {
        for kind in KINDS {
            // SAFETY: plain numbers.
            check("cuptiActivityEnable", unsafe { sys::cuptiActivityEnable(kind) })?;
        }
        Ok(())
    }

    /// Stops recording.
    pub fn stop(&self) -> Result<(), DeviceError> {
        for kind in KINDS {
            // SAFETY: plain numbers.
            check("cuptiActivityDisable", unsafe { sys::cuptiActivityDisable(kind) })?;
        }
        Ok(())
    }

    /// Takes everything recorded so far. The device must be idle.
    pub fn take(&self) -> Result<Vec<ActivityRecord>, DeviceError> {
        // SAFETY: plain numbers; buffers come back through the callback.
        check("cuptiActivityFlushAll", unsafe { sys::cuptiActivityFlushAll(FLUSH_FORCED) })?;
        Ok(std::mem::take(&mut collected().records))
    }

    /// Digests of every module image that the driver has loaded since [`Tracer::subscribe`].
    pub fn modules(&self) -> Vec<Digest> {
        collected().modules.iter().copied().collect()
    }
}

const KINDS: [Kind; 4] = [
    Kind::CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,
    Kind::CUPTI_ACTIVITY_KIND_MEMCPY,
    // Copies between peers, which memory mapped by IPC counts as.
    Kind::CUPTI_ACTIVITY_KIND_MEMCPY2,
    Kind::CUPTI_ACTIVITY_KIND_MEMSET,
];

fn check(call: &'static str, code: CUptiResult) -> Result<(), DeviceError> {
    if code == CUptiResult::CUPTI_SUCCESS {
        return Ok(());
    }
    Err(DeviceError::Driver { call, name: format!("{code:?}"), code: code as u32 })
}

unsafe extern "C" fn on_callback(
    _user: *mut c_void,
    domain: sys::CUpti_CallbackDomain,
    _event: u32,
    payload: *const c_void,
) {
    if domain != sys::CUpti_CallbackDomain::CUPTI_CB_DOMAIN_RESOURCE || payload.is_null() {
        return;
    }
    // SAFETY: resource events come with this payload, which lives across the callback.
    let resource = unsafe { &*payload.cast::<sys::CUpti_ResourceData>() };
    // SAFETY: of resource events only that of loaded modules is enabled, and its descriptor is the
    // module's or null; it lives across the callback.
    let module = unsafe { resource.resourceDescriptor.cast::<sys::CUpti_ModuleResourceData>().as_ref() };
    let Some(module) = module.filter(|module| !module.pCubin.is_null()) else { return };
    // SAFETY: the image is that long and lives across the callback.
    let image = unsafe { std::slice::from_raw_parts(module.pCubin.cast::<u8>(), module.cubinSize) };
    collected().modules.insert(Digest::of_bytes(image));
}

fn layout() -> std::alloc::Layout {
    std::alloc::Layout::from_size_align(BUFFER_BYTES, BUFFER_ALIGNMENT).expect("constants that fit")
}

unsafe extern "C" fn on_buffer_wanted(buffer: *mut *mut u8, size: *mut usize, limit: *mut usize) {
    // SAFETY: the layout's size is not zero.
    let memory = unsafe { std::alloc::alloc(layout()) };
    // A null buffer tells CUPTI that there is none.
    let bytes = if memory.is_null() { 0 } else { BUFFER_BYTES };
    // SAFETY: CUPTI passes a live variable.
    unsafe { buffer.write(memory) };
    // SAFETY: as above.
    unsafe { size.write(bytes) };
    // SAFETY: as above.
    unsafe { limit.write(0) };
}

unsafe extern "C" fn on_buffer_full(
    _context: cudarc::driver::sys::CUcontext,
    _stream: u32,
    buffer: *mut u8,
    _size: usize,
    valid: usize,
) {
    if buffer.is_null() {
        return;
    }
    let mut records = Vec::new();
    let mut record: *mut sys::CUpti_Activity = std::ptr::null_mut();
    // SAFETY: CUPTI filled `valid` bytes of this buffer with whole records.
    while unsafe { sys::cuptiActivityGetNextRecord(buffer, valid, &raw mut record) }
        == CUptiResult::CUPTI_SUCCESS
    {
        // SAFETY: the record lies inside the buffer.
        records.extend(unsafe { read(record.cast()) });
    }
    // SAFETY: allocated by `on_buffer_wanted` with the same layout; CUPTI is done with it.
    unsafe { std::alloc::dealloc(buffer, layout()) };
    collected().records.append(&mut records);
}

/// Reads one record by its stable beginning.
///
/// # Safety
/// `record` must point at a whole activity record.
unsafe fn read(record: *const u8) -> Option<ActivityRecord> {
    // SAFETY: every record starts with its kind.
    let kind = unsafe { field::<u32>(record, 0) };
    let (work, stream) = match kind {
        1 | 22 => (ActivityKind::Copy, TRANSFER_STREAM),
        2 => (ActivityKind::Fill, TRANSFER_STREAM),
        3 | 10 => (ActivityKind::Kernel, KERNEL_STREAM),
        _ => return None,
    };
    let name = match work {
        ActivityKind::Kernel => {
            // SAFETY: kernel records are longer than this offset and hold the name's address there.
            let name = unsafe { field::<*const c_char>(record, KERNEL_NAME) };
            // SAFETY: names are null or terminated, and outlive their record.
            unsafe { text(name) }
        }
        ActivityKind::Copy | ActivityKind::Fill => String::new(),
    };
    Some(ActivityRecord {
        work,
        // SAFETY: records of these kinds are longer than this offset.
        start_ns: unsafe { field(record, START) },
        // SAFETY: as above.
        end_ns: unsafe { field(record, END) },
        // SAFETY: as above; the offset belongs to the kind.
        stream: unsafe { field(record, stream) },
        name,
    })
}

/// Reads one field.
///
/// # Safety
/// The field must lie inside the record and hold any value of its type.
unsafe fn field<T: Copy>(record: *const u8, offset: usize) -> T {
    let place = record.wrapping_add(offset).cast::<T>();
    // SAFETY: the caller answers for the bounds and the value; the read does not ask for alignment.
    unsafe { place.read_unaligned() }
}

/// Copies a name.
///
/// # Safety
/// A non-null pointer must point at terminated text.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the caller answers for the terminator.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_kernel_record_by_its_stable_beginning() {
        let name = c"kernel";
        let mut record = [0_u8; 112];
        record[0..4].copy_from_slice(&10_u32.to_le_bytes());
        record[16..24].copy_from_slice(&1000_u64.to_le_bytes());
        record[24..32].copy_from_slice(&1700_u64.to_le_bytes());
        record[48..52].copy_from_slice(&7_u32.to_le_bytes());
        record[104..112].copy_from_slice(&(name.as_ptr() as u64).to_le_bytes());
        // SAFETY: the buffer holds the stable beginning of a kernel record.
        let read = unsafe { read(record.as_ptr()) }.unwrap();
        let expected = ActivityRecord {
            work: ActivityKind::Kernel,
            start_ns: 1000,
            end_ns: 1700,
            stream: 7,
            name: "kernel".to_owned(),
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn names_the_library_that_it_could_not_load() {
        let error = load(&[PathBuf::from("/nowhere/libcupti.so.13")]).unwrap_err();
        assert!(error.to_string().contains("libcupti"), "{error}");
    }

    #[test]
    fn looks_nowhere_else_when_a_file_is_named() {
        assert_eq!(candidates(Some(Path::new("/a/b.so"))), [PathBuf::from("/a/b.so")]);
        assert_eq!(candidates(None).last().unwrap(), Path::new("libcupti.so.13"));
    }
}
