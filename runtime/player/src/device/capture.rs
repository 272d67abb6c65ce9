//! Captures what a call puts on a stream, and reads it as a recording's nodes.

use std::ffi::{CStr, c_void};

use cudarc::driver::sys::{
    self, CUfunction_attribute as FunctionAttribute, CUgraphNodeType as NodeType,
    CUlaunchAttributeID as LaunchAttribute, CUmemorytype, CUpointer_attribute, CUresult,
};

use super::arena::{BLOCKS, FOREIGN};
use super::captured_graph::{Graph, append, child, edges, in_order, nodes};
use super::error::{DeviceError, check};
use super::foreign_graph;
use super::interception;
use super::stream::Stream;
use super::uncaptured::Uncaptured;
use crate::recording::{Call, CopyRows, FillRows, Launch, NODE_LIMIT, Node, RecordedKernel, Work};

/// Most parameters of a kernel.
const PARAMETER_LIMIT: usize = 4096;

/// What a module is called by: the driver's handle of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handle {
    /// Loaded by `cuLibraryLoadData`, as the runtime does.
    Library(sys::CUlibrary),
    /// Loaded by `cuModuleLoadData`.
    Module(sys::CUmodule),
}

impl Handle {
    /// Address and size of a variable; `None` where the module has none of this name.
    pub(crate) fn variable(self, name: &CStr) -> Option<(u64, u64)> {
        let (mut address, mut size) = (0, 0);
        let code = match self {
            // SAFETY: the library lives, the name is terminated, and both answers are live variables.
            Self::Library(library) => unsafe {
                sys::cuLibraryGetGlobal(&raw mut address, &raw mut size, library, name.as_ptr())
            },
            // SAFETY: as above.
            Self::Module(module) => unsafe {
                sys::cuModuleGetGlobal_v2(&raw mut address, &raw mut size, module, name.as_ptr())
            },
        };
        (code == CUresult::CUDA_SUCCESS).then_some((address, size as u64))
    }
}

/// A module whose kernels were launched.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) handle: Handle,
    pub(crate) kernels: Vec<RecordedKernel>,
}

/// Reads captured calls; modules are gathered over all of them.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) modules: Vec<Seen>,
}

