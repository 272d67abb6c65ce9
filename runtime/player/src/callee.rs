//! The entry point and its bound arguments: a function of a compiled library, or an object of Python's.

use std::rc::Rc;

use crate::clocks::CallOutcome;
use crate::dlpack::{DlDtype, Extents, TensorDevice};
use crate::protocol::{Argument, NO_CALL};
use crate::python::{Arguments, Interpreter, Object};
use crate::tvm_ffi::{Any, Entry, Tensor, TvmFfi};

/// What calls the entry point.
pub(crate) enum Runtime {
    /// TVM-FFI's C interface.
    TvmFfi(Rc<TvmFfi>),
    /// The interpreter that this process runs.
    Python(Interpreter),
}

/// The entry point.
pub(crate) enum Callee {
    /// Of a compiled library.
    Compiled(Entry),
    /// Of a Python module.
    Python(Object),
}

/// One slot's arguments, with what they borrow.
pub(crate) enum Slot {
    /// For a compiled library.
    Compiled {
        arguments: Vec<Any>,
        #[expect(dead_code, reason = "kept alive for the arguments")]
        tensors: Vec<Tensor>,
    },
    /// For Python.
    Python(Arguments),
}

/// Memory that a tensor lies over.
pub(crate) struct Memory {
    pub(crate) place: TensorDevice,
    pub(crate) address: u64,
}

impl Runtime {
    /// Makes a slot's arguments. `locate` finds the memory of a tensor, and answers for it: it holds the tensor,
    /// and lives as long as the slot.
    pub(crate) fn bind(
        &self,
        arguments: &[Argument],
        locate: &dyn Fn(&Argument) -> Result<Memory, String>,
    ) -> Result<Slot, String> {
        match self {
            Self::TvmFfi(ffi) => {
                let (mut bound, mut tensors) = (Vec::new(), Vec::new());
                for argument in arguments {
                    bound.push(match argument {
                        Argument::Tensor { code, bits, shape, strides, .. } => {
                            let Memory { place, address } = locate(argument)?;
                            let (dtype, extents) = (dtype(*code, *bits), Extents::strided(shape, strides));
                            // SAFETY: `locate` answers for the memory.
                            let tensor = unsafe { Tensor::over(ffi, place, address, dtype, extents) };
                            let tensor = tensor.map_err(|error| error.to_string())?;
                            let any = tensor.argument();
                            tensors.push(tensor);
                            any
                        }
                        Argument::Int(value) => Any::int(*value),
                        Argument::Float(value) => Any::float(*value),
                        Argument::Bool(value) => Any::bool(*value),
                        Argument::None => Any::NONE,
                    });
                }
                Ok(Slot::Compiled { arguments: bound, tensors })
            }
            Self::Python(python) => {
                let mut objects = Vec::new();
                for argument in arguments {
                    objects.push(match argument {
                        Argument::Tensor { code, bits, shape, strides, .. } => {
                            let Memory { place, address } = locate(argument)?;
                            let (dtype, extents) = (dtype(*code, *bits), Extents::strided(shape, strides));
                            // SAFETY: `locate` answers for the memory.
                            unsafe { python.tensor(place, address, dtype, extents) }?
                        }
                        Argument::Int(value) => python.int(*value)?,
                        Argument::Float(value) => python.float(*value)?,
                        Argument::Bool(value) => python.bool(*value)?,
                        Argument::None => python.none(),
                    });
                }
                Ok(Slot::Python(Arguments::new(objects)))
            }
        }
    }
}

fn dtype(code: u8, bits: u8) -> DlDtype {
    DlDtype { code, bits, lanes: 1 }
}

/// Calls the entry point with a slot's arguments.
pub(crate) fn call_slot(
    runtime: Option<&Runtime>,
    callee: Option<&Callee>,
    slots: &[Slot],
    slot: u32,
) -> CallOutcome {
    if slot == NO_CALL {
        return Ok(());
    }
    let callee = callee.ok_or("a call came before load")?;
    let slot = slots.get(slot as usize).ok_or("a call came before bind")?;
    match (runtime, callee, slot) {
        (_, Callee::Compiled(entry), Slot::Compiled { arguments, .. }) => {
            // SAFETY: the slot's tensors live as long as the slot; this process can be lost.
            unsafe { entry.call(arguments) }.map_err(|error| error.to_string())
        }
        (Some(Runtime::Python(python)), Callee::Python(entry), Slot::Python(arguments)) => {
            python.call(entry, arguments)
        }
        _ => Err("a slot of another kind than the entry point".to_owned()),
    }
}
