//! The interpreter that this player runs in, and the entry point that it calls there.

use std::ffi::CStr;
use std::rc::Rc;

use super::api::{Api, Pointer, PyObject};
use super::object::{Object, take_error};
use crate::clocks::CallOutcome;
use crate::dlpack::{DlDtype, Extents, TensorDevice};

/// The interpreter, and the script's object that does in Python what Python does best.
#[derive(Debug)]
pub(crate) struct Interpreter {
    api: Rc<Api>,
    host: Object,
}

impl Interpreter {
    /// Takes hold of the interpreter.
    ///
    /// # Safety
    /// `host` must be an object of the interpreter that this process runs, and its lock held as long as
    /// the value lives.
    pub(crate) unsafe fn over(host: *mut PyObject) -> Result<Self, String> {
        let api = Rc::new(Api::find()?);
        // SAFETY: the caller answers for the object.
        let host = unsafe { Object::shared(&api, host) };
        Ok(Self { api, host })
    }

    /// Imports what the submission may use: before anything is bounded, since some of it starts programs.
    pub(crate) fn prepare(&self) -> Result<(), String> {
        self.ask(c"prepare", &[]).map(drop)
    }

    /// Puts the submission's libraries on the player's stream: the GPU is open.
    pub(crate) fn open(&self, stream: u64) -> Result<(), String> {
        let stream = self.made(Object::int(&self.api, stream.cast_signed()))?;
        self.ask(c"open", &[&stream]).map(drop)
    }

    /// Loads what a document describes.
    pub(crate) fn load(&self, document: &str) -> Result<Object, String> {
        let document = self.made(Object::text(&self.api, document))?;
        self.ask(c"load", &[&document])
    }

    /// A tensor over memory of the player's.
    ///
    /// # Safety
    /// `data` must hold the shape's elements for as long as Python code may use the tensor.
    pub(crate) unsafe fn tensor(
        &self,
        place: TensorDevice,
        data: u64,
        dtype: DlDtype,
        extents: Extents,
    ) -> Result<Object, String> {
        let capsule = self.made(Object::tensor(&self.api, place, data, dtype, extents))?;
        self.ask(c"tensor", &[&capsule])
    }

    /// A whole number.
    pub(crate) fn int(&self, value: i64) -> Result<Object, String> {
        self.made(Object::int(&self.api, value))
    }

    /// A float.
    pub(crate) fn float(&self, value: f64) -> Result<Object, String> {
        self.made(Object::float(&self.api, value))
    }

    /// A truth value.
    pub(crate) fn bool(&self, value: bool) -> Result<Object, String> {
        self.made(Object::bool(&self.api, value))
    }

    /// `None`.
    pub(crate) fn none(&self) -> Object {
        Object::none(&self.api)
    }

    /// Calls an entry point; what it returns is dropped.
    pub(crate) fn call(&self, entry: &Object, arguments: &Arguments) -> CallOutcome {
        match entry.call_pointers(&arguments.pointers) {
            Some(_) => Ok(()),
            None => Err(self.error()),
        }
    }

    fn ask(&self, method: &CStr, arguments: &[&Object]) -> Result<Object, String> {
        let method = self.made(self.host.attribute(method))?;
        self.made(method.call(arguments))
    }

    fn made(&self, object: Option<Object>) -> Result<Object, String> {
        object.ok_or_else(|| self.error())
    }

    /// The error that is set, in words.
    fn error(&self) -> String {
        let none = self.none();
        let error = take_error(&self.api);
        let parts: Vec<&Object> = error.iter().map(|part| part.as_ref().unwrap_or(&none)).collect();
        let describe = self.host.attribute(c"describe");
        let words = describe.and_then(|describe| describe.call(&parts)).and_then(|words| words.as_text());
        words.unwrap_or_else(|| {
            // The second error must not stay set: the next call would fail by it.
            drop(take_error(&self.api));
            "an error that does not say what it is".to_owned()
        })
    }
}

/// The arguments of one call, ready to be passed.
#[derive(Debug)]
pub(crate) struct Arguments {
    pointers: Vec<Pointer>,
    #[expect(dead_code, reason = "kept alive for the pointers")]
    objects: Vec<Object>,
}

impl Arguments {
    /// Gathers them once, not in every call.
    pub(crate) fn new(objects: Vec<Object>) -> Self {
        Self { pointers: objects.iter().map(Object::pointer).collect(), objects }
    }
}