impl Reader {
    /// Captures one call on a stream.
    pub(crate) fn capture(
        &mut self,
        stream: &Stream,
        call: &mut dyn FnMut() -> Result<(), String>,
    ) -> Result<Call, Uncaptured> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream lives.
        check("cuStreamBeginCapture", unsafe { sys::cuStreamBeginCapture_v2(stream.raw(), mode) })?;
        interception::set_capturing(true);
        let outcome = call();
        let mut graph = std::ptr::null_mut();
        // SAFETY: the capture was begun above; the handle is written to a live variable.
        let ended =
            check("cuStreamEndCapture", unsafe { sys::cuStreamEndCapture(stream.raw(), &raw mut graph) });
        interception::set_capturing(false);
        let graph = (!graph.is_null()).then(|| Graph(graph));
        if foreign_graph::launched_unknown() {
            let text =
                "it launches a graph of its own whose nodes it changed in a way that cannot be followed";
            return Err(Uncaptured::Refused(text.to_owned()));
        }
        // The driver's refusal explains the entry's error, if both are there.
        ended.map_err(|error| Uncaptured::Refused(refusal(&error)))?;
        outcome.map_err(Uncaptured::Raised)?;
        let graph = graph.ok_or_else(|| Uncaptured::Refused("nothing was captured".to_owned()))?;
        let handles = nodes(graph.0)?;
        // A call that is one graph of the submission's is launched as one.
        let whole = match handles.as_slice() {
            [only] => child(*only)?,
            _ => None,
        };
        let nodes = self.read(whole.unwrap_or(graph.0))?;
        if nodes.is_empty() {
            let text = "its call puts nothing on its stream: it does nothing, or works on another one";
            return Err(Uncaptured::Refused(text.to_owned()));
        }
        Ok(Call { graph: whole.is_some(), nodes })
    }

    fn read(&mut self, graph: sys::CUgraph) -> Result<Vec<Node>, Uncaptured> {
        let handles = nodes(graph)?;
        if handles.len() > NODE_LIMIT {
            let text =
                format!("a call of {} launches, copies and fills; {NODE_LIMIT} are the limit", handles.len());
            return Err(Uncaptured::Refused(text));
        }
        let edges = edges(graph, &handles)?;
        let order = in_order(handles.len(), &edges);
        let mut read: Vec<Node> = Vec::new();
        // What to wait for in place of each node: itself, the last nodes of its graph, or, where it has no work
        // of its own, what it waits for.
        let mut stands_for: Vec<Vec<u32>> = vec![Vec::new(); handles.len()];
        for index in order {
            let mut after: Vec<u32> = Vec::new();
            let mut programmatic = false;
            for edge in edges.iter().filter(|edge| edge.to == index) {
                programmatic |= edge.programmatic;
                after.extend(&stands_for[edge.from]);
            }
            after.sort_unstable();
            after.dedup();
            if let Some(inner) = child(handles[index])? {
                let inner = self.read(inner)?;
                stands_for[index] = append(&mut read, inner, &after);
                if read.len() > NODE_LIMIT {
                    let text = format!("a call of more than {NODE_LIMIT} launches, copies and fills");
                    return Err(Uncaptured::Refused(text));
                }
                continue;
            }
            match self.work(handles[index], programmatic)? {
                None => stands_for[index] = after,
                Some(work) => {
                    stands_for[index] = vec![u32::try_from(read.len()).expect("below the limit")];
                    read.push(Node { after, work });
                }
            }
        }
        Ok(read)
    }

    /// The work of a node; `None` for one that only orders others.
    fn work(&mut self, node: sys::CUgraphNode, programmatic: bool) -> Result<Option<Work>, Uncaptured> {
        let mut kind = NodeType::CU_GRAPH_NODE_TYPE_EMPTY;
        // SAFETY: the node lives with its graph; the answer is a live variable of the driver's type.
        check("cuGraphNodeGetType", unsafe { sys::cuGraphNodeGetType(node, &raw mut kind) })?;
        let refuse = |what: &str| Err(Uncaptured::Refused(what.to_owned()));
        match kind {
            NodeType::CU_GRAPH_NODE_TYPE_KERNEL => self.launch(node, programmatic).map(Some),
            NodeType::CU_GRAPH_NODE_TYPE_MEMCPY => copy(node).map(Some),
            NodeType::CU_GRAPH_NODE_TYPE_MEMSET => fill(node).map(Some),
            NodeType::CU_GRAPH_NODE_TYPE_EMPTY => Ok(None),
            NodeType::CU_GRAPH_NODE_TYPE_HOST => refuse("it runs a function on the host between its kernels"),
            NodeType::CU_GRAPH_NODE_TYPE_CONDITIONAL => refuse("it has conditional nodes"),
            NodeType::CU_GRAPH_NODE_TYPE_MEM_ALLOC | NodeType::CU_GRAPH_NODE_TYPE_MEM_FREE => {
                refuse("it allocates memory by a way that the recorder does not serve")
            }
            other => {
                Err(Uncaptured::Refused(format!("it queues work of a kind that is not carried: {other:?}")))
            }
        }
    }

    fn launch(&mut self, node: sys::CUgraphNode, programmatic: bool) -> Result<Work, Uncaptured> {
        // SAFETY: all zeros is a valid value of this structure of numbers and pointers.
        let mut found: sys::CUDA_KERNEL_NODE_PARAMS_v2 = unsafe { std::mem::zeroed() };
        // SAFETY: a kernel's node; the answer is a live variable of the driver's type.
        check("cuGraphKernelNodeGetParams", unsafe {
            sys::cuGraphKernelNodeGetParams_v2(node, &raw mut found)
        })?;
        let function = Function::of(&found)?;
        let layout = function.parameters()?;
        let parameters = bytes_of(&found, &layout)?;
        let handle = function.handle()?;
        let kernel = RecordedKernel {
            name: function.name()?,
            max_dynamic_shared_bytes: u32::try_from(
                function.attribute(FunctionAttribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)?,
            )
            .unwrap_or(0),
            shared_carveout: function
                .attribute(FunctionAttribute::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT)?,
            non_portable_clusters: function
                .attribute(FunctionAttribute::CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED)?
                > 0,
            parameters: layout,
        };
        let (module, kernel) = self.number(handle, kernel);
        let cluster = attribute(node, LaunchAttribute::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION)?;
        // SAFETY: the driver filled the member that belongs to the attribute, three plain numbers.
        let cluster = unsafe { cluster.clusterDim };
        let cluster = [cluster.x, cluster.y, cluster.z];
        let cooperative = attribute(node, LaunchAttribute::CU_LAUNCH_ATTRIBUTE_COOPERATIVE)?;
        Ok(Work::Launch(Launch {
            module,
            kernel,
            grid: [found.gridDimX, found.gridDimY, found.gridDimZ],
            block: [found.blockDimX, found.blockDimY, found.blockDimZ],
            shared_bytes: found.sharedMemBytes,
            cluster: (!cluster.contains(&0)).then_some(cluster),
            // SAFETY: the driver filled the member that belongs to the attribute, a plain number.
            cooperative: unsafe { cooperative.cooperative } != 0,
            programmatic,
            parameters,
            relocations: Vec::new(),
        }))
    }

    /// The numbers of a module and of a kernel in it.
    fn number(&mut self, handle: Handle, kernel: RecordedKernel) -> (u32, u32) {
        let module = self.modules.iter().position(|seen| seen.handle == handle).unwrap_or_else(|| {
            self.modules.push(Seen { handle, kernels: Vec::new() });
            self.modules.len() - 1
        });
        let kernels = &mut self.modules[module].kernels;
        let place = kernels.iter().position(|known| *known == kernel).unwrap_or_else(|| {
            kernels.push(kernel);
            kernels.len() - 1
        });
        (u32::try_from(module).unwrap_or(u32::MAX), u32::try_from(place).unwrap_or(u32::MAX))
    }
}

