//! A captured graph: its nodes, its edges, and an order in which each node stands behind what it waits for.

use cudarc::driver::sys::{self, CUgraphNodeType as NodeType};

use super::error::{DeviceError, check};
use super::uncaptured::Uncaptured;
use crate::recording::Node;

/// The edge by which a kernel may begin while the one before it still runs:
/// `CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC`, and the port `CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC`.
const PROGRAMMATIC_EDGE: (u8, u8) = (1, 1);

/// A captured graph, destroyed when it has been read.
pub(super) struct Graph(pub(super) sys::CUgraph);

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: made by the capture, destroyed once.
        let _ = unsafe { sys::cuGraphDestroy(self.0) };
    }
}

/// The graph inside a node, where there is one.
pub(super) fn child(node: sys::CUgraphNode) -> Result<Option<sys::CUgraph>, DeviceError> {
    let mut kind = NodeType::CU_GRAPH_NODE_TYPE_EMPTY;
    // SAFETY: the node lives with its graph; the answer is a live variable of the driver's type.
    check("cuGraphNodeGetType", unsafe { sys::cuGraphNodeGetType(node, &raw mut kind) })?;
    if kind != NodeType::CU_GRAPH_NODE_TYPE_GRAPH {
        return Ok(None);
    }
    let mut graph = std::ptr::null_mut();
    // SAFETY: the node has a graph; the answer is a live variable.
    check("cuGraphChildGraphNodeGetGraph", unsafe {
        sys::cuGraphChildGraphNodeGetGraph(node, &raw mut graph)
    })?;
    Ok(Some(graph))
}

/// Puts a graph's nodes behind others. Returns what to wait for in place of the whole: its last nodes.
pub(super) fn append(nodes: &mut Vec<Node>, inner: Vec<Node>, before: &[u32]) -> Vec<u32> {
    let base = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    let mut last: std::collections::BTreeSet<u32> =
        (0..).take(inner.len()).map(|number| base + number).collect();
    if inner.is_empty() {
        return before.to_vec();
    }
    for mut node in inner {
        for number in &mut node.after {
            *number += base;
            last.remove(number);
        }
        if node.after.is_empty() {
            node.after = before.to_vec();
        }
        nodes.push(node);
    }
    last.into_iter().collect()
}

/// An edge between nodes by their numbers.
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) programmatic: bool,
}

pub(super) fn nodes(graph: sys::CUgraph) -> Result<Vec<sys::CUgraphNode>, DeviceError> {
    let mut count = 0;
    // SAFETY: without room the driver only counts.
    check("cuGraphGetNodes", unsafe { sys::cuGraphGetNodes(graph, std::ptr::null_mut(), &raw mut count) })?;
    let mut handles = vec![std::ptr::null_mut(); count];
    if count > 0 {
        // SAFETY: room for as many as were counted.
        check("cuGraphGetNodes", unsafe {
            sys::cuGraphGetNodes(graph, handles.as_mut_ptr(), &raw mut count)
        })?;
    }
    Ok(handles)
}

pub(super) fn edges(graph: sys::CUgraph, nodes: &[sys::CUgraphNode]) -> Result<Vec<Edge>, Uncaptured> {
    let mut count = 0;
    let none = std::ptr::null_mut::<sys::CUgraphNode>;
    // SAFETY: without room the driver only counts.
    check("cuGraphGetEdges", unsafe {
        sys::cuGraphGetEdges_v2(graph, none(), none(), std::ptr::null_mut(), &raw mut count)
    })?;
    let empty = std::ptr::null_mut::<sys::CUgraphNode_st>();
    let (mut from, mut to) = (vec![empty; count], vec![empty; count]);
    // SAFETY: all zeros is a valid value of this structure of numbers.
    let mut data = vec![unsafe { std::mem::zeroed::<sys::CUgraphEdgeData>() }; count];
    if count > 0 {
        // SAFETY: room for as many as were counted.
        check("cuGraphGetEdges", unsafe {
            sys::cuGraphGetEdges_v2(
                graph,
                from.as_mut_ptr(),
                to.as_mut_ptr(),
                data.as_mut_ptr(),
                &raw mut count,
            )
        })?;
    }
    let place = |node: &sys::CUgraphNode| nodes.iter().position(|known| known == node);
    let mut edges = Vec::new();
    for ((from, to), data) in from.iter().zip(&to).zip(&data) {
        let (Some(from), Some(to)) = (place(from), place(to)) else {
            return Err(Uncaptured::Refused("an edge of the captured graph leads nowhere".to_owned()));
        };
        let programmatic = (data.type_, data.from_port) == PROGRAMMATIC_EDGE;
        if !programmatic && (data.type_, data.from_port) != (0, 0) {
            return Err(Uncaptured::Refused("it orders its kernels by launch completion events".to_owned()));
        }
        edges.push(Edge { from, to, programmatic });
    }
    Ok(edges)
}

/// The nodes so that each stands behind those that it waits for; among free ones the first made comes first.
pub(super) fn in_order(count: usize, edges: &[Edge]) -> Vec<usize> {
    let mut waits = vec![0_usize; count];
    for edge in edges {
        waits[edge.to] += 1;
    }
    let mut ready: std::collections::BTreeSet<usize> = (0..count).filter(|node| waits[*node] == 0).collect();
    let mut order = Vec::new();
    while let Some(node) = ready.pop_first() {
        order.push(node);
        for edge in edges.iter().filter(|edge| edge.from == node) {
            waits[edge.to] -= 1;
            if waits[edge.to] == 0 {
                ready.insert(edge.to);
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{FillRows, Work};

    #[test]
    fn a_graph_inside_waits_for_what_stands_before_it_and_is_waited_for_as_a_whole() {
        let node = |after: &[u32]| Node {
            after: after.to_vec(),
            work: Work::Fill(FillRows { to: 0, pitch: 0, value: 0, element_bytes: 1, width: 1, rows: 1 }),
        };
        let mut nodes = vec![node(&[])];
        let last = append(&mut nodes, vec![node(&[]), node(&[0]), node(&[0])], &[0]);
        let after: Vec<&[u32]> = nodes.iter().map(|node| node.after.as_slice()).collect();
        assert_eq!(after, [&[][..], &[0], &[1], &[1]]);
        assert_eq!(last, [2, 3]);
        assert_eq!(append(&mut nodes, vec![], &[3]), [3]);
    }

    #[test]
    fn puts_every_node_behind_what_it_waits_for() {
        let edge = |from, to| Edge { from, to, programmatic: false };
        assert_eq!(in_order(4, &[edge(3, 0), edge(0, 1), edge(3, 2)]), [3, 0, 1, 2]);
        assert_eq!(in_order(3, &[]), [0, 1, 2]);
    }
}
