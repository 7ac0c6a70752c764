package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/routing"
)

// defineBinding declares the options that say what a binding is.
func defineBinding(f *flag.FlagSet, done string, carryOut func(*actor.System, context.Context, actor.Binding) error) action {
	var b actor.Binding
	var args typedHeaders
	f.StringVar(&b.Queue, "queue", "", "lead to this `queue`,")
	f.StringVar(&b.Topic, "topic", "", "or this `topic`,")
	f.StringVar(&b.ToExchange, "exchange", "", "or this `exchange`")
	f.StringVar(&b.RoutingKey, "key", "", "what the exchange's type makes of it: a routing `key`, a pattern (orders.#), a weight")
	f.Var(&args, "arg", "what a headers exchange matches, as `name=value`, which is a text, or name:int=, :float=, :bool=, :void=; may be given again. x-match=any is one")
	return func(ctx context.Context, s *session) error {
		if ends := [3]string{b.Queue, b.Topic, b.ToExchange}; countOf(ends[:]) != 1 {
			return mistakef("to what? Say one of -queue, -topic and -exchange")
		}
		b.Exchange, b.Args = s.args[0], args
		if err := carryOut(s.sys, ctx, b); err != nil {
			return err
		}
		if s.json {
			return s.printJSON(bindingOf(b))
		}
		_, err := fmt.Fprintf(s.out, "%s: %v\n", done, b)
		return err
	}
}

func countOf(words []string) (n int) {
	for _, w := range words {
		if w != "" {
			n++
		}
	}
	return n
}

// bindingJSON is a binding: it leads to a queue, a topic or an exchange.
type bindingJSON struct {
	Exchange   string           `json:"exchange"`
	Queue      string           `json:"queue,omitempty"`
	Topic      string           `json:"topic,omitempty"`
	ToExchange string           `json:"to_exchange,omitempty"`
	RoutingKey string           `json:"routing_key"`
	Args       []typedValueJSON `json:"args"`
}

func bindingOf(b actor.Binding) bindingJSON {
	return bindingJSON{b.Exchange, b.Queue, b.Topic, b.ToExchange, b.RoutingKey, typedOf(b.Args)}
}

func listBindings(*flag.FlagSet) action {
	return func(ctx context.Context, s *session) error {
		name := ""
		if len(s.args) > 0 {
			name = s.args[0]
		}
		all, err := s.sys.Bindings(ctx, name)
		if err != nil {
			return err
		}
		list := []bindingJSON{}
		for _, b := range all {
			list = append(list, bindingOf(b))
		}
		if s.json {
			return s.printJSON(list)
		}
		return s.showBindings(list)
	}
}

func (s *session) showBindings(all []bindingJSON) error {
	rows := [][]string{row("EXCHANGE", "LEADS TO", "KEY", "ARGUMENTS")}
	for _, b := range all {
		to := "queue " + b.Queue
		switch {
		case b.Topic != "":
			to = "topic " + b.Topic
		case b.ToExchange != "":
			to = "exchange " + b.ToExchange
		}
		rows = append(rows, row(b.Exchange, to, b.RoutingKey, typedText(b.Args)))
	}
	return table(s.out, rows...)
}

// typedHeaders are headers with values that have types.
type typedHeaders []actor.MessageHeader

// String implements flag.Value.
func (h *typedHeaders) String() string { return "" }

// Set implements flag.Value.
func (h *typedHeaders) Set(text string) error {
	name, value, found := strings.Cut(text, "=")
	kind := "text"
	if i := strings.LastIndexByte(name, ':'); i > 0 && valueKinds[name[i+1:]] != nil {
		name, kind = name[:i], name[i+1:]
	}
	if !found || name == "" {
		return fmt.Errorf("it must be name=value")
	}
	header, err := valueKinds[kind](name, value)
	if err != nil {
		return fmt.Errorf("%q is no %s", value, kind)
	}
	*h = append(*h, header)
	return nil
}

// valueKinds read values of headers.
var valueKinds = map[string]func(name, text string) (actor.MessageHeader, error){
	"text": func(name, text string) (actor.MessageHeader, error) { return actor.HeaderText(name, text), nil },
	"int": func(name, text string) (actor.MessageHeader, error) {
		v, err := strconv.ParseInt(text, 10, 64)
		return actor.HeaderInt(name, v), err
	},
	"float": func(name, text string) (actor.MessageHeader, error) {
		v, err := strconv.ParseFloat(text, 64)
		return actor.HeaderFloat(name, v), err
	},
	"bool": func(name, text string) (actor.MessageHeader, error) {
		v, err := strconv.ParseBool(text)
		return actor.HeaderBool(name, v), err
	},
	"void": func(name, text string) (actor.MessageHeader, error) {
		if text != "" {
			return actor.MessageHeader{}, strconv.ErrSyntax
		}
		return actor.HeaderVoid(name), nil
	},
}

// typedValueJSON is a header with a value that has a type, in the form in which it is
// given to -arg and -header.
type typedValueJSON struct {
	Name  string `json:"name"`
	Type  string `json:"type"` // text, int, float, bool, void
	Value string `json:"value"`
}

var kindNames = map[string]routing.ValueKind{"text": routing.TextKind, "int": routing.IntKind, "float": routing.FloatKind, "bool": routing.BoolKind, "void": routing.VoidKind}

func typedOf(headers []actor.MessageHeader) []typedValueJSON {
	all := []typedValueJSON{}
	for _, h := range headers {
		v := typedValueJSON{Name: h.Name, Type: nameOf(kindNames, h.Value.Kind), Value: h.Value.Text}
		switch v.Type {
		case "int", "float", "bool":
			v.Value = h.Value.String()
		}
		all = append(all, v)
	}
	return all
}

func typedText(all []typedValueJSON) string {
	var words []string
	for _, v := range all {
		kind := ""
		if v.Type != "text" {
			kind = ":" + v.Type
		}
		words = append(words, v.Name+kind+"="+text([]byte(v.Value)))
	}
	return strings.Join(words, " ")
}