/// What a capture that failed means.
fn refusal(error: &DeviceError) -> String {
    format!(
        "its call does what cannot be captured: it waits for the device, asks how far it is, or works on a \
         stream that is not ordered with the call's ({error})"
    )
}

/// A launched function: the runtime's kernels and the driver's functions are asked by other calls.
struct Function {
    kernel: sys::CUkernel,
    function: sys::CUfunction,
}

impl Function {
    fn of(found: &sys::CUDA_KERNEL_NODE_PARAMS_v2) -> Result<Self, DeviceError> {
        let mut function = found.func;
        if function.is_null() {
            // SAFETY: where there is no function there is a kernel; the answer is a live variable.
            check("cuKernelGetFunction", unsafe { sys::cuKernelGetFunction(&raw mut function, found.kern) })?;
        }
        Ok(Self { kernel: found.kern, function })
    }

    fn name(&self) -> Result<String, DeviceError> {
        let mut name = std::ptr::null();
        if self.kernel.is_null() {
            // SAFETY: the function lives; the answer is a live variable.
            check("cuFuncGetName", unsafe { sys::cuFuncGetName(&raw mut name, self.function) })?;
        } else {
            // SAFETY: as above.
            check("cuKernelGetName", unsafe { sys::cuKernelGetName(&raw mut name, self.kernel) })?;
        }
        // SAFETY: a terminated text that lives as long as its module.
        Ok(unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
    }

    fn handle(&self) -> Result<Handle, DeviceError> {
        if self.kernel.is_null() {
            let mut module = std::ptr::null_mut();
            // SAFETY: the function lives; the answer is a live variable.
            check("cuFuncGetModule", unsafe { sys::cuFuncGetModule(&raw mut module, self.function) })?;
            return Ok(Handle::Module(module));
        }
        let mut library = std::ptr::null_mut();
        // SAFETY: the kernel lives; the answer is a live variable.
        check("cuKernelGetLibrary", unsafe { sys::cuKernelGetLibrary(&raw mut library, self.kernel) })?;
        Ok(Handle::Library(library))
    }

    fn parameters(&self) -> Result<Vec<(u32, u32)>, Uncaptured> {
        let mut parameters = Vec::new();
        for index in 0..PARAMETER_LIMIT {
            let (mut offset, mut size) = (0, 0);
            let code = if self.kernel.is_null() {
                // SAFETY: the function lives; the answers are live variables; a number too large is refused.
                unsafe { sys::cuFuncGetParamInfo(self.function, index, &raw mut offset, &raw mut size) }
            } else {
                // SAFETY: as above.
                unsafe { sys::cuKernelGetParamInfo(self.kernel, index, &raw mut offset, &raw mut size) }
            };
            if code != CUresult::CUDA_SUCCESS {
                return Ok(parameters);
            }
            let narrow = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
            parameters.push((narrow(offset), narrow(size)));
        }
        Err(Uncaptured::Refused("a kernel of too many parameters".to_owned()))
    }

    fn attribute(&self, which: FunctionAttribute) -> Result<i32, DeviceError> {
        let mut value = 0;
        // SAFETY: the function lives; the answer is a live variable.
        check("cuFuncGetAttribute", unsafe {
            sys::cuFuncGetAttribute(&raw mut value, which, self.function)
        })?;
        Ok(value)
    }
}

/// The parameters' bytes, one behind the other.
fn bytes_of(found: &sys::CUDA_KERNEL_NODE_PARAMS_v2, layout: &[(u32, u32)]) -> Result<Vec<u8>, Uncaptured> {
    let mut bytes = Vec::new();
    if layout.is_empty() {
        return Ok(bytes);
    }
    if found.kernelParams.is_null() {
        // SAFETY: the driver keeps the list that the launch was given, with what it points to.
        let packed = unsafe { packed_parameters(found.extra.cast_const()) };
        let packed = packed.ok_or_else(|| Uncaptured::Refused("a kernel without parameters".to_owned()))?;
        for &(offset, size) in layout {
            let part = packed.get(offset as usize..).and_then(|rest| rest.get(..size as usize));
            let part = part.ok_or_else(|| {
                Uncaptured::Refused("a kernel whose packed parameters are fewer than it takes".to_owned())
            })?;
            bytes.extend_from_slice(part);
        }
        return Ok(bytes);
    }
    for (index, (_, size)) in layout.iter().enumerate() {
        let place = found.kernelParams.wrapping_add(index);
        // SAFETY: the driver keeps one pointer for each parameter, as many as it counted.
        let parameter = unsafe { place.read() }.cast::<u8>();
        // SAFETY: each points to as many bytes as the driver says the parameter has.
        bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(parameter, *size as usize) });
    }
    Ok(bytes)
}

