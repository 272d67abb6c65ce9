//! Streams and timing events.

use std::rc::Rc;

use cudarc::driver::sys;

use super::context::Gpu;
use super::error::{DeviceError, check};
use super::host_window::HostWords;

/// An ordered queue of device work.
#[derive(Debug)]
pub struct Stream {
    raw: sys::CUstream,
    _gpu: Rc<Gpu>,
}

impl Stream {
    /// Makes a stream that does not wait for the legacy default stream.
    pub fn new(gpu: &Rc<Gpu>) -> Result<Self, DeviceError> {
        let mut raw = std::ptr::null_mut();
        let flags = sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: the handle is written to a live variable.
        check("cuStreamCreate", unsafe { sys::cuStreamCreate(&raw mut raw, flags) })?;
        Ok(Self { raw, _gpu: Rc::clone(gpu) })
    }

    /// The driver's handle.
    pub fn raw(&self) -> sys::CUstream {
        self.raw
    }

    /// Waits until everything queued so far has ended.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        // SAFETY: the stream lives.
        check("cuStreamSynchronize", unsafe { sys::cuStreamSynchronize(self.raw) })
    }

    /// Writes a word when everything queued before has ended.
    pub(crate) fn write_word(&self, word: HostWords<'_, 1>, value: u32) -> Result<(), DeviceError> {
        // SAFETY: the stream lives; the word lies in memory that stays registered until the work that
        // was queued has ended.
        check("cuStreamWriteValue32", unsafe {
            sys::cuStreamWriteValue32_v2(self.raw, word.address(), value, 0)
        })
    }

    /// The bytes of the stream's L2 access window; 0 when none is set.
    pub fn access_window_bytes(&self) -> Result<u64, DeviceError> {
        let id = sys::CUlaunchAttributeID_enum::CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW;
        // SAFETY: all zeros is a valid value of this union of plain numbers and pointers.
        let mut value: sys::CUlaunchAttributeValue_union = unsafe { std::mem::zeroed() };
        // SAFETY: the answer is written to a live variable of the driver's own type.
        check("cuStreamGetAttribute", unsafe { sys::cuStreamGetAttribute(self.raw, id, &raw mut value) })?;
        // SAFETY: the driver filled the member that belongs to the attribute asked for.
        Ok(unsafe { value.accessPolicyWindow.num_bytes } as u64)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: destroyed once.
        let _ = unsafe { sys::cuStreamDestroy_v2(self.raw) };
    }
}

/// A point in a stream whose time is taken.
#[derive(Debug)]
pub struct TimingEvent {
    raw: sys::CUevent,
    _gpu: Rc<Gpu>,
}

impl TimingEvent {
    /// Makes an event that takes the time.
    pub fn new(gpu: &Rc<Gpu>) -> Result<Self, DeviceError> {
        let mut raw = std::ptr::null_mut();
        let flags = sys::CUevent_flags_enum::CU_EVENT_DEFAULT as u32;
        // SAFETY: the handle is written to a live variable.
        check("cuEventCreate", unsafe { sys::cuEventCreate(&raw mut raw, flags) })?;
        Ok(Self { raw, _gpu: Rc::clone(gpu) })
    }

    /// Records the event in a stream.
    pub fn record(&self, stream: &Stream) -> Result<(), DeviceError> {
        // SAFETY: both handles live.
        check("cuEventRecord", unsafe { sys::cuEventRecord(self.raw, stream.raw()) })
    }

    /// Nanoseconds from this event to a later one. Both must have happened.
    pub fn elapsed_ns(&self, later: &Self) -> Result<f64, DeviceError> {
        let mut milliseconds = 0_f32;
        // SAFETY: both handles live; the answer is written to a live variable.
        check("cuEventElapsedTime", unsafe {
            sys::cuEventElapsedTime_v2(&raw mut milliseconds, self.raw, later.raw)
        })?;
        Ok(f64::from(milliseconds) * 1e6)
    }
}

impl Drop for TimingEvent {
    fn drop(&mut self) {
        // SAFETY: destroyed once.
        let _ = unsafe { sys::cuEventDestroy_v2(self.raw) };
    }
}

/// A point in a stream that other streams wait for; it takes no time.
#[derive(Debug)]
pub(crate) struct Fence {
    raw: sys::CUevent,
    _gpu: Rc<Gpu>,
}

impl Fence {
    pub(crate) fn new(gpu: &Rc<Gpu>) -> Result<Self, DeviceError> {
        let mut raw = std::ptr::null_mut();
        let flags = sys::CUevent_flags_enum::CU_EVENT_DISABLE_TIMING as u32;
        // SAFETY: the handle is written to a live variable.
        check("cuEventCreate", unsafe { sys::cuEventCreate(&raw mut raw, flags) })?;
        Ok(Self { raw, _gpu: Rc::clone(gpu) })
    }

    /// Sets the point behind everything that is queued.
    pub(crate) fn record(&self, stream: &Stream) -> Result<(), DeviceError> {
        // SAFETY: both handles live.
        check("cuEventRecord", unsafe { sys::cuEventRecord(self.raw, stream.raw()) })
    }

    /// Lets a stream wait for the point.
    pub(crate) fn wait(&self, stream: &Stream) -> Result<(), DeviceError> {
        // SAFETY: both handles live.
        check("cuStreamWaitEvent", unsafe { sys::cuStreamWaitEvent(stream.raw(), self.raw, 0) })
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        // SAFETY: destroyed once.
        let _ = unsafe { sys::cuEventDestroy_v2(self.raw) };
    }
}
