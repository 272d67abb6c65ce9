//! The graphs of a submission: what they hold when they are launched under capture.
//!
//! A graph that is ready to be launched does not tell what is in it, and the driver launches none into a
//! capture. So a copy is kept of every graph that is made ready, and a launch under capture adds the copy as one
//! node. What is changed in a ready graph, node by node, is changed in the copy too; where that cannot be followed
//! the graph has no copy any more, and a launch of it is refused.

use std::ffi::{c_uint, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cudarc::driver::sys::{
    self, CUcontext, CUgraph, CUgraphExec, CUgraphNode, CUresult, CUstream, CUstreamCaptureStatus,
};

use super::error::DeviceError;
use super::redirection::{Redirection, replace};

/// A replaced function.
type Hook = Mutex<Option<Redirection>>;

static WITH_FLAGS: Hook = Mutex::new(None);
static WITH_PARAMS: Hook = Mutex::new(None);
static WITH_PARAMS_PTSZ: Hook = Mutex::new(None);
static UPDATE: Hook = Mutex::new(None);
static LAUNCH: Hook = Mutex::new(None);
static LAUNCH_PTSZ: Hook = Mutex::new(None);
static SET_KERNEL: Hook = Mutex::new(None);
static SET_COPY: Hook = Mutex::new(None);
static SET_FILL: Hook = Mutex::new(None);
static SET_ANY: Hook = Mutex::new(None);
static SET_CHILD: Hook = Mutex::new(None);
static SET_ENABLED: Hook = Mutex::new(None);

/// Graphs that are ready, with the copy of what they hold; without one where it is not known any more.
static READY: Mutex<Vec<(usize, Option<usize>)>> = Mutex::new(Vec::new());

/// Whether a graph was launched under capture whose contents are not known.
static UNKNOWN: AtomicBool = AtomicBool::new(false);

/// Whether a graph was launched under capture, since this was last asked, whose contents are not known.
pub(crate) fn launched_unknown() -> bool {
    UNKNOWN.swap(false, Ordering::Relaxed)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Replaces the driver's functions for graphs, for the life of the process.
pub(crate) fn install() -> Result<(), DeviceError> {
    *lock(&WITH_FLAGS) = Some(replace("cuGraphInstantiateWithFlags", with_flags as *const ())?);
    *lock(&WITH_PARAMS) = Some(replace("cuGraphInstantiateWithParams", with_params as *const ())?);
    *lock(&WITH_PARAMS_PTSZ) =
        Some(replace("cuGraphInstantiateWithParams_ptsz", with_params_ptsz as *const ())?);
    *lock(&UPDATE) = Some(replace("cuGraphExecUpdate_v2", update as *const ())?);
    *lock(&LAUNCH) = Some(replace("cuGraphLaunch", launch as *const ())?);
    *lock(&LAUNCH_PTSZ) = Some(replace("cuGraphLaunch_ptsz", launch_ptsz as *const ())?);
    *lock(&SET_KERNEL) = Some(replace("cuGraphExecKernelNodeSetParams_v2", set_kernel as *const ())?);
    *lock(&SET_COPY) = Some(replace("cuGraphExecMemcpyNodeSetParams", set_copy as *const ())?);
    *lock(&SET_FILL) = Some(replace("cuGraphExecMemsetNodeSetParams", set_fill as *const ())?);
    *lock(&SET_ANY) = Some(replace("cuGraphExecNodeSetParams", set_any as *const ())?);
    *lock(&SET_CHILD) = Some(replace("cuGraphExecChildGraphNodeSetParams", set_child as *const ())?);
    *lock(&SET_ENABLED) = Some(replace("cuGraphNodeSetEnabled", set_enabled as *const ())?);
    Ok(())
}

/// Runs the driver's own function.
fn original(hook: &Hook, call: impl FnOnce() -> CUresult) -> CUresult {
    match &*lock(hook) {
        // SAFETY: the lock keeps this file's own calls apart. Foreign code that calls the function on two threads at
        // once can run torn bytes; it ends this process at worst, which is there to be lost.
        Some(redirection) => unsafe { redirection.original(call) },
        None => CUresult::CUDA_ERROR_NOT_INITIALIZED,
    }
}

/// Keeps a copy of what a ready graph holds.
fn remember(ready: CUgraphExec, graph: CUgraph) {
    let mut copy = std::ptr::null_mut();
    // SAFETY: the graph was just accepted by the driver; the handle is a live variable.
    let code = unsafe { sys::cuGraphClone(&raw mut copy, graph) };
    keep(ready, (code == CUresult::CUDA_SUCCESS).then_some(copy as usize));
}

fn keep(ready: CUgraphExec, copy: Option<usize>) {
    let mut known = lock(&READY);
    known.retain(|(one, _)| *one != ready as usize);
    known.push((ready as usize, copy));
}

fn copy_of(ready: CUgraphExec) -> Option<usize> {
    lock(&READY).iter().find(|(one, _)| *one == ready as usize).and_then(|(_, copy)| *copy)
}

/// Changes the copy as the driver has changed the ready graph.
fn follow(
    code: CUresult,
    ready: CUgraphExec,
    node: CUgraphNode,
    change: impl FnOnce(CUgraphNode) -> CUresult,
) -> CUresult {
    if code != CUresult::CUDA_SUCCESS {
        return code;
    }
    let followed = copy_of(ready).is_some_and(|copy| {
        let mut twin = std::ptr::null_mut();
        // SAFETY: the driver has just accepted the node; the copy is ours; the handle is a live variable.
        let found = unsafe { sys::cuGraphNodeFindInClone(&raw mut twin, node, copy as CUgraph) };
        found == CUresult::CUDA_SUCCESS && change(twin) == CUresult::CUDA_SUCCESS
    });
    if !followed {
        keep(ready, None);
    }
    code
}

unsafe extern "C" fn set_kernel(
    ready: CUgraphExec,
    node: CUgraphNode,
    params: *const sys::CUDA_KERNEL_NODE_PARAMS,
) -> CUresult {
    // SAFETY: the caller's own arguments.
    let code =
        original(&SET_KERNEL, || unsafe { sys::cuGraphExecKernelNodeSetParams_v2(ready, node, params) });
    // SAFETY: what the driver has just accepted, for a node of ours.
    follow(code, ready, node, |twin| unsafe { sys::cuGraphKernelNodeSetParams_v2(twin, params) })
}

unsafe extern "C" fn set_copy(
    ready: CUgraphExec,
    node: CUgraphNode,
    params: *const sys::CUDA_MEMCPY3D,
    context: CUcontext,
) -> CUresult {
    // SAFETY: the caller's own arguments.
    let code =
        original(&SET_COPY, || unsafe { sys::cuGraphExecMemcpyNodeSetParams(ready, node, params, context) });
    // SAFETY: what the driver has just accepted, for a node of ours.
    follow(code, ready, node, |twin| unsafe { sys::cuGraphMemcpyNodeSetParams(twin, params) })
}

unsafe extern "C" fn set_fill(
    ready: CUgraphExec,
    node: CUgraphNode,
    params: *const sys::CUDA_MEMSET_NODE_PARAMS,
    context: CUcontext,
) -> CUresult {
    // SAFETY: the caller's own arguments.
    let code =
        original(&SET_FILL, || unsafe { sys::cuGraphExecMemsetNodeSetParams(ready, node, params, context) });
    // SAFETY: what the driver has just accepted, for a node of ours.
    follow(code, ready, node, |twin| unsafe { sys::cuGraphMemsetNodeSetParams(twin, params) })
}

unsafe extern "C" fn set_any(
    ready: CUgraphExec,
    node: CUgraphNode,
    params: *mut sys::CUgraphNodeParams,
) -> CUresult {
    // SAFETY: the caller's own arguments.
    let code = original(&SET_ANY, || unsafe { sys::cuGraphExecNodeSetParams(ready, node, params) });
    // SAFETY: what the driver has just accepted, for a node of ours.
    follow(code, ready, node, |twin| unsafe { sys::cuGraphNodeSetParams(twin, params) })
}

unsafe extern "C" fn set_child(ready: CUgraphExec, node: CUgraphNode, child: CUgraph) -> CUresult {
    // SAFETY: the caller's own arguments.
    let code =
        original(&SET_CHILD, || unsafe { sys::cuGraphExecChildGraphNodeSetParams(ready, node, child) });
    follow(code, ready, node, |_| CUresult::CUDA_ERROR_NOT_SUPPORTED)
}

unsafe extern "C" fn set_enabled(ready: CUgraphExec, node: CUgraphNode, enabled: c_uint) -> CUresult {
    // SAFETY: the caller's own arguments.
    let code = original(&SET_ENABLED, || unsafe { sys::cuGraphNodeSetEnabled(ready, node, enabled) });
    follow(code, ready, node, |_| CUresult::CUDA_ERROR_NOT_SUPPORTED)
}

fn instantiated(code: CUresult, ready: *mut CUgraphExec, graph: CUgraph) -> CUresult {
    if code == CUresult::CUDA_SUCCESS && !ready.is_null() {
        // SAFETY: the driver has just written the caller's variable.
        remember(unsafe { *ready }, graph);
    }
    code
}

unsafe extern "C" fn with_flags(ready: *mut CUgraphExec, graph: CUgraph, flags: u64) -> CUresult {
    // SAFETY: the caller's own arguments.
    let code = original(&WITH_FLAGS, || unsafe { sys::cuGraphInstantiateWithFlags(ready, graph, flags) });
    instantiated(code, ready, graph)
}

type WithParams = unsafe extern "C" fn(*mut CUgraphExec, CUgraph, *mut c_void) -> CUresult;

unsafe extern "C" fn with_params(ready: *mut CUgraphExec, graph: CUgraph, params: *mut c_void) -> CUresult {
    // SAFETY: the caller's own arguments.
    let call = || unsafe { sys::cuGraphInstantiateWithParams(ready, graph, params.cast()) };
    instantiated(original(&WITH_PARAMS, call), ready, graph)
}

unsafe extern "C" fn with_params_ptsz(
    ready: *mut CUgraphExec,
    graph: CUgraph,
    params: *mut c_void,
) -> CUresult {
    let target = lock(&WITH_PARAMS_PTSZ).as_ref().map(Redirection::target);
    let Some(target) = target else { return CUresult::CUDA_ERROR_NOT_INITIALIZED };
    // SAFETY: the driver's function of this name has this type.
    let function = unsafe { std::mem::transmute::<usize, WithParams>(target) };
    // SAFETY: the caller's own arguments.
    instantiated(original(&WITH_PARAMS_PTSZ, || unsafe { function(ready, graph, params) }), ready, graph)
}

unsafe extern "C" fn update(ready: CUgraphExec, graph: CUgraph, result: *mut c_void) -> CUresult {
    // SAFETY: the caller's own arguments.
    let code = original(&UPDATE, || unsafe { sys::cuGraphExecUpdate_v2(ready, graph, result.cast()) });
    if code == CUresult::CUDA_SUCCESS {
        remember(ready, graph);
    }
    code
}

type Launch = unsafe extern "C" fn(CUgraphExec, CUstream) -> CUresult;

unsafe extern "C" fn launch(ready: CUgraphExec, stream: CUstream) -> CUresult {
    // SAFETY: the caller's own arguments.
    captured(ready, stream)
        .unwrap_or_else(|| original(&LAUNCH, || unsafe { sys::cuGraphLaunch(ready, stream) }))
}

unsafe extern "C" fn launch_ptsz(ready: CUgraphExec, stream: CUstream) -> CUresult {
    if let Some(code) = captured(ready, stream) {
        return code;
    }
    let target = lock(&LAUNCH_PTSZ).as_ref().map(Redirection::target);
    let Some(target) = target else { return CUresult::CUDA_ERROR_NOT_INITIALIZED };
    // SAFETY: the driver's function of this name has this type.
    let function = unsafe { std::mem::transmute::<usize, Launch>(target) };
    // SAFETY: the caller's own arguments.
    original(&LAUNCH_PTSZ, || unsafe { function(ready, stream) })
}

/// Adds what a graph holds to a stream's capture; `None` where the stream is not captured.
fn captured(ready: CUgraphExec, stream: CUstream) -> Option<CUresult> {
    let mut status = CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE;
    let (mut graph, mut before, mut edges) = (std::ptr::null_mut(), std::ptr::null(), std::ptr::null());
    let (mut id, mut count) = (0, 0);
    // SAFETY: the caller's stream; the answers are live variables.
    let code = unsafe {
        sys::cuStreamGetCaptureInfo_v3(
            stream,
            &raw mut status,
            &raw mut id,
            &raw mut graph,
            &raw mut before,
            &raw mut edges,
            &raw mut count,
        )
    };
    let is_active = status == CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_ACTIVE;
    if code != CUresult::CUDA_SUCCESS || !is_active {
        return None;
    }
    let Some(copy) = copy_of(ready) else {
        UNKNOWN.store(true, Ordering::Relaxed);
        return Some(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    };
    let mut node = std::ptr::null_mut();
    // SAFETY: the graph under capture and what it waits for, as the driver has just said; the copy is ours.
    let code = unsafe { sys::cuGraphAddChildGraphNode(&raw mut node, graph, before, count, copy as CUgraph) };
    if code != CUresult::CUDA_SUCCESS {
        return Some(code);
    }
    let set = sys::CUstreamUpdateCaptureDependencies_flags::CU_STREAM_SET_CAPTURE_DEPENDENCIES as u32;
    // SAFETY: the one node was just made in the stream's graph.
    Some(unsafe {
        sys::cuStreamUpdateCaptureDependencies_v2(stream, &raw mut node, std::ptr::null(), 1, set)
    })
}
