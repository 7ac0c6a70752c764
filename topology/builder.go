package topology

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/keygroup"
)

// Builder gathers the operators of one topology. It is used by one goroutine.
type Builder struct {
	name      string
	keyGroups int
	policy    dataflow.Policy
	nodes     []*dataflow.Node
	named     map[string]*dataflow.Node
	topics    map[string]bool // topics of Throughs
	mistakes  []error
	lost      bool // stands in for the builder that a zero stream lacks
}

// New starts a topology. Its name, like that of every operator, is 1 to 63
// lower-case letters, digits and dashes, a letter first.
func New(name string, opts ...BuilderOption) *Builder {
	b := &Builder{name: name, keyGroups: keygroup.Default, policy: dataflow.DefaultPolicy(),
		named: map[string]*dataflow.Node{}, topics: map[string]bool{}}
	if err := checkName("topology", name); err != nil {
		b.mistakes = append(b.mistakes, err)
	}
	for _, o := range opts {
		if o != nil {
			o.builder(b)
		}
	}
	return b
}

// operator is a node under construction. Constructors describe the node by it
// and never fail: what is wrong is noted for Build.
type operator struct {
	b        *Builder
	node     *dataflow.Node
	settings *settings
}

// add appends an operator that reads the given streams. Whatever is wrong with
// its name, inputs and settings is noted here; constructors note the rest with
// require.
func add(b *Builder, kind, name string, role dataflow.Role, s *settings, inputs ...ref) *operator {
	if b == nil {
		b = New("lost")
		b.lost = true
	}
	n := &dataflow.Node{ID: len(b.nodes), Name: name, Kind: kind, Role: role, Parallelism: s.parallelism}
	o := &operator{b: b, node: n, settings: s}
	b.nodes = append(b.nodes, n)
	o.claimName()
	for _, in := range inputs {
		o.read(in)
	}
	o.takeSettings()
	return o
}

func (o *operator) claimName() {
	if err := checkName(o.node.Kind, o.node.Name); err != nil {
		o.b.mistakes = append(o.b.mistakes, err)
		return
	}
	if first := o.b.named[o.node.Name]; first != nil {
		o.wrong("the name is taken by a %s: give one of them another", first.Kind)
		return
	}
	o.b.named[o.node.Name] = o.node
}

func (o *operator) read(in ref) {
	switch {
	case in.b == nil || in.b.lost:
		o.wrong("it reads a stream that comes from nowhere: take it from From or from an operator")
	case in.b != o.b:
		o.wrong("it reads a stream of another builder, of topology %q: to cross from one to the other, use a topic", in.b.name)
	default:
		o.node.Inputs = append(o.node.Inputs, dataflow.Input{Node: in.node, Port: in.port})
	}
}

func (o *operator) takeSettings() {
	for _, text := range o.settings.mistakes {
		o.wrong("%s", text)
	}
	o.node.Policy = o.b.policy
	if o.settings.policy != nil {
		o.node.Policy = *o.settings.policy
	}
}

// wrong notes a mistake.
func (o *operator) wrong(format string, args ...any) {
	o.b.mistakes = append(o.b.mistakes, fmt.Errorf("%s %q: %w", o.node.Kind, o.node.Name, fmt.Errorf(format, args...)))
}

// require notes a mistake unless what it says holds.
func (o *operator) require(holds bool, format string, args ...any) {
	if !holds {
		o.wrong(format, args...)
	}
}

// check notes an error as a mistake.
func (o *operator) check(err error) {
	if err != nil {
		o.wrong("%w", err)
	}
}

// output adds an output to an operator. name is "" for the main one.
func output[T any](o *operator, name string) Stream[T] {
	o.node.Outputs = append(o.node.Outputs,
		dataflow.Output{Name: name, Type: typeName[T](), Link: dataflow.NewStreamLink[T]()})
	return Stream[T]{ref{o.b, o.node.ID, len(o.node.Outputs) - 1}}
}

// optional adds an output that nobody needs to read.
func optional[T any](o *operator, name string) Stream[T] {
	s := output[T](o, name)
	o.node.Outputs[s.port].Optional = true
	return s
}

var nameRule = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

func checkName(kind, name string) error {
	if nameRule.MatchString(name) {
		return nil
	}
	hint := ""
	if s := suggestName(name); s != "" {
		hint = fmt.Sprintf(": %q would do", s)
	}
	return fmt.Errorf("%s %q: a name is 1 to 63 lower-case letters, digits and dashes, a letter first%s", kind, name, hint)
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// suggestName turns a name into the nearest valid one, or "".
func suggestName(name string) string {
	words := regexp.MustCompile(`([a-z0-9])([A-Z])`).ReplaceAllString(name, "$1-$2")
	s := notInNames.ReplaceAllString(strings.ToLower(words), "-")
	s = strings.TrimLeft(s, "-0123456789")
	return strings.TrimRight(s[:min(len(s), 63)], "-")
}

// isNil says whether an interface holds nothing, or a nil pointer.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}
