//! Suffix links, lengths of repeated suffixes, and the length of a common suffix in logarithmic time.

use super::arrows::NONE;

/// The tree of suffix links.
///
/// Each state has a jump pointer to an ancestor, as in Myers, "An applicative random-access stack" (Information Processing
/// Letters 17, 1983): without them, a long run of equal events makes the walk to a common suffix as long as the run.
#[derive(Debug, Clone, Default)]
pub(super) struct Suffixes {
    nodes: Vec<Node>,
}

/// A state of the tree, with what a walk reads in one place.
#[derive(Debug, Clone, Copy)]
struct Node {
    link: u32,
    length: u32,
    depth: u32,
    jump: u32,
}

impl Suffixes {
    /// The number of states.
    pub(super) fn states(&self) -> u32 {
        self.nodes.len() as u32
    }

    pub(super) fn push_root(&mut self) {
        self.nodes.push(Node { link: NONE, length: 0, depth: 0, jump: 0 });
    }

    pub(super) fn push(&mut self, link: u32, length: u32) {
        let parent = self.nodes[link as usize];
        let jump = self.nodes[parent.jump as usize];
        let far = self.nodes[jump.jump as usize];
        let even = parent.depth - jump.depth == jump.depth - far.depth;
        self.nodes.push(Node { link, length, depth: parent.depth + 1, jump: if even { jump.jump } else { link } });
    }

    /// The suffix link of a state, [`NONE`] for state 0.
    pub(super) fn link(&self, state: u32) -> u32 {
        self.nodes[state as usize].link
    }

    pub(super) fn length(&self, state: u32) -> u32 {
        self.nodes[state as usize].length
    }

    /// The length of the common suffix of two states, by Lefebvre and Lecroq's heuristic: never too long.
    ///
    /// The definition walks from `q` up the suffix links until it meets a state with the suffix link of `p`, or state 0. That
    /// state is the ancestor of `q` one below the link of `p`, if it has this link.
    pub(super) fn common(&self, p: u32, q: u32) -> u32 {
        let link = self.link(p);
        if link == NONE {
            return 0;
        }
        if q == link {
            return self.length(p);
        }
        let level = self.nodes[link as usize].depth + 1;
        let mut node = self.nodes[q as usize];
        while node.depth > level {
            let jump = self.nodes[node.jump as usize];
            node = if jump.depth >= level { jump } else { self.nodes[node.link as usize] };
        }
        if node.link == link { self.length(p).min(node.length) } else { 0 }
    }
}
