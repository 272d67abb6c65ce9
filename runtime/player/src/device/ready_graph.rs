//! Work that is launched as one graph.

use cudarc::driver::sys;

use super::error::{DeviceError, check};
use super::stream::Stream;

/// A graph that is ready to be launched.
#[derive(Debug)]
pub(crate) struct ReadyGraph(sys::CUgraphExec);

impl ReadyGraph {
    /// Makes a graph of what `queue` puts on a stream. Nothing runs.
    pub(crate) fn of<E: From<DeviceError>>(
        stream: &Stream,
        queue: impl FnOnce() -> Result<(), E>,
    ) -> Result<Self, E> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream lives.
        check("cuStreamBeginCapture", unsafe { sys::cuStreamBeginCapture_v2(stream.raw(), mode) })?;
        let queued = queue();
        let mut graph = std::ptr::null_mut();
        // SAFETY: the capture was begun above; the handle is written to a live variable.
        let ended =
            check("cuStreamEndCapture", unsafe { sys::cuStreamEndCapture(stream.raw(), &raw mut graph) });
        queued?;
        ended?;
        let mut ready = std::ptr::null_mut();
        // SAFETY: the graph was just made; the handle is written to a live variable.
        let instantiated = check("cuGraphInstantiate", unsafe {
            sys::cuGraphInstantiateWithFlags(&raw mut ready, graph, 0)
        });
        // SAFETY: destroyed once; what is ready keeps its own copy.
        let _ = unsafe { sys::cuGraphDestroy(graph) };
        instantiated?;
        let ready = Self(ready);
        // SAFETY: both handles live.
        check("cuGraphUpload", unsafe { sys::cuGraphUpload(ready.0, stream.raw()) })?;
        Ok(ready)
    }

    /// Queues the whole.
    pub(crate) fn launch(&self, stream: &Stream) -> Result<(), DeviceError> {
        // SAFETY: both handles live.
        check("cuGraphLaunch", unsafe { sys::cuGraphLaunch(self.0, stream.raw()) })
    }
}

impl Drop for ReadyGraph {
    fn drop(&mut self) {
        // SAFETY: destroyed once.
        let _ = unsafe { sys::cuGraphExecDestroy(self.0) };
    }
}
