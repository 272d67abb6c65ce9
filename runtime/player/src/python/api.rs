//! The few functions of Python's C interface that are used, looked up in the process that already holds them.
//!
//! Nothing is linked: whichever Python loads this library brings its own. All of these are in Python since 3.9 and
//! are called by the thread that holds the interpreter's lock.

use std::ffi::{CStr, c_char, c_int, c_long, c_longlong, c_void};

use libloading::os::unix::Library;

/// An object of the interpreter's.
#[repr(C)]
pub struct PyObject {
    _opaque: [u8; 0],
}

pub(super) type Pointer = *mut PyObject;
type Destructor = unsafe extern "C" fn(Pointer);

/// The functions.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) call: unsafe extern "C" fn(Pointer, *const Pointer, usize, Pointer) -> Pointer,
    pub(super) attribute: unsafe extern "C" fn(Pointer, *const c_char) -> Pointer,
    pub(super) int: unsafe extern "C" fn(c_longlong) -> Pointer,
    pub(super) float: unsafe extern "C" fn(f64) -> Pointer,
    pub(super) bool: unsafe extern "C" fn(c_long) -> Pointer,
    pub(super) text: unsafe extern "C" fn(*const c_char, isize) -> Pointer,
    pub(super) text_bytes: unsafe extern "C" fn(Pointer, *mut isize) -> *const c_char,
    pub(super) capsule: unsafe extern "C" fn(*mut c_void, *const c_char, Option<Destructor>) -> Pointer,
    pub(super) capsule_is: unsafe extern "C" fn(Pointer, *const c_char) -> c_int,
    pub(super) capsule_pointer: unsafe extern "C" fn(Pointer, *const c_char) -> *mut c_void,
    pub(super) take: unsafe extern "C" fn(Pointer),
    pub(super) give: unsafe extern "C" fn(Pointer),
    pub(super) fetch_error: unsafe extern "C" fn(*mut Pointer, *mut Pointer, *mut Pointer),
    pub(super) normalize_error: unsafe extern "C" fn(*mut Pointer, *mut Pointer, *mut Pointer),
    /// `None` itself.
    pub(super) none: usize,
}

impl Api {
    /// Looks the functions up.
    pub(super) fn find() -> Result<Self, String> {
        let process = Library::this();
        Ok(Self {
            // SAFETY: the types of these functions are those of Python's headers.
            call: unsafe { look_up(&process, c"PyObject_Vectorcall") }?,
            // SAFETY: as above.
            attribute: unsafe { look_up(&process, c"PyObject_GetAttrString") }?,
            // SAFETY: as above.
            int: unsafe { look_up(&process, c"PyLong_FromLongLong") }?,
            // SAFETY: as above.
            float: unsafe { look_up(&process, c"PyFloat_FromDouble") }?,
            // SAFETY: as above.
            bool: unsafe { look_up(&process, c"PyBool_FromLong") }?,
            // SAFETY: as above.
            text: unsafe { look_up(&process, c"PyUnicode_FromStringAndSize") }?,
            // SAFETY: as above.
            text_bytes: unsafe { look_up(&process, c"PyUnicode_AsUTF8AndSize") }?,
            // SAFETY: as above.
            capsule: unsafe { look_up(&process, c"PyCapsule_New") }?,
            // SAFETY: as above.
            capsule_is: unsafe { look_up(&process, c"PyCapsule_IsValid") }?,
            // SAFETY: as above.
            capsule_pointer: unsafe { look_up(&process, c"PyCapsule_GetPointer") }?,
            // SAFETY: as above.
            take: unsafe { look_up(&process, c"Py_IncRef") }?,
            // SAFETY: as above.
            give: unsafe { look_up(&process, c"Py_DecRef") }?,
            // SAFETY: as above.
            fetch_error: unsafe { look_up(&process, c"PyErr_Fetch") }?,
            // SAFETY: as above.
            normalize_error: unsafe { look_up(&process, c"PyErr_NormalizeException") }?,
            // SAFETY: a variable of the interpreter, whose address is wanted and not what it holds.
            none: unsafe { look_up(&process, c"_Py_NoneStruct") }?,
        })
    }
}

/// Looks one name up and copies its address.
///
/// # Safety
/// `T` must be the function's true type, or a number for a variable's address.
unsafe fn look_up<T: Copy>(process: &Library, name: &CStr) -> Result<T, String> {
    // SAFETY: the caller answers for the type.
    let found = unsafe { process.get::<T>(name.to_bytes_with_nul()) };
    found
        .map(|found| *found)
        .map_err(|_| format!("this Python lacks {}: 3.9 is needed", name.to_string_lossy()))
}