/// `CU_LAUNCH_PARAM_BUFFER_POINTER` and `CU_LAUNCH_PARAM_BUFFER_SIZE`: what the next pointer of a list is.
const BUFFER: usize = 1;
const BUFFER_SIZE: usize = 2;
/// `CU_LAUNCH_PARAM_END`.
const END: usize = 0;
/// Most of what a list names: the two that there are, and room for one that is named again.
const LIST_LIMIT: usize = 4;

/// The buffer in which a launch was given all parameters at once, as cuBLAS does.
///
/// # Safety
///
/// `list` is null, or leads to pairs of a name and a pointer up to `CU_LAUNCH_PARAM_END`; those pointers lead to the
/// buffer and to its size, for as long as the answer is used.
unsafe fn packed_parameters<'a>(list: *const *mut c_void) -> Option<&'a [u8]> {
    let (mut buffer, mut size_bytes) = (None, None);
    if list.is_null() {
        return None;
    }
    for pair in 0..LIST_LIMIT {
        // SAFETY: the list goes on up to its end, which was not met yet.
        let name = unsafe { list.wrapping_add(2 * pair).read() }.addr();
        if name == END {
            break;
        }
        // SAFETY: a name is followed by its pointer.
        let pointer = unsafe { list.wrapping_add(2 * pair + 1).read() };
        match name {
            BUFFER => buffer = Some(pointer.cast::<u8>()).filter(|pointer| !pointer.is_null()),
            // SAFETY: by the caller, it leads to a size.
            BUFFER_SIZE if !pointer.is_null() => size_bytes = Some(unsafe { pointer.cast::<usize>().read() }),
            _ => return None,
        }
    }
    // SAFETY: by the caller, the buffer has so many bytes.
    Some(unsafe {
        std::slice::from_raw_parts(buffer?, size_bytes.filter(|&size| size <= LARGEST_PACKED_BYTES)?)
    })
}

