"""The layout of a drawn graph: ranks, lanes, tracks and columns.

Nodes lie in ranks from top to bottom (the generations of the graph) and in lanes from left to
right, one for each chain of nodes. An arrow that passes ranks runs in a lane that is free there, or
in a track of its own beside a lane, so that it never lies on a node.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from itertools import chain, count, pairwise
from typing import Any

import networkx as nx

Slot = tuple[int, int]  # a lane, and 0 for the lane itself or the number of a track right of it


class Layout:
    """Ranks, lanes and columns of a graph.

    Args:
        nodes: each once, sources first, the others in the order in which they are computed.
        edges: each once. One that leads to its own source or to an earlier node (a layer that is
            called again) does not count for the ranks, and may lead upwards.

    Attributes:
        rank: of every node, 0 at the top; the nodes of a longest path have one each.
        slot: of every node, (its lane, 0). Lane 0 has that path, smaller ones lie left of it.
        spans: first and last rank that an edge passes, for those that do or that lead upwards.
        tracks: the slot in which each of them passes.
        starts: the first rank of every column.
    """

    def __init__(self, nodes: Sequence[Hashable], edges: Sequence[tuple[Any, Any]]) -> None:
        order = {node: position for position, node in enumerate(nodes)}
        graph: Any = nx.DiGraph()
        graph.add_nodes_from(nodes)
        graph.add_edges_from((a, b) for a, b in edges if order[a] < order[b])
        generations = enumerate(nx.topological_generations(graph))
        rank = {node: k for k, generation in generations for node in generation}
        self.edges, self.rank, self.ranks, self.starts = edges, rank, max(rank.values()) + 1, [0]
        self.slot: dict[Any, Slot] = {}
        self.spans: dict[tuple[Any, Any], tuple[int, int]] = {}
        self.tracks: dict[tuple[Any, Any], Slot] = {}
        occupied: dict[Slot, list[tuple[int, int]]] = defaultdict(list)

        def reserve(slots: Iterable[Slot], first: int, last: int) -> Slot:
            slot = next(s for s in slots if all(last < a or b < first for a, b in occupied[s]))
            occupied[slot].append((first, last))
            return slot

        while graph:
            path = nx.dag_longest_path(graph)
            graph.remove_nodes_from(path)
            lanes = ((sign * k, 0) for k in count() for sign in (1, -1))
            self.slot |= dict.fromkeys(path, reserve(lanes, rank[path[0]], rank[path[-1]]))
        for a, b in sorted(edges, key=lambda edge: abs(rank[edge[1]] - rank[edge[0]])):
            tracks = ((min(self.slot[a], self.slot[b])[0], k) for k in count(1))
            if rank[b] <= rank[a]:  # its turns are above and below
                self.spans[a, b] = rank[b], rank[a]
                self.tracks[a, b] = reserve(tracks, rank[b] - 1, rank[a] + 1)
            elif rank[b] > rank[a] + 1:
                self.spans[a, b] = rank[a] + 1, rank[b] - 1
                slots = chain((self.slot[a], self.slot[b]), tracks)
                self.tracks[a, b] = reserve(slots, *self.spans[a, b])

    def break_into_columns(self, number: int, together: Iterable[tuple[int, int]] = ()) -> None:
        """Cut the ranks into columns of about equal height.

        A cut is made only where all arrows that cross it come from one node right above it.

        Args:
            number: of columns; there are fewer where there is no place for a cut.
            together: first and last ranks of what is not cut.
        """
        crossing: dict[int, set[Hashable]] = defaultdict(set)  # sources, by the rank below
        for a, b in self.edges:
            low, high = sorted((self.rank[a], self.rank[b]))
            for rank in range(low, high):
                crossing[rank + 1].add(a if rank == self.rank[a] else None)
        whole = {rank for first, last in together for rank in range(first + 1, last + 1)}
        cuts = sorted(k for k, by in crossing.items() if len(by) == 1 and None not in by)
        cuts = [k for k in cuts if k not in whole]
        for k in range(1, number):
            later = [cut for cut in cuts if cut > self.starts[-1]]
            ideal = k * self.ranks / number
            self.starts += sorted(later, key=lambda cut: abs(cut - ideal))[:1]

    def columns(self) -> list[tuple[int, int]]:
        """Return the first rank of every column, and the one after its last."""
        return list(pairwise([*self.starts, self.ranks]))

    def column(self, rank: int) -> int:
        """Return the number of the column that a rank lies in."""
        return sum(start <= rank for start in self.starts[1:])
