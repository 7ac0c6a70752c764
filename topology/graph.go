package topology

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
)

// Graph is a topology that was checked by Build. It does not change.
type Graph struct {
	name      string
	keyGroups int
	nodes     []*dataflow.Node
}

// Name is the name of the topology.
func (g *Graph) Name() string { return g.name }

// KeyGroups is the number of groups that keys are divided into.
func (g *Graph) KeyGroups() int { return g.keyGroups }

// Nodes are the operators, inputs before those that read them. They are for
// the runtime, and not to be changed.
func (g *Graph) Nodes() []*dataflow.Node { return slices.Clone(g.nodes) }

// DeadLetterTopics are the topics that error policies name, sorted.
func (g *Graph) DeadLetterTopics() []string {
	var topics []string
	for _, n := range g.nodes {
		if n.Policy.Then == dataflow.ToTopic {
			topics = append(topics, n.Policy.Topic)
		}
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

// GraphJSON describes a graph in plain data: to be stored beside a checkpoint,
// drawn by other tools, and compared with by Diff.
type GraphJSON struct {
	Name        string     `json:"name"`
	Fingerprint string     `json:"fingerprint"`
	KeyGroups   int        `json:"key_groups"`
	Nodes       []NodeJSON `json:"nodes"`
}

// NodeJSON describes an operator.
type NodeJSON struct {
	Name        string       `json:"name"`
	Kind        string       `json:"kind"`
	Reads       []string     `json:"reads,omitempty"` // NAME, or NAME#OUTPUT
	Gives       []OutputJSON `json:"gives,omitempty"`
	Parallelism int          `json:"parallelism,omitempty"` // 0: as the job
	State       string       `json:"state,omitempty"`       // schema of the keyed state
	// Forms describe what is stored of the types in State, by part. Graphs that
	// older releases have stored have none, and are not asked for any.
	Forms     map[string]*StateForm `json:"forms,omitempty"`
	Topic     string                `json:"topic,omitempty"`     // of a Through
	Guarantee string                `json:"guarantee,omitempty"` // of a sink
}

// StateForm describes what is stored of a type: its fields and kinds, in depth.
type StateForm = codec.Form

// keyForm is the part of a state that its keys are.
const keyForm = "key"

// OutputJSON describes an output of an operator.
type OutputJSON struct {
	Name string `json:"name,omitempty"`
	Type string `json:"type"`
}

// JSON describes the graph.
func (g *Graph) JSON() GraphJSON {
	j := GraphJSON{Name: g.name, Fingerprint: g.Fingerprint(), KeyGroups: g.keyGroups}
	for _, n := range g.nodes {
		node := g.describe(n)
		node.Parallelism, node.Forms = n.Parallelism, n.Forms
		if n.Role == dataflow.Sink {
			node.Guarantee = n.Sink.Info().Guarantee.String()
		}
		j.Nodes = append(j.Nodes, node)
	}
	return j
}

// MarshalJSON implements json.Marshaler.
func (g *Graph) MarshalJSON() ([]byte, error) { return json.Marshal(g.JSON()) }

// describe is what identifies a node: what the fingerprint covers.
func (g *Graph) describe(n *dataflow.Node) NodeJSON {
	d := NodeJSON{Name: n.Name, Kind: n.Kind, State: n.State, Topic: n.Topic}
	for _, in := range n.Inputs {
		d.Reads = append(d.Reads, g.outputName(in))
	}
	for _, out := range n.Outputs {
		d.Gives = append(d.Gives, OutputJSON{Name: out.Name, Type: out.Type})
	}
	return d
}

func (g *Graph) outputName(in dataflow.Input) string {
	n := g.nodes[in.Node]
	if name := n.Outputs[in.Port].Name; name != "" {
		return n.Name + "#" + name
	}
	return n.Name
}

// Fingerprint is a hash of the structure, the types and the state schemas. It
// does not depend on parallelism, error policies or the code of functions.
func (g *Graph) Fingerprint() string {
	j := GraphJSON{Name: g.name, KeyGroups: g.keyGroups}
	for _, n := range g.nodes {
		j.Nodes = append(j.Nodes, g.describe(n))
	}
	h := sha256.New()
	_ = json.NewEncoder(h).Encode(j) // strings and numbers into a hash: nothing can fail
	return hex.EncodeToString(h.Sum(nil)[:16])
}
