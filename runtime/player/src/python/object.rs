//! Objects of the interpreter's with an owner here, and calls of them.

use std::ffi::{CStr, c_int, c_void};
use std::rc::Rc;

use super::api::{Api, Pointer, PyObject};
use crate::dlpack::{DlDtype, DlTensor, Extents, TensorDevice};

/// What a capsule with a tensor is called until somebody takes the tensor out.
const FRESH_TENSOR: &CStr = c"dltensor";

/// An object that is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Object {
    pointer: Pointer,
    api: Rc<Api>,
}

impl Object {
    /// Takes over what a function of the interface returned; null means that an error is set.
    fn owned(api: &Rc<Api>, pointer: Pointer) -> Option<Self> {
        (!pointer.is_null()).then(|| Self { pointer, api: Rc::clone(api) })
    }

    /// Shares an object that somebody else keeps alive meanwhile.
    ///
    /// # Safety
    /// The pointer must be an object of this process's interpreter, and its lock held.
    pub(super) unsafe fn shared(api: &Rc<Api>, pointer: *mut PyObject) -> Self {
        // SAFETY: the caller answers for the object.
        unsafe { (api.take)(pointer) };
        Self { pointer, api: Rc::clone(api) }
    }

    /// `None`.
    pub(super) fn none(api: &Rc<Api>) -> Self {
        // SAFETY: the interpreter's own variable, an object that always lives.
        unsafe { Self::shared(api, api.none as Pointer) }
    }

    pub(super) fn int(api: &Rc<Api>, value: i64) -> Option<Self> {
        // SAFETY: a plain number.
        Self::owned(api, unsafe { (api.int)(value) })
    }

    pub(super) fn float(api: &Rc<Api>, value: f64) -> Option<Self> {
        // SAFETY: a plain number.
        Self::owned(api, unsafe { (api.float)(value) })
    }

    pub(super) fn bool(api: &Rc<Api>, value: bool) -> Option<Self> {
        // SAFETY: a plain number.
        Self::owned(api, unsafe { (api.bool)(value.into()) })
    }

    pub(super) fn text(api: &Rc<Api>, text: &str) -> Option<Self> {
        let length = isize::try_from(text.len()).ok()?;
        // SAFETY: the text is as long as is said, and copied.
        Self::owned(api, unsafe { (api.text)(text.as_ptr().cast(), length) })
    }

    /// A capsule that holds a tensor. Who takes the tensor out gives it back; else the capsule does.
    pub(super) fn tensor(
        api: &Rc<Api>,
        place: TensorDevice,
        data: u64,
        dtype: DlDtype,
        extents: Extents,
    ) -> Option<Self> {
        let mut extents = Box::new(extents);
        let tensor = extents.tensor(place, data as *mut c_void, dtype);
        let managed = Box::into_raw(Box::new(ManagedTensor {
            tensor,
            context: Box::into_raw(extents),
            deleter: Some(forget),
        }));
        // SAFETY: the name is static, and the destructor lives for ever.
        let capsule = unsafe { (api.capsule)(managed.cast(), FRESH_TENSOR.as_ptr(), Some(end_capsule)) };
        if capsule.is_null() {
            // SAFETY: made just above, and nobody has it.
            unsafe { forget(managed) };
        }
        Self::owned(api, capsule)
    }

    /// One of its attributes.
    pub(super) fn attribute(&self, name: &CStr) -> Option<Self> {
        // SAFETY: the object lives, and the name is terminated.
        Self::owned(&self.api, unsafe { (self.api.attribute)(self.pointer, name.as_ptr()) })
    }

    /// Calls it with positional arguments; `None` means that an error is set.
    pub(crate) fn call(&self, arguments: &[&Self]) -> Option<Self> {
        let pointers: Vec<Pointer> = arguments.iter().map(|argument| argument.pointer).collect();
        self.call_pointers(&pointers)
    }

    /// The same without gathering anything first.
    pub(super) fn call_pointers(&self, arguments: &[Pointer]) -> Option<Self> {
        let call = self.api.call;
        // SAFETY: the object and the arguments live across the call, and there are as many as is said.
        Self::owned(&self.api, unsafe {
            call(self.pointer, arguments.as_ptr(), arguments.len(), std::ptr::null_mut())
        })
    }

    /// The text that it is.
    pub(super) fn as_text(&self) -> Option<String> {
        let mut length = 0;
        // SAFETY: the object lives; the length is a live variable.
        let bytes = unsafe { (self.api.text_bytes)(self.pointer, &raw mut length) };
        let length = usize::try_from(length).ok()?;
        if bytes.is_null() {
            return None;
        }
        // SAFETY: as many bytes as was just said, which live as long as the object.
        let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), length) };
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    pub(super) fn pointer(&self) -> Pointer {
        self.pointer
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: one reference is this value's, and the lock is held wherever these values are used.
        unsafe { (self.api.give)(self.pointer) };
    }
}

/// The error that is set, taken out of the interpreter: its type, the error itself and its trace.
pub(super) fn take_error(api: &Rc<Api>) -> [Option<Object>; 3] {
    let mut found = [std::ptr::null_mut::<PyObject>(); 3];
    let [kind, value, trace] = &mut found;
    // SAFETY: three live variables.
    unsafe { (api.fetch_error)(kind, value, trace) };
    // SAFETY: as the interpreter has just filled them.
    unsafe { (api.normalize_error)(kind, value, trace) };
    found.map(|pointer| Object::owned(api, pointer))
}

/// A tensor with what gives it back, in `DLPack`'s first form: the one that every library takes.
#[repr(C)]
struct ManagedTensor {
    tensor: DlTensor,
    context: *mut Extents,
    deleter: Option<unsafe extern "C" fn(*mut Self)>,
}

/// Gives a tensor back, and leaves its data to whom it belongs.
unsafe extern "C" fn forget(managed: *mut ManagedTensor) {
    // SAFETY: made by `Object::tensor` and released once, by whoever took the tensor or by the capsule.
    let managed = unsafe { Box::from_raw(managed) };
    // SAFETY: made beside it and released with it.
    drop(unsafe { Box::from_raw(managed.context) });
}

/// Ends a capsule: a tensor that nobody took out is given back here.
unsafe extern "C" fn end_capsule(capsule: Pointer) {
    let Ok(api) = Api::find() else { return };
    // SAFETY: the interpreter ends a capsule that still lives; the name is terminated.
    let is_fresh: c_int = unsafe { (api.capsule_is)(capsule, FRESH_TENSOR.as_ptr()) };
    if is_fresh == 1 {
        // SAFETY: as above, and it has this name.
        let managed = unsafe { (api.capsule_pointer)(capsule, FRESH_TENSOR.as_ptr()) };
        // SAFETY: a capsule of this name and destructor holds a tensor of ours that nobody took.
        unsafe { forget(managed.cast()) };
    }
}