/// Most bytes of parameters that a kernel can take, with room.
const LARGEST_PACKED_BYTES: usize = 1 << 16;

fn attribute(
    node: sys::CUgraphNode,
    which: LaunchAttribute,
) -> Result<sys::CUlaunchAttributeValue, DeviceError> {
    // SAFETY: all zeros is a valid value of this union of plain numbers and pointers.
    let mut value: sys::CUlaunchAttributeValue = unsafe { std::mem::zeroed() };
    // SAFETY: a kernel's node; the answer is a live variable of the driver's type.
    check("cuGraphKernelNodeGetAttribute", unsafe {
        sys::cuGraphKernelNodeGetAttribute(node, which, &raw mut value)
    })?;
    Ok(value)
}

fn copy(node: sys::CUgraphNode) -> Result<Work, Uncaptured> {
    let mut found = no_copy();
    // SAFETY: a copy's node; the answer is a live variable of the driver's type.
    check("cuGraphMemcpyNodeGetParams", unsafe { sys::cuGraphMemcpyNodeGetParams(node, &raw mut found) })?;
    let is_device = |kind, address: u64| match kind {
        CUmemorytype::CU_MEMORYTYPE_DEVICE => true,
        CUmemorytype::CU_MEMORYTYPE_UNIFIED => is_carried(address),
        _ => false,
    };
    if !is_device(found.srcMemoryType, found.srcDevice) || !is_device(found.dstMemoryType, found.dstDevice) {
        return Err(Uncaptured::Refused("it copies between host and device inside its call".to_owned()));
    }
    if found.Depth > 1 {
        return Err(Uncaptured::Refused("it copies in three dimensions".to_owned()));
    }
    let start = |address: u64, [plane, height, row]: [usize; 3], pitch: usize, column: usize| {
        let rows = (plane as u64).checked_mul(height as u64)?.checked_add(row as u64)?;
        rows.checked_mul(pitch as u64)?.checked_add(column as u64)?.checked_add(address)
    };
    let from = [found.srcZ, found.srcHeight, found.srcY];
    let to = [found.dstZ, found.dstHeight, found.dstY];
    let (Some(from), Some(to)) = (
        start(found.srcDevice, from, found.srcPitch, found.srcXInBytes),
        start(found.dstDevice, to, found.dstPitch, found.dstXInBytes),
    ) else {
        return Err(Uncaptured::Refused("it copies from or to no address".to_owned()));
    };
    Ok(Work::Copy(CopyRows {
        from,
        from_pitch: found.srcPitch as u64,
        to,
        to_pitch: found.dstPitch as u64,
        width_bytes: found.WidthInBytes as u64,
        rows: found.Height.max(1) as u64,
    }))
}

