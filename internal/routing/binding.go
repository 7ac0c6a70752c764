package routing

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Kind says what a destination is.
type Kind uint8

// The kinds of destinations.
const (
	ToQueue Kind = iota + 1
	ToTopic
	ToExchange
)

var kindNames = [...]string{ToQueue: "queue", ToTopic: "topic", ToExchange: "exchange"}

// String is "queue", "topic" or "exchange".
func (k Kind) String() string {
	if k >= ToQueue && int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Destination is what a binding leads to. Names of queues, topics and exchanges
// are apart.
type Destination struct {
	Kind Kind
	Name string
}

// String is for people: queue "email".
func (d Destination) String() string { return fmt.Sprintf("%s %q", d.Kind, d.Name) }

// Binding leads from an exchange to a destination. All of it together is its
// identity: binding again what is bound changes nothing, and to unbind takes the
// same key and the same arguments, in any order.
type Binding struct {
	Source string // an exchange
	Destination
	Key  string
	Args []Header
}

// String is for people: orders → queue "email", key "orders.#".
func (b Binding) String() string {
	s := fmt.Sprintf("%s → %s, key %q", b.Source, b.Destination, b.Key)
	for _, a := range b.Args {
		s += fmt.Sprintf(", %s=%s", a.Name, a.Value)
	}
	return s
}

func checkName(what, name string, l *Limits) error {
	switch {
	case name == "":
		return invalid("the name of the %s is empty", what)
	case len(name) > l.NameBytes:
		return over("NameBytes", l.NameBytes, "the name of the "+what+" is longer")
	case !utf8.ValidString(name):
		return invalid("the name of the %s, %q, is not UTF-8", what, name)
	}
	return nil
}

func (d Destination) check(l *Limits) error {
	if d.Kind < ToQueue || d.Kind > ToExchange {
		return invalid("there is no %s of destination", d.Kind)
	}
	if d.Kind == ToExchange && d.Name == "" {
		return ErrDefaultExchange
	}
	return checkName(d.Kind.String(), d.Name, l)
}

// checked returns the binding with arguments of its own, sorted, or what is
// wrong with it.
func (b Binding) checked(l *Limits) (Binding, error) {
	if b.Source == "" {
		return b, ErrDefaultExchange
	}
	if err := b.Destination.check(l); err != nil {
		return b, err
	}
	if err := checkKey("binding", b.Key, l); err != nil {
		return b, err
	}
	if err := checkArgs(b.Args, l); err != nil {
		return b, err
	}
	b.Args = sortedArgs(b.Args)
	for i := 1; i < len(b.Args); i++ {
		if b.Args[i].Name == b.Args[i-1].Name {
			return b, invalid("the argument %q is given twice", b.Args[i].Name)
		}
	}
	return b, nil
}

// sortedArgs is a copy, by name.
func sortedArgs(args []Header) []Header {
	if len(args) == 0 {
		return nil
	}
	return slices.SortedFunc(slices.Values(args), func(x, y Header) int { return cmp.Compare(x.Name, y.Name) })
}

func checkArgs(args []Header, l *Limits) error {
	if len(args) > l.Args {
		return over("Args", l.Args, "the binding has more arguments")
	}
	size := 0
	for _, a := range args {
		if err := a.Value.check(); err != nil {
			return err
		}
		size += len(a.Name) + len(a.Value.Text)
	}
	if size > l.ArgBytes {
		return over("ArgBytes", l.ArgBytes, "the arguments of the binding have more bytes")
	}
	return nil
}

// identity is what no other binding of the source has.
type identity struct {
	target *Target
	key    string
	args   string // see argsIdentity
}

// argsIdentity is a string that no other arguments have: every part of it is
// preceded by its length. The arguments must be sorted.
func argsIdentity(args []Header) string {
	var id []byte
	for _, a := range args {
		id = append(appendText(id, a.Name), byte(a.Value.Kind))
		id = appendText(binary.AppendUvarint(id, a.Value.Bits), a.Value.Text)
	}
	return string(id)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// compare orders bindings: by source, destination, key and arguments.
func (b Binding) compare(o Binding) int {
	return cmp.Or(
		cmp.Compare(b.Source, o.Source), b.Destination.compare(o.Destination), cmp.Compare(b.Key, o.Key),
		slices.CompareFunc(b.Args, o.Args, func(x, y Header) int {
			return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Value.Kind, y.Value.Kind),
				cmp.Compare(x.Value.Bits, y.Value.Bits), cmp.Compare(x.Value.Text, y.Value.Text))
		}))
}

func (d Destination) compare(o Destination) int {
	return cmp.Or(cmp.Compare(d.Kind, o.Kind), cmp.Compare(d.Name, o.Name))
}