/// A copy of nothing, to be filled in: its kinds of memory have no zero.
fn no_copy() -> sys::CUDA_MEMCPY3D {
    sys::CUDA_MEMCPY3D {
        srcXInBytes: 0,
        srcY: 0,
        srcZ: 0,
        srcLOD: 0,
        srcMemoryType: CUmemorytype::CU_MEMORYTYPE_DEVICE,
        srcHost: std::ptr::null(),
        srcDevice: 0,
        srcArray: std::ptr::null_mut(),
        reserved0: std::ptr::null_mut(),
        srcPitch: 0,
        srcHeight: 0,
        dstXInBytes: 0,
        dstY: 0,
        dstZ: 0,
        dstLOD: 0,
        dstMemoryType: CUmemorytype::CU_MEMORYTYPE_DEVICE,
        dstHost: std::ptr::null_mut(),
        dstDevice: 0,
        dstArray: std::ptr::null_mut(),
        reserved1: std::ptr::null_mut(),
        dstPitch: 0,
        dstHeight: 0,
        WidthInBytes: 0,
        Height: 0,
        Depth: 0,
    }
}

fn fill(node: sys::CUgraphNode) -> Result<Work, Uncaptured> {
    // SAFETY: all zeros is a valid value of this structure of numbers.
    let mut found: sys::CUDA_MEMSET_NODE_PARAMS = unsafe { std::mem::zeroed() };
    // SAFETY: a fill's node; the answer is a live variable of the driver's type.
    check("cuGraphMemsetNodeGetParams", unsafe { sys::cuGraphMemsetNodeGetParams(node, &raw mut found) })?;
    Ok(Work::Fill(FillRows {
        to: found.dst,
        pitch: found.pitch as u64,
        value: found.value,
        element_bytes: found.elementSize,
        width: found.width as u64,
        rows: found.height.max(1) as u64,
    }))
}

/// Whether an address lies in memory that a recording carries.
pub(crate) fn is_carried(address: u64) -> bool {
    (BLOCKS[0]..FOREIGN.end).contains(&address)
}

/// Whether the driver knows memory at an address.
pub(crate) fn is_known(address: u64) -> bool {
    let mut start = 0_u64;
    let which = CUpointer_attribute::CU_POINTER_ATTRIBUTE_RANGE_START_ADDR;
    // SAFETY: the answer is a live variable as wide as an address; an unknown address is refused.
    let code = unsafe { sys::cuPointerGetAttribute((&raw mut start).cast::<c_void>(), which, address) };
    code == CUresult::CUDA_SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the driver says of a launch with a list: names as pointers, each before its pointer.
    fn with_list(list: &mut [*mut c_void]) -> sys::CUDA_KERNEL_NODE_PARAMS_v2 {
        // SAFETY: all zeros is a valid value of this struct of numbers and pointers.
        let mut found: sys::CUDA_KERNEL_NODE_PARAMS_v2 = unsafe { std::mem::zeroed() };
        found.extra = list.as_mut_ptr();
        found
    }

    #[test]
    fn parameters_that_come_packed_are_taken_from_where_the_kernel_has_them() {
        let name = |name: usize| std::ptr::without_provenance_mut::<c_void>(name);
        let mut buffer = *b"0123456789abcdef";
        let mut size_bytes = buffer.len();
        let buffer = buffer.as_mut_ptr().cast::<c_void>();
        let size = (&raw mut size_bytes).cast::<c_void>();
        // A gap between a number and an address belongs to neither.
        let layout = [(0, 4), (8, 8)];
        let mut list = [name(BUFFER_SIZE), size, name(BUFFER), buffer, name(END)];
        let bytes = bytes_of(&with_list(&mut list), &layout).unwrap();
        assert_eq!(bytes, *b"012389abcdef");
        let refused =
            |list: &mut [*mut c_void], layout: &[(u32, u32)]| match bytes_of(&with_list(list), layout) {
                Err(Uncaptured::Refused(reason)) => reason,
                other => panic!("{other:?}"),
            };
        assert!(refused(&mut list, &[(0, 4), (12, 8)]).contains("fewer than it takes"));
        for mut list in
            [vec![name(END)], vec![name(BUFFER), buffer, name(END)], vec![name(7), buffer, name(END)]]
        {
            assert!(refused(&mut list, &layout).contains("without parameters"));
        }
    }
}
